"""A proxy drives a rollout in its document: steps, operators, errors, the next driver."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from canary_trio import Proxy, read_document
from canary_trio.admin.asking.rollout_view import read_rollout, rollout_lines
from canary_trio.config.document import build
from canary_trio.control.changes.confirming import confirm, write_unconfirmed
from canary_trio.control.changes.documents import (
    read_history,
    revise,
    write_document,
)
from canary_trio.control.changes.history import Note
from canary_trio.control.changes.rollouts import Freeze, with_move
from canary_trio.control.changes.waiting import read_pending
from canary_trio.control.driving import rollout_duty
from canary_trio.control.driving.duty import Turn
from canary_trio.control.sources.source import KeyStore
from canary_trio.errors import (
    InvalidConfig,
    Problem,
    TooLargeTogether,
)
from canary_trio.rollout import commands
from canary_trio.rollout.moves import Situation
from http_trio.testing.peers import ReceivedRequest, fake_upstream
from kv_trio import StoreRefused
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.racing import promote_and_undo
from tests.canary_trio.support.rollouts import ARMS
from tests.canary_trio.support.stored_proxy import proxy_on

KEY = "canary/web/config"


async def write(client: KeyStore, **rollout: Any) -> None:
    """Write a document with a rollout that has not begun."""
    document = {"arms": ARMS, "rollout": {"id": "v1", "slope": 1, **rollout}}
    await client.put(KEY, json.dumps(document).encode())


async def read(client: KeyStore) -> dict[str, Any]:
    entry = (await client.get(KEY)).entry
    assert entry is not None
    found: dict[str, Any] = json.loads(entry.value)
    return found


async def until(
    client: KeyStore, condition: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    with trio.fail_after(30):
        async with client.watch(KEY) as states:
            async for snapshot in states:
                assert snapshot.entry is not None
                found: dict[str, Any] = json.loads(snapshot.entry.value)
                if condition(found):
                    return found
    raise AssertionError


def phase_is(phase: str, step: int | None = None) -> Callable[[dict[str, Any]], bool]:
    def test(document: dict[str, Any]) -> bool:
        state = document["rollout"].get("state", {})
        return state.get("phase") == phase and (
            step is None or state.get("step", 0) == step
        )

    return test


async def tell(client: KeyStore, command: commands.Command) -> None:
    """Tell the rollout something, as the command line does."""

    def changed(document: dict[str, Any]) -> dict[str, Any]:
        config = build(document)
        assert config.rollout is not None
        move = command(config.rollout, config.ratio, Situation(1, by="ann"))
        assert move is not None
        return with_move(document, move)

    await revise(client, "web", changed, note=Note("ann"), tries=20)


async def test_a_rollout_walks_its_steps_and_history_says_so() -> None:
    async with in_memory_store() as client, proxy_on(client, proxy_id="p") as proxy:
        await write(client, steps=[0.1, 0.5, 1])
        done = await until(client, phase_is("done"))

        assert done["ratio"] == 1
        history = await read_history(client, "web")
        said = [change.message for change in reversed(history.changes)]
        by = {
            change.author for change in history.changes if "rollout" in change.message
        }
        assert by == {"rollout (p)"}
        assert [one for one in said if "step 1" in one]
        assert said[-1] == "rollout v1: done, step 2: all steps are done"
        with trio.fail_after(30):  # no duty, no lock
            while (await client.get("canary/web/driver")).entry is not None:
                await trio.testing.wait_all_tasks_blocked(0.001)
        await knows_driver(proxy, "")


async def takes_over(client: KeyStore) -> None:
    """Let a rollout's driver lose its session: the other proxy walks it to its end."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(proxy_on(client, proxy_id="a"))
        await write(client, steps=[0.1, {"ratio": 0.5, "hold": None}, 1])
        await until(client, phase_is("waiting", 1))
        second = await stack.enter_async_context(proxy_on(client, proxy_id="b"))
        await knows_driver(second, "a")
        status: Any = first.status()
        assert status["driver"]["here"]
        entry = (await client.get("canary/web/driver")).entry
        assert entry is not None
        assert entry.session is not None
        await client.destroy_session(entry.session)  # as if it were dead
        await tell(client, commands.promote)
        await until(client, lambda d: d["ratio"] == 1)
        await until(client, phase_is("done"))


