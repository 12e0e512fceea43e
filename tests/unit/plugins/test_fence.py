"""Whatever a guest's call does, an error of the host's or a value comes out."""

import threading

import pytest
from probes.fake_app import ListLog

from nocohost.api.errors import ConfigError, PluginContractError, PluginLoadError, SettingError
from nocohost.plugins.fence import call_guest, call_published, trace_of


def raising(error: BaseException):
    def call():
        raise error

    return call


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this works")


def test_a_value_comes_through() -> None:
    assert call_guest(lambda: 42, seconds=5, doing="counting") == 42
    assert call_guest(lambda: None, seconds=5, doing="nothing") is None


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit(), BaseException("x"), OddError()]
)
def test_nothing_a_guest_raises_gets_out_as_it_is(error: BaseException) -> None:
    with pytest.raises(PluginLoadError, match=r"^working: ") as caught:
        call_guest(raising(error), seconds=5, doing="working")
    assert caught.value.__cause__ is error


def test_the_reason_is_one_line_and_the_trace_has_the_rest() -> None:
    error = ValueError("first\nsecond " + "x" * 1000)
    error.add_note("a note")
    with pytest.raises(PluginLoadError) as caught:
        call_guest(raising(error), seconds=5, doing="working")
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600
    assert caught.value.message.startswith("working: ValueError: first second")
    assert "a note" in trace_of(caught.value)
    assert "in call" in trace_of(caught.value)
    assert "plugins/fence.py" not in trace_of(caught.value)


def test_a_reason_cannot_move_the_cursor() -> None:
    with pytest.raises(PluginLoadError) as caught:
        call_guest(raising(ValueError("\x1b[2J\x07gone")), seconds=5, doing="working")
    assert caught.value.message == "working: ValueError: ?[2J?gone"


def test_an_error_of_the_hosts_own_keeps_its_words() -> None:
    with pytest.raises(PluginContractError) as caught:
        call_guest(raising(PluginContractError("so it is", hint="do that")), seconds=5, doing="working")
    assert (caught.value.message, caught.value.hint) == ("so it is", "do that")


@pytest.mark.parametrize("error", [ConfigError("stop the node"), SettingError("stop it", faults=["x"])])
def test_a_guest_cannot_raise_what_would_stop_the_node(error: ConfigError) -> None:
    with pytest.raises(PluginLoadError, match="stop"):
        call_guest(raising(error), seconds=5, doing="working")


def test_a_call_that_does_not_return_is_left_behind() -> None:
    release = threading.Event()
    told: list[object] = []
    with pytest.raises(PluginLoadError, match=r"waiting did not return within 0\.05 s$") as caught:
        call_guest(release.wait, seconds=0.05, doing="waiting", abandoned=told.append)
    assert told == [()]
    assert "threads" not in caught.value.message
    release.set()


def test_an_error_without_a_guest_has_no_trace() -> None:
    assert trace_of(PluginLoadError("x")) == ""


def test_a_published_hook_that_raises_is_logged_and_left_out() -> None:
    log = ListLog()
    assert call_published(lambda: 1, log, hook="greet") == [1]
    assert call_published(raising(ValueError("x")), log, hook="greet", plugin="acme") == []
    assert call_published(raising(SystemExit()), log, hook="greet", plugin="acme") == []
    assert log.events("hook.failed") == [{"hook": "greet", "plugin": "acme"}] * 2
    with pytest.raises(KeyboardInterrupt):
        call_published(raising(KeyboardInterrupt()), log)
