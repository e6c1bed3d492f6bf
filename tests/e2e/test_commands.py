"""The commands used badly, and by those who only look."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import trio

from canary_trio import read_document
from canary_trio.control.fleet.report import Report
from http_trio.testing.ports import free_port
from kv_trio import Client
from tests.e2e.processes import ask, run, running, world


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        _, address = await here.start_proxy()
        for words in (
            ("kv-trio", "serve", "--bind", address),
            ("canary", "serve", "web", "--bind", address, "--admin", "127.0.0.1:0"),
            (
                "canary",
                "demo",
                "--bind",
                address,
                "--store",
                "127.0.0.1:0",
                "--for",
                "1",
            ),
        ):
            ran = await run(*words, status=1)
            assert ran.err.count("\n") == 1, ran.err
            assert f"cannot listen on {address}: Address already in use" in ran.err


async def test_two_servers_do_not_share_a_data_directory(tmp_path: Path) -> None:
    async with world(tmp_path, versions=False) as here:
        ran = await run(
            "kv-trio",
            "serve",
            "--bind",
            "127.0.0.1:0",
            "--data",
            here.path / "kv",
            status=1,
        )
    assert "another server has" in ran.err


async def test_a_damaged_database_is_said_and_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "kv.sqlite"
    database.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)

    ran = await run(
        "kv-trio", "serve", "--bind", "127.0.0.1:0", "--data", tmp_path, status=1
    )

    assert "cannot be read" in ran.err
    assert database.read_bytes().endswith(b"\xff")


async def test_without_a_store_or_a_document_the_line_says_what_to_do(
    tmp_path: Path,
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    ran = await run("canary", "get", "web", "--config-server", nowhere, status=1)
    assert "is the store running there?" in ran.err
    async with world(tmp_path, versions=False) as here:
        ran = await here.canary("get", status=1)
        assert "no document for service 'web'" in ran.err
        ran = await here.canary("set", "ratio", status=1)
        assert "no document for service 'web'" in ran.err


async def test_wrong_usage_is_2(tmp_path: Path) -> None:
    await run("canary", "set", "web", status=2)
    await run("canary", "set", "web", "ratio=1", "--wait", "soon", status=2)
    await run("canary", "set", "web", "ratio=1", "--expect", "2", status=2)
    await run("canary", "nonsense", status=2)
    file = tmp_path / "bad.json"
    file.write_text('{"arms": {"stable": {}}, "ratio": 7}')
    ran = await run("canary", "validate", file, status=1)
    assert ran.err.count("\n") == 2


async def test_what_is_set_badly_is_not_written(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.canary("apply", here.write())
        before = (await here.canary("get")).out
        for words, expected in (
            (["ratio=1.5", "stil=3"], "$.stil: found an unknown field"),
            (["ratio"], "expected FIELD=VALUE"),
            (["arms.stable.servers[7]=x"], "there is no arms.stable.servers[7]"),
            (["arms.canary={}"], "$.arms.canary.servers: found nothing"),
        ):
            ran = await here.canary("set", *words, status=1)
            assert expected in ran.err
        assert (await here.canary("get")).out == before


async def test_a_change_that_no_proxy_runs_is_written_and_says_so(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as here:
        await here.canary("apply", here.write())
        ran = await here.canary("set", "ratio=0.5", "--wait", "0.5", status=3)
        assert re.fullmatch(r"revision \d+ written; no proxy is live\n", ran.out)
        assert ran.err == "canary: not live anywhere after 0.5 s: no proxy appeared\n"
        assert json.loads((await here.canary("get")).out)["ratio"] == 0.5
        more = ("set", "ratio=0.6", "--json", "--wait")
        shown = await here.canary(*more, "60", status=3)
        assert "after 2 s: no proxy appeared (with --expect N " in shown.err
        assert json.loads(shown.out)["proxies"] == 0


async def test_a_fleet_that_ends_while_it_is_waited_for_is_told(tmp_path: Path) -> None:
    key, report = "canary/web/proxies/p", Report("p", running=0, attempted=0)
    async with world(tmp_path) as here, trio.open_nursery() as nursery:
        await here.canary("apply", here.write())
        async with Client(here.store_url) as client:
            await client.put(key, report.dump())

            async def end() -> None:
                while b"0.5" not in (await read_document(client, "web"))[0]:
                    await trio.sleep(0.01)
                await trio.sleep(1.0)  # so that the report was seen: see FIRST_LOOK_S
                await client.delete(key)

            nursery.start_soon(end)
            ran = await here.canary("set", "ratio=0.5", "--wait", "3", status=3)

    assert "written; no proxy is live" in ran.out
    assert ran.err.endswith("after 3 s: all proxies ended meanwhile\n")


async def test_until_there_is_a_document_the_proxy_answers_503(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        proxy = await here.start(
            *("canary", "serve", "web", "--config-server", here.store_url),
            *("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--listen-early"),
        )
        address = (await proxy.says(r"listens on (\S+),"))[1]
        stream = await trio.open_tcp_stream(
            "127.0.0.1", int(address.rpartition(":")[2])
        )
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")
        await here.canary("apply", here.write(ratio=1), "--wait", "40")
        await proxy.says("runs revision")
        assert set(await ask(address, 10)) == {"v2"}


async def test_the_demo_runs_by_itself_and_reacts(tmp_path: Path) -> None:
    store = free_port()
    words = [
        "--bind",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--store",
        f"127.0.0.1:{store}",
    ]
    async with running("canary", "demo", *words, "--for", "8", state=tmp_path) as demo:
        await demo.says(r"set demo ratio=0\.5 --wait 2")
        url = f"http://127.0.0.1:{store}"
        ran = await run(
            "canary", "set", "demo", "ratio=1", "--wait", "40", "--config-server", url
        )
        assert "live on 1/1 proxies" in ran.out
        await demo.says(r"revision \d+ live [\d.]+ ms after its write")
        await demo.says(r"v1 0\.0 %  v2 100\.0 %")
        await demo.says(r"requests \(v1 \d+, v2 \d+\), 0 errors\n1 changes, live")
        assert await demo.process.wait() == 0


async def test_ctrl_c_ends_cleanly(tmp_path: Path) -> None:
    words = [
        "--bind",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--store",
        "127.0.0.1:0",
    ]
    async with running("canary", "demo", *words, state=tmp_path) as demo:
        await demo.says("Paste into a second terminal")
        assert await demo.ends(signal.SIGINT) == 0
        assert "Traceback" not in demo.output
    async with running(
        "kv-trio", "serve", "--bind", "127.0.0.1:0", state=tmp_path
    ) as kv:
        await kv.says("listens on")
        assert await kv.ends(signal.SIGINT) == 0
        assert "Traceback" not in kv.output