async def test_the_next_proxy_goes_on_where_the_driver_ended() -> None:
    async with in_memory_store() as client:
        await takes_over(client)


async def knows_driver(proxy: Proxy, id_: str) -> None:
    def by() -> object:
        status: Any = proxy.status()
        return status["driver"]["by"]

    with trio.fail_after(15):
        while by() != id_:
            await trio.testing.wait_all_tasks_blocked(0.001)


@pytest.mark.parametrize(
    ("command", "phase", "ratio"),
    [
        (commands.promote, "done", 1),
        (commands.abort, "aborted", 0),
        (commands.pause, "paused", 0.1),
    ],
    ids=["promote", "abort", "pause"],
)
async def test_an_operator_is_followed(
    command: commands.Command, phase: str, ratio: float
) -> None:
    async with in_memory_store() as client, proxy_on(client):
        await write(client, steps=[{"ratio": 0.1, "hold": None}, 1])
        await until(client, phase_is("waiting"))
        await tell(client, command)
        found = await until(client, phase_is(phase))
        assert found["ratio"] == ratio


async def test_a_ratio_that_is_set_pauses_and_stays() -> None:
    async with in_memory_store() as client, proxy_on(client):
        await write(client, steps=[{"ratio": 0.1, "hold": 600}, 1])
        await until(client, phase_is("running"))
        await revise(client, "web", lambda d: {**d, "ratio": 0.3}, tries=20)
        found = await until(client, phase_is("paused"))
        assert found["ratio"] == 0.3
        assert "0.3" in found["rollout"]["state"]["reason"]


async def test_r10_a_store_that_fails_changes_no_phase() -> None:
    """Reads and writes of the driver fail for a while; nothing but time is lost."""
    async with in_memory_store() as client, proxy_on(client) as proxy:
        await write(client, steps=[{"ratio": 0.1, "hold": None}, 1])
        await until(client, phase_is("waiting"))
        before = await read(client)
        for _ in range(3):
            entry = (await client.get("canary/web/driver")).entry
            if entry is not None and entry.session is not None:
                await client.destroy_session(entry.session)
            await trio.testing.wait_all_tasks_blocked(0.01)
        await knows_driver(proxy, str(proxy.id))
        after = await read(client)
        assert after["rollout"]["state"] == before["rollout"]["state"]
        assert after["ratio"] == before["ratio"]


async def test_r16_frozen_no_step_begins() -> None:
    async with in_memory_store() as client, proxy_on(client):
        freeze = Freeze("ann", "holidays")
        await client.put("canary/web/freeze", freeze.dump())
        await write(client, steps=[0.1, 1])
        found = await until(client, phase_is("waiting"))
        assert found["rollout"]["state"]["reason"] == "frozen by ann: holidays"
        assert found.get("ratio", 0) == 0
        await client.delete("canary/web/freeze")
        await until(client, phase_is("done"))


async def test_a_gate_is_asked_and_waited_for() -> None:
    ready = False
    seen: list[bytes] = []

    async def gate(request: ReceivedRequest) -> None:
        seen.append(request.path)
        body = b'{"ready": true}' if ready else b'{"ready": false}'
        await request.response(body)

    async with in_memory_store() as client, proxy_on(client), fake_upstream(gate) as up:
        gates = [
            {
                "at": [1],
                "url": f"http://127.0.0.1:{up.port}/ok?a=b",
                "json": {"path": "ready", "value": True},
                "interval": 1,
            }
        ]
        await write(client, steps=[0.1, 1], gates=gates)
        found = await until(client, phase_is("waiting", 0))
        assert found["rollout"]["state"]["reason"] == "gate url: ready is not true"
        ready = True
        await until(client, phase_is("done"))
        assert set(seen) == {b"/ok?a=b"}


async def test_the_hook_is_told_of_each_phase_and_signed(tmp_path: Any) -> None:
    told: list[dict[str, Any]] = []

    async def hook(request: ReceivedRequest) -> None:
        told.append(json.loads(request.body))
        await request.response(b"")

    (tmp_path / "key").write_bytes(b"secret\n")
    async with (
        in_memory_store() as client,
        fake_upstream(hook) as up,
        proxy_on(client, rollout_files=tmp_path),
    ):
        hooked = {"url": f"http://127.0.0.1:{up.port}/told", "key": "key"}
        await write(client, steps=[0.1, 1], hook=hooked)
        await until(client, phase_is("done"))
        with trio.fail_after(15):
            while not told or told[-1]["phase"] != "done":
                await trio.testing.wait_all_tasks_blocked(0.001)
    phases = [(one["phase"], one["step"]) for one in told]
    assert phases == sorted(set(phases), key=phases.index), "each once"
    assert phases[-1] == ("done", 1)


