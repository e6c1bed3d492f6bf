"""A command that asks one thing of the store imports what it needs for it, and no more.

What takes long to import is held by its name, since time depends on the machine. The door:
each command runs as from a shell, against a real store, in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection

import pytest
import trio

from canary_trio import write_document
from kv_trio.testing import in_memory_store

DOCUMENT = {"arms": {"stable": {"servers": ["http://10.0.0.1"]}}}

SERVERS = {
    "http_trio.serving",
    "http_trio.server",
    "http_trio.asgi",
    "http_trio.http2",
    "http_trio.proxy",
    "kv_trio.serving",
    "kv_trio.api",
    "kv_trio.watch",
    "kv_trio.storage",
    "kv_trio.etcd",
    "canary_trio.serving",
    "canary_trio.console",
    "canary_trio.admin.handler",
    "canary_trio.admin.status",
    "canary_trio.admin.asking.client",
    "canary_trio.admin.asking.guard",
    "canary_trio.proxy",
    "canary_trio.telemetry",
    "canary_trio.upstream",
    "canary_trio.control.supervisor",
    "canary_trio.control.sources.etcd",
    "canary_trio.control.sources.poll",
    "canary_trio.control.sources.file",
    "canary_trio.command.process",
    "canary_trio.command.cli.serve",
    "kv_trio.cli.serve",
}
OTHERS = {
    "rich",
    "pygments",
    "httpx._main",
    "h2",
    "hypercorn",
    "httptools",
    "ngh2",
    "prometheus_client",
    "structlog",
    "sqlite3",
    "anyio",
    "starlette",
    "asyncio",
    "importlib.metadata",
}
CHECKING = {"cattrs", "re2", "canary_trio.config", "canary_trio.routing.edge.model"}
ASKING = {"trio", "httpx"}
OF_OTHER_CHANGES = {
    "canary_trio.rollout",
    "canary_trio.control.changes.confirming",
    "canary_trio.control.changes.rollouts",
    "canary_trio.command.cli.changes.trying",
    "canary_trio.control.fleet.report",
    "kv_trio.state.operations",
    "kv_trio.state.txn",
}
OF_OTHER_DOCUMENTS = {
    "canary_trio.config.rollout",
    "canary_trio.config.auth",
    "canary_trio.config.parts.access_codec",
    "canary_trio.config.parts.rollout_codec",
    "canary_trio.config.parts.rule_codec",
    "re2",
    "zoneinfo",
    "difflib",
}

CODE = """
import atexit, sys
before = set(sys.modules)  # what measures coverage imports too
from canary_health import commands
sys.argv = sys.argv[1:]
def tell():
    print("\\n=", *(name for name, it in sys.modules.items() if it and name not in before))
atexit.register(tell)
getattr(commands, sys.argv[0].replace("-", "_"))()
"""

COMMANDS: dict[str, Collection[str]] = {
    "canary get web": SERVERS | OTHERS | CHECKING,
    "canary status web": SERVERS | OTHERS | CHECKING,
    "canary set web ratio=0": (
        SERVERS | OTHERS | OF_OTHER_CHANGES | OF_OTHER_DOCUMENTS
    ),
    "canary get --help": SERVERS | OTHERS | CHECKING | ASKING,
    "canary set --help": SERVERS | OTHERS | CHECKING | ASKING,
    "kv-trio get canary/web/config": SERVERS | OTHERS | {"cattrs", "canary_trio"},
    "kv-trio put a b": SERVERS | OTHERS | {"cattrs", "canary_trio"},
    "kv-trio --version": SERVERS | ASKING | {"cattrs", "canary_trio", "ssl"},
}
"""By the command, what it imports nothing of."""


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_quick_command_imports_no_more_than_it_needs(command: str) -> None:
    async with in_memory_store() as client:
        await write_document(client, "web", DOCUMENT, over=0)
        url = {"CANARY_CONFIG_SERVER": client.url, "KV_TRIO_URL": client.url}
        done = await trio.run_process(
            [sys.executable, "-c", CODE, *command.split()],
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            env={**os.environ, **url},
        )

    shown = done.stdout.decode()
    imported = set(shown.rpartition("\n=")[2].split())
    assert "canary_health.commands" in imported, shown
    assert imported & set(COMMANDS[command]) == set()


def test_what_is_spared_is_what_libraries_do_without() -> None:
    """httpx and httpcore have a way without it, which they take here."""
    code = """
from canary_health.commands import SPARED, make_quick
make_quick()
import sys, httpx, httpcore
assert all(sys.modules[name] is None for name in SPARED)
httpx.AsyncHTTPTransport()
"""
    run = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_a_command_that_ends_is_not_taken_apart_piece_by_piece() -> None:
    code = """
import atexit, gc, sys
from canary_health.commands import make_quick
atexit.register(lambda: print(gc.get_freeze_count() > 1000, gc.get_count()[0] < 1000))
make_quick()
atexit.register(lambda: print("first", gc.get_freeze_count()))
"""
    run = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["first 0", "True True"]
