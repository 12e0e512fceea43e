"""The fleet linter: coverage of a plan, and what is wrong with it."""

from hypothesis import given
from hypothesis import strategies as st

from nocohost.node.fleet import FleetPlan, PlannedNode, lint

DECLARED = frozenset({"shop:invoice", "workflow:process"})


def findings(plan: FleetPlan, level: str) -> list[tuple[str, str]]:
    return [(finding.code, finding.where) for finding in plan.findings if finding.level == level]


def test_a_whole_fleet_has_no_errors() -> None:
    plan = lint(["!", "!", "shop:*", "workflow:process", "*"], declared=DECLARED)
    assert not plan.has_errors
    assert plan.unserved == ()
    assert plan.coverage == {"requests": 2, "shop:invoice": 2, "workflow:process": 2}
    assert plan.findings == ()


def test_keys_nobody_serves_are_errors() -> None:
    plan = lint(["!"], declared=DECLARED)
    assert plan.has_errors
    assert plan.unserved == ("shop:invoice", "workflow:process")
    assert findings(plan, "error") == [("plan.unserved", "shop:invoice"), ("plan.unserved", "workflow:process")]


def test_requests_nobody_serves_are_an_error() -> None:
    assert lint(["*"], declared=DECLARED).unserved == ("requests",)


def test_served_once_is_worth_a_word_and_no_error() -> None:
    plan = lint(["!,*"], declared=DECLARED)
    assert not plan.has_errors
    assert ("plan.served_once", "requests") in findings(plan, "info")
    assert ("plan.served_once", "shop:invoice") in findings(plan, "info")


def test_an_empty_plan_serves_nothing() -> None:
    assert lint([], declared=DECLARED).unserved == ("requests", *sorted(DECLARED))


def test_a_refused_mode_is_an_error_with_its_own_code_and_serves_nothing() -> None:
    plan = lint(["!,*", "shop:invoise"], declared=DECLARED)
    assert plan.has_errors
    error = next(finding for finding in plan.findings if finding.level == "error")
    assert error.code == "mode.unknown_key"
    assert error.where == "mode 2 ('shop:invoise')"
    assert "shop:invoice" in error.message
    assert len(plan.nodes) == 1


def test_replicas_count() -> None:
    plan = lint([PlannedNode("!", "web", 3), PlannedNode("*", "work", 1)], declared=DECLARED)
    assert plan.coverage == {"requests": 3, "shop:invoice": 1, "workflow:process": 1}


def test_zero_replicas_serve_nobody_and_the_message_says_where_they_are() -> None:
    plan = lint([PlannedNode("!,workflow:*", "web", 2), PlannedNode("shop:invoice", "shop", 0)], declared=DECLARED)
    assert plan.unserved == ("shop:invoice",)
    assert [finding.message for finding in plan.findings if finding.level == "error"] == [
        "no node would serve the service key shop:invoice; 0 replicas are planned in shop"
    ]


def test_nodes_that_end_by_themselves_are_a_warning_where_nobody_else_serves() -> None:
    job = PlannedNode("shop:invoice", "Job nightly", 1, lasting=False)
    plan = lint(["!,workflow:*", job], declared=DECLARED)
    assert findings(plan, "warning") == [("plan.served_for_a_while", "shop:invoice")]
    assert not plan.has_errors
    assert findings(lint(["!,*", job], declared=DECLARED), "warning") == []


def test_a_node_that_serves_nothing_is_a_warning() -> None:
    plan = lint(["!,*", "-"], declared=DECLARED)
    assert findings(plan, "warning") == [("plan.serves_nothing", "mode 2 ('-')")]
    assert not plan.has_errors


def test_notices_of_the_grammar_come_along() -> None:
    assert findings(lint(["!,*"], declared=DECLARED), "info")[0] == ("plan.notice", "mode 1 ('!,*')")


def test_external_keys_count_where_named_and_are_never_unserved() -> None:
    alone = lint(["!,*"], declared=DECLARED, external={"mail:send"})
    assert "mail:send" not in alone.coverage
    assert alone.unserved == ()
    named = lint(["!,*", "mail:send"], declared=DECLARED, external={"mail:send"})
    assert named.coverage["mail:send"] == 1
    assert not named.has_errors


def test_a_required_mode_is_required_of_every_node() -> None:
    plan = lint(["", "!,*"], declared=DECLARED, required=True)
    assert [code for code, _ in findings(plan, "error")] == ["mode.required"]


def test_the_json_object_of_the_contract() -> None:
    assert lint([PlannedNode("!, shop:invoice", "web", 2)], declared={"shop:invoice"}).as_dict() == {
        "nodes": [
            {"mode": "!,shop:invoice", "requests": True, "services": ["shop:invoice"], "replicas": 2, "where": "web"}
        ],
        "coverage": {"requests": 2, "shop:invoice": 2},
        "unserved": [],
        "findings": [],
    }


@given(st.lists(st.sampled_from(["!", "*", "", "-", "shop:*", "workflow:process", "*,-shop:*", "nonsense", "!,*"])))
def test_coverage_and_unserved_never_disagree(modes: list[str]) -> None:
    plan = lint(modes, declared=DECLARED)
    assert set(plan.coverage) == {"requests", *DECLARED}
    assert set(plan.unserved) == {served for served, count in plan.coverage.items() if not count}
    assert plan.has_errors == (bool(plan.unserved) or "nonsense" in modes)
    assert len(plan.nodes) == len(modes) - modes.count("nonsense")
    for served, count in plan.coverage.items():
        assert count == sum(served in node.serves for node in plan.nodes)
