"""What happens to traffic when servers die, and when the configuration changes."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serve_websockets

from tests.e2e.processes import Process, World, connected_to, world


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as made:
        yield made


async def start_version(here: World, name: str) -> tuple[Process, str]:
    process = await here.start("python", "-m", "tests.e2e.version", name)
    match = await process.says(r"listens on (\S+)")
    return process, f"http://{match[1]}"


async def test_killing_every_canary_server_under_load_fails_no_request(
    here: World,
) -> None:
    first, first_url = await start_version(here, "c1")
    second, second_url = await start_version(here, "c2")
    arms = {
        "stable": {"servers": [here.versions["v1"]]},
        "canary": {"servers": [first_url, second_url]},
    }
    proxy, address = await here.start_proxy(arms=arms, ratio=0.5)
    responses: Counter[str] = Counter()
    stop = trio.Event()

    async def load(path: bytes) -> None:
        async with connected_to(address) as client:
            while not stop.is_set():
                head, body = await client.ask(path)
                assert head.startswith(b"HTTP/1.1 200 "), head
                responses[body.decode()] += 1

    async with trio.open_nursery() as nursery:
        for at in range(20):
            nursery.start_soon(load, b"/slow" if at % 4 == 0 else b"/")
        with trio.fail_after(30):
            while min(responses["c1"], responses["c2"]) < 50:
                await trio.sleep(0.01)
            first.kill()
            while responses["c2"] < 150:
                await trio.sleep(0.01)
            second.kill()
            await second.process.wait()
            since = responses["v1"]
            while responses["v1"] < since + 500:
                await trio.sleep(0.01)
        stop.set()
    assert set(responses) == {"v1", "c1", "c2"}
    assert proxy.process.poll() is None


def echo(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(message)


@pytest.fixture
def echo_url() -> Iterator[str]:
    """A WebSocket server that is not ours."""
    with serve_websockets(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def ask(websocket: ClientConnection, text: str) -> str | bytes:
    websocket.send(text)
    return websocket.recv(10)


async def test_a_recalled_websocket_hears_1012_and_others_stay(
    here: World, echo_url: str
) -> None:
    run = trio.to_thread.run_sync
    arms = {name: {"servers": [echo_url]} for name in ("stable", "canary")}
    recall = {"change": "recall", "time": 0.1}
    rules = [{"header": "X-Canary", "equals": "yes", "arm": "canary"}]
    _, address = await here.start_proxy(arms=arms, rules=rules, connections=recall)
    url, canary = f"ws://{address}/", {"X-Canary": "yes"}
    with contextlib.ExitStack() as stack:
        stays = await run(stack.enter_context, connect(url))
        goes = await run(stack.enter_context, connect(url, additional_headers=canary))
        await here.canary("set", "update_rate=20", "--wait", "40")
        for websocket in (stays, goes):
            assert await run(ask, websocket, "hello") == "hello"

        file = here.write(arms={"stable": arms["stable"]}, connections=recall)
        await here.canary("apply", file, "--wait", "40")

        with pytest.raises(ConnectionClosed) as closed:
            await run(goes.recv, 10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert await run(ask, stays, "still here") == "still here"
        await run(stack.close)


async def test_an_arm_has_waits_and_fields_of_its_own(here: World) -> None:
    stable = {
        "servers": [here.versions["v1"]],
        "timeouts": {"response": 0.1},
        "request_headers": {"set": {"Cookie": "who=proxy"}},
        "response_headers": {"add": {"X-Arm": "stable"}},
    }
    _, address = await here.start_proxy(arms={"stable": stable})

    async with connected_to(address) as client:
        head, body = await client.ask(b"/cookie")
        late, _ = await client.ask(b"/never")
        after, _ = await client.ask()

    assert (head.splitlines()[0], body) == (b"HTTP/1.1 200 OK", b"who=proxy")
    assert b"\r\nX-Arm: stable" in head
    assert late.startswith(b"HTTP/1.1 504 ")
    assert after.startswith(b"HTTP/1.1 200 ")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_an_arm_is_compressed_from_when_it_asks(here: World) -> None:
    _, address = await here.start_proxy()

    async def asked(*words: str) -> list[str]:
        told = "\n%header{content-encoding} %header{vary}"
        command = ["curl", "-s", *words, "-w", told, f"http://{address}/"]
        ran = await trio.run_process(command, capture_stdout=True)
        return ran.stdout.decode().splitlines()

    assert await asked("--compressed") == ["v1", " "]
    arms = here.document()["arms"]
    arms["stable"]["compress"] = {"least": 1, "codings": ["gzip"]}
    await here.canary("apply", here.write(arms=arms), "--wait", "40")
    assert await asked("--compressed") == ["v1", "gzip Accept-Encoding"]
    assert await asked() == ["v1", " Accept-Encoding"]


async def test_beyond_a_servers_places_one_waits_and_the_next_is_refused(
    here: World,
) -> None:
    limits = {"in_flight": 1, "pending": 1, "wait": 10}
    stable = {"servers": [here.versions["v1"]], "limits": limits}
    _, address = await here.start_proxy(arms={"stable": stable})
    heads: list[bytes] = []

    async def ask() -> None:
        async with connected_to(address) as client:
            head, _ = await client.ask(b"/slow")
            heads.append(head)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)

    assert sorted(head[9:12] for head in heads) == [b"200", b"200", b"503"]
    assert any(b"\r\nRetry-After: " in head for head in heads)
