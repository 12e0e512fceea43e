"""The interpreter: what begins when, and how it ends; pure, so without a clock or a database."""

from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from builtin_plugins.workflow.effects import Ended
from builtin_plugins.workflow.expressions import Compiler
from builtin_plugins.workflow.interpreter import advance
from builtin_plugins.workflow.outcomes import Outcomes
from builtin_plugins.workflow.progress import Progress
from builtin_plugins.workflow.reading import read_definition
from builtin_plugins.workflow.retrying import rows_from, rows_of_failure
from builtin_plugins.workflow.steps.contract import Answer
from builtin_plugins.workflow.steps.forms import FORMS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BY_TYPE = {form.type: form for form in FORMS}
COMPILER = Compiler()


def read(steps, output=None):
    value = {"version": 1, "name": "flow", "trigger": {"type": "api"}, "steps": steps}
    return read_definition(value if output is None else value | {"output": output}, BY_TYPE, COMPILER)


def calculate(key, value, **more):
    return {"key": key, "type": "calculate", "value": value, **more}


def http(key, **more):
    return {"key": key, "type": "http", "url": "https://a.example", **more}


def play(steps, answers=None, *, output=None, trigger=None, most=1000, crash_every=0, rows=(), room=1_000_000):
    """Advance to the end; ``answers`` gives the value of a step, "fail" fails it, None leaves it running."""
    definition, answers = read(steps, output), answers or {}
    progress, begun, turns = Progress(rows, now=NOW, max_bytes=room), [], 0
    while True:
        turns += 1
        running = [place for place, row in progress.rows.items() if row.state == "running"]
        if crash_every and turns % crash_every == 0:  # all that is known is what was stored
            progress = Progress(progress.rows.values(), now=NOW, max_bytes=room)
            running = []
        plan = advance(definition, progress, trigger, running=running, max_steps=most)
        if plan.end is not None:
            return plan.end, progress.rows, begun
        answered = False
        for place, row in list(progress.rows.items()):
            answer = answers.get(row.key, "ok")
            if row.state == "running" and row.type == "http" and answer is not None:
                begun.append(place)
                answered = True
                progress.fail(row, "test", "boom") if answer == "fail" else progress.succeed(row, answer)
        assert answered, f"nothing begins and nothing ends: {progress.rows}"


def test_values_go_from_step_to_step():
    steps = [
        calculate("a", "trigger + 1"),
        {"key": "c", "type": "condition", "if": "steps.a > 1", "then": [calculate("b", "steps.a * 2")]},
        {"key": "s", "type": "switch", "value": "steps.b", "cases": [{"equals": 4, "do": [calculate("four", "'4'")]}]},
    ]
    end, rows, _ = play(steps, output="[steps.b, steps.four, steps.s, steps.c]", trigger=1)
    assert (end.state, end.output) == ("succeeded", [4, "4", "0", True])
    assert [row.number for row in rows.values()] == [1, 2, 3, 4, 5]


def test_a_switch_takes_its_default():
    steps = [
        {
            "key": "s",
            "type": "switch",
            "value": "9",
            "cases": [{"equals": 1, "do": []}],
            "default": [calculate("d", "1")],
        }
    ]
    end, rows, _ = play(steps, output="steps.s")
    assert (end.output, ("s/default/d", "") in rows) == ("default", True)


def test_steps_with_effects_run_one_after_the_other():
    _, _, begun = play([http("a"), http("b"), http("c")])
    assert begun == [("a", ""), ("b", ""), ("c", "")]


def test_branches_run_side_by_side():
    branches = [[http("a"), http("b")], [http("c")]]
    definition, progress = read([{"key": "p", "type": "parallel", "branches": branches}]), Progress([], now=NOW)
    plan = advance(definition, progress, None)
    assert [start.row.path for start in plan.starts] == ["p/0/a", "p/1/c"]


