"""A real etcd that is killed, paused, cut off, compacted and emptied while it is followed.

Each of these is a way in which a watch of an etcd was seen to fail in silence elsewhere. Those
that are not held here:

- what a stream swallowed, or what came between two streams: `etcd/test_watch.py`, by what
  the next look and each opening read; a watch is not believed before that read
- progress that never comes is not asked for: a look every 2 s is
- a watch that ends at once, an etcd that is away: `etcd/test_watch.py`, by their rate
- a member that hangs: `etcd/test_endpoints.py`, `etcd/test_watch.py`
- garbage in a response: `etcd/test_endpoints.py`, by whatever bytes
- a backup that is brought back: `test_restored.py`
- a document that is not valid: `test_sources.py`
- a driver that lost its lock: `control/driving`
"""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from canary_trio import change, wait_applied
from canary_trio.control.sources.opening import open_source
from http_trio.testing.ports import free_port
from kv_trio import Contact, EtcdClient, KvError, Snapshot, StoreRefused
from kv_trio.client.transport import Transport
from kv_trio.etcd import endpoints, watch
from kv_trio.etcd.wire import range_of
from tests.canary_trio.control.driving.test_rollout_duty import takes_over
from tests.canary_trio.support.failing_canary import let_canary_fail
from tests.canary_trio.support.stored_proxy import proxy_on
from tests.e2e.etcds import Etcd, Member, etcd, needs_etcd
from tests.e2e.processes import PATIENCE_S, run

pytestmark = needs_etcd

KEY = "canary/web/config"


async def ask(member: Member, path: str, **message: Any) -> dict[str, Any]:
    """Ask one member what the client does not."""
    token = message.pop("token", "")
    headers = {"Authorization": token} if token else {}
    async with Transport(member.client, None, None) as transport:
        body = json.dumps(message).encode()
        reply = await transport.request(
            "POST", path, {}, body, limit=100_000, headers=headers
        )
    found: dict[str, Any] = json.loads(reply.body)
    return found


async def leader_of(store: Etcd, asked: Member) -> Member:
    """Give the leader, as one member has it, once there is one."""
    with trio.fail_after(PATIENCE_S):
        while True:
            found = {}
            for member in store.members:
                with contextlib.suppress(KvError):
                    found[member.client] = await ask(member, "/v3/maintenance/status")
            has = found.get(asked.client, {}).get("leader", "none")
            for member in store.members:
                own = found.get(member.client, {}).get("header", {})
                if own.get("member_id") == has:
                    return member
            await trio.sleep(0.05)


async def put(client: EtcdClient, value: bytes) -> int:
    """Write the key, again and again until it is certain."""
    with trio.fail_after(PATIENCE_S):
        while True:
            try:
                return (await client.put(KEY, value)).index
            except KvError:
                await trio.sleep(0.05)


async def until(states: Any, found: Callable[[Snapshot], bool]) -> list[Snapshot]:
    """Give the states up to the first that is what is waited for."""
    seen = []
    with trio.fail_after(PATIENCE_S):
        async for state in states:
            seen.append(state)
            if found(state):
                return seen
    raise AssertionError("a watch does not end")


def has(value: bytes) -> Callable[[Snapshot], bool]:
    return lambda state: state.entry is not None and state.entry.value == value


@asynccontextmanager
async def one(tmp_path: Path, *options: str) -> AsyncIterator[tuple[Etcd, EtcdClient]]:
    with etcd(tmp_path, 1, *options) as store:
        await store.wait_ready()
        async with EtcdClient(store.url) as client:
            yield store, client


# === one member ===


async def test_a_restart_is_survived(tmp_path: Path) -> None:
    async with one(tmp_path) as (store, client), client.watch(KEY) as states:
        await put(client, b"1")
        await until(states, has(b"1"))
        store.members[0].kill()
        store.members[0].start()
        await put(client, b"2")
        await until(states, has(b"2"))


async def test_a_store_that_begins_anew_is_noticed(tmp_path: Path) -> None:
    async with one(tmp_path) as (store, client), client.watch(KEY) as states:
        last = 0
        for number in range(20):
            last = await put(client, b"old %d" % number)
        await until(states, has(b"old 19"))
        store.members[0].forget()
        gone = await until(states, lambda state: state.entry is None)
        assert gone[-1].index < last
        await put(client, b"new")
        seen = await until(states, has(b"new"))
        entry = seen[-1].entry
        assert entry is not None
        assert entry.modify_index < last, "a revision that was long there"


