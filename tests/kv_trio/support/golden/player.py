"""Sends a server the requests that were sent to a real Consul.

The files beside this one have one step a line: a request that was recorded (`case`),
one that only brings the store into the state for the next (`learn` names what is
taken from its response), or a pause. `<<name>>` stands for what was learned or given,
`<<name-1>>` for a number beside it, `<<x*9>>` for a repeated text. `during` is done
while a request waits. What was recorded is byte for byte what is sent, but for the
waits, which are shorter.

The rule that it obeys: nothing fails here. What did not come is an empty response.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import trio
import trio.testing

Step = dict[str, Any]

PATIENCE_S = 30.0
STILL_S = 0.3
"""A query that has not ended by then counts as one that does not."""
INDEX = "X-Consul-Index"


def load(name: str) -> list[Step]:
    lines = (Path(__file__).parent / name).read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def cases_in(steps: list[Step]) -> Iterator[Step]:
    for step in steps:
        yield from cases_in(step.get("during", []))
        if "case" in step:
            yield step


@attrs.frozen
class Got:
    """A response, and how it came; status 0 if none did."""

    status: int = 0
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    elapsed_s: float = 0.0
    early: bool = False  # before that was done which was to end the wait

    @property
    def index(self) -> int:
        return int(self.headers.get(INDEX, 0))


@attrs.define(eq=False)
class Player:
    """Sends a server the requests of the steps; keeps what they learn and what came."""

    address: str
    names: dict[str, str] = attrs.field(factory=dict)
    got: dict[int, Got] = attrs.field(factory=dict)

    async def play(self, steps: list[Step]) -> None:
        for step in steps:
            if "pause_s" in step:
                await trio.sleep(step["pause_s"])
                continue
            got = await self._ask(step)
            if "case" in step:
                self.got[step["case"]] = got
            for name, what in step.get("learn", {}).items():
                self.names[name] = learned(what, got)

    def fill(self, text: str) -> str:
        """Put in what the text leaves open."""

        def known(match: re.Match[str]) -> str:
            name, times, offset = match.groups()
            if times:
                return str(name) * int(times)
            found = self.names[name]
            return str(int(found) + int(offset)) if offset else found

        return re.sub(r"<<(\w+)(?:\*(\d+)|([+-]\d+))?>>", known, text)

    def body_of(self, holder: Step) -> bytes | None:
        if "body_b64" in holder:
            return base64.b64decode(holder["body_b64"])
        return self.fill(holder["body"]).encode() if "body" in holder else None

    def request(self, ask: Step) -> bytes:
        version = ask.get("version", "1.1")
        rows = [f"{ask['method']} {self.fill(ask['path'])} HTTP/{version}"]
        rows += ["Host: golden", "Accept: */*", *map(self.fill, ask.get("headers", []))]
        body = self.body_of(ask)
        if body is None:
            body = b""
        elif ask.get("chunked"):
            rows.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            rows.append(f"Content-Length: {len(body)}")
        return "\r\n".join(rows).encode() + b"\r\n\r\n" + body

    async def exchange(self, ask: Step) -> Got:
        """Ask on a connection of its own, as each request was recorded."""
        host, _, port = self.address.rpartition(":")
        started_s = trio.current_time()
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send, stream, self.request(ask))
                got = await _receive(stream, bodiless=ask["method"] == "HEAD")
                nursery.cancel_scope.cancel()
        return attrs.evolve(got, elapsed_s=trio.current_time() - started_s)

    async def _ask(self, step: Step) -> Got:
        came: list[Got] = []
        early = False

        async def wait() -> None:
            came.append(await self.exchange(step["ask"]))

        patience_s = STILL_S if step.get("ended") == "never" else PATIENCE_S
        with trio.move_on_after(patience_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                if "during" in step:
                    await self._settle()
                    early = bool(came)
                    await self.play(step["during"])
        return attrs.evolve(came[0] if came else Got(), early=early)

    async def _settle(self) -> None:
        """Come back when the server has taken in all that was sent before.

        It is one loop: what arrived before a request is read before its response comes.
        """
        await trio.testing.wait_all_tasks_blocked(0.01)
        for _ in range(2):
            await self.exchange({"method": "GET", "path": "/v1/status/leader"})


def learned(what: str, got: Got) -> str:
    """Take from a response what later steps need; 0 where an earlier case failed."""
    try:
        match what:
            case "index":
                return str(got.index)
            case "modified":
                return str(json.loads(got.body)[0]["ModifyIndex"])
            case _:
                return str(json.loads(got.body)["ID"])
    except (ValueError, LookupError, TypeError):
        return "0"


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    # What is refused before it was all sent has a response nevertheless.
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(data)


async def _receive(stream: trio.SocketStream, *, bodiless: bool) -> Got:
    data = b""
    while b"\r\n\r\n" not in data:
        more = await _some(stream)
        if not more:
            return Got()
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rows = head.decode("latin-1").split("\r\n")
    headers = dict(row.split(": ", 1) for row in rows)
    length = 0 if bodiless else int(headers.get("Content-Length", 0))
    while len(body) < length and (more := await _some(stream)):
        body += more
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return Got(int(first.split(" ")[1]), headers, body)


async def _some(stream: trio.SocketStream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""