async def test_two_that_drive_at_once_write_no_step_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lock only gives liveness: here each of three proxies takes itself for the driver."""
    monkeypatch.setattr(rollout_duty, "LOOK_S", 0.2)
    async with in_memory_store() as client, AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(proxy_on(client, proxy_id=id_))
            for id_ in ("a", "b", "c")
        ]
        await write(client, steps=[{"ratio": r / 10, "hold": 1} for r in range(1, 6)])
        async with trio.open_nursery() as nursery:
            for proxy in proxies:
                control: Any = proxy._view.control
                duty = control.driver.duties[-1]
                with trio.fail_after(15):
                    while not duty.is_due:
                        await trio.testing.wait_all_tasks_blocked(0.001)
                turn = Turn(client, "web", proxy.id, "")
                nursery.start_soon(duty.run, turn)
            await until(client, phase_is("done"))
            nursery.cancel_scope.cancel()
        history = await read_history(client, "web")
        begun = [
            change.message
            for change in history.changes
            if "running, step" in change.message and ": step" in change.message
        ]
        assert len(begun) == len(set(begun)) == 4


async def test_a_step_waits_for_a_change_and_an_abort_takes_it_along() -> None:
    async with in_memory_store() as client, proxy_on(client, proxy_id="p") as proxy:
        _, first = await read_document(client, "web")
        steps = [{"ratio": 0.1, "hold": 3600}, 1]
        rollout = {"id": "v1", "steps": steps, "deadline": 3, "when": "abort"}
        document = {"arms": ARMS, "rollout": rollout}
        second, _ = await write_unconfirmed(
            client, "web", document, over=first, within_s=600
        )
        with trio.fail_after(30):
            while proxy.revision < second:
                await trio.sleep(0.01)
            await trio.sleep(1)  # in which it would have begun
        change = (await read_pending(client, "web")).check("web")
        assert change.index == second
        said = (await read_rollout(client, "web", 1.0))["waits_for"]
        assert "canary confirm" in said
        await confirm(client, "web")
        begun = await until(client, phase_is("running", 0))

        changed = {**begun, "update_rate": 9}
        _, over = await read_document(client, "web")
        third, _ = await write_unconfirmed(
            client, "web", changed, over=over, within_s=600
        )
        await until(client, phase_is("aborted"))
        change = (await read_pending(client, "web")).check("web")
        assert change.index > third
        assert (change.revision, change.period_s) == (over, 600)


@pytest.mark.parametrize(
    "error",
    [
        StoreRefused(403, "no right", key=KEY, right="key:write"),
        TooLargeTogether(9, 5),
        InvalidConfig([Problem("$.arms", "one", "two")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_r08_what_hinders_a_step_is_said_where_its_status_is_asked_for(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = False

    async def write_move(*args: Any, **more: Any) -> int:
        if not may_write:
            raise error
        return await write_document(*args, **more)

    monkeypatch.setattr(rollout_duty, "write_document", write_move)
    monkeypatch.setattr(rollout_duty, "LOOK_S", 0.05)
    async with in_memory_store() as client, proxy_on(client, proxy_id="p"):
        await write(client, steps=[0.1, 1])
        with trio.fail_after(30):
            while True:
                found = await read_rollout(client, "web", 1.0)
                if found["waits_for"]:
                    break
                await trio.sleep(0.01)
        assert found["waits_for"] == f"the next step cannot be written: {error}"
        assert found["driver"]["by"] == "p"
        assert any("cannot be written" in line for line in rollout_lines(found))
        may_write = True
        await until(client, phase_is("done"))


async def test_r18_promote_full_and_undo_at_once_have_one_winner() -> None:
    """Whoever loses is told who was first; `make drills` does it 1,000 times."""
    async with in_memory_store() as client:
        assert len(await promote_and_undo(client, 20)) == 20
