"""The demonstration: the main job in one process, with traffic of its own.

Two example versions, a store, a proxy and a trickle of requests run in one nursery; what
they do is counted by what is shown (`display`). The second version can be made to fail, by
a key or by a request, while a rollout raises its share (`rollout`).
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import attrs
import trio
from rich.console import Console

import http_trio
import kv_trio
from canary_trio.admin.asking.tokens import make_admin_token
from canary_trio.command.cli.demo.display import (
    FRAME_S,
    SERVICE,
    DemoRecord,
    introduce,
    show,
    summarize,
)
from canary_trio.command.cli.demo.rollout import (
    Version,
    begin_rollout,
    pressed_keys,
)
from canary_trio.command.process.own_directory import own_directory
from canary_trio.serving.options import ProxyOptions
from canary_trio.serving.proxy import serve

_REQUESTS_PER_S = 100


@attrs.frozen
class _Places:
    """Where the parts listen, where the store keeps its data, and who may change things."""

    bind: str
    admin: str
    store: str
    data: Path
    roles: Path


def run(
    *, for_s: float | None, bind: str, admin: str, store: str, data: Path | None
) -> str:
    """Run until Ctrl-C or for a time; give why it could not, empty if it could."""
    console = Console(highlight=False)
    record = DemoRecord()
    failure = ""
    with _directory(data) as directory, own_directory("canary-demo-") as own:
        places = _Places(bind, admin, store, directory, own / "admin.toml")
        try:
            trio.run(_run, console, record, for_s, places)
        except* (http_trio.BadBind, kv_trio.KvError) as group:
            failure = "; ".join(map(str, _leaves(group)))
    if not failure:
        for line in summarize(record):
            console.print(line)
    return failure


async def _run(
    console: Console, record: DemoRecord, for_s: float | None, places: _Places
) -> None:
    ends = (signal.SIGINT, signal.SIGTERM)
    with (
        trio.move_on_after(for_s or math.inf),
        trio.open_signal_receiver(*ends) as signals,
    ):
        async with trio.open_nursery() as nursery:
            versions = [Version("v1"), Version("v2")]
            servers = [
                await nursery.start(http_trio.serve, one, ["127.0.0.1:0"])
                for one in versions
            ]
            kv = await nursery.start(
                partial(
                    kv_trio.serve,
                    [places.store],
                    data=places.data,
                    observe=record.written,
                )
            )
            document = _document(*(server.url for server in servers))
            secret, lines = make_admin_token("demo", "write")
            places.roles.write_text(lines)
            options = ProxyOptions(
                config_server=kv.url,
                binds=[places.bind],
                admin=places.admin,
                admin_token_file=places.roles,
                bootstrap=document,
                remember=False,
            )
            start = partial(serve, SERVICE, options, on_live=record.live)
            proxy = await nursery.start(start)
            record.changes.clear()  # the first document is no change
            keys: dict[str, Callable[[], Awaitable[None]]] = {
                "f": versions[1].turn,
                "r": partial(begin_rollout, kv.url),
            }
            console.print(f"console  {proxy.admin_url}/console/#/{SERVICE}")
            console.print(f"token    {secret}\n")
            introduce(console, proxy, kv.url, servers[1].url)
            nursery.start_soon(pressed_keys, keys)
            nursery.start_soon(_trickle, proxy.addresses[0], record)
            nursery.start_soon(show, console, record, proxy)
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


async def _trickle(address: str, record: DemoRecord) -> None:
    """Send requests over one kept connection, steadily, and count who answers."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            async with await trio.open_tcp_stream(
                host.strip("[]"), int(port)
            ) as stream:
                while True:
                    sent = len(record.changes)
                    await stream.send_all(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
                    response = await stream.receive_some()
                    if response.startswith(b"HTTP/1.1 500 "):
                        record.errors += 1
                        await trio.sleep(1 / _REQUESTS_PER_S)
                        continue
                    if not response.startswith(b"HTTP/1.1 200 "):
                        break
                    name = response.rpartition(b"\r\n\r\n")[2].strip().decode()
                    record.responded(name, sent)
                    await trio.sleep(1 / _REQUESTS_PER_S)
        except (OSError, trio.BrokenResourceError):
            pass
        record.errors += 1
        await trio.sleep(FRAME_S)


def _document(stable: str, canary: str) -> bytes:
    document = {
        "style": "round_robin",
        "ratio": 0.1,
        "arms": {"stable": {"servers": [stable]}, "canary": {"servers": [canary]}},
    }
    return json.dumps(document, indent=2).encode()


@contextlib.contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
    else:
        with own_directory("canary-demo-") as made:
            yield made


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _leaves(exc)
        else:
            yield exc
