"""The app that plugins see: what it serves, and what is closed until the node opens."""

import pytest

from nocohost.api.errors import AppNotOpenError, UnknownKeyError
from nocohost.api.mode import CHILD, EVERYTHING, WorkerMode
from nocohost.host.app import NodeApp
from nocohost.node.identity import new_identity

KEYS = ("shop:invoice", "shop:report")


def app_of(mode, **more):
    return NodeApp(
        mode=mode,
        node=new_identity("n"),
        clock=None,
        log=None,
        declared=None,
        keys=KEYS,
        external_keys=["far:away"],
        **more,
    )


@pytest.mark.parametrize(
    ("mode", "requests", "served"),
    [
        (EVERYTHING, True, set(KEYS)),
        (WorkerMode(serves_requests=True, serves_all=False), True, set()),
        (WorkerMode(serves_requests=False), False, set(KEYS)),
        (WorkerMode(False, False, frozenset({"shop:report"})), False, {"shop:report"}),
        (CHILD, False, set()),
    ],
)
def test_serving_says_what_the_mode_covers(mode, requests, served):
    app = app_of(mode)
    assert app.serving() is requests
    assert {key for key in KEYS if app.serving(key)} == served
    assert not app.serving("far:away")


def test_serving_a_key_nobody_declares_raises_with_the_nearest():
    with pytest.raises(UnknownKeyError) as raised:
        app_of(EVERYTHING).serving("shop:invoise")
    assert "'shop:invoice'" in raised.value.hint


def test_a_key_that_turned_out_not_to_be_served_is_not():
    app = app_of(EVERYTHING)
    app.settle({"shop:report"})
    assert not app.serving("shop:invoice")
    assert app.serving("shop:report")


def test_queue_and_database_are_closed_while_hooks_register():
    app = app_of(EVERYTHING)
    for part in ("queue", "database", "schedules", "hooks"):
        with pytest.raises(AppNotOpenError, match=part):
            getattr(app, part)
    database, queue, locks, signals, schedules = (object() for _ in range(5))
    app.open(database, queue, locks=locks, signals=signals, schedules=schedules)
    assert (app.database, app.queue) == (database, queue)
    assert (app.locks, app.signals, app.schedules) == (locks, signals, schedules)
