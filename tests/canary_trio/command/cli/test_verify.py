"""The command `canary verify`: what it takes, and a fleet that is there."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from canary_trio.command.cli.main import main
from canary_trio.command.cli.verify import _STEPS
from canary_trio.verify.plan import STEPS
from tests.e2e.processes import run, world

PROXY = ("--proxy", "http://127.0.0.1:1")


def verify(*words: str) -> Result:
    return CliRunner().invoke(main, ["verify", *words])


WRONG = {
    "no time": (("--seconds", "0"), "--seconds"),
    "no such step": (("--step", "sit"), "--step"),
    "no such store": (("--store", "redis"), "--store"),
    "too many proxies": (("--proxies", "17"), "--proxies"),
    "a proxy without a service": (PROXY, "--proxy is for a fleet that is there"),
    "a path without a service": (("--path", "/x"), "--path is for"),
    "yes without a service": (("--yes",), "--yes is for"),
    "a service without proxies": (("web", "--yes"), "--proxy"),
    "a service without a yes": (("web", *PROXY), "--yes"),
    "a service and a store": (("web", *PROXY, "--yes", "--store", "kv"), "--store is"),
    "a service and a crash": (("web", *PROXY, "--yes", "--step", "crash"), "--step"),
    "a proxy that is none": (
        ("web", "--yes", "--proxy", "unix:/x"),
        "http://HOST:PORT",
    ),
    "a port that is none": (
        ("web", "--yes", "--proxy", "http://h:99999"),
        "http://HOST:PORT",
    ),
}


@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=WRONG)
def test_wrong_usage_is_told(words: tuple[str, ...], said: str) -> None:
    ran = verify(*words)

    assert ran.exit_code == 2
    assert said in ran.output


def test_a_directory_is_of_one_run(tmp_path) -> None:
    (tmp_path / "store.log").touch()
    ran = verify("--data", str(tmp_path))

    assert ran.exit_code == 2
    assert "is not empty" in ran.output


def test_each_step_of_the_plan_can_be_asked_for() -> None:
    assert set(_STEPS) == set(STEPS)


def test_a_store_that_is_not_installed_is_not_judged(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CONSUL", raising=False)
    ran = verify("--store", "consul")

    assert ran.exit_code == 3
    assert "no consul on the path" in ran.output


def test_who_interrupts_it_is_told_the_seed(monkeypatch) -> None:
    def interrupted(*_: object) -> None:
        raise BaseExceptionGroup("", [KeyboardInterrupt()])

    monkeypatch.setattr("trio.run", interrupted)
    result = CliRunner().invoke(main, ["verify", "--seed", "7"])

    assert result.exit_code == 130
    assert result.stderr == (
        "canary: interrupted, nothing is judged; --seed 7 begins the same plan again\n"
    )


async def test_a_fleet_that_is_there_is_judged_and_left_as_it_was(tmp_path) -> None:
    async with world(tmp_path) as made:
        _, address = await made.start_proxy(sticky_sessions=True)
        before = json.loads((await made.canary("get")).out)
        words = ("verify", "web", "--url", made.store_url, "--yes", "--json")
        more = ("--proxy", f"http://{address}", "--seconds", "4", "--seed", "2")
        ran = await run("canary", *words, *more, status=None)
        after = json.loads((await made.canary("get")).out)

    found = json.loads(ran.out)
    assert (ran.status, found["outcome"], found["unjudged"]) == (0, "passed", [])
    assert 2 <= found["changes"] <= 25
    assert found["requests"].keys() == {"kept", "new"}
    assert after == before


async def test_a_service_without_proxies_is_not_judged(tmp_path) -> None:
    async with world(tmp_path) as made:
        await made.canary("apply", made.write())
        words = ("verify", "web", "--url", made.store_url, "--yes")
        ran = await run("canary", *words, "--proxy", made.versions["v1"], status=3)

    assert "no proxy of web is live" in ran.err
