"""The checker's rule that nothing begins before its time."""

from test_checker import sound


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
