"""What runs is told to the fleet, whatever happens to the session that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import trio

from canary_trio import change, read_fleet, wait_applied
from canary_trio.control.fleet import acknowledger, own_name
from canary_trio.control.fleet.report import Report, digest_of
from canary_trio.control.fleet.report_pace import CROWDED_REPORT_S
from canary_trio.control.sources.opening import open_source
from canary_trio.control.sources.source import KeyStore
from canary_trio.errors import NameTaken, WrongServer
from canary_trio.testing import says_stable, url_of
from http_trio.testing.peers import fake_upstream
from http_trio.testing.ports import free_port
from kv_trio import Client, Listing, Snapshot, Watch, WriteResult
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.stored_proxy import proxy_on


async def test_a_busy_proxy_keeps_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """News came more often than renewals, and put them off until the session ended."""
    monkeypatch.setattr(acknowledger, "RENEW_S", 0.1)
    renewed = 0
    renew = Client.renew_session

    async def count(self: Client, id_: str) -> bool:
        nonlocal renewed
        renewed += 1
        return await renew(self, id_)

    monkeypatch.setattr(Client, "renew_session", count)
    async with in_memory_store() as client, proxy_on(client):
        with trio.fail_after(30):
            n = 0
            while renewed < 3:
                n += 1
                await change(client, "web", f"update_rate={1 + n % 100}")


async def test_a_session_that_ended_is_begun_anew() -> None:
    async with in_memory_store() as client, proxy_on(client, proxy_id="p") as proxy:
        with trio.fail_after(30):
            await wait_applied(
                client, "web", proxy.revision, until=lambda f: bool(f.live)
            )
            entry = (await client.get("canary/web/proxies/p")).entry
            assert entry is not None
            assert entry.session is not None
            await client.destroy_session(entry.session)
            revision = await change(client, "web", "ratio=0.5")
            await wait_applied(client, "web", revision, until=lambda f: bool(f.live))


async def test_what_a_former_life_holds_is_taken_over(tmp_path: Path) -> None:
    async with in_memory_store() as client:
        old = await client.create_session("of a former life", 10, deletes=True)
        await client.put("canary/web/proxies/p", b"old", acquire=old)
        (tmp_path / "web@p.lock").write_text(old)
        options = {"state": tmp_path, "remember": True, "proxy_id": "p"}
        async with proxy_on(client, **options) as proxy:
            with trio.fail_after(30):
                await wait_applied(
                    client, "web", proxy.revision, until=lambda f: bool(f.live)
                )
            states = await client.history("canary/web/proxies/p")
        assert old not in {session.id for session in await client.sessions()}
    assert len(states) >= 2
    assert None not in [state.entry for state in states], "the fleet missed a proxy"


async def hold_name(client: Client, admin: str = "") -> str:
    """Hold the name p as another proxy does; give the session."""
    session = await client.create_session("another p", 10, deletes=True)
    report = Report("p", running=1, attempted=1, admin=admin)
    await client.put("canary/web/proxies/p", report.dump(), acquire=session)
    return session


async def test_a_name_whose_proxy_responds_is_refused_before_anything_is_served() -> (
    None
):
    async with in_memory_store() as client, proxy_on(client, proxy_id="p") as first:
        with trio.fail_after(30):
            await wait_applied(
                client, "web", first.revision, until=lambda f: bool(f.live)
            )
            with pytest.raises(ExceptionGroup) as caught:
                async with proxy_on(client, proxy_id="p"):
                    pass
            assert caught.group_contains(NameTaken, match="p serves web already")
            assert (await read_fleet(client, "web", 1)).live[0].address in first.url


async def test_a_silent_namesake_is_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with in_memory_store() as client:
        session = await hold_name(client, f"127.0.0.1:{free_port()}")
        async with proxy_on(client, proxy_id="p") as proxy:
            with trio.fail_after(30):
                while "does not respond" not in caplog.text:
                    await trio.sleep(0.01)
                held = (await client.get("canary/web/proxies/p")).entry
                assert held is not None
                assert held.session == session, "it is not taken from it"
                await client.destroy_session(session)
                await wait_applied(
                    client, "web", proxy.revision, until=lambda f: bool(f.live)
                )


async def test_one_that_outlives_its_session_is_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acknowledger, "OUTLIVED_S", 0.2)
    async with in_memory_store() as client:
        await hold_name(client)
        with trio.fail_after(30), pytest.raises(ExceptionGroup) as caught:
            async with proxy_on(client, proxy_id="p"):
                await trio.sleep_forever()
        assert caught.group_contains(NameTaken, match="serves web already")


async def test_one_that_has_served_for_long_only_tells(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acknowledger, "OUTLIVED_S", 0.2)
    monkeypatch.setattr(acknowledger, "START_S", 0.0)
    async with in_memory_store() as client:
        session = await hold_name(client)
        async with proxy_on(client, proxy_id="p"):
            with trio.fail_after(30):
                while "is not reported to the fleet" not in caplog.text:
                    await trio.sleep(0.01)
        entry = (await client.get("canary/web/proxies/p")).entry
        assert entry is not None
        assert entry.session == session
    assert caplog.text.count("is not reported to the fleet") == 1


async def test_a_proxy_says_goodbye() -> None:
    async with in_memory_store() as client:
        async with proxy_on(client) as proxy:
            with trio.fail_after(30):
                await wait_applied(
                    client, "web", proxy.revision, until=lambda f: bool(f.live)
                )
        assert (await read_fleet(client, "web", 1)).reports == ()


async def test_a_name_changes_hands_as_its_proxy_begins_to_leave(
    tmp_path: Path,
) -> None:
    """On one port the new one serves at once, and is reported as the old one drains."""
    port = free_port()
    options = {
        "binds": [f"127.0.0.1:{port}"],
        "reuse_port": True,
        "state": tmp_path,
        "remember": True,
        "proxy_id": "p",
    }
    key = "canary/web/proxies/p"
    async with in_memory_store() as client, proxy_on(client, **options) as old:
        with trio.fail_after(30):
            await wait_applied(
                client, "web", old.revision, until=lambda f: bool(f.live)
            )
            first = (await client.get(key)).entry
            assert first is not None
            async with proxy_on(client, **options) as new:
                old.drain(60.0, lame_duck_s=60.0)
                entry = first
                while entry.session == first.session:
                    found = await client.get(key, index=entry.modify_index)
                    assert found.entry is not None, "the fleet missed it"
                    entry = found.entry
                report = Report.load(entry.value)
                assert report is not None
                assert report.admin in new.admin_url
                while first.session in {one.id for one in await client.sessions()}:
                    await trio.sleep(0.01)
                revision = await change(client, "web", "ratio=0.5")
                await wait_applied(
                    client, "web", revision, until=lambda f: bool(f.live)
                )


async def test_a_name_that_stays_taken_ends_who_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_name, "WAIT_S", 0.3)
    port = free_port()
    options = {
        "binds": [f"127.0.0.1:{port}"],
        "reuse_port": True,
        "state": tmp_path,
        "remember": True,
        "proxy_id": "p",
    }
    async with in_memory_store() as client, proxy_on(client, **options) as first:
        with trio.fail_after(30):
            with pytest.raises(ExceptionGroup) as caught:
                async with proxy_on(client, **options):
                    await trio.sleep_forever()
            assert caught.group_contains(NameTaken, match="runs on this machine")
            fleet = await read_fleet(client, "web", 1)
        assert [one.admin in first.admin_url for one in fleet.live] == [True]


async def test_a_server_that_is_no_store_ends_a_proxy_that_runs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acknowledger, "WRONG_S", 0.1)
    async with fake_upstream(says_stable) as page:
        with pytest.raises(ExceptionGroup) as caught:
            async with proxy_on(open_source(url_of(page))):
                pass
    found = caught.value.subgroup(WrongServer)
    assert found is not None
    assert "is no kv-trio and no Consul" in str(found.exceptions[0])


async def test_a_server_that_is_no_store_ends_nobody_who_remembers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(acknowledger, "WRONG_S", 1.0)
    options = {"state": tmp_path, "remember": True, "proxy_id": "p"}
    async with in_memory_store() as client, proxy_on(client, **options):
        with trio.fail_after(30):
            while not (tmp_path / "web@p.json").exists():
                await trio.sleep(0.02)
    async with (
        fake_upstream(says_stable) as page,
        proxy_on(open_source(url_of(page)), **options) as proxy,
    ):
        with trio.fail_after(30):
            while "no kv-trio" not in proxy._view.control.status.contact.error:
                await trio.sleep(0.02)
        await trio.sleep(1.5)  # beyond the time that one has that runs nothing
        assert proxy.revision > 0
        assert not proxy._view.control.refused.is_set()


async def test_a_report_that_the_store_lost_or_has_older_is_written_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after the restore of a snapshot that has our session: nothing of it has ended."""
    monkeypatch.setattr(acknowledger, "RENEW_S", 0.1)
    key = "canary/web/proxies/p"
    async with in_memory_store() as client, proxy_on(client, proxy_id="p") as proxy:
        with trio.fail_after(30):
            await wait_applied(client, "web", proxy.revision)
            entry = (await client.get(key)).entry
            assert entry is not None
            older = Report("p", running=1, attempted=1).dump()
            for harm in (
                client.delete(key),
                client.put(key, older, acquire=entry.session),
            ):
                await harm
                while (now := (await client.get(key)).entry) is None or (
                    now.value != entry.value
                ):
                    await trio.sleep(0.02)


