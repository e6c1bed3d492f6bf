"""The limits of a store as an operator gives them, and what a client beyond them is told."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from http_trio.testing.peers import connected
from kv_trio import KvServer, StoreLimits, serve
from kv_trio.limits import parse_limits


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("sesions=5", "'sesions' is no limit; there are "),
        ("", "'' is no limit"),
        ("sessions", "sessions=: expected a whole number"),
        ("sessions=-1", "sessions=-1: expected a whole number"),
        ("sessions=0", "sessions=0: expected 1 or more"),
        ("sessions=1e3", "expected a whole number"),
        ("sessions=" + "9" * 5000, "expected a whole number"),
        ("sessions=²", "expected a whole number"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no limit") as caught:
        parse_limits([given])
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_limits_that_are_not_given_have_their_defaults() -> None:
    assert parse_limits([]) == StoreLimits()
    assert parse_limits(["sessions=7"]) == StoreLimits(sessions=7)


def test_all_limits_and_their_defaults_stand_in_the_documents() -> None:
    text = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
    given = re.findall(
        r"`(?:--limit )?([a-z_]+)=(\d+)`", text.partition("## Limits")[2]
    )
    documented = [f"{name}={number}" for name, number in given]
    assert len(documented) == len(attrs.fields(StoreLimits))
    assert parse_limits(documented) == StoreLimits()
    assert {name for name, _ in given} == attrs.asdict(StoreLimits()).keys()


async def test_sessions_beyond_their_limit_are_refused_until_one_ends() -> None:
    async with trio.open_nursery() as nursery:
        limits = StoreLimits(sessions=2)
        server = await nursery.start(
            partial(serve, ["127.0.0.1:0"], store_limits=limits)
        )
        async with connected(server) as client:

            async def create() -> tuple[bytes, bytes]:
                return await client.ask(b"/v1/session/create", method=b"PUT")

            ids = [(await create())[1][7:43] for _ in range(2)]
            head, body = await create()
            assert b" 429 " in head
            assert b"there are 2 sessions, and 2 at most" in body
            assert b"--limit sessions=" in body
            for id_ in ids:  # those that there are go on
                head, _ = await client.ask(b"/v1/session/renew/" + id_, method=b"PUT")
                assert b" 200 " in head
            await client.ask(b"/v1/session/destroy/" + ids[0], method=b"PUT")
            assert b" 200 " in (await create())[0]
        nursery.cancel_scope.cancel()


async def test_sessions_that_begin_at_once_have_the_same_limit() -> None:
    """They are one batch, none of which is in the store when they are asked for."""
    limits = StoreLimits(sessions=2)
    async with trio.open_nursery() as nursery:
        server: KvServer = await nursery.start(
            partial(serve, ["127.0.0.1:0"], store_limits=limits)
        )
        host, _, port = server.addresses[0].rpartition(":")
        with ExitStack() as opened:
            clients = [
                opened.enter_context(socket.create_connection((host, int(port))))
                for _ in range(10)
            ]
            for client in clients:  # the server's loop does not run meanwhile
                client.sendall(b"PUT /v1/session/create HTTP/1.0\r\n\r\n")
            statuses = [
                (await trio.to_thread.run_sync(client.recv, 12))[9:12]
                for client in clients
            ]
        assert sorted(statuses) == [b"200"] * 2 + [b"429"] * 8
        assert len(server.store.sessions) == 2
        nursery.cancel_scope.cancel()
