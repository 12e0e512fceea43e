"""The promises are read out of code that is planted here, and a reference that leaves one out is found."""

import click
import promises
from pydantic import BaseModel
from source_tree import read_modules

from nocohost.api import hookspecs


def test_every_way_to_give_an_error_a_code_is_found(tmp_path):
    (tmp_path / "nocohost").mkdir()
    (tmp_path / "nocohost" / "errors.py").write_text(
        "class JobError(Exception):\n"
        "    code = 'queue.of_class'\n"
        "def f(status):\n"
        "    code, message = 'queue.of_pair', 'x'\n"
        "    raise JobError(code='queue.of_call')\n"
        "STATUSES = {404: 'http.of_status'}\n"
        "NAMES = {'a': 'http.not_a_status'}\n"
        "show({'error': {'code': 'cli.of_object'}})\n"
        "log('queue.event', code='queue.of_log')\n"
    )
    assert promises.error_codes(read_modules(tmp_path, "nocohost")) == {
        "queue.of_class",
        "queue.of_pair",
        "queue.of_call",
        "http.of_status",
        "cli.of_object",
    }


def test_nested_settings_are_found_by_their_dotted_names():
    class Http(BaseModel):
        port: int = 0

    class Settings(BaseModel):
        http: Http = Http()
        worker_mode: str = ""

    assert list(promises.setting_names(Settings)) == ["http.port", "worker_mode"]
    assert promises.variable_of("http.port") == "NOCOHOST_HTTP__PORT"
    assert promises.variable_of("worker_mode") == "WORKER_MODE"


def test_verbs_and_options_are_found_but_hidden_ones():
    @click.group()
    def cli() -> None: ...

    @cli.group()
    def mode() -> None: ...

    @mode.command()
    @click.option("-j", "--json", "as_json", is_flag=True)
    @click.option("--secret", hidden=True)
    def explain(as_json: bool, secret: str) -> None: ...

    @cli.command(hidden=True)
    def child() -> None: ...

    found = dict(promises.verbs(cli))
    assert list(found) == [("mode",), ("mode", "explain")]
    assert promises.options(found["mode", "explain"]) == ["--json"]


def test_hooks_are_found_in_life_cycle_order():
    assert promises.hook_names(hookspecs)[:2] == ["register_settings", "register_jobs"]
