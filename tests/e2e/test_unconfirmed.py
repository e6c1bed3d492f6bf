"""A change that nobody confirms is taken back: on every store, and whoever is killed."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import trio

from canary_trio import read_document
from canary_trio.control.changes.confirming import (
    AUTHOR,
    confirm,
    take_back,
    write_unconfirmed,
)
from canary_trio.control.changes.documents import read_history, write_document
from canary_trio.control.changes.waiting import read_pending
from canary_trio.control.sources.source import DocumentSource
from kv_trio import Client
from tests.canary_trio.support.stored_proxy import DOCUMENT
from tests.e2e import test_sources
from tests.e2e.processes import running as running_process
from tests.e2e.processes import world

running = test_sources.running
source = test_sources.source

PATIENCE_S = 90.0
KEY = "canary/web/pending"


async def test_both_keys_change_together(source: DocumentSource) -> None:
    first = await write_document(source, "web", DOCUMENT, over=0)
    over, changed = first, {**DOCUMENT, "ratio": 0.5}
    for confirms in (False, True):
        second, change = await write_unconfirmed(
            source, "web", changed, over=over, within_s=60
        )
        assert change is not None
        found = await read_pending(source, "web")
        assert found.change == change
        assert found.index == found.revision == second
        if confirms:
            assert (await confirm(source, "web")).index == second
            await take_back(source, "web", change)
            assert (await read_document(source, "web"))[1] == second
        else:
            await take_back(source, "web", change)
            text, over = await read_document(source, "web")
            assert json.loads(text) == DOCUMENT
            newest = (await read_history(source, "web")).changes[0]
            assert (newest.author, newest.copy_of) == (AUTHOR, first)
        assert (await source.get(KEY)).entry is None


async def driven_by(store: Client) -> tuple[str, str]:
    """Wait until a proxy drives; give its name and its session."""
    async with store.watch("canary/web/driver") as states:
        async for snapshot in states:
            if snapshot.entry is not None and snapshot.entry.session is not None:
                by = str(json.loads(snapshot.entry.value)["by"])
                return by, snapshot.entry.session
    raise AssertionError("a watch never ends")


async def test_neither_terminal_nor_driver_is_needed(tmp_path: Path) -> None:
    async with world(tmp_path, versions=False) as here:
        first = tmp_path / "web.json"
        first.write_text(json.dumps(DOCUMENT))
        proxies = {
            name: await here.start(
                *("canary", "serve", "web", "--config-server", here.store_url),
                *("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--id", name),
                *("--bootstrap", first),
            )
            for name in ("one", "two")
        }
        for proxy in proxies.values():
            await proxy.says("is live")
        async with Client(here.store_url) as store:
            good: dict[str, Any] = json.loads((await read_document(store, "web"))[0])
            with trio.fail_after(PATIENCE_S):
                async with running_process(
                    *("canary", "set", "web", "ratio=0.5", "--confirm-within", "3"),
                    *(
                        "--config-server",
                        here.store_url,
                        "--wait",
                        "60",
                        "--expect",
                        "9",
                    ),
                    state=tmp_path,
                ) as terminal:
                    driver, session = await driven_by(store)
                    terminal.kill()
                proxies[driver].kill()
                await store.destroy_session(session)  # as the store does after 20 s
                async with store.watch(KEY) as states:
                    async for snapshot in states:
                        if snapshot.entry is None:
                            break
            newest = (await read_history(store, "web")).changes[0]
            assert newest.author == AUTHOR
            assert json.loads((await read_document(store, "web"))[0]) == good
        (left,) = proxies.keys() - {driver}
        await proxies[left].ends(signal.SIGTERM)
