"""Tokens: how a file of them is read, and what each lets its client do."""

from __future__ import annotations

import errno
import hashlib
from functools import partial
from hmac import compare_digest
from pathlib import Path

import httpx
import pytest
import trio

from http_trio.net.process import followed_file
from kv_trio import BadTokens, Client, KvServer, StoreRefused, serve
from kv_trio.api import tokens
from kv_trio.api.tokens import make_token, parse_tokens
from kv_trio.state.acl import NOTHING, Acl


def test_a_secret_is_compared_with_every_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """However near it is, and wherever in the file: so time tells nothing."""
    made = [make_token(name, ["a/"], []) for name in ("one", "two", "three")]
    grants = parse_tokens("".join(lines for _, lines in made))
    compared: list[bool] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(compare_digest(one, other))
        return compared[-1]

    monkeypatch.setattr("hmac.compare_digest", compare)
    for secret in (made[0][0], made[2][0], "unknown"):
        compared.clear()
        grants.find(secret)
        assert len(compared) == 3


def test_a_made_token_is_found_by_its_secret() -> None:
    secret, lines = make_token('we"b', ["a/", "b\\"], ["c/"])

    grants = parse_tokens(lines)

    token = hashlib.sha256(secret.encode()).digest()
    acl = Acl('we"b', read=(b"a/", b"b\\"), write=(b"c/",), token=token)
    assert grants.find(secret) == acl
    assert grants.find(secret + "x") is None
    assert grants.anonymous == NOTHING
    assert grants.holds(acl)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("token = 1", "expected tables"),
        ("token = [1]", "token[0]: expected a table"),
        ("x = 1", "x: unknown"),
        ("[[token]]", "token[0].name: expected a name"),
        ('[[token]]\nname = "a"', "token[0].hash: missing"),
        ('[[token]]\nname = "a"\nhash = "md5:1"', "expected sha256:"),
        ('[[token]]\nname = "anonymous"\nread = "a"', "list of key prefixes"),
        ('[[token]]\nname = "anonymous"\nmore = 1', "token[0].more: unknown"),
        ("[[token", "token"),
    ],
)
def test_what_is_wrong_in_a_token_file_is_reported(text: str, fault: str) -> None:
    with pytest.raises(BadTokens) as caught:
        parse_tokens(text)
    assert fault in str(caught.value)


def test_all_that_is_wrong_is_reported_at_once() -> None:
    text = '[[token]]\nname = "a"\n[[token]]\nname = "a"\nwrong = 1\n'
    with pytest.raises(BadTokens) as caught:
        parse_tokens(text)
    assert len(caught.value.faults) == 4