async def test_a_store_that_was_replaced_is_read_anew_though_nothing_broke(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As behind a balancer: the poll waits at the old one, and the session is at neither."""
    monkeypatch.setattr(acknowledger, "RENEW_S", 0.1)
    asked = 0

    class Counted(Watch[Snapshot]):
        def ask_anew(self) -> None:
            nonlocal asked
            asked += 1
            super().ask_anew()

    monkeypatch.setattr("kv_trio.client.client.Watch", Counted)
    async with in_memory_store() as client, proxy_on(client, proxy_id="p") as proxy:
        with trio.fail_after(30):
            await wait_applied(client, "web", proxy.revision)
            (session,) = await client.sessions()
            await client.destroy_session(session.id)
            while not asked:
                await trio.sleep(0.02)
            revision = await change(client, "web", "ratio=0.25")
            await wait_applied(client, "web", revision)


async def test_a_revision_that_the_store_lost_is_live_nowhere() -> None:
    """A proxy that runs 34 of a store that is at 5 again, and at another 34 later."""
    async with in_memory_store() as client:
        revision = (await client.put("canary/web/config", b"{}")).index
        old = Report("p", revision + 30, revision + 30, digest=digest_of(b"[]"))
        await client.put("canary/web/proxies/p", old.dump())
        fleet = await read_fleet(client, "web", revision)
        assert fleet.live == ()
        assert fleet.said_of(old).endswith("which this store does not have")
        with trio.fail_after(30):
            lost = await wait_applied(
                client, "web", revision + 30, until=lambda fleet: fleet.is_lost
            )
        assert lost.revision == revision
        while revision < old.running:
            revision = (await client.put("canary/web/config", b"{%d}" % revision)).index
        assert revision == old.running, "the number, given a second time"
        assert (await read_fleet(client, "web", revision)).live == ()


class SilentStore:
    """A store that notes when it is told what, by a clock that jumps."""

    def __init__(self) -> None:
        self.told: list[tuple[float, int]] = []

    async def create_session(self, *_: object, **__: object) -> str:
        await trio.lowlevel.checkpoint()
        return "s"

    async def put(self, key: str, value: bytes, **_: object) -> WriteResult:
        await trio.lowlevel.checkpoint()
        report = Report.load(value)
        if key.endswith("/p") and report is not None:
            self.told.append((trio.current_time(), report.running))
        return WriteResult(done=True, index=1)

    async def list(self, _: str) -> Listing:
        await trio.lowlevel.checkpoint()
        return Listing((), 1)


@pytest.mark.parametrize(
    ("every_s", "count", "reports"),
    [(0.025, 40, range(38, 43)), (0.005, 400, range(15, 30))],
    ids=[
        "each is told where somebody may wait for it",
        "a stream is told now and again",
    ],
)
async def test_reports_of_changes_that_nobody_waits_for_are_few(
    every_s: float, count: int, reports: range, autojump_clock: trio.abc.Clock
) -> None:
    store, running = SilentStore(), 0
    told = acknowledger.Acknowledger(
        "web", "p", lambda: Report("p", running=running, attempted=running)
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.run, cast(KeyStore, store))
        for _ in range(count):
            await trio.sleep(every_s)
            running += 1
            told.tell()
        await trio.sleep(CROWDED_REPORT_S + 0.01)
        nursery.cancel_scope.cancel()

    assert store.told[-1][1] == running, "the last one is always told"
    assert len(store.told) in reports
