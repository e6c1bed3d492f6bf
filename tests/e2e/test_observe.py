"""What a running proxy says of its traffic: answer field, log, metrics, explain."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from http_trio.testing.ports import free_port
from tests.e2e.processes import (
    PATIENCE_S,
    Process,
    World,
    ask,
    connected_to,
    world,
)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


def field(head: bytes, name: bytes) -> str:
    lines = [line for line in head.split(b"\r\n") if line.startswith(name + b": ")]
    assert len(lines) == 1, head
    return lines[0].partition(b": ")[2].decode()


async def test_each_answer_says_by_what_it_was_routed(here: World) -> None:
    proxy, address = await here.start_proxy(ratio=0.25, decision_header="X-Canary")
    said: Counter[tuple[str, bytes]] = Counter()
    async with connected_to(address) as client:
        for _ in range(8):
            head, body = await client.ask()
            said[field(head, b"X-Canary"), body] += 1
        (revision,) = {value.split(",")[0] for value, _ in said}

        assert said == {
            (f'{revision}, protocol=HTTP/1.1, arm="stable", reason=ratio', b"v1"): 6,
            (f'{revision}, protocol=HTTP/1.1, arm="canary", reason=ratio', b"v2"): 2,
        }

        text = await page(proxy, b"/metrics")
        series = 'canary_requests_total{arm="%s",chosen="%s",code="2xx",reason="ratio"'
        assert f'{series % ("canary", "canary")},rule="",service="web"}} 2.0\n' in text
        assert 'canary_split_observed_share{arm="canary",service="web"} 0.25\n' in text
        assert 'canary_connections{service="web"} 1.0\n' in text
        assert (
            f'canary_config_revision{{service="web",state="running"}} {revision.split("=")[1]}'
            in text
        )

        written = await here.canary("set", "sticky_sessions=true", "--wait", "40")
        head, _ = await client.ask()
        assert field(head, b"X-Canary").startswith(f"revision={written.out.split()[1]}")
        cookie = field(head, b"Set-Cookie").partition(";")[0].encode()
        head, _ = await client.ask(b"/", b"Cookie: " + cookie)
        assert field(head, b"X-Canary").endswith("reason=sticky")


async def page(proxy: Process, path: bytes) -> str:
    """Ask the admin listener."""
    match = await proxy.says(r"admin on ([\d.:]+)")
    async with connected_to(match[1]) as client:
        head, body = await client.ask(path)
        assert head.startswith(b"HTTP/1.1 200 "), head
        return body.decode()


def log_lines(file: Path) -> list[dict[str, Any]]:
    """Give the lines of a log, which may not be there yet."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def exists(file: Path) -> bool:
    return file.exists()


async def wait_for_lines(file: Path, count: int) -> list[dict[str, Any]]:
    with trio.fail_after(PATIENCE_S):
        while len(lines := log_lines(file)) < count:
            await trio.sleep(0.01)
    return lines


async def test_each_request_has_a_line_that_says_how_it_was_routed(
    here: World, tmp_path: Path
) -> None:
    file = tmp_path / "access.log"
    proxy, address = await here.start_proxy("--access-log", file, ratio=0.25)
    async with connected_to(address) as client:
        for number in range(4):
            _, body = await client.ask(b'/%d?x="\\' % number)
            assert body in (b"v1", b"v2")
        await client.ask(b"/post", method=b"POST", body=b"hello")
    lines = await wait_for_lines(file, 5)

    assert [line["target"] for line in lines[:4]] == [
        f'/{number}?x="\\' for number in range(4)
    ]
    arms = Counter(line["arm"] for line in lines)
    assert arms["canary"] == 1
    for line in lines:
        server = here.versions["v2" if line["arm"] == "canary" else "v1"]
        assert line["server"] == server
        assert (line["status"], line["bytes"], line["reason"]) == (200, 2, "ratio")
        assert (line["client"], line["retries"]) == ("127.0.0.1", 0)
        assert 0 <= line["seconds"] < PATIENCE_S
        assert f"runs revision {line['revision']} " in proxy.output
    assert lines[4]["method"] == "POST"