class Guarded:
    """A store with tokens: one that may do all, one that may read below `a/`."""

    def __init__(self, path: Path) -> None:
        self.file = path / "tokens.toml"
        self.all, self.all_lines = make_token("all", [], [""])
        self.some, self.some_lines = make_token("some", ["a/"], [])
        self.write(self.all_lines, self.some_lines)
        self.url = ""
        self.server: KvServer | None = None

    def write(self, *lines: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text("\n".join(lines))
        new.replace(self.file)

    def client(self, secret: str | None) -> Client:
        return Client(self.url, token=secret)


@pytest.fixture
async def guarded(tmp_path: Path, nursery: trio.Nursery) -> Guarded:
    made = Guarded(tmp_path)
    start = partial(serve, ["127.0.0.1:0"], tokens=made.file)
    made.server = await nursery.start(start)
    made.url = made.server.url
    async with made.client(made.all) as client:
        await client.put("a/b", b"x")
        await client.put("other", b"x")
    return made


async def test_a_token_may_do_what_it_says(guarded: Guarded) -> None:
    async with guarded.client(guarded.some) as client:
        assert (await client.get("a/b")).entry is not None
        assert [e.key for e in (await client.list("")).entries] == [b"a/b"]
        assert await client.keys("") == ("a/b",)
        for refused in (
            client.put("a/b", b"y"),
            client.delete("a/b"),
            client.delete("a/", recurse=True),
            client.get("other"),
            client.history("other"),
            client.get_at("other", 1),
            client.create_session("x", 10, deletes=False),
            client.compact(),
        ):
            with pytest.raises(StoreRefused, match="Permission denied") as caught:
                await refused
            assert caught.value.status == 403


async def test_without_a_token_there_is_nothing_to_see(guarded: Guarded) -> None:
    async with guarded.client(None) as client:
        assert (await client.list("")).entries == ()
        for refused in (client.get("a/b"), client.get("absent")):
            with pytest.raises(StoreRefused, match="Permission denied"):
                await refused
    async with guarded.client("wrong") as client:
        with pytest.raises(StoreRefused, match="ACL not found"):
            await client.get("a/b")


async def test_a_refusal_names_the_key_and_the_right(guarded: Guarded) -> None:
    async with guarded.client(guarded.some) as client:
        with pytest.raises(StoreRefused, match=r"/v1/kv/other.* right to read"):
            await client.get("other")
        with pytest.raises(StoreRefused, match=r"/v1/kv/a/b.* right to write"):
            await client.put("a/b", b"y")


async def test_a_token_can_be_shown_in_three_ways(guarded: Guarded) -> None:
    url = guarded.url + "/v1/kv/a/b"
    async with httpx.AsyncClient() as http:
        for shown in (
            http.get(url, headers={"X-Consul-Token": guarded.some}),
            http.get(url, headers={"Authorization": f"Bearer {guarded.some}"}),
            http.get(url, params={"token": guarded.some}),
        ):
            assert (await shown).status_code == 200
        leader = await http.get(guarded.url + "/v1/status/leader")
        me = await http.get(guarded.url + "/v1/agent/self")
        metrics = await http.get(guarded.url + "/metrics")
    assert (leader.status_code, me.status_code, metrics.status_code) == (200, 403, 403)


async def test_a_changed_file_is_taken_up(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_file, "CHECK_S", 0.02)
    async with guarded.client(guarded.some) as client:
        index = (await client.get("a/b")).index
        guarded.write("[[token]", "a fault changes nothing")
        await trio.sleep(0.1)
        assert (await client.get("a/b")).entry is not None
        guarded.write(guarded.all_lines)
        with trio.fail_after(30), pytest.raises(StoreRefused) as caught:
            await client.get("a/b", index=index, wait_s=60)
    assert caught.value.status == 403


async def test_a_file_that_cannot_be_read_for_now_is_taken_up_later(
    guarded: Guarded,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It changes no more, and so nothing else would tell."""
    monkeypatch.setattr(followed_file, "CHECK_S", 0.01)
    tries = 0

    def refuse(file: Path, _: int) -> bytes:
        nonlocal tries
        tries += 1
        raise OSError(errno.EMFILE, "Too many open files", str(file))

    async with guarded.client(guarded.some) as client:
        with monkeypatch.context() as lacking, trio.fail_after(30):
            lacking.setattr(tokens, "read_file", refuse)
            guarded.write(guarded.all_lines)
            while tries < 5:
                await trio.sleep(0.01)
            found = await client.get("a/b")  # it still may
            assert found.entry is not None
        with trio.fail_after(30), pytest.raises(StoreRefused):
            await client.get("a/b", index=found.index, wait_s=60)
    assert len([r for r in caplog.records if "stay as they were" in r.message]) == 1


async def test_a_reload_reads_the_file_at_once(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_file, "CHECK_S", 3600.0)
    guarded.write(guarded.all_lines)
    async with guarded.client(guarded.some) as client:
        assert guarded.server is not None
        guarded.server.reload()
        with trio.fail_after(30):
            refused = False
            while not refused:
                try:
                    await client.get("a/b")
                except StoreRefused:
                    refused = True


async def test_a_new_secret_ends_what_waits_by_the_old_one(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token has the same name and the same rights, and still is another one."""
    monkeypatch.setattr(followed_file, "CHECK_S", 0.02)
    statuses: list[int] = []

    async def wait(method: str, path: str) -> None:
        async with httpx.AsyncClient(timeout=20) as http:
            url = f"{guarded.url}{path}?index={index}&wait=60s"
            shown = {"X-Consul-Token": guarded.some}
            body = '["a/b"]' if method == "POST" else None
            response = await http.request(method, url, headers=shown, content=body)
            statuses.append(response.status_code)

    async with guarded.client(guarded.all) as client:
        await client.create_session("s", 10, deletes=False)
        index = (await client.put("a/b", b"z")).index
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "GET", "/v1/kv/a/b")
            nursery.start_soon(wait, "GET", "/v1/session/list")
            nursery.start_soon(wait, "POST", "/v1/watch")
            await trio.sleep(0.2)
            assert not statuses
            _, again = make_token("some", ["a/"], [])
            guarded.write(guarded.all_lines, again)
    assert statuses == [403, 403, 403]


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        ("PUT /v1/kv/a/b", "new"),
        ("PUT /v1/session/create", "{}"),
        ("PUT /v1/txn", '[{"KV": {"Verb": "set", "Key": "a/b", "Value": ""}}]'),
        ("POST /v1/watch", '["a/b"]'),
    ],
)
async def test_a_secret_that_ends_while_a_body_comes_does_nothing_more(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, ask: str, body: str
) -> None:
    monkeypatch.setattr(followed_file, "CHECK_S", 0.02)
    port = int(guarded.url.rpartition(":")[2])
    head = f"{ask} HTTP/1.1\r\nHost: kv\r\nX-Consul-Token: {guarded.all}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    server = guarded.server
    assert server is not None
    before, index = server._service.tokens.grants, server.store.index
    _, again = make_token("all", [], [""])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all((head + body[:1]).encode())
        with trio.fail_after(30):
            while not server._server.exchanges:
                await trio.sleep(0.01)
            guarded.write(again)
            while server._service.tokens.grants is before:
                await trio.sleep(0.01)
            await stream.send_all(body[1:].encode())
            response = await stream.receive_some(4096)
    assert response.startswith(b"HTTP/1.1 403 ")
    assert response.endswith(b"Permission denied")
    assert server.store.index == index


def test_a_file_that_is_absent_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BadTokens, match="cannot be read: No such file"):
        tokens.Tokens(tmp_path / "none.toml")


@pytest.mark.parametrize("path", ["txn", "kv/a", "session/create"])
async def test_who_may_do_nothing_is_refused_before_a_body(
    guarded: Guarded, path: str
) -> None:
    """The body is announced and never sent."""
    port = int(guarded.url.rpartition(":")[2])
    head = f"PUT /v1/{path} HTTP/1.1\r\nHost: kv\r\nContent-Length: 9000\r\n\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(head.encode())
        with trio.fail_after(30):
            response = await stream.receive_some(4096)
    assert response.startswith(b"HTTP/1.1 403 ")