async def test_what_was_deleted_and_compacted_is_missed(tmp_path: Path) -> None:
    contact = Contact()
    with etcd(tmp_path) as store:
        await store.wait_ready()
        (member,) = store.members
        async with (
            EtcdClient(store.url) as client,
            EtcdClient(store.url) as other,
            client.watch(KEY, contact=contact) as states,
        ):
            await put(other, b"1")
            await until(states, has(b"1"))
            client._endpoints._members[0].url = f"http://127.0.0.1:{free_port()}"
            await until_true(lambda: contact.error != "")  # it hears nothing any more
            await other.delete(KEY)
            revision = await put(other, b"2")
            await other.delete(KEY)
            await ask(
                member, "/v3/kv/compaction", revision=str(revision + 1), physical=True
            )
            client._endpoints._members[0].url = member.client
            assert (await until(states, lambda state: state.entry is None)) != []
            await put(other, b"3")
            await until(states, has(b"3"))
    assert contact.error == ""


async def until_true(holds: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not holds():
            await trio.sleep(0.02)


async def test_a_lease_that_is_ended_by_others_is_begun_anew(tmp_path: Path) -> None:
    async with one(tmp_path) as (_, client), proxy_on(client, proxy_id="p"):
        key = "canary/web/proxies/p"

        async def session() -> str | None:
            entry = (await client.get(key)).entry
            return entry.session if entry else None

        with trio.fail_after(PATIENCE_S):
            while (first := await session()) is None:
                await trio.sleep(0.02)
            await client.destroy_session(first)
            while await session() in (None, first):
                await trio.sleep(0.02)


async def test_a_rollout_goes_on_with_another_driver(tmp_path: Path) -> None:
    async with one(tmp_path) as (_, client):
        await takes_over(client)


async def test_the_command_writes_and_waits(tmp_path: Path) -> None:
    async with one(tmp_path) as (store, client), proxy_on(client):
        asked = ("--config-server", store.url)
        done = await run("canary", "set", "web", "ratio=0.25", "--wait", "40", *asked)
        assert "live on 1/1 proxies" in done.out
        shown = await run("canary", "get", "web", *asked)
        assert '"ratio": 0.25' in shown.out


# === who may ===


EVERYTHING = {"web": [("readwrite", "canary/", True)]}


async def with_users(
    store: Etcd, roles: dict[str, list[tuple[str, str, bool]]] = EVERYTHING
) -> str:
    """Make users of an etcd, each with the role of its name; give a token of root."""
    (member,) = store.members
    for name in ("root", *roles):
        await ask(member, "/v3/auth/user/add", name=name, password="secret")
        await ask(member, "/v3/auth/role/add", name=name)
        await ask(member, "/v3/auth/user/grant", user=name, role=name)
    for name, rights in roles.items():
        for kind, key, is_prefix in rights:
            perm = range_of(key.encode(), is_prefix=is_prefix)
            perm["permType"] = kind.upper()
            await ask(member, "/v3/auth/role/grant", name=name, perm=perm)
    await ask(member, "/v3/auth/enable")
    reply = await ask(member, "/v3/auth/authenticate", name="root", password="secret")
    return str(reply["token"])


async def test_a_token_that_ran_out_or_is_old_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count_questions(monkeypatch)
    with etcd(tmp_path, 1, "--auth-token=simple", "--auth-token-ttl=1") as store:
        await store.wait_ready()
        root = await with_users(store)
        async with (
            EtcdClient(store.url, token="web:secret") as client,
            client.watch(KEY, wait_s=2) as states,
        ):
            await put(client, b"1")
            await until(states, has(b"1"))
            await ask(
                store.members[0],
                "/v3/auth/user/add",
                name="x",
                password="x",
                token=root,
            )
            await put(client, b"2")
            await until(states, has(b"2"))
            client._endpoints._token = "of.another.time"
            await put(client, b"3")
            await until(states, has(b"3"))
    assert 1 <= asked.count("/v3/auth/authenticate") <= 6


async def test_who_may_not_is_told_what_is_missing(tmp_path: Path) -> None:
    with etcd(tmp_path) as store:
        await store.wait_ready()
        await with_users(store)
        async with EtcdClient(store.url, token="web:secret") as client:
            with pytest.raises(StoreRefused, match="the right to read other/key"):
                await client.get("other/key")
            with pytest.raises(StoreRefused, match=r"the right to read \*"):
                await client.list("")
        async with EtcdClient(store.url) as client:
            with pytest.raises(StoreRefused, match="the token is NAME:PASSWORD"):
                await client.get(KEY)


async def test_a_wrong_password_does_not_keep_the_etcd_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count_questions(monkeypatch)
    with etcd(tmp_path) as store:
        await store.wait_ready()
        await with_users(store)
        contact = Contact()
        async with (
            EtcdClient(store.url, token="web:wrong") as client,
            client.watch(KEY, contact=contact),
        ):
            for _ in range(5):
                with pytest.raises(StoreRefused, match="invalid user ID or password"):
                    await client.get(KEY)
            await until_true(lambda: "invalid user ID" in contact.error)
    assert asked.count("/v3/auth/authenticate") == 1


def count_questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []
    send = endpoints.Endpoints._send

    def note(self: Any, member: Any, path: str, *more: Any) -> Awaitable[Any]:
        asked.append(path)
        return send(self, member, path, *more)

    monkeypatch.setattr(endpoints.Endpoints, "_send", note)
    return asked


# === three members ===


async def test_changes_go_on_while_the_leader_is_killed_and_paused(
    tmp_path: Path,
) -> None:
    with etcd(tmp_path, 3) as store:
        await store.wait_ready()
        async with (
            open_source(store.url) as writer,
            proxy_on(writer, proxy_id="p") as proxy,
        ):

            async def set_ratio(share: float) -> None:
                with trio.fail_after(PATIENCE_S):
                    revision = 0
                    while not revision:
                        with contextlib.suppress(KvError):
                            revision = await change(writer, "web", f"ratio={share}")
                        await trio.sleep(0.02)
                    await wait_applied(writer, "web", revision)
                assert proxy.revision == revision

            await set_ratio(0.1)
            killed = await leader_of(store, store.members[0])
            killed.kill()
            await set_ratio(0.2)
            killed.start()
            await leader_of(store, killed)
            await set_ratio(0.3)
            asked = next(member for member in store.members if member is not killed)
            paused = await leader_of(store, asked)
            paused.signal(signal.SIGSTOP)
            await set_ratio(0.4)
            paused.signal(signal.SIGCONT)
            await set_ratio(0.5)
            assert (proxy.config.shares["canary"], proxy.id) == (5_000, "p")


async def test_a_member_that_was_cut_off_brings_nothing_old_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.3)
    monkeypatch.setattr(endpoints, "READ_S", 0.7)
    monkeypatch.setattr(watch, "READ_S", 0.7)
    with etcd(tmp_path, 3) as store:
        await store.wait_ready()
        contact = Contact()
        async with (
            EtcdClient(store.url) as client,
            EtcdClient(store.url) as other,
            client.watch(KEY, contact=contact) as states,
        ):
            await put(other, b"old")
            await until(states, has(b"old"))
            asked = client._endpoints.member.url
            stale = next(one for one in store.members if one.client == asked)
            rest = [one for one in store.members if one is not stale]
            stale.signal(signal.SIGSTOP)  # its watch is silent now
            await put(other, b"new")
            await until(states, has(b"new"))  # so it was left
            for member in rest:
                member.signal(signal.SIGSTOP)
            stale.signal(signal.SIGCONT)  # it has the old value, and no quorum
            contact.error = ""
            await until_true(lambda: contact.error != "")
            with trio.move_on_after(2) as scope:
                state = await anext(states)
                raise AssertionError(f"it gave {state} by a member without a quorum")
            assert scope.cancelled_caught
            for member in rest:
                member.signal(signal.SIGCONT)
            await put(other, b"newest")
            seen = await until(states, has(b"newest"))
            assert not any(has(b"old")(state) for state in seen)