@pytest.mark.parametrize(
    ("mode", "answers", "state", "value"),
    [
        ("all", {}, "succeeded", {"winner": None, "failed": []}),
        ("all", {"a": "fail"}, "failed", None),
        ("any", {"a": "fail"}, "succeeded", {"winner": 1, "failed": [0]}),
        ("any", {"a": "fail", "b": "fail"}, "failed", None),
        ("any", {"a": None}, "succeeded", {"winner": 1, "failed": []}),
        ("race", {"a": None}, "succeeded", {"winner": 1, "failed": []}),
        ("race", {"a": "fail", "b": None}, "failed", None),
        ("settled", {"a": "fail"}, "succeeded", {"winner": None, "failed": [0]}),
        ("settled", {"a": "fail", "b": "fail"}, "succeeded", {"winner": None, "failed": [0, 1]}),
    ],
)
def test_modes_of_parallel(mode, answers, state, value):
    steps = [{"key": "p", "type": "parallel", "mode": mode, "branches": [[http("a")], [http("b")]]}]
    end, rows, _ = play(steps, answers)
    assert (end.state, rows["p", ""].output) == (state, value)
    assert all(row.is_over for row in rows.values())


def test_a_loop_goes_over_items_and_gives_the_last_values():
    loop = {
        "key": "l",
        "type": "loop",
        "over": "[5, 6]",
        "as": "i",
        "do": [http("h"), calculate("m", "i * 10 + i_index")],
    }
    end, _, begun = play([loop], output="steps.l")
    assert (end.output, begun) == ({"count": 2, "errors": 0, "values": [50, 61]}, [("l/do/h", "0"), ("l/do/h", "1")])


def test_loops_in_loops():
    inner = {"key": "i", "type": "loop", "over": "x", "as": "y", "do": [calculate("m", "y + x_index")]}
    end, rows, _ = play(
        [{"key": "o", "type": "loop", "over": "[[1, 2], [3]]", "as": "x", "do": [inner]}], output="steps.o"
    )
    assert end.output["values"] == [
        {"count": 2, "errors": 0, "values": [1, 2]},
        {"count": 1, "errors": 0, "values": [4]},
    ]
    assert {place for path, place in rows if path == "o/do/i/do/m"} == {"0.0", "0.1", "1.0"}


def test_while_sees_the_round_before():
    loop = {"key": "l", "type": "loop", "as": "i", "do": [http("h"), calculate("n", "i_index * 3")]}
    end, _, begun = play([loop | {"while": "i_index == 0 || steps.n < 6"}], output="steps.l.values")
    assert (end.output, len(begun)) == ([0, 3, 6], 3)
    end, _, _ = play([loop | {"while": "true", "max": 4}])
    assert (end.state, "limit: max" in end.reason) == ("failed", True)


@pytest.mark.parametrize(
    ("policy", "state", "value"),
    [("stop", "failed", None), ("break", "succeeded", (2, 1)), ("continue", "succeeded", (3, 1))],
)
def test_a_round_that_fails(policy, state, value):
    do = [calculate("d", "10 / (i - 2)")]
    loop = {"key": "l", "type": "loop", "over": "[1, 2, 3]", "as": "i", "on_item_error": policy, "do": do}
    end, rows, _ = play([loop])
    output = rows["l", ""].output
    assert (end.state, output and (output["count"], output["errors"])) == (state, value)


@pytest.mark.parametrize("over", ["5", "'text'", "{'a': 1}", "null"])
def test_what_is_no_list_is_not_gone_over(over):
    end, _, _ = play([{"key": "l", "type": "loop", "over": over, "do": []}])
    assert (end.state, "not a list" in end.reason) == ("failed", True)


def test_too_many_items_are_refused_at_once():
    end, _, _ = play([{"key": "l", "type": "loop", "over": "trigger", "max": 2, "do": []}], trigger=[1, 2, 3])
    assert "limit: max" in end.reason


def test_a_failed_step_is_taken_care_of():
    route = [calculate("r", "steps.h.error.message")]
    end, _, _ = play([http("h", on_error=route), calculate("after", "steps.r")], {"h": "fail"}, output="steps.after")
    assert (end.state, end.output) == ("succeeded", "boom")
    end, _, _ = play([http("h", on_error="continue")], {"h": "fail"}, output="steps.h.error.code")
    assert end.output == "test"
    end, _, _ = play([http("h")], {"h": "fail"})
    assert (end.state, end.reason) == ("failed", "h: boom")


