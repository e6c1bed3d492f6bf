"""Which member is asked, how often, and what is made of what it says."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from kv_trio import (
    EtcdClient,
    KvError,
    StoreRefused,
    StoreUnreachable,
    TxnOperation,
    UnexpectedResponse,
)
from kv_trio.etcd.endpoints import REFUSED_S, Endpoints, members_of
from tests.kv_trio.support.fake_etcds import FakeMember, Reply, client_of, well


@pytest.mark.parametrize(
    ("url", "members"),
    [
        ("etcd://a", ["http://a:2379"]),
        ("etcd://a:1,b,[::1]:2/", ["http://a:1", "http://b:2379", "http://[::1]:2"]),
        ("etcds://a", ["https://a:2379"]),
    ],
)
def test_an_url_names_members(url: str, members: list[str]) -> None:
    assert members_of(url) == members


@pytest.mark.parametrize(
    "url",
    [
        *("etcd://", "etcd://a,,b", "etcd://a/b", "etcd://a?b", "http://a", "etcd:a"),
        *("etcd://a b", "etcd://a:x", "etcd://" + ",".join("abcdefghijklmnopq")),
    ],
)
def test_what_names_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected etcd://HOST"):
        EtcdClient(url)


def test_a_password_is_no_part_of_an_url_and_is_not_shown() -> None:
    with pytest.raises(ValueError, match="NAME:PASSWORD") as caught:
        EtcdClient("etcd://web:secret@a")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="no colon") as caught:
        EtcdClient("etcd://a", token="secret")
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Endpoints("etcd://a", token="web:secret"))


def saying(*reply: Any) -> Callable[[str, dict[str, Any]], Reply]:
    return lambda path, message: reply[0] if len(reply) == 1 else reply


UNABLE = {
    "no connection": saying(httpx.ConnectError("refused")),
    "a connection that breaks": saying(httpx.ReadError("reset")),
    "no leader": saying(503, b'{"error":"etcdserver: no leader","code":14}'),
    "too late": saying(504, b'{"error":"etcdserver: request timed out","code":4}'),
    "a page": saying(200, b"<html>maintenance</html>"),
    "another server": saying(404, b"404 page not found"),
    "a gateway": saying(502, b"bad gateway"),
}


@pytest.mark.parametrize("unable", UNABLE.values(), ids=UNABLE)
async def test_a_read_is_asked_of_the_next_member(
    unable: Callable[[str, dict[str, Any]], Reply],
) -> None:
    first, second = FakeMember(unable), FakeMember(well)
    async with client_of(first, second) as client:
        assert (await client.get("a")).entry is None
        assert (await client.get("a")).entry is None
    assert len(first.asked) == 1, "it is left for all that follows"
    assert len(second.asked) == 2


@pytest.mark.parametrize("unable", UNABLE.values(), ids=UNABLE)
async def test_a_read_fails_when_all_have(
    unable: Callable[[str, dict[str, Any]], Reply],
) -> None:
    members = FakeMember(unable), FakeMember(unable)
    async with client_of(*members) as client:
        with pytest.raises((StoreUnreachable, UnexpectedResponse)):
            await client.get("a")
    assert [len(member.asked) for member in members] == [1, 1]


async def test_a_member_that_is_away_may_be_an_etcd() -> None:
    other, away = FakeMember(UNABLE["a page"]), FakeMember(UNABLE["no connection"])
    async with client_of(away, other) as client:
        with pytest.raises(StoreUnreachable):
            await client.get("a")
    async with client_of(other, other) as client:
        with pytest.raises(UnexpectedResponse, match="is this an etcd"):
            await client.get("a")


async def test_a_member_that_hangs_is_left(autojump_clock: MockClock) -> None:
    class Hanging(FakeMember):
        async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
            await trio.sleep_forever()
            raise AssertionError

    async with client_of(Hanging(well), FakeMember(well)) as client:
        assert (await client.get("a")).entry is None
        begun = trio.current_time()
        assert (await client.get("a")).entry is None
        assert trio.current_time() == begun


@pytest.mark.parametrize(
    ("unable", "tries"),
    [
        ("no connection", 2),
        ("no leader", 2),
        ("a connection that breaks", 1),
        ("too late", 1),
    ],
)
async def test_a_write_is_not_sent_twice(unable: str, tries: int) -> None:
    def say(path: str, message: dict[str, Any]) -> Reply:
        reads = "compare" not in message
        return well(path, message) if reads else UNABLE[unable](path, message)

    members = FakeMember(say), FakeMember(say)
    async with client_of(*members) as client:
        with pytest.raises(StoreUnreachable):
            await client.put("a", b"1")
    assert sum(len(member.asked) for member in members) == 1 + tries


async def test_a_write_that_is_refused_is_not_tried_elsewhere() -> None:
    full = b'{"error":"etcdserver: mvcc: database space exceeded","code":8}'

    def say(path: str, message: dict[str, Any]) -> Reply:
        return (429, full) if "compare" in message else well(path, message)

    other = FakeMember(well)
    async with client_of(FakeMember(say), other) as client:
        with pytest.raises(StoreRefused, match="space exceeded"):
            await client.put("a", b"1")
    assert other.asked == []


async def test_who_is_new_is_authenticated_once() -> None:
    member = FakeMember(well)
    async with client_of(member, token="web:secret:with colon") as client:
        async with trio.open_nursery() as nursery:
            for key in "abc":
                nursery.start_soon(client.get, key)
    assert member.asked.count("/v3/auth/authenticate") == 1


@pytest.mark.parametrize(
    "reason",
    ["etcdserver: invalid auth token", "etcdserver: revision of auth store is old"],
)
async def test_an_error_is_answered_by_one_new_token(reason: str) -> None:
    def say(path: str, message: dict[str, Any]) -> Reply:
        if path == "/v3/auth/authenticate":
            return well(path, message)
        return 401, f'{{"error":"{reason}","code":16}}'.encode()

    member = FakeMember(say)
    async with client_of(member, token="web:secret") as client:
        with pytest.raises(StoreRefused, match=reason):
            await client.get("a")
    assert member.asked.count("/v3/auth/authenticate") == 2, "the first, and one more"


async def test_a_refused_password_is_asked_about_seldom(
    autojump_clock: MockClock,
) -> None:
    wrong = b'{"error":"etcdserver: authentication failed","code":3}'
    member = FakeMember(saying(400, wrong))
    async with client_of(member, token="web:wrong") as client:
        for _ in range(5):
            with pytest.raises(StoreRefused, match="authentication failed"):
                await client.get("a")
        await trio.sleep(REFUSED_S)
        with pytest.raises(StoreRefused, match="authentication failed"):
            await client.get("a")
    assert member.asked == ["/v3/auth/authenticate"] * 2


async def test_another_password_is_tried_at_once() -> None:
    asked: list[object] = []

    def say(path: str, message: dict[str, Any]) -> Reply:
        if path == "/v3/auth/authenticate":
            asked.append(message["password"])
            if message["password"] == "old":
                return 400, b'{"error":"etcdserver: authentication failed","code":3}'
        return well(path, message)

    given = ["web:old"]
    async with client_of(FakeMember(say), token=lambda: given[-1]) as client:
        for token, error in (("web:old", "failed"), ("no colon", "NAME:PASSWORD")):
            given.append(token)
            with pytest.raises(StoreRefused, match=error):
                await client.get("a")
        given.append("web:new")
        assert (await client.get("a")).entry is None
    assert asked == ["old", "new"]


async def test_where_nobody_is_asked_who_he_is_a_token_does_no_harm() -> None:
    def say(path: str, message: dict[str, Any]) -> Reply:
        if path == "/v3/auth/authenticate":
            error = b'{"error":"etcdserver: authentication is not enabled","code":9}'
            return 400, error
        return well(path, message)

    member = FakeMember(say)
    async with client_of(member, token="web:secret") as client:
        await client.get("a")
        await client.get("a")
    assert member.asked.count("/v3/auth/authenticate") == 1


REQUESTS: dict[str, Callable[[EtcdClient], Awaitable[object]]] = {
    "get": lambda client: client.get("k"),
    "list": lambda client: client.list("k"),
    "put": lambda client: client.put("k", b"v", cas=0),
    "delete": lambda client: client.delete("k"),
    "create": lambda client: client.create_session("s", 10, deletes=False),
    "renew": lambda client: client.renew_session("7"),
    "destroy": lambda client: client.destroy_session("7"),
    "transact": lambda client: client.transact([TxnOperation("get", "k")]),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"[]", b"{}", b'{"header":7}', b"\xff", b"7" * 70_000),
        b'{"header":{"cluster_id":"1","revision":"3"},"kvs":[{}],"responses":[7]}',
        b'{"result":{"header":{}}}',
    ],
)
@pytest.mark.parametrize("status", [200, 302, 404, 500])
async def test_whatever_is_sent_is_a_value_or_an_error_of_ours(
    request_: Callable[[EtcdClient], Awaitable[object]], body: bytes, status: int
) -> None:
    async with client_of(FakeMember(saying(status, body)), token="a:b") as client:
        with contextlib.suppress(KvError):
            await request_(client)
