"""Names and passwords: who passes, what it costs, and what it tells nobody."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.config.auth import BasicAuth
from canary_trio.proxy.auth import basic_auth
from canary_trio.proxy.auth.basic_auth import (
    CHECKS_OF_CLIENT,
    BasicAuthCheck,
    read_credentials,
)
from canary_trio.proxy.auth.password_file import PasswordFile
from canary_trio.proxy.auth.password_lists import PasswordList
from canary_trio.telemetry.auth_counts import AuthCounts
from http_trio.testing.peers import connected
from tests.canary_trio.proxy.auth.support import guarded
from tests.canary_trio.proxy.auth.test_forward_auth import wait_until

RULES = BasicAuth("staff")


@attrs.frozen
class Plain:
    """A hash that is none, and notes who looks."""

    password: bytes
    asked: list[bytes]
    go: threading.Event

    def matches(self, password: bytes) -> bool:
        self.asked.append(password)
        assert self.go.wait(10)
        return password == self.password

    def decoy(self) -> Plain:
        return attrs.evolve(self, password=b"\0nobody's")


class World:
    """A check with users of its own."""

    def __init__(self, rules: BasicAuth = RULES, places: int = 2) -> None:
        self.asked: list[bytes] = []
        self.go = threading.Event()
        self.go.set()
        self.users = PasswordList(Path("staff"), PasswordFile({}), None)
        self.use({"ann": "one", "b\u00f6b": "zw\u00f6i"})
        self.counts = AuthCounts()
        self.limiter = trio.CapacityLimiter(places)
        self.check = BasicAuthCheck(rules, self.users, self.counts, self.limiter)

    def use(self, users: Mapping[str, str]) -> None:
        self.users.current = PasswordFile(
            {
                name: Plain(word.encode(), self.asked, self.go)
                for name, word in users.items()
            }
        )


def said(user: str, password: str, encoding: str = "utf-8") -> bytes:
    data = f"{user}:{password}".encode(encoding)
    return b"Authorization: Basic " + base64.b64encode(data)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (said("ann", "one"), 200),
        (said("b\u00f6b", "zw\u00f6i"), 200),
        (said("b\u00f6b", "zw\u00f6i", "latin-1"), 200),
        (said("b\u00f6b", "zwo\u0308i"), 200),
        (said("ann", "one").replace(b"Basic", b"bASIC  "), 200),
        (said("ann", "two"), 401),
        (said("ann", "one "), 401),
        (said("ann", ""), 401),
        (said("Ann", "one"), 401),
        (said("eve", "one"), 401),
        (said("", "one"), 401),
        (said("ann", "x" * 2000), 401),
        (b"Authorization: Basic !!!!", 401),
        (b"Authorization: Basic " + base64.b64encode(b"ann"), 401),
        (b"Authorization: Bearer " + base64.b64encode(b"ann:one"), 401),
        (b"Authorization: Basic", 401),
        (b"X-Authorization: x", 401),
        (said("ann", "one") + b"\r\n" + said("ann", "one"), 401),
    ],
)
async def test_who_has_a_name_and_its_password_passes(line: bytes, status: int) -> None:
    world = World()
    async with guarded(world.check) as (server, door), connected(server) as client:
        head, body = await client.ask(b"/", line)

    assert head.startswith(b"HTTP/1.1 %d" % status)
    if status == 401:
        assert (
            b'\r\nWWW-Authenticate: Basic realm="restricted", charset="UTF-8"' in head
        )
        assert door.refused[0].kind == "unauthenticated"
        assert world.counts.outcomes == {"denied": 1}
    else:
        assert b"uthorization" not in body, "servers do not get the password"
        assert world.counts.outcomes == {"granted": 1}


async def test_the_servers_learn_the_name_if_the_document_says_so() -> None:
    world = World(attrs.evolve(RULES, user_header="X-User"))
    async with guarded(world.check) as (server, door), connected(server) as client:
        line = said("b\u00f6b", "zw\u00f6i")
        _, body = await client.ask(b"/", line, b"x_user: root", b"X-User: root")

    assert body == "\r\nX-User: b\u00f6b".encode()
    assert door.granted[0].user.decode() == "b\u00f6b"


async def test_the_password_goes_on_if_the_document_says_so() -> None:
    world = World(attrs.evolve(RULES, keep_authorization=True))
    async with guarded(world.check) as (server, _), connected(server) as client:
        line = said("ann", "one")

        assert (await client.ask(b"/", line))[1] == b"\r\n" + line


async def test_a_password_is_looked_at_once_while_it_is_right() -> None:
    world = World()
    async with guarded(world.check) as (server, _), connected(server) as client:
        for line in (said("ann", "one"), said("ann", "two")) * 3:
            await client.ask(b"/", line)

    assert world.asked == [b"one", b"two", b"two", b"two"], "wrong ones are not kept"
    assert world.counts.asked == 4


@pytest.mark.parametrize("users", [{}, {"ann": "new"}, {"bob": "one"}])
async def test_a_changed_file_holds_at_once(users: dict[str, str]) -> None:
    world = World()
    async with guarded(world.check) as (server, _), connected(server) as client:
        assert (await client.ask(b"/", said("ann", "one")))[0].startswith(
            b"HTTP/1.1 200"
        )
        world.use({"ann": "one"})
        assert (await client.ask(b"/", said("ann", "one")))[0].startswith(
            b"HTTP/1.1 200"
        )
        world.use(users)
        assert (await client.ask(b"/", said("ann", "one")))[0].startswith(
            b"HTTP/1.1 401"
        )


async def test_what_is_known_ends_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(basic_auth, "KNOWN_S", 0.0)
    world = World()
    async with guarded(world.check) as (server, _), connected(server) as client:
        for _ in range(2):
            await client.ask(b"/", said("ann", "one"))

    assert world.asked == [b"one"] * 2


async def test_an_unknown_user_costs_what_a_known_one_does() -> None:
    world = World()
    async with guarded(world.check) as (server, _), connected(server) as client:
        await client.ask(b"/", said("ann", "wrong"))
        await client.ask(b"/", said("eve", "wrong"))
        world.use({"ann": "one"})
        await client.ask(b"/", said("eve", "\0nobody's"))

    assert world.asked == [b"wrong", b"wrong", b"\0nobody's"]
    assert world.counts.outcomes == {"denied": 3}


async def test_passwords_that_wait_are_bounded_by_client() -> None:
    world = World(places=1)
    world.go.clear()
    found: list[bytes] = []

    async with guarded(world.check) as (server, _), trio.open_nursery() as nursery:

        async def one(number: int) -> None:
            async with connected(server) as client:
                found.append((await client.ask(b"/", said("ann", f"{number}")))[0])

        for number in range(CHECKS_OF_CLIENT):
            nursery.start_soon(one, number)
        await wait_until(lambda: world.limiter.statistics().tasks_waiting == 7)
        async with connected(server) as client:
            head, body = await client.ask(b"/", said("ann", "another"))
            assert head.startswith(b"HTTP/1.1 503")
            assert b"Retry-After: 1" in head
            assert b"too many passwords wait" in body
        assert not found
        world.go.set()
        await wait_until(lambda: len(found) == CHECKS_OF_CLIENT)
        async with connected(server) as client:
            head, _ = await client.ask(b"/", said("ann", "one"))
            assert head.startswith(b"HTTP/1.1 200")

    assert world.counts.outcomes == {
        "failed": 1,
        "denied": CHECKS_OF_CLIENT,
        "granted": 1,
    }


async def test_the_same_at_once_is_looked_at_once() -> None:
    world = World()
    world.go.clear()
    found: list[bytes] = []
    async with guarded(world.check) as (server, _), trio.open_nursery() as nursery:

        async def one() -> None:
            async with connected(server) as client:
                found.append((await client.ask(b"/", said("ann", "one")))[0])

        for _ in range(CHECKS_OF_CLIENT + 5):
            nursery.start_soon(one)
        await wait_until(lambda: len(world.check.waiting()) == CHECKS_OF_CLIENT + 5)
        world.go.set()
        await wait_until(lambda: len(found) == CHECKS_OF_CLIENT + 5)

    assert world.asked == [b"one"]
    assert {one[:12] for one in found} == {b"HTTP/1.1 200"}


async def test_who_leaves_before_its_turn_frees_its_place() -> None:
    world = World(places=1)
    world.go.clear()
    async with guarded(world.check) as (server, door):
        async with connected(server) as first:
            await first.send(
                b"GET / HTTP/1.1\r\nHost: a\r\n" + said("ann", "1") + b"\r\n\r\n"
            )
            await wait_until(lambda: len(world.asked) == 1)
            async with connected(server) as second:
                await second.send(
                    b"GET / HTTP/1.1\r\nHost: a\r\n" + said("ann", "2") + b"\r\n\r\n"
                )
                await wait_until(lambda: len(world.check.waiting()) == 2)
            await wait_until(lambda: door.left == 1)
            world.go.set()
            assert (await first.response())[0].startswith(b"HTTP/1.1 401")
            assert world.asked == [b"1"]


@given(st.binary(max_size=60))
def test_whatever_is_said_is_read_or_not(value: bytes) -> None:
    given = base64.b64encode(value)
    found = read_credentials(b"\r\nAuthorization: Basic " + given)

    assert (found is None) == (b":" not in value)
