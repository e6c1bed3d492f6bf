"""Rollouts by commands, on a store without a proxy: no command needs a driver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from canary_trio import read_document
from canary_trio.admin.asking.rollout_view import read_rollout, timeless
from canary_trio.command.cli.main import main
from canary_trio.config.document import build
from canary_trio.control.changes.documents import read_history
from canary_trio.control.driving.duty import KeptState
from canary_trio.control.store_keys import driver_state_key
from canary_trio.rollout.moves import mark_of
from kv_trio import Client, StoreUnreachable
from kv_trio.testing import in_memory_store
from tests.canary_trio.support.commands import canary
from tests.canary_trio.support.rollouts import ARMS

START = ("start", "web", "--steps", "1%,50%,100%", "--hold", "10m", "--id", "v1")


async def present(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await read_document(client, "web"))[0])
    return found


async def rollout(client: Client, *words: str) -> str:
    return (await canary(client, "rollout", *words)).stdout


async def prepared(client: Client) -> None:
    await client.put("canary/web/config", json.dumps({"arms": ARMS}).encode())


async def test_a_rollout_by_words_from_its_start_to_its_end(tmp_path: Path) -> None:
    async with in_memory_store() as client:
        await prepared(client)
        said = await rollout(client, *START, "--judge", "--against", "baseline")
        assert "written, rollout v1 is running: begun" in said
        found = await present(client)
        assert found["ratio"] == {"canary": 0.01, "baseline": 0.01}
        assert found["rollout"]["steps"][0] == {"ratio": 0.01, "hold": 600}
        assert found["rollout"]["judge"] is True

        said = await rollout(client, "promote", "web", "-m", "it is fine")
        assert "rollout v1 is running, step 1, ratio 0.5" in said
        assert (await present(client))["ratio"] == {"canary": 0.5, "baseline": 0.5}
        said = await rollout(client, "promote", "web", "--full")
        assert "rollout v1 is done, step 2, ratio 1" in said

        said = await rollout(client, "finish", "web", "--unchecked")
        assert "the servers of canary are stable's" in said
        found = await present(client)
        assert found["ratio"] == 0
        assert found["arms"]["stable"]["servers"] == found["arms"]["canary"]["servers"]
        history = await read_history(client, "web")
        assert "it is fine" in [change.message for change in history.changes]


async def test_abort_retry_pause_resume_and_undo() -> None:
    async with in_memory_store() as client:
        await prepared(client)
        before = await present(client)
        await rollout(client, *START)
        await rollout(client, "pause", "web")
        again = await rollout(client, "pause", "web")
        assert "nothing changed" in again
        await rollout(client, "resume", "web")
        assert "ratio 0" in await rollout(client, "abort", "web")
        assert (await present(client))["ratio"] == 0
        said = await rollout(client, "retry", "web", "--from", "1", "--json")
        assert json.loads(said)["rollout"] == {
            "id": "v1",
            "phase": "running",
            "step": 1,
            "ratio": 0.1,
        }
        assert "from before rollout v1" in await rollout(client, "undo", "web")
        assert await present(client) == before


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("promote", "web"), 1, "web has no rollout"),
        (("start", "web"), 2, "expected FILE, or --steps"),
        (("start", "web", "--steps", "x"), 2, "expected a share"),
        (("start", "web", "--steps", "50%,5%"), 1, "$.rollout.steps[1]"),
        (("start", "web", "--steps", "5%", "--arm", "gone"), 1, "$.rollout.arm"),
        (("start", "web", "--steps", "5%", "--hold", "soon"), 2, "expected a time"),
        (("status", "web"), 1, "web has no rollout"),
        (("undo", "web"), 1, "not known what was there"),
    ],
)
async def test_what_cannot_be_is_said(
    words: tuple[str, ...], status: int, said: str
) -> None:
    async with in_memory_store() as client:
        await prepared(client)
        ran = await canary(client, "rollout", *words, status=status)
        assert said in ran.stderr
        assert "rollout" not in await present(client)


async def test_another_one_is_refused_while_one_is_in_progress() -> None:
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, *START)
        other = (*START[:-1], "v2")
        ran = await canary(client, "rollout", *other, status=1)
        assert "rollout v1 is running" in ran.stderr
        assert "--replace" in ran.stderr
        await rollout(client, *other, "--replace")
        assert (await present(client))["rollout"]["id"] == "v2"


async def test_a_mirror_by_words_brings_the_step_that_it_needs(tmp_path: Path) -> None:
    async with in_memory_store() as client:
        await prepared(client)
        words = ("--steps", "5%,100%", "--hold", "1m", "--requests", "9", "--mirror")
        await rollout(client, "start", "web", *words, "--then", "abort")
        found = (await present(client))["rollout"]
        assert found["judge"] == {"mirror": True, "then": "abort"}
        first, second, last = found["steps"]
        assert first == {"ratio": 0, "hold": 60}
        assert second == {"ratio": 0.05, "hold": 60, "requests": 9}
        assert last == 1
        said = await rollout(client, "status", "web")
        assert "canary has 0; steps [0]  0.05  1" in said
        file = tmp_path / "rollout.json"
        file.write_text(json.dumps({**found, "state": None}))
        ran = CliRunner().invoke(main, ["rollout", "lint", str(file)])
        assert "step 0 exposes nobody: at least 1,000 comparisons" in ran.output


async def test_errors_by_request_by_words(tmp_path: Path) -> None:
    async with in_memory_store() as client:
        await prepared(client)
        words = ("--steps", "5%,100%", "--unit", "requests")
        await rollout(client, "start", "web", *words, "--then", "abort")
        found = (await present(client))["rollout"]
        assert found["judge"] == {"errors": {"unit": "requests"}, "then": "abort"}
        file = tmp_path / "rollout.json"
        for then, said in (("abort", "it says so, and pauses"), ("say", "their arm\n")):
            found["judge"]["then"] = then
            file.write_text(json.dumps({**found, "state": None}))
            ran = CliRunner().invoke(main, ["rollout", "lint", str(file)])
            assert "errors are counted by request" in ran.output
            assert said in ran.output
        ran = await canary(client, "rollout", "start", "web", "--unit", "u", status=2)
        assert "'u' is not one of 'users', 'requests'" in ran.stderr


@pytest.mark.parametrize("back", ["rollout undo", "rollback"])
async def test_what_was_replaced_in_progress_comes_back_paused(back: str) -> None:
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, *START)
        revision = (await read_document(client, "web"))[1]
        await rollout(client, *START[:-1], "v2", "--replace")
        words = ["web"] if back == "rollout undo" else ["web", str(revision)]
        ran = await canary(client, *back.split(), *words)
        assert "rollout v1 is paused: it came back" in ran.stdout
        found = await present(client)
        assert found["ratio"] == 0.01
        state = found["rollout"]["state"]
        assert (found["rollout"]["id"], state["phase"]) == ("v1", "paused")
        assert state["by_hand"]
        assert "in which it was running" in state["reason"]
        assert "ratio 0.01" in await rollout(client, "resume", "web")


async def test_what_was_over_comes_back_as_it_was() -> None:
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, *START)
        await rollout(client, "abort", "web")
        await rollout(client, *START[:-1], "v2")
        await rollout(client, "undo", "web")
        found = await present(client)
        assert found["rollout"]["state"]["phase"] == "aborted"
        assert found["ratio"] == 0


async def test_set_ratio_pauses_a_rollout_and_says_so(tmp_path: Path) -> None:
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, *START)
        ran = await canary(client, "set", "web", "ratio=0.2")
        assert "rollout v1 is paused: the ratio was set to 0.2 by hand" in ran.stdout
        found = await present(client)
        assert found["ratio"] == 0.2
        assert found["rollout"]["state"]["phase"] == "paused"

        ran = await canary(client, "set", "web", "update_rate=7")
        assert "paused" not in ran.stdout
        del found["rollout"]["state"]  # a file that knows nothing of how it stands
        (tmp_path / "web.json").write_text(json.dumps(found))
        await canary(client, "apply", "web", str(tmp_path / "web.json"))
        assert (await present(client))["rollout"]["state"]["phase"] == "paused"


async def test_r03_a_file_does_not_begin_an_aborted_rollout_again(
    tmp_path: Path,
) -> None:
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, *START)
        found = await present(client)
        await rollout(client, "abort", "web")
        for state in (found["rollout"].pop("state"), None):
            if state is not None:
                found["rollout"]["state"] = state
            (tmp_path / "web.json").write_text(json.dumps({**found, "ratio": 0}))
            await canary(client, "apply", "web", str(tmp_path / "web.json"))
            found["rollout"].pop("state", None)
            now = await present(client)
            assert now["rollout"]["state"]["phase"] == "aborted"
            assert now["ratio"] == 0


async def test_a_freeze_lets_a_rollout_wait() -> None:
    async with in_memory_store() as client:
        await prepared(client)
        ran = await canary(client, "freeze", "web", "--until", "2h", "-m", "holidays")
        assert "holidays" in ran.stdout
        said = await rollout(client, *START)
        assert "rollout v1 is waiting: frozen by" in said
        assert (await present(client))["ratio"] == 0
        assert "not frozen any more" in (await canary(client, "unfreeze", "web")).stdout
        assert "was not frozen" in (await canary(client, "unfreeze", "web")).stdout
        ran = await canary(client, "unfreeze", "web", "--json")
        assert json.loads(ran.stdout) == {"service": "web", "was_frozen": False}
        ran = await canary(client, "freeze", "wbe")
        assert "wbe has no document yet" in ran.stderr


@pytest.mark.parametrize(
    ("until", "why"),
    [
        *(
            (one, "has passed")
            for one in ("2001-01-01", "0s", "0001-01-01T00:00+23:59")
        ),
        *(
            (one, "at most")
            for one in ("99999999d", "9" * 39 + "d", "4000d", "1e9", "9999-12-31")
        ),
        ("9999-12-31T23:59-23:59", "at most"),
        *((one, "expected a time") for one in ("", "tomorrow", "-1h", "nan", "1h9x")),
    ],
)
async def test_a_freeze_that_cannot_be_is_refused_and_not_written(
    until: str, why: str
) -> None:
    async with in_memory_store() as client:
        await prepared(client)
        ran = await canary(client, "freeze", "web", "--until", until, status=2)
        assert why in ran.stderr
        assert "was not frozen" in (await canary(client, "unfreeze", "web")).stdout


async def test_gates_are_approved_and_skipped(tmp_path: Path) -> None:
    gates = [{"approval": True, "at": [1]}, {"url": "http://a", "at": [1]}]
    file = tmp_path / "rollout.json"
    file.write_text(json.dumps({"id": "v1", "steps": [0.1, 1], "gates": gates}))
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, "start", "web", str(file))
        for words, passed in (
            (("approve", "web"), ["approval"]),
            (("skip-gate", "web", "url"), ["approval", "url"]),
        ):
            await rollout(client, *words)
            state = (await present(client))["rollout"]["state"]
            assert state["passed"] == passed
        assert "nothing changed" in await rollout(client, "skip-gate", "web")
        ran = await canary(client, "rollout", "skip-gate", "web", "gone", status=1)
        assert "expected one of: approval, url" in ran.stderr


async def test_status_says_how_it_stands_and_what_to_do() -> None:
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, *START)
        said = await rollout(client, "status", "web")
        assert "web: rollout v1 is running, step 0 of 3" in said
        assert "canary has 0.01; steps [0.01]  0.5  1" in said
        assert "no driver: the ratio stays as it is" in said
        whole = (await canary(client, "status", "web")).stdout
        assert "web: rollout v1 is running, step 0 of 3" in whole
        assert "no driver" in whole
        found = json.loads(await rollout(client, "status", "web", "--json"))
        assert (found["phase"], found["step"], found["ratio"]) == ("running", 0, 0.01)
        await rollout(client, "abort", "web")
        ran = await canary(client, "rollout", "status", "web", "--watch", status=1)
        assert "is aborted" in ran.stdout
        assert "canary rollout retry" in ran.stdout


async def test_status_says_what_is_waited_for_now_and_not_before() -> None:
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, *START)
        config = build(await present(client))
        assert config.rollout is not None
        session = await client.create_session("p1", 30, deletes=False)
        await client.put("canary/web/driver", b'{"by": "p1"}', acquire=session)
        for of, is_said in ((mark_of(config.rollout), True), ("v1 5", False)):
            own = {"of": of, "waits_for": "a bus"}
            kept = KeptState("p1", 5, {"rollout": own}).dump()
            await client.put(driver_state_key("web"), kept)
            said = await rollout(client, "status", "web")
            assert "driven by p1" in said
            assert ("now: a bus" in said) is is_said


async def test_to_watch_outlasts_a_store_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    async def read(client: Client, service: str, now_s: float) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        if looks in (2, 3):
            raise StoreUnreachable("nobody is there")
        found = await read_rollout(client, service, now_s)
        return found | ({"phase": "aborted"} if looks == 4 else {})

    monkeypatch.setattr("canary_trio.command.cli.rollout.view.read_rollout", read)
    monkeypatch.setattr("canary_trio.command.cli.rollout.view.WATCH_S", 0.01)
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, *START)
        ran = await canary(client, "rollout", "status", "web", "--watch", status=1)
        assert ran.stderr.count("nobody is there; it is asked again") == 1
        assert (ran.stdout.count("is running"), ran.stdout.count("is aborted")) == (
            1,
            1,
        )


def test_lint_says_what_a_file_would_do(tmp_path: Path) -> None:
    file = tmp_path / "rollout.json"
    steps = [{"ratio": 0.01, "hold": None}, 1]
    file.write_text(json.dumps({"id": "v1", "steps": steps, "judge": True}))
    said = CliRunner().invoke(main, ["rollout", "lint", str(file)])
    assert said.exit_code == 0
    assert "step 0: 0.01, until it is promoted" in said.stdout
    assert "no deadline" in said.stdout
    file.write_text(json.dumps({"id": "v1", "steps": [0.5, 0.1]}))
    said = CliRunner().invoke(main, ["rollout", "lint", str(file)])
    assert said.exit_code == 1
    assert "$.rollout.steps[1]: found 0.1 after 0.5" in said.stderr


def test_a_file_of_another_format_goes_by_its_name(tmp_path: Path) -> None:
    for name, text in (
        ("r.yaml", "id: v1\nsteps: [0.1, 1]\n"),
        ("r.toml", 'id = "v1"\nsteps = [0.1, 1]\n'),
        ("d.toml", '[rollout]\nid = "v1"\nsteps = [0.1, 1]\n'),
    ):
        file = tmp_path / name
        file.write_text(text)
        said = CliRunner().invoke(main, ["rollout", "lint", str(file)])
        assert (said.exit_code, said.stderr) == (0, "")
        assert "is valid: rollout v1 of canary" in said.stdout


def test_news_is_not_how_much_time_went_by() -> None:
    driver = {"by": "p1", "last": "p1", "seen_s": 0.4}
    found = {"phase": "running", "since_s": 1.0, "revision": 5, "driver": driver}
    before = timeless({**found, "waits_for": "at 0.5 for 9 s more"})
    later = {**found, "since_s": 2.0, "revision": 7, "driver": {**driver, "seen_s": 0}}
    assert timeless({**later, "waits_for": "at 0.5 for 8 s more"}) == before
    assert timeless({**later, "waits_for": "fewer than 8 requests"}) != before
    assert timeless({**later, "phase": "done", "waits_for": "at"}) != before


async def test_finish_asks_the_proxies_first() -> None:
    async with in_memory_store() as client:
        await prepared(client)
        await rollout(client, *START)
        ran = await canary(client, "rollout", "finish", "web", status=1)
        assert "cannot finish: rollout v1 is running" in ran.stderr
        await rollout(client, "promote", "web", "--full")
        ran = await canary(client, "rollout", "finish", "web", status=1)
        assert "no proxy of web is live" in ran.stderr
        assert (await present(client))["ratio"] == 1
