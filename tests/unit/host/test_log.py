"""The log: its forms, and a reader that is gone."""

import io
import json

from nocohost.host.log import make_log


class Gone(io.StringIO):
    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


def test_a_log_into_a_pipe_is_one_json_object_a_line():
    stream = io.StringIO()
    log = make_log(stream, form="auto").bind(node="n")
    log.info("job.succeeded", key="a:b")
    log.debug("not.shown")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["node"], entry["key"], entry["level"]) == ("job.succeeded", "n", "a:b", "info")


def test_a_reader_that_is_gone_stops_nobody():
    log = make_log(Gone(), level="debug", form="console")
    log.info("job.succeeded")
    log.error("job.dead")
