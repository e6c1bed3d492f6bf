"""The events of several workers as one stream.

Each worker's own stream is read over its socket, once for each reader. An id has the place in
each of them, `1=LIFE.12,2=LIFE.7`, so a reader that comes back goes on in all. A worker that was
started again is another life: its stream says `reset`, and goes on.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping

import trio

from canary_trio.admin.event_pages import ID_BYTES, Follow, Send

LINE_BYTES = 1024 * 1024
"""Of an event of a worker at most."""

AGAIN_S = 1.0
"""Before a worker that is not there is asked again, in seconds."""

_SILENT_S = 60.0  # six signs of life that did not come


def follow_workers(paths: Callable[[], Mapping[int, str]]) -> Follow:
    """Follow all workers; `paths` gives their numbers and the sockets they listen on."""

    async def follow(after: str, send: Send) -> None:
        places = _places(after)
        async with trio.open_nursery() as nursery:
            for number, path in paths().items():
                nursery.start_soon(_follow_one, number, path, places, after, send)

    return follow


async def _follow_one(
    number: int, path: str, places: dict[int, str], after: str, send: Send
) -> None:
    while True:
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.TooSlowError):
            await _read(number, path, places, after, send)
        await trio.sleep(AGAIN_S)


async def _read(
    number: int, path: str, places: dict[int, str], after: str, send: Send
) -> None:
    """Read a worker's stream to its end.

    What names no place in it is passed on: by `0` it gives all that it keeps, and by
    anything else it says `reset` first.
    """
    async with await trio.open_unix_socket(path) as stream:
        lines = [b"GET /events HTTP/1.0", b"Host: worker"]  # so that it is not chunked
        if place := places.get(number, after):
            lines.append(b"Last-Event-ID: " + place.encode("latin-1"))
        await stream.send_all(b"\r\n".join((*lines, b"", b"")))
        data = b""
        while True:
            with trio.fail_after(_SILENT_S):
                more = await stream.receive_some()
            if not more:
                return
            *blocks, data = (data + more).split(b"\n\n")
            for block in blocks:
                _pass_on(number, block, places, send)
            if len(data) > LINE_BYTES:
                return


def _pass_on(number: int, block: bytes, places: dict[int, str], send: Send) -> None:
    """Send an event with the places of all; the head and signs of life are not events."""
    fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
    lines = []
    if b"id" in fields:
        places[number] = fields[b"id"].decode("latin-1")
        lines.append(b"id: " + _written(places).encode("latin-1"))
    if b"event" not in fields or b"data" not in fields:
        if lines:
            send(b"\n".join((*lines, b"", b"")))  # where it begins
        return
    try:
        shown = {"worker": number, **json.loads(fields[b"data"])}
    except ValueError:
        return
    lines += [b"event: " + fields[b"event"], b"data: " + json.dumps(shown).encode()]
    send(b"\n".join((*lines, b"", b"")))


def _written(places: Mapping[int, str]) -> str:
    return ",".join(f"{number}={place}" for number, place in sorted(places.items()))


def _places(text: str) -> dict[int, str]:
    """Read an id; what is odd in it is left out.

    >>> _places("1=a.3,2=b.4,x=c,3")
    {1: 'a.3', 2: 'b.4'}
    """
    found = {}
    for part in text[:ID_BYTES].split(","):
        number, mark, place = part.partition("=")
        if mark and number.isdecimal() and len(number) < 4:
            found[int(number)] = place
    return found