async def test_a_rollout_of_a_canary_that_fails_is_aborted(tmp_path: Path) -> None:
    async with one(tmp_path) as (_, client):
        await let_canary_fail(client)


# === certificates ===


async def test_members_that_ask_for_a_certificate_are_shown_one(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca, own, theirs = (tmp_path / name for name in ("ca.pem", "own.pem", "etcd.pem"))
    authority.cert_pem.write_to_path(ca)
    for file in (own, theirs):
        pair = authority.issue_cert("127.0.0.1", "localhost")
        pair.private_key_and_cert_chain_pem.write_to_path(file)
    member = Member(
        "m",
        tmp_path / "m",
        f"https://127.0.0.1:{free_port()}",
        f"http://127.0.0.1:{free_port()}",
    )
    member.options = (
        *(f"--initial-cluster=m={member.peer}", "--client-cert-auth"),
        *(f"--cert-file={theirs}", f"--key-file={theirs}", f"--trusted-ca-file={ca}"),
    )
    url = member.client.replace("https://", "etcds://")
    member.start()
    try:
        async with open_source(url, ca_file=ca, cert_file=own) as source:
            with trio.fail_after(PATIENCE_S):
                while True:
                    try:
                        await source.check_server(KEY)
                        break
                    except KvError:
                        await trio.sleep(0.1)
                options = {"ca_file": str(ca), "cert_file": str(own)}
                async with proxy_on(source, **options) as proxy:
                    revision = await change(source, "web", "ratio=0.5")
                    await wait_applied(source, "web", revision)
                    assert proxy.revision == revision
        async with open_source(url, ca_file=ca) as stranger:
            with pytest.raises(KvError):
                await stranger.get(KEY)
    finally:
        member.kill()