def test_end_ends_from_inside():
    steps = [
        {
            "key": "c",
            "type": "condition",
            "if": "true",
            "then": [{"key": "e", "type": "end", "state": "failed", "reason": "= 'so'"}],
        }
    ]
    end, _, _ = play([*steps, http("never")])
    assert (end.state, end.reason) == ("failed", "so")


def test_end_ends_what_runs_beside_it():
    branches = [[{"key": "e", "type": "end"}], [http("h")]]
    end, rows, begun = play([{"key": "p", "type": "parallel", "branches": branches}], output="1")
    assert (end.state, end.output, begun, rows["p/1/h", ""].state) == ("succeeded", 1, [], "cancelled")


def test_an_execution_runs_so_many_steps_at_most():
    end, _, _ = play([{"key": "l", "type": "loop", "count": 100, "do": [calculate("a", "1")]}], most=50)
    assert (end.state, end.reason.startswith("limit: max_steps")) == ("failed", True)


@pytest.mark.parametrize("crash_every", [0, 1])
def test_the_values_of_an_execution_have_a_limit_together_and_the_step_beyond_it_is_named(crash_every):
    grow = {"key": "grow", "type": "loop", "count": 10, "do": [calculate("copy", "trigger")]}
    end, rows, _ = play([http("a"), grow], trigger="x" * 300, room=1000, crash_every=crash_every)
    assert end.state == "failed"
    assert end.reason.startswith("grow: grow/do/copy: limit: max_values_mib: ")
    assert [row.iteration for row in rows.values() if row.key == "copy" and row.state == "succeeded"] == ["0", "1", "2"]
    assert rows["grow/do/copy", "3"].error["code"] == "workflow.limit"
    assert rows["grow/do/copy", "3"].output is None


def test_what_a_step_is_given_counts_and_so_does_the_value_of_a_loop():
    asks = [http("a", json={"all": "= trigger"}), http("b", json={"all": "= trigger"})]
    end, rows, begun = play(asks, trigger="x" * 600, room=1000)
    assert end.reason.startswith("b: limit: max_values_mib: ")
    assert begun == [("a", "")], "a step that has no room does not begin"
    assert rows["b", ""].input is None
    copies = {"key": "grow", "type": "loop", "count": 3, "do": [calculate("copy", "trigger")]}
    end, rows, _ = play([copies], trigger="x" * 300, room=1000)
    assert end.reason.startswith("grow: limit: max_values_mib: ")


@pytest.mark.parametrize("attempts", [1, 3])
def test_an_answer_that_has_no_room_fails_its_step_and_is_not_asked_for_again(attempts):
    definition, progress = read([http("a", retry={"attempts": attempts})]), Progress([], now=NOW, max_bytes=500)
    (start,) = advance(definition, progress, None).starts
    outcomes = Outcomes(progress, {"a": start.step})
    outcomes.end([Ended(start.row.place, "x" * 600)])
    end = advance(definition, progress, None).end
    assert end.reason.startswith("a: limit: max_values_mib: ")
    assert progress.rows["a", ""].state == "failed"


def test_a_signal_s_value_that_has_no_room_fails_its_step():
    definition = read([{"key": "s", "type": "signal", "name": "go"}])
    progress = Progress([], now=NOW, max_bytes=500)
    (start,) = advance(definition, progress, None).starts
    Outcomes(progress, {"s": start.step}).answer(start.row, Answer("x" * 600))
    assert progress.rows["s", ""].error["code"] == "workflow.limit"


def test_a_lost_step_is_begun_again():
    definition, progress = read([http("a")]), Progress([], now=NOW)
    advance(definition, progress, None)
    again = Progress(progress.rows.values(), now=NOW)
    plan = advance(definition, again, None, running=())
    assert [start.row.attempts for start in plan.starts] == [2]
    assert advance(definition, again, None, running=[("a", "")]).starts == []


KEYS = [f"k{number}" for number in range(60)]


