"""Which status, code and text a caller is told."""

import json

import pytest
from aiohttp import web

from nocohost.api import errors
from nocohost.web.problems import RequestRefusedError, internal_problem, problem, problem_of, problem_of_http, status_of


def body_of(answer):
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    return json.loads(answer.body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UnknownKeyError("x"), 404),
        (errors.JobNotFoundError("x"), 404),
        (errors.ScheduleNotFoundError("x"), 404),
        (errors.PayloadError("x"), 422),
        (errors.PayloadTooLargeError("x"), 413),
        (errors.JobConflictError("x"), 409),
        (errors.FenceLostError("x"), 409),
        (errors.UnservedError("x"), 503),
        (errors.LockTimeoutError("x"), 503),
        (errors.LockLostError("x"), 503),
        (errors.StorageError("x"), 409),
        (errors.StoredFileNotFoundError("x"), 404),
        (errors.FileTooLargeError("x"), 413),
        (errors.StorageUnavailableError("x"), 503),
        (errors.StoreConflictError("x"), 409),
        (errors.StoreUnavailableError("x"), 503),
        (errors.TransactionExpiredError("x"), 503),
        (errors.SchemaVersionError("x"), 503),
        (errors.AppNotOpenError("x"), 503),
        (errors.NestedWriteError("x"), 500),
        (errors.StoreError("x"), 500),
        (errors.PluginContractError("x"), 500),
        (errors.ConfigError("x"), 500),
        (RequestRefusedError(421, "x"), 421),
    ],
)
def test_each_error_has_its_status(error, status):
    assert status_of(error) == status
    shown = body_of(problem_of(error, "r1"))
    assert shown["status"] == status
    assert shown["code"] == error.code
    assert shown["type"] == f"urn:nocohost:problem:{error.code}"
    assert shown["request_id"] == "r1"


def test_every_error_of_the_queue_tells_its_caller():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.QueueError)]
    assert kinds
    later = (errors.UnservedError, errors.LockTimeoutError, errors.LockLostError)
    assert all(status_of(kind("x")) < 500 for kind in kinds if kind not in later)
    assert {status_of(kind("x")) for kind in later} == {503}


def test_a_problem_names_every_fault_and_what_to_do():
    error = errors.PayloadError("it does not fit", hint="see Order", faults=["order: missing", "net: negative"])
    shown = body_of(problem_of(error, "r1"))
    assert shown["title"] == "Unprocessable Entity"
    assert shown["detail"] == "it does not fit"
    assert shown["hint"] == "see Order"
    assert shown["faults"] == ["order: missing", "net: negative"]


def test_nothing_of_the_inside_is_told():
    error = errors.StoreUnavailableError("no route to db.internal:5432, user nocohost", hint="look at db.internal")
    answer = problem_of(error, "r1")
    assert b"internal:" not in answer.body
    assert b"db.internal" not in answer.body
    assert body_of(answer)["detail"] == "The database cannot be reached or cannot write now."
    assert answer.headers["Retry-After"] == "2"
    assert body_of(internal_problem("r7"))["request_id"] == "r7"


def test_a_plugins_http_error_becomes_a_problem_with_its_text_headers_and_cookies():
    error = web.HTTPConflict(text="the order is locked", headers={"X-Lock": "7"})
    error.set_cookie("seen", "1")
    answer = problem_of_http(error, "r1")
    assert body_of(answer)["detail"] == "the order is locked"
    assert body_of(answer)["code"] == "http.conflict"
    assert answer.status == 409
    assert answer.headers["X-Lock"] == "7"
    assert answer.cookies["seen"].value == "1"


@pytest.mark.parametrize("error", [web.HTTPNotFound(), web.HTTPNotFound(text="")])
def test_a_plugins_http_error_without_a_text_is_told_in_words(error):
    assert body_of(problem_of_http(error, ""))["detail"] == "Not Found"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (web.HTTPLengthRequired(), "http.length_required"),
        (web.HTTPTooManyRequests(), "http.too_many_requests"),
        (web.HTTPUnsupportedMediaType(), "http.media_type"),
        (web.HTTPForbidden(), "http.forbidden"),
    ],
)
def test_the_code_of_an_http_error_is_stable(error, code):
    assert body_of(problem_of_http(error, ""))["code"] == code


def test_an_http_error_nobody_has_a_code_for_is_named_by_its_status():
    assert body_of(problem_of_http(web.HTTPGone(), ""))["code"] == "http.status_410"


def test_redirects_and_bodies_that_a_plugin_chose_are_kept():
    redirect = problem_of_http(web.HTTPFound("/there"), "")
    assert redirect.status == 302
    assert redirect.headers["Location"] == "/there"
    page = problem_of_http(web.HTTPNotFound(text="<p>gone</p>", content_type="text/html"), "")
    assert page.status == 404
    assert page.body == b"<p>gone</p>"
    assert page.headers["Content-Type"].startswith("text/html")


def test_a_client_that_was_too_slow_is_not_kept():
    assert problem(408, "http.too_slow", "slow").keep_alive is False
