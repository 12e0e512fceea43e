"""Errors carry a stable code, what is wrong, and what to do."""

import inspect

import pytest

from nocohost.api import errors

CLASSES = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, errors.NocohostError)]
FAMILIES = (
    errors.ConfigError,
    errors.PluginError,
    errors.QueueError,
    errors.ResourceError,
    errors.StorageError,
    errors.StoreError,
)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_class_says_what_it_means_when_nothing_else_is_said(kind):
    error = kind("")
    assert error.message == kind.__doc__.splitlines()[0]
    assert str(error) == error.message
    assert error.as_dict() == {"code": kind.code, "message": error.message, "hint": ""}


def test_every_class_has_a_code_of_its_own():
    codes = [kind.code for kind in CLASSES]
    assert len(codes) == len(set(codes))
    assert errors.PluginError.code == "plugin.error"


@pytest.mark.parametrize("kind", CLASSES[1:], ids=lambda kind: kind.__name__)
def test_every_class_belongs_to_one_family(kind):
    assert sum(issubclass(kind, family) for family in FAMILIES) == 1 or kind.code.startswith("http.")


def test_the_hint_is_part_of_the_text_and_the_code_can_be_narrowed():
    error = errors.ConfigError("no admin", hint="make a token", code="http.no_admin")
    assert str(error) == "no admin (make a token)"
    assert error.as_dict() == {"code": "http.no_admin", "message": "no admin", "hint": "make a token"}
    assert errors.ConfigError.code == "config.invalid"


def test_only_an_unavailable_database_is_worth_another_try():
    assert [kind for kind in CLASSES if getattr(kind, "retryable", False)] == [errors.StoreUnavailableError]


def test_faults_are_kept_one_by_one():
    assert errors.SettingError("two", faults=["a", "b"]).faults == ("a", "b")
    assert errors.PayloadError("two", faults=iter(["a"])).faults == ("a",)


def test_a_refused_mode_names_the_term_and_its_place():
    error = errors.WorkerModeError("no", term="shop:invoise", position=3, suggestion="shop:invoice")
    assert (error.term, error.position, error.suggestion) == ("shop:invoise", 3, "shop:invoice")


def test_a_crash_of_a_child_says_how_it_died():
    error = errors.ChildCrashedError("the child was killed by SIGSEGV", signal=11, stderr_tail="Fatal Python error")
    assert (error.code, error.exit_code, error.signal) == ("queue.child_crashed", None, 11)
    assert str(error) == "the child was killed by SIGSEGV"