@some.composite
def blocks(draw, depth=0):
    """Some steps of any shape; keys are given afterwards."""
    steps = []
    for _ in range(draw(some.integers(1, 3))):
        kind = draw(some.sampled_from(["calculate", "http", "condition", "loop", "parallel"][: 5 if depth < 2 else 2]))
        step = {"type": kind}
        if kind == "calculate":
            step["value"] = draw(some.sampled_from(["1", "1 / 0"]))
            step["on_error"] = draw(some.sampled_from(["fail", "continue"]))
        elif kind == "http":
            step |= {"url": "https://a.example", "on_error": draw(some.sampled_from(["fail", "continue"]))}
        elif kind == "condition":
            step |= {
                "if": draw(some.sampled_from(["true", "false"])),
                "then": draw(blocks(depth + 1)),
                "else": draw(blocks(depth + 1)),
            }
        elif kind == "loop":
            step |= {"count": draw(some.integers(0, 3)), "do": draw(blocks(depth + 1))}
            step["on_item_error"] = draw(some.sampled_from(["stop", "break", "continue"]))
        else:
            step["mode"] = draw(some.sampled_from(["all", "any", "race", "settled"]))
            step["branches"] = [draw(blocks(depth + 1)) for _ in range(2)]
        steps.append(step)
    return steps


def keyed(steps, counter):
    named = []
    for step in steps:
        inner = {name: keyed(step[name], counter) for name in ("then", "else", "do") if name in step}
        if "branches" in step:
            inner["branches"] = [keyed(branch, counter) for branch in step["branches"]]
        named.append(step | {"key": f"k{next(counter)}"} | inner)
    return named


@settings(max_examples=150, deadline=None)
@given(blocks(), some.sets(some.integers(0, 40)), some.integers(1, 3))
def test_crashes_change_no_end(steps, failing, crash_every):
    """Whatever the shape: it ends, no step runs twice, and a crash between any two commits changes nothing."""
    named, answers = keyed(steps, count()), {f"k{number}": "fail" for number in failing}
    calm, rows, begun = play(named, answers)
    assert len(begun) == len(set(begun))
    assert all(row.is_over for row in rows.values())
    torn, torn_rows, torn_begun = play(named, answers, crash_every=crash_every)
    assert (torn.state, torn.reason) == (calm.state, calm.reason)
    assert len(torn_begun) == len(set(torn_begun))
    outcome = {place: (row.state, row.output) for place, row in rows.items()}
    assert {place: (row.state, row.output) for place, row in torn_rows.items()} == outcome


@settings(max_examples=150, deadline=None)
@given(blocks(), some.sets(some.integers(0, 40), min_size=1))
def test_what_failed_is_gone_on_with_and_what_succeeded_is_not_run_again(steps, failing):
    named = keyed(sound(steps), count())
    first, rows, _ = play(named, {f"k{number}": "fail" for number in failing})
    if first.state != "failed":
        return
    index = {step.path: step for step in read(named).walk()}
    gone, reopened = rows_of_failure(list(rows.values()), index)
    left = {place: row for place, row in rows.items() if row not in gone} | {row.place: row for row in reopened}
    done = {place for place, row in left.items() if row.state == "succeeded"}
    second, _, begun = play(named, rows=left.values())
    assert second.state == "succeeded", second
    assert not done & set(begun)


@settings(max_examples=150, deadline=None)
@given(blocks(), some.sets(some.integers(0, 40), max_size=3), some.data())
def test_a_run_begins_anew_from_any_step(steps, failing, data):
    named = keyed(sound(steps), count())
    _, rows, _ = play(named, {f"k{number}": "fail" for number in failing})
    path = data.draw(some.sampled_from(sorted({row.path for row in rows.values()})))
    gone, reopened = rows_from(list(rows.values()), path)
    left = {place: row for place, row in rows.items() if row not in gone} | {row.place: row for row in reopened}
    done = {place for place, row in left.items() if row.state == "succeeded"}
    end, _, begun = play(named, rows=left.values())
    assert end.state in ("succeeded", "failed")  # what failed before the chosen step, and beside it, stays so
    assert not done & set(begun)


def sound(steps):
    """Return the steps without expressions that fail: only what is outside can fail, and be mended."""
    mended = []
    for step in steps:
        inner = {name: sound(step[name]) for name in ("then", "else", "do") if name in step}
        if "branches" in step:
            inner["branches"] = [sound(branch) for branch in step["branches"]]
        mended.append(step | inner | ({"value": "1"} if step["type"] == "calculate" else {}))
    return mended