async def test_who_served_in_whose_place_is_said_everywhere(
    here: World, tmp_path: Path
) -> None:
    file = tmp_path / "access.log"
    url = f"http://127.0.0.1:{free_port()}"
    dead = {"servers": [url], "ejection": {"failures": 2}}
    arms = {**here.document()["arms"], "canary": dead}
    proxy, address = await here.start_proxy(
        *("--access-log", file), ratio=1, arms=arms, decision_header="X-Canary"
    )
    reasons = []
    async with connected_to(address) as client:
        for _ in range(4):
            head, body = await client.ask(b"/", b"X-Request-Id: mine")
            assert body == b"v1"
            value = field(head, b"X-Canary")
            reasons.append(value.split("reason=")[1])
            assert 'arm="stable"' in value
    lines = await wait_for_lines(file, 4)

    retry, fallback = (f'{why}, chosen="canary"' for why in ("retry", "fallback"))
    assert reasons == [retry, retry, fallback, fallback]
    said = [(line["reason"], line["retries"]) for line in lines]
    assert said == [("retry", 1), ("retry", 1), ("fallback", 0), ("fallback", 0)]
    for line in lines:
        assert (line["arm"], line["chosen"]) == ("stable", "canary")
        assert (line["server"], line["request_id"]) == (here.versions["v1"], "mine")
    text = await page(proxy, b"/metrics")
    assert (
        'canary_failures_total{arm="canary",condition="unreachable",service="web"} 2.0'
        in text
    )
    assert 'canary_arm_saved_total{arm="canary",service="web"} 4.0' in text
    assert 'canary_retries_total{arm="canary",service="web"} 2.0' in text
    assert (
        f'canary_server_healthy{{arm="canary",server="{url}",service="web"}} 0.0'
        in text
    )


async def test_a_log_is_rotated_by_a_signal_and_complete_at_the_end(
    here: World, tmp_path: Path
) -> None:
    file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    proxy, address = await here.start_proxy("--access-log", file)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        await ask(address, 3)
        await wait_for_lines(file, 3)
        file.rename(moved)
        proxy.process.send_signal(number)
        with trio.fail_after(PATIENCE_S):
            while not exists(file):
                await trio.sleep(0.01)
        assert len(log_lines(moved)) == 3
    await ask(address, 5)
    assert await proxy.ends() == 0

    assert len(log_lines(file)) == 5


async def test_a_log_to_standard_output_has_it_alone(here: World) -> None:
    proxy, address = await here.start_proxy(
        *("--access-log", "-", "--access-log-format", "text", "--log-format", "json")
    )
    await ask(address, 1)
    await proxy.says(r'127\.0\.0\.1 - - \[[^]]+\] "GET / HTTP/1\.1" 200 2 seconds=')
    told = [line for line in proxy.output.splitlines() if line.startswith("{")]

    assert any("is live" in json.loads(line)["event"] for line in told)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
async def test_a_full_disk_does_not_concern_the_traffic(here: World) -> None:
    proxy, address = await here.start_proxy("--access-log", "/dev/full")
    assert set(await ask(address, 50)) == {"v1"}
    await proxy.says("lines of the access log are dropped: No space left on device")
    assert set(await ask(address, 50)) == {"v1"}


async def test_a_log_that_cannot_be_opened_is_said_at_once(
    here: World, tmp_path: Path
) -> None:
    said = await here.canary("serve", "--access-log", tmp_path / "no" / "x", status=1)

    assert re.fullmatch(
        r"canary: cannot open the access log \S+/no/x: No such file or directory\n",
        said.err,
    )


