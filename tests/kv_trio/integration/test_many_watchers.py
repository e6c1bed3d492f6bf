"""Many clients at once see what one after the other could have seen, over real sockets.

Twenty clients get (at once, or waiting for a change), put, compare-and-set, delete, list
and transact, some of them without waiting for the response; watchers follow each key.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from kv_trio import KvServer, TxnOperation, serve
from tests.kv_trio.support.linearizability import check
from tests.kv_trio.support.raw_client import Raw
from tests.kv_trio.support.store_model import (
    Delete,
    Get,
    ListAll,
    Put,
    Recorder,
    Request,
    Response,
    Seen,
    State,
    Transact,
    Wrote,
    run,
)

CLIENTS = 20
EACH = 40  # operations of a client
KEYS = ("a", "b", "c/1")
END = b"the end"


Known = dict[str, tuple[bytes | None, int]]


@attrs.define(eq=False)
class Crowd:
    """Clients of one server, and the record of what they do."""

    address: str
    seed: int
    recorder: Recorder = attrs.field(factory=Recorder)

    async def run(self) -> None:
        """Let all of them work, then let the watchers come to the end."""
        async with trio.open_nursery() as watching:
            for at, key in enumerate(KEYS):
                watching.start_soon(self._watch, CLIENTS + at, key)
            async with trio.open_nursery() as nursery:
                for number in range(CLIENTS):
                    nursery.start_soon(self._work, number)
            last = Raw(self.address)
            for key in KEYS:
                await self._ask(last, -1, Put(key, END))
            watching.cancel_scope.deadline = trio.current_time() + 20
            await last.close()
        assert not watching.cancel_scope.cancelled_caught, "a last state was missed"

    async def _work(self, number: int) -> None:
        """Do this and that, now and then without waiting for the response."""
        draw = random.Random(f"{self.seed}/{number}")
        client = Raw(self.address)
        known: Known = dict.fromkeys(KEYS, (None, 1))
        for n in range(EACH):
            request = choose(draw, known, b"%d.%d" % (number, n))
            index = 0
            if isinstance(request, Get) and draw.random() < 0.5:
                index = known[request.key][1]
            patience_s = draw.random() / 500 if draw.random() < 0.03 else 30.0
            with trio.move_on_after(patience_s) as patience:
                response = await self._ask(client, number, request, index, "20ms")
                learn(known, request, response)
            if patience.cancelled_caught:
                assert patience_s < 1, f"no response: {request}"
                await client.close()
        await client.close()

    async def _watch(self, number: int, key: str) -> None:
        """Follow a key until it has its last value."""
        client, index = Raw(self.address), 0
        while True:
            response = await self._ask(client, number, Get(key), index, "60s")
            assert isinstance(response, Seen)
            assert response.index >= index, "an index went back"
            index = response.index
            if [value for _, value, _ in response.keys] == [END]:
                break
        await client.close()

    async def _ask(
        self, client: Raw, number: int, request: Request, index: int = 0, wait: str = ""
    ) -> Response:
        begun = self.recorder.begin(number, request)
        response = await client.do(request, index=index, wait=wait)
        self.recorder.end(begun, response)
        return response


def learn(known: Known, request: Request, response: Response) -> None:
    match request, response:
        case Get(key), Seen(keys, index):
            known[key] = (keys[0][1] if keys else None, index)
        case Put(key, value), Wrote(done=True, index=index):
            known[key] = (value, index)
        case _:
            pass


def choose(  # noqa: PLR0911  # one per kind
    draw: random.Random, known: Known, unique: bytes
) -> Request:
    key, other = draw.sample(KEYS, 2)
    value, index = known[key]
    cas = 0 if value is None else index
    kinds = ["get", "put", "same", "cas", "delete", "list", "transact"]
    match draw.choices(kinds, [8, 4, 1, 4, 2, 2, 6])[0]:
        case "get":
            return Get(key)
        case "put":
            return Put(key, unique)
        case "same":
            return Put(key, value or unique)
        case "cas":
            return Put(key, unique, cas=cas)
        case "delete":
            return Delete(key, cas=draw.choice([None, cas]))
        case "list":
            return ListAll()
        case _:
            return Transact(draw.choice(transactions(key, other, index, unique)))


def transactions(
    key: str, other: str, index: int, unique: bytes
) -> list[tuple[TxnOperation, ...]]:
    return [
        (TxnOperation("set", key, unique), TxnOperation("set", other, unique)),
        (TxnOperation("get", key), TxnOperation("get", other)),
        (
            TxnOperation("cas", key, unique, index=index),
            TxnOperation("set", other, unique),
        ),
        (
            TxnOperation("set", key, unique),
            TxnOperation("get", key),
            TxnOperation("get", other),
        ),
        (
            TxnOperation("set", other, unique),
            TxnOperation("check-index", key, index=index),
        ),
        (TxnOperation("delete", key), TxnOperation("set", other, unique)),
        (
            TxnOperation("set", other, unique),
            TxnOperation("delete-cas", key, index=index),
        ),
        (TxnOperation("check-not-exists", key), TxnOperation("set", key, unique)),
    ]


@asynccontextmanager
async def serving(data: Path | None) -> AsyncIterator[KvServer]:
    """Serve a store in which something was written once."""
    async with trio.open_nursery() as nursery:
        server: KvServer = await nursery.start(
            partial(serve, ["127.0.0.1:0"], data=data)
        )
        client = Raw(server.addresses[0])
        await client.do(Put("before", b""))
        await client.do(Delete("before"))
        await client.close()
        yield server
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
async def test_a_crowd_sees_one_order_of_everything(
    tmp_path: Path, seed: int, on_disk: bool
) -> None:
    async with serving(tmp_path if on_disk else None) as server:
        first = server.store.index
        crowd = Crowd(server.addresses[0], seed)
        await crowd.run()

    verdict = check(crowd.recorder.history, State(first), run)

    assert verdict, str(verdict)
    writes = [one for one in verdict.order if isinstance(one.response, Wrote)]
    assert len(writes) > 10 * CLIENTS
