"""The checker against histories in which a job begins early or late: somebody had it retried, or a node was frozen."""

from test_checker import NODE, OTHER, killed, rolled, sound


def test_a_job_that_began_too_early():
    tale = sound().accepted("Z", "z", run_at="1970-01-01T00:00:03Z").ran("z", began=2.0)
    assert tale.done("z").rules() == ["P8 early"]


def retried(answer, asked=1.5):
    tale = sound().accepted("Z", "z", run_at="1970-01-01T00:00:03Z").said(1.2, "invoke", "cancel", job="z")
    tale.said(asked, "invoke", "retry", job="z")
    if answer:
        tale.said(asked + 0.1, answer, "retry", job="z")
    return tale.ran("z", began=2.0).done("z")


def test_a_cancelled_job_is_due_at_once_when_it_is_retried():
    assert retried("ok").rules() == []
    assert retried("info").rules() == []
    assert retried("").rules() == []
    assert retried("fail").rules() == ["P8 early"]
    assert retried("ok", asked=2.5).rules() == ["P8 early"]


def lost(next_at, retried_at=None):
    """A killed job that was cancelled as it waited, and had retried later or never."""
    tale = (
        killed(next_at).said(12.0, "invoke", "cancel", job="z").said(12.1, "ok", "cancel", job="z", state="cancelled")
    )
    if retried_at is not None:
        tale.said(retried_at, "invoke", "retry", job="z").said(retried_at + 0.1, "ok", "retry", job="z")
    return tale


def test_a_recovery_that_was_cancelled_is_counted_from_its_retry():
    assert lost(next_at=19.0, retried_at=17.5).rules() == []
    assert lost(next_at=19.0, retried_at=19.5).rules() == ["I8 recovery"]
    assert lost(next_at=26.0, retried_at=17.5).rules() == ["I8 recovery"]


def handed_back(*retried_at):
    tale = rolled(1.5, 0).accepted("Z", "z").ran("z", node=OTHER, began=29.0, ended=31.2, outcome="interrupted")
    tale.said(31.3, "invoke", "cancel", job="z").said(31.4, "ok", "cancel", job="z", state="cancelled")
    for at in retried_at:
        tale.said(at, "invoke", "retry", job="z").said(at + 0.1, "ok", "retry", job="z", state="pending")
    return tale.ran("z", 2, "node-5", began=40.0, ended=41.0).done("z", 2, "node-5")


def test_a_job_handed_back_and_cancelled_waits_for_its_retry():
    assert handed_back(39.0).rules() == []
    assert handed_back(32.0).rules() == ["P6 drain"]
    assert handed_back(39.0, 40.5).rules() == []


def thawed(fence, **frozen):
    """A job seen at its end, and an attempt under this fence that begins after that."""
    tale = sound().accepted("Z", "z").ran("z", 2, OTHER, began=8.0, ended=9.0).done("z", 2, OTHER)
    tale.said(9.5, "ok", "look", job="z", state="succeeded")
    tale.history[-1].update(fence=max(2, fence))
    if frozen:
        tale.harmed(3.0, "freeze", NODE).harmed(9.9, "thaw", NODE)
    return tale.ran("z", fence, NODE, began=10.0, ended=10.2, outcome="refused")


def test_a_claim_that_slept_through_a_freeze_may_begin_when_all_is_over():
    assert thawed(1, frozen=True).rules() == []
    assert "I4 ending" in thawed(1).rules()
    assert "I4 ending" in thawed(3, frozen=True).rules()