async def test_a_request_is_explained_without_being_sent(here: World) -> None:
    rules = [{"name": "beta", "header": "X-Beta", "equals": "yes", "arm": "canary"}]
    proxy, address = await here.start_proxy(
        rules=rules,
        sticky_sessions={"cookie": "canary", "server": True},
        ratio=0.5,
        decision_header="X-Canary",
    )
    async with connected_to(address) as client:
        head, _ = await client.ask()
        cookie = field(head, b"Set-Cookie").partition(";")[0]
        head, body = await client.ask(b"/", b"Cookie: " + cookie.encode())
    arm = {b"v1": "stable", b"v2": "canary"}[body]
    routed = field(head, b"X-Canary")

    said = await here.canary("explain", "http://h/x", "-b", cookie, "--json")
    here_said = json.loads(said.out)
    asked = json.dumps({"target": "/x", "headers": {"Cookie": cookie}})
    match = await proxy.says(r"admin on ([\d.:]+)")
    async with connected_to(match[1]) as admin:
        head, response = await admin.ask(
            b"/explain", method=b"POST", body=asked.encode()
        )
        assert head.startswith(b"HTTP/1.1 200 ")
        by_proxy = json.loads(response)
        assert by_proxy.pop("server") in by_proxy["servers"]
        assert by_proxy == {k: v for k, v in here_said.items() if k != "server"}
        head, response = await admin.ask(b"/explain", method=b"POST", body=b"{}x")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert json.loads(response)["problems"][0]["path"] == "$"

    assert (here_said["arm"], here_said["reason"]) == (arm, "sticky")
    assert routed == (
        f'revision={here_said["revision"]}, protocol=HTTP/1.1, arm="{arm}", reason=sticky'
    )
    said = await here.canary("explain", "-H", "X-Beta: yes")
    assert said.out.splitlines() == [
        f"revision {here_said['revision']}: arm canary, by rule beta",
        "  it would be given a cookie",
        f"  server {here.versions['v2']}",
    ]
    said = await here.canary("explain", "-X", "a b", status=1)
    assert 'canary: $.method: found "a b", expected a method' in said.err


async def test_the_status_says_when_an_arm_can_be_removed(here: World) -> None:
    proxy, address = await here.start_proxy("--id", "one", ratio=0.5)
    await ask(address, 10)
    arms = json.loads(await page(proxy, b"/status"))["arms"]
    assert [(arm["asked_share"], arm["observed_share"]) for arm in arms.values()] == [
        *((0.5, 0.5), (0.5, 0.5))
    ]
    assert arms["canary"]["held_by"] == ["the ratio gives it 0.5"]

    await here.canary("set", "ratio=0", "--wait", "40")
    said = await here.canary("status", "--arms")
    _, canary, server = (
        line
        for line in said.out.splitlines()
        if "canary:" in line or "runs" in line or here.versions["v2"] in line
    )
    assert "asked 0" in canary
    assert "safe to remove" in canary
    assert "ready, 0 in progress" in server
    assert (await here.canary("status", "--arms", "--json")).out.count('"held_by"') == 2


async def test_a_mirror_that_is_dead_or_answers_otherwise_harms_nobody(
    here: World,
) -> None:
    mirror = {"arm": "canary", "timeout": 1}
    proxy, address = await here.start_proxy(mirror=mirror)

    async def skipped(**wanted: int) -> dict[str, int]:
        with trio.fail_after(PATIENCE_S):
            while True:
                shown = json.loads(await page(proxy, b"/status"))["mirror"]
                found: dict[str, dict[str, int]] = shown["canary"]
                if found["outcomes"].items() >= wanted.items():
                    return found["skipped"]
                await trio.sleep(0.01)

    assert set(await ask(address, 20)) == {"v1"}
    assert set((await skipped(same=20)).values()) == {0}

    dead = f"http://127.0.0.1:{free_port()}"
    other = here.store_url  # which answers something else
    for url, outcome in ((dead, "no_response"), (other, "other_size")):
        await here.canary("set", f'arms.canary.servers=["{url}"]', "--wait", "40")
        assert set(await ask(address, 20)) == {"v1"}
        assert set((await skipped(same=20, **{outcome: 20})).values()) == {0}
