"""The authorities' certificates stay unread until a TLS connection asks; each case in a process of its own."""

import subprocess
import sys

import pytest

CONTEXTS = "from aiohttp.connector import _SSL_CONTEXT_VERIFIED as verified, _SSL_CONTEXT_UNVERIFIED as unverified"
KINDS = "print(type(verified).__name__, type(unverified).__name__)"


def run(*lines: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_node_reads_no_certificates() -> None:
    assert run("import nocohost.cli.run", CONTEXTS, KINDS) == ["DeferredContext", "DeferredContext"]


@pytest.mark.parametrize(
    "use",
    [
        "context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname='localhost')",
        "context.wrap_socket(socket.socket(), server_hostname='localhost')",
        "context.get_ca_certs()",
        "context.cert_store_stats()",
    ],
)
def test_the_first_use_makes_an_ordinary_context_of_it(use: str) -> None:
    script = f"""
import socket, ssl
import nocohost.web
{CONTEXTS}
ordinary = ssl.create_default_context()
for context in (verified, unverified):
    {use}
    print(type(context) is ssl.SSLContext, context.get_ca_certs() == ordinary.get_ca_certs())
print(verified.verify_mode.name, verified.check_hostname, unverified.verify_mode.name)
"""
    assert run(script) == [*["True"] * 4, "CERT_REQUIRED", "True", "CERT_NONE"]


def test_other_contexts_are_as_ever() -> None:
    script = """
import ssl
before = {name: value for name, value in vars(ssl.SSLContext).items()}
import nocohost.web
print(before == dict(vars(ssl.SSLContext)), type(ssl.create_default_context()) is ssl.SSLContext)
"""
    assert run(script) == ["True", "True"]


def test_what_is_loaded_already_stays_as_it_is() -> None:
    assert run("import aiohttp, nocohost.web", CONTEXTS, KINDS) == ["SSLContext", "SSLContext"]
