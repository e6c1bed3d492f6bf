"""Sources that are only read: one suite for files and for servers that are polled."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from canary_trio import Proxy
from canary_trio.control.sources import inotify
from canary_trio.control.sources.opening import check_source, open_source
from canary_trio.control.sources.read_only import entry_of
from canary_trio.control.sources.source import DocumentSource, SourceCannot
from canary_trio.errors import BadSource
from http_trio import Exchange, Response, serve
from kv_trio import Contact, TxnOperation
from tests.canary_trio.serving.test_gateway import gateway_on
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on

PATIENCE_S = 20.0
KEY = "canary/web/config"
SECRET = b"c2VjcmV0LXNlY3JldC1zZWNyZXQh"


class Place(ABC):
    """Where documents are, and how they are changed there."""

    url: str

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Replace a document."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Take a document away."""


class Directory(Place):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = path.as_uri() + "/"

    def write(self, name: str, content: bytes) -> None:
        beside = self.path / ".new"
        beside.write_bytes(content)
        beside.replace(self.path / name)

    def remove(self, name: str) -> None:
        (self.path / name).unlink()


class Server(Place):
    """A plain server; it counts what it has sent in full, and what it was shown."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.sent: list[str] = []
        self.shown: list[bytes] = []
        self.asked: list[bytes] = []
        self.has_tags = True
        self.status = 0

    def write(self, name: str, content: bytes) -> None:
        self.contents[name] = content

    def remove(self, name: str) -> None:
        del self.contents[name]

    def handle(self, exchange: Exchange) -> None:
        self.asked.append(exchange.target)
        self.shown += exchange.headers(b"authorization")
        name = exchange.target.decode().rpartition("/")[2]
        content = self.contents.get(name)
        if self.status or content is None:
            exchange.respond(Response(self.status or 404, b"<html>no</html>"))
            return
        tag = b'"' + hashlib.sha256(content).hexdigest().encode() + b'"'
        fields = ((b"ETag", tag),) if self.has_tags else ()
        if self.has_tags and exchange.headers(b"if-none-match") == [tag]:
            exchange.respond(Response(304, headers=fields))
            return
        self.sent.append(name)
        exchange.respond(Response(200, content, headers=fields))


@pytest.fixture(params=["file", "poll"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "file":
        directory = tmp_path / "canary files"
        directory.mkdir()
        yield Directory(directory)
        return
    async with a_server() as server:
        yield server


@asynccontextmanager
async def a_server() -> AsyncIterator[Server]:
    place = Server()
    async with trio.open_nursery() as nursery:
        listening = await nursery.start(serve, place.handle, ["127.0.0.1:0"])
        place.url = listening.url.replace("http:", "http+poll:") + "/canary/"
        yield place
        nursery.cancel_scope.cancel()


# === both ===


async def test_a_document_and_its_secret_are_read(place: Place) -> None:
    place.write("web.json", b"{}")
    place.write("web.secret", SECRET)
    async with open_source(place.url) as source:
        snapshot = await source.get(KEY)
        assert snapshot.entry is not None
        assert (snapshot.entry.value, snapshot.index) == (
            b"{}",
            entry_of(KEY, b"{}").modify_index,
        )
        found = (await source.get("canary/web/secret")).entry
        assert found is not None
        assert found.value == SECRET
        assert (await source.get("canary/other/config")).entry is None
        assert (await source.get("canary/web/proxies/p")).entry is None


async def test_a_watch_gives_each_state_once(place: Place) -> None:
    contact = Contact()
    with trio.fail_after(PATIENCE_S):
        async with (
            open_source(place.url) as source,
            source.watch(KEY, contact=contact) as states,
        ):
            states.wait_s = 0.1
            assert (await anext(states)).entry is None
            for content in (b"1", b"2"):
                place.write("web.json", content)
                entry = (await anext(states)).entry
                assert entry is not None
                assert entry.value == content
            place.write("web.json", b"2")  # the same again is nothing new
            place.remove("web.json")
            assert (await anext(states)).entry is None
    assert contact.error == ""
    assert contact.last_s is not None


async def test_a_change_that_comes_while_nobody_waits_is_given(place: Place) -> None:
    place.write("web.json", b"1")
    with trio.fail_after(PATIENCE_S):
        async with open_source(place.url) as source, source.watch(KEY) as states:
            states.wait_s = 0.1
            await anext(states)
            with trio.move_on_after(0.25):
                await anext(states)
            place.write("web.json", b"2")
            entry = (await anext(states)).entry
            assert entry is not None
            assert entry.value == b"2"


async def test_of_many_keys_only_changes_are_given(place: Place) -> None:
    place.write("a.json", b"1")
    keys = [f"canary/{name}/config" for name in ("a", "b")]
    with trio.fail_after(PATIENCE_S):
        async with open_source(place.url) as source, source.watch_keys(()) as changes:
            changes.wait_s = 0.1
            changes.follow(keys[:1])
            assert list(await anext(changes)) == keys[:1]
            changes.follow(keys)
            assert await anext(changes) == {keys[1]: None}
            place.write("b.json", b"2")
            found = await anext(changes)
            assert {key: entry and entry.value for key, entry in found.items()} == {
                keys[1]: b"2"
            }


async def test_what_it_cannot_do_it_says(place: Place) -> None:
    async with open_source(place.url) as source:
        assert source.read_only
        for refused in (
            lambda: source.put(KEY, b"1", cas=0),
            lambda: source.delete(KEY),
            lambda: source.transact([TxnOperation("set", KEY, b"1")]),
            lambda: source.list("canary/"),
            lambda: source.create_session("s", 10, deletes=True),
            lambda: source.renew_session("s"),
            lambda: source.destroy_session("s"),
        ):
            with pytest.raises(SourceCannot, match=r"cannot .*only"):
                await refused()
        for opened in (
            lambda: source.watch_prefix("canary/"),
            lambda: source.lock("canary/lock"),
        ):
            with pytest.raises(SourceCannot, match=r"cannot .*only"):
                opened()


async def test_a_proxy_lives_by_it_and_keeps_its_last_good_document(
    place: Place, tmp_path: Path
) -> None:
    def write(share: float) -> None:
        document = DOCUMENT | {"ratio": share, "update_rate": 0.1}
        place.write("web.json", json.dumps(document).encode())

    write(0.25)
    options = {"bootstrap": None, "state": tmp_path, "remember": True}
    async with open_source(place.url) as source, on(source, **options) as proxies:
        one, two = proxies
        with trio.fail_after(PATIENCE_S):
            assert one.config.shares["canary"] == 2_500
            assert secrets_of(one) == secrets_of(two), "of the same state directory"
            for broken in (b"{", b"<html>maintenance</html>", b""):
                place.write("web.json", broken)
                while (failed := one._view.control.status.failed) is None or (
                    failed.revision != entry_of(KEY, broken).modify_index
                ):
                    await trio.sleep(0.02)
                assert one.config.shares["canary"] == 2_500
            write(0.5)
            while one.config.shares["canary"] != 5_000:
                await trio.sleep(0.02)
            assert one._view.control.status.failed is None
            if isinstance(place, Server):
                return  # which is asked for the secret every 30 s only
            place.write("web.secret", SECRET)
            while secrets_of(one) != secrets_of(two) or len(secrets_of(one)[0]) != 21:
                await trio.sleep(0.02)


@asynccontextmanager
async def on(
    source: DocumentSource, **options: object
) -> AsyncIterator[tuple[Proxy, Proxy]]:
    async with (
        proxy_on(source, proxy_id="one", **options) as one,
        proxy_on(source, proxy_id="two", **options) as two,
    ):
        yield one, two


def secrets_of(proxy: Proxy) -> tuple[bytes, ...]:
    live = proxy._view.runtime.live
    assert live is not None
    return live.router._secrets


async def test_a_gateway_lives_by_it(place: Place) -> None:
    routes = [{"host": f"{name}.org", "service": name} for name in ("a", "b")]
    table = {"routes": routes, "update_rate": 0.1}
    place.write("@edge.json", json.dumps(table).encode())
    for name in ("a", "b"):
        place.write(f"{name}.json", json.dumps(DOCUMENT).encode())
    async with open_source(place.url) as source, gateway_on(source) as proxy:
        before = proxy.status()["services"]
        place.write("a.json", json.dumps(DOCUMENT | {"ratio": 0.5}).encode())
        with trio.fail_after(PATIENCE_S):
            while proxy.status()["services"] == before:
                await trio.sleep(0.02)


@pytest.mark.parametrize("url", ["file:///a/web.json", "http+poll://a/web.json"])
def test_one_document_is_none_for_a_gateway(url: str) -> None:
    check_source(url, None, None)
    with pytest.raises(BadSource, match="with / at its end"):
        check_source(url, None, None, is_gateway=True)
    with pytest.raises(BadSource, match="--bootstrap cannot write"):
        check_source(url, None, None, writes=True)


@pytest.mark.parametrize(
    "url",
    [
        *("file://web.json", "file:web.json", "file://host/a", "file:///a?b", "file:"),
        *("http+poll://", "http+poll:///a", "http+poll://u:hunter2@a/", "ftp+poll://a"),
        *("http+poll://a/b?c", "https+poll://a/#b", "file:///a%00b"),
    ],
)
def test_what_is_no_place_is_refused(url: str) -> None:
    with pytest.raises(BadSource, match="expected") as caught:
        open_source(url)
    assert "hunter2" not in str(caught.value)


# === files ===


def url_of(path: Path) -> str:
    return path.as_uri()


async def test_one_file_is_of_whichever_service_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "web.json").write_bytes(b"1")
    (tmp_path / "web.secret").write_bytes(SECRET)
    async with open_source(url_of(tmp_path / "web.json")) as source:
        for service in ("web", "shop"):
            entry = (await source.get(f"canary/{service}/config")).entry
            assert entry is not None
            assert entry.value == b"1"
        secret = (await source.get("canary/shop/secret")).entry
        assert secret is not None
        assert secret.value == SECRET


async def until(states: object, content: bytes | None) -> None:
    """Wait for a state, without help of the clock."""
    with trio.fail_after(PATIENCE_S):
        async for state in states:  # type: ignore[attr-defined]
            if (state.entry and state.entry.value) == content:
                return


needs_inotify = pytest.mark.skipif(
    os.uname().sysname != "Linux", reason="inotify is Linux's"
)


@needs_inotify
async def test_a_file_that_is_replaced_is_noticed_at_once(tmp_path: Path) -> None:
    place = Directory(tmp_path)
    place.write("web.json", b"1")
    async with open_source(place.url) as source, source.watch(KEY) as states:
        states.wait_s = 3600
        await until(states, b"1")
        place.write("web.json", b"2")
        await until(states, b"2")
        (tmp_path / "web.json").write_bytes(b"3")  # in place
        await until(states, b"3")
        place.remove("web.json")
        await until(states, None)
        place.write("web.json", b"4")
        await until(states, b"4")


@needs_inotify
async def test_a_config_map_is_noticed_at_once(tmp_path: Path) -> None:
    def publish(name: str, content: bytes) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "web.json").write_bytes(content)
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    publish("..1", b"1")
    (tmp_path / "web.json").symlink_to("..data/web.json")
    async with (
        open_source(tmp_path.as_uri() + "/") as source,
        source.watch(KEY) as states,
    ):
        states.wait_s = 3600
        await until(states, b"1")
        publish("..2", b"2")
        await until(states, b"2")
        (tmp_path / "..2" / "web.json").write_bytes(b"3")  # where the link leads
        await until(states, b"3")


@pytest.mark.parametrize("has_library", [True, False])
async def test_without_inotify_the_clock_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_library: bool
) -> None:
    class Refusing:
        def inotify_init1(self, _: int) -> int:
            return -1  # too many of this user

    monkeypatch.setattr(inotify, "_library", Refusing if has_library else lambda: None)
    place = Directory(tmp_path)
    async with open_source(place.url) as source, source.watch(KEY) as states:
        states.wait_s = 0.1
        await until(states, None)
        place.write("web.json", b"1")
        await until(states, b"1")


async def test_a_directory_that_comes_later_is_found(tmp_path: Path) -> None:
    place = Directory(tmp_path / "later")
    async with open_source(place.url) as source, source.watch(KEY) as states:
        states.wait_s = 3600
        await until(states, None)
        place.path.mkdir()
        place.write("web.json", b"1")
        await until(states, b"1")


async def test_a_file_that_cannot_be_read_is_told_and_tried_again(
    tmp_path: Path,
) -> None:
    contact = Contact()
    (tmp_path / "web.json").mkdir()
    async with (
        open_source(tmp_path.as_uri() + "/") as source,
        source.watch(KEY, contact=contact) as states,
    ):
        with trio.move_on_after(0.2):
            await anext(states)
        assert "it is a directory" in contact.error
        (tmp_path / "web.json").rmdir()
        Directory(tmp_path).write("web.json", b"1")
        await until(states, b"1")


# === servers ===


async def test_what_has_not_changed_is_not_sent_again() -> None:
    async with a_server() as place, open_source(place.url, token="s3cret") as source:
        place.write("web.json", b"1")
        for _ in range(3):
            entry = (await source.get(KEY)).entry
            assert entry is not None
            assert entry.value == b"1"
        assert place.sent == ["web.json"]
        place.has_tags = False
        place.write("web.json", b"2")
        for _ in range(2):
            entry = (await source.get(KEY)).entry
            assert entry is not None
            assert entry.value == b"2"
        assert place.sent == ["web.json"] * 3
        assert set(place.shown) == {b"Bearer s3cret"}


@pytest.mark.parametrize("status", [302, 401, 500, 503])
async def test_a_server_that_refuses_is_told_and_tried_again(status: int) -> None:
    contact = Contact()
    async with (
        a_server() as place,
        open_source(place.url) as source,
        source.watch(KEY, contact=contact) as states,
    ):
        place.write("web.json", b"1")
        place.status = status
        with trio.move_on_after(0.2):
            await anext(states)
        assert str(status) in contact.error
        assert len(place.asked) < 10
        place.status = 0
        await until(states, b"1")
