"""One protocol, every store: what the control plane needs of a source holds for each.

A kv-trio in this process, and a real Consul and real etcds where there are any.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from canary_trio import change, read_document, wait_applied
from canary_trio.control.changes.documents import write_document
from canary_trio.control.secret_keeper import SecretKeeper
from canary_trio.control.sources.opening import open_source
from canary_trio.control.sources.source import DocumentSource
from canary_trio.testing import says_stable, url_of
from http_trio.testing.peers import fake_upstream
from http_trio.testing.ports import free_port
from kv_trio import KvError, TxnOperation
from kv_trio.testing import in_memory_store
from tests.canary_trio.serving.test_gateway import gateway_on
from tests.canary_trio.support.stored_proxy import DOCUMENT, proxy_on
from tests.e2e.etcds import etcd, needs_etcd
from tests.e2e.processes import PATIENCE_S, run

CONSUL = os.environ.get("CONSUL") or shutil.which("consul")

STORES = [
    pytest.param("kv-trio"),
    pytest.param(
        "consul",
        marks=pytest.mark.skipif(
            CONSUL is None,
            reason="no Consul; benchmarks/README.md tells how to get one",
        ),
    ),
    pytest.param("etcd", marks=needs_etcd),
    pytest.param("etcd-of-three", marks=needs_etcd),
]


@contextmanager
def consul(directory: Path) -> Iterator[str]:
    port = free_port()
    ports = {name: free_port() for name in ("server", "serf-lan")}
    words = [str(CONSUL), "agent", "-dev", "-bind=127.0.0.1", f"-http-port={port}"]
    words += [f"-{name}-port={found}" for name, found in ports.items()]
    words += ["-serf-wan-port=-1", "-dns-port=-1", "-grpc-port=-1"]
    words += ["-hcl", "disable_update_check = true"]
    log = (directory / "log").open("wb")
    with log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.fixture(scope="module", params=STORES)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("store")
    match request.param:
        case "kv-trio":
            yield ""
        case "consul":
            with consul(directory) as url:
                yield url
        case "etcd":
            with etcd(directory) as found:
                yield found.url
        case _:
            with etcd(directory, 3) as found:
                yield found.url


@pytest.fixture
async def source(running: str) -> AsyncIterator[DocumentSource]:
    if not running:
        async with in_memory_store() as client, open_source(client.url) as made:
            yield made
        return
    async with open_source(running) as made:
        with trio.fail_after(PATIENCE_S):
            while not await takes_writes(made):
                await trio.sleep(0.05)
        yield made
        for entry in (await made.list("")).entries:
            if entry.session is not None:
                await made.destroy_session(entry.session)
            await made.delete(entry.key.decode())


async def takes_writes(source: DocumentSource) -> bool:
    try:
        return (await source.put("ready", b"yes")).done
    except KvError:
        return False


# === keys ===


async def test_a_key_is_written_over_the_revision_that_was_read(
    source: DocumentSource,
) -> None:
    first = await source.put("a/b", b"1", cas=0)
    late = await source.put("a/b", b"2", cas=0)
    next_ = await source.put("a/b", b"", cas=first.index)

    assert (first.done, late.done, next_.done) == (True, False, True)
    assert first.index < next_.index
    entry = (await source.get("a/b")).entry
    assert entry is not None
    assert (entry.value, entry.modify_index) == (b"", next_.index)
    assert late.index in (0, first.index), "who was first, where it can be told"
    assert not await source.delete("a/b", cas=first.index)
    assert await source.delete("a/b", cas=next_.index)
    assert (await source.get("a/b")).entry is None


async def test_a_listing_is_sorted_and_of_the_prefix_only(
    source: DocumentSource,
) -> None:
    for key in ("p/b", "p/a", "p/a/c", "q", "p", "o\u00e9"):
        await source.put(key, key.encode())

    listing = await source.list("p/")
    assert [entry.key for entry in listing.entries] == [b"p/a", b"p/a/c", b"p/b"]
    assert (await source.get("o\u00e9")).entry is not None
    assert (await source.list("nothing/")).entries == ()


async def test_a_value_has_any_bytes(source: DocumentSource) -> None:
    value = bytes(range(256)) * 1024
    await source.put("large", value)
    entry = (await source.get("large")).entry
    assert entry is not None
    assert entry.value == value


# === transactions ===


async def test_a_transaction_takes_effect_as_a_whole_or_not_at_all(
    source: DocumentSource,
) -> None:
    first = await source.put("t/a", b"1")
    done = await source.transact(
        [
            TxnOperation("cas", "t/a", b"2", index=first.index),
            TxnOperation("set", "t/b", b"1"),
            TxnOperation("cas", "t/c", b"1", index=0),
        ]
    )
    assert done.done
    revisions = {entry.modify_index for entry in (await source.list("t/")).entries}
    assert len(revisions) == 1, "one revision for all that it changes"

    failed = await source.transact(
        [
            TxnOperation("delete", "t/b"),
            TxnOperation("cas", "t/a", b"3", index=first.index),
        ]
    )
    assert not failed.done
    assert [one.position for one in failed.failed] == [1]
    values = [entry.value for entry in (await source.list("t/")).entries]
    assert values == [b"2", b"1", b"1"]


async def test_of_many_writers_of_one_revision_one_wins(source: DocumentSource) -> None:
    first = await source.put("race", b"none of theirs")  # which would change nothing
    won = []

    async def write(number: int) -> None:
        value = str(number).encode()
        if (await source.put("race", value, cas=first.index)).done:
            won.append(value)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(write, number)
    entry = (await source.get("race")).entry
    assert entry is not None
    assert [entry.value] == won


# === sessions ===


async def test_a_key_goes_away_with_its_session(source: DocumentSource) -> None:
    session = await source.create_session("one", 10, deletes=True)
    other = await source.create_session("two", 10, deletes=True)
    assert (await source.put("s/key", b"1", acquire=session)).done
    assert (await source.put("s/key", b"2", acquire=session)).done
    assert not (await source.put("s/key", b"3", acquire=other)).done
    entry = (await source.get("s/key")).entry
    assert entry is not None
    assert (entry.value, entry.session) == (b"2", session)
    assert await source.renew_session(session)

    await source.destroy_session(session)
    assert not await source.renew_session(session)
    assert (await source.get("s/key")).entry is None
    with pytest.raises(KvError):
        await source.put("s/key", b"4", acquire=session)
    await source.destroy_session(other)


async def test_a_key_changes_hands_without_being_missing(
    source: DocumentSource,
) -> None:
    old = await source.create_session("old", 10, deletes=True)
    new = await source.create_session("new", 10, deletes=True)
    await source.put("s/key", b"1", acquire=old)
    moved = await source.transact(
        [
            TxnOperation("unlock", "s/key", b"1", session=old),
            TxnOperation("lock", "s/key", b"2", session=new),
        ]
    )
    assert moved.done
    await source.destroy_session(old)
    entry = (await source.get("s/key")).entry
    assert entry is not None
    assert (entry.value, entry.session) == (b"2", new)
    await source.destroy_session(new)


async def test_a_lock_is_one_holders_at_a_time(source: DocumentSource) -> None:
    order = []

    async def hold(name: str) -> None:
        async with source.lock("lock", name.encode()):
            order.append(name)
            await trio.sleep(0.05)
            order.append(name)

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(hold, name)
    assert sorted(order[::2]) == ["a", "b", "c"]
    assert order[::2] == order[1::2], "nobody came in between"


# === watches ===


async def test_a_watch_gives_the_present_state_and_each_newest(
    source: DocumentSource,
) -> None:
    with trio.fail_after(PATIENCE_S):
        async with source.watch("w") as states:
            assert (await anext(states)).entry is None
            for value in (b"1", b"2"):
                await source.put("w", value)
                entry = (await anext(states)).entry
                assert entry is not None
                assert entry.value == value
            await source.put("other", b"1")
            await source.delete("w")
            assert (await anext(states)).entry is None


async def test_the_last_state_is_never_skipped(source: DocumentSource) -> None:
    with trio.fail_after(PATIENCE_S):
        async with source.watch("w") as states:
            for number in range(100):
                await source.put("w", str(number).encode())
            seen: list[int] = []
            async for state in states:
                if state.entry is not None:
                    seen.append(int(state.entry.value))
                    if seen[-1] == 99:
                        break
    assert seen == sorted(set(seen))


async def test_a_prefix_is_followed_with_all_that_lies_below(
    source: DocumentSource,
) -> None:
    with trio.fail_after(PATIENCE_S):
        async with source.watch_prefix("p/") as listings:
            assert (await anext(listings)).entries == ()
            await source.put("p/b", b"1")
            assert len((await anext(listings)).entries) == 1
            await source.put("p/a", b"1")
            assert [e.key for e in (await anext(listings)).entries] == [b"p/a", b"p/b"]
            await source.delete("p/b")
            assert [e.key for e in (await anext(listings)).entries] == [b"p/a"]


async def test_of_many_keys_only_changes_are_given(source: DocumentSource) -> None:
    await source.put("canary/a/config", b"1")
    with trio.fail_after(PATIENCE_S):
        async with source.watch_keys(["canary/a/config"]) as changes:
            found = await anext(changes)
            assert {key: entry and entry.value for key, entry in found.items()} == {
                "canary/a/config": b"1"
            }
            changes.follow(["canary/a/config", "canary/b/config"])
            assert await anext(changes) == {"canary/b/config": None}
            await source.put("canary/c/config", b"1")  # which nobody follows
            await source.put("canary/b/config", b"2")
            found = await anext(changes)
            assert {key: entry and entry.value for key, entry in found.items()} == {
                "canary/b/config": b"2"
            }
            await source.delete("canary/a/config")
            assert await anext(changes) == {"canary/a/config": None}


# === the control plane on it ===


async def test_a_change_is_live_when_its_wait_returns(source: DocumentSource) -> None:
    async with proxy_on(source) as one, proxy_on(source) as two:
        with trio.fail_after(PATIENCE_S):
            for share in (0.25, 0.75):
                revision = await change(source, "web", f"ratio={share}")
                fleet = await wait_applied(
                    source,
                    "web",
                    revision,
                    until=lambda fleet: fleet.is_applied and len(fleet.live) == 2,
                )
                assert {proxy.revision for proxy in (one, two)} == {revision}
                assert {report.running for report in fleet.live} == {revision}
    with trio.fail_after(PATIENCE_S):
        while (await source.list("canary/web/proxies/")).entries:
            await trio.sleep(0.02)


async def test_a_document_that_is_not_valid_leaves_the_last_good_one(
    source: DocumentSource,
) -> None:
    async with proxy_on(source) as proxy:
        with trio.fail_after(PATIENCE_S):
            good = await change(source, "web", "ratio=0.25")
            await wait_applied(source, "web", good)
            bad = (await source.put("canary/web/config", b'{"arms": 1}')).index
            fleet = await wait_applied(source, "web", bad)
            assert [report.running for report in fleet.refusing] == [good]
            assert (proxy.revision, proxy.config.shares["canary"]) == (good, 2_500)
            again = json.dumps({**DOCUMENT, "ratio": 0.5}).encode()
            better = (await source.put("canary/web/config", again)).index
            fleet = await wait_applied(source, "web", better)
            assert [report.running for report in fleet.live] == [better]


async def test_all_proxies_of_a_service_have_one_secret(source: DocumentSource) -> None:
    keepers = [SecretKeeper("web", lambda: None) for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for keeper in keepers:
            nursery.start_soon(keeper.agree, source)
    assert len({keeper.current for keeper in keepers}) == 1


async def test_a_gateway_follows_the_services_of_its_table(
    source: DocumentSource,
) -> None:
    routes = [{"host": f"{name}.org", "service": name} for name in ("a", "b")]
    for name in ("a", "b"):
        await write_document(source, name, DOCUMENT, over=0)
    await write_document(source, "@edge", {"routes": routes}, over=0)

    async with gateway_on(source) as proxy:
        with trio.fail_after(PATIENCE_S):
            for name in ("a", "b"):
                revision = await change(source, name, "ratio=0.5")
                fleet = await wait_applied(
                    source, name, revision, until=lambda fleet: bool(fleet.live)
                )
                assert [report.running for report in fleet.live] == [revision]
        assert proxy.revision > 0
    text, _ = await read_document(source, "a")
    assert json.loads(text)["ratio"] == 0.5


# === what is no source ===


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://STORE", "expected one of http://"),
        ("STORE", "expected one of http://"),
        ("etcd://user:secret@STORE", "NAME:PASSWORD"),
        ("etcd://STORE", "is no etcd"),
        ("http://OTHER", "is no kv-trio and no Consul"),
    ],
)
async def test_a_proxy_that_can_have_no_document_from_there_ends(
    url: str, words: str, tmp_path: Path
) -> None:
    async with in_memory_store() as client, fake_upstream(says_stable) as page:
        for name, there in (("STORE", client.url), ("OTHER", url_of(page))):
            url = url.replace(name, there.removeprefix("http://"))
        done = await run(
            *("canary", "serve", "web", "--config-server", url, "--data", tmp_path),
            *("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--id", "p"),
            status=2,
        )
    assert words in " ".join(done.err.split())
    assert "secret" not in done.err


@needs_etcd
async def test_an_etcd_behind_another_scheme_is_none(tmp_path: Path) -> None:
    with etcd(tmp_path) as found:
        await found.wait_ready()
        url = found.url.replace("etcd://", "http://")
        done = await run(
            *("canary", "serve", "web", "--config-server", url, "--workers", "2"),
            *("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--id", "p"),
            *("--data", tmp_path / "proxy"),
            status=2,
        )
    assert "an etcd is etcd://" in " ".join(done.err.split())


async def test_what_a_file_cannot_do_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "web.json").write_text(json.dumps(DOCUMENT))
    url = tmp_path.as_uri() + "/"
    asked = ("--config-server", url)
    shown = await run("canary", "get", "web", *asked)
    assert json.loads(shown.out) == DOCUMENT
    for words in (
        ("set", "web", "ratio=0.5"),
        ("status", "web"),
        ("secret", "rotate", "web"),
    ):
        done = await run("canary", *words, *asked, status=1)
        assert "files are only read" in done.err
    done = await run("canary", "get", "web", "--config-server", "ftp://a", status=2)
    assert "expected one of http://" in " ".join(done.err.split())
    done = await run(
        *("canary", "serve", "@edge", "--config-server", url + "web.json"),
        *("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
        *("--data", tmp_path / "proxy"),
        status=2,
    )
    assert "a gateway has one for each service" in " ".join(done.err.split())
