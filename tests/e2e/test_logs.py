"""What serves says everything in its log: lines of JSON on stderr, and nothing on stdout."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import trio

from http_trio.testing.ports import free_port
from tests.e2e.processes import BIN, PATIENCE_S


class Serving:
    """A command that serves, with its two streams in files of their own."""

    def __init__(self, path: Path, name: str, *words: object) -> None:
        self.out, self.err = path / f"{name}.out", path / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            command = [str(BIN / str(words[0])), *map(str, words[1:])]
            self.process = subprocess.Popen(command, stdout=out, stderr=err)

    async def says(self, pattern: str) -> str:
        with trio.fail_after(PATIENCE_S):
            while not (found := re.search(pattern, self.err.read_text())):
                assert self.process.poll() is None, self.err.read_text()
                await trio.sleep(0.02)
            return found[1]

    async def ends(self) -> list[dict[str, Any]]:
        self.process.terminate()
        with trio.fail_after(PATIENCE_S):
            while self.process.poll() is None:
                await trio.sleep(0.02)
        return [json.loads(line) for line in self.err.read_text().splitlines()]


async def test_every_line_is_json_on_stderr_and_says_whose_it_is(
    tmp_path: Path,
) -> None:
    started: list[Serving] = []

    def serve(name: str, *words: object) -> Serving:
        one = Serving(tmp_path, name, *words, "--log-format", "json")
        started.append(one)
        return one

    document = tmp_path / "web.json"
    server = f"http://127.0.0.1:{free_port()}"
    document.write_text(json.dumps({"arms": {"stable": {"servers": [server]}}}))
    table = tmp_path / "edge.json"
    table.write_text(json.dumps({"routes": [{"service": "web"}]}))
    try:
        store = serve("store", "kv-trio", "serve", "--bind", "127.0.0.1:0")
        url = "http://" + await store.says(r"listens on ([\d.:]+)")
        options = ("--config-server", url, "--data", tmp_path / "data")
        ports = ("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        boot = ("--bootstrap", document)
        one = serve("one", "canary", "serve", "web", *options, *ports, *boot)
        two = ("--workers", 2, "--id", "two")
        workers = serve("two", "canary", "serve", "web", *options, *ports, *two)
        edge = serve(
            *("edge", "canary", "serve", "@edge", *options, *ports),
            *("--bootstrap", table, "--id", "edge"),
        )
        for proxy in (one, workers, edge):
            await proxy.says("(runs revision)")
        wrong = await trio.run_process(
            [BIN / "kv-trio", "put", "canary/web/config", "{\x1b[2J", *options[:2]]
        )
        assert wrong.returncode == 0
        for proxy in (one, workers, edge):
            await proxy.says(r"(revision \d+ of web is refused)")
        lines = {one.err.stem: await one.ends() for one in reversed(started)}
    finally:
        for process in started:
            process.process.kill()
            process.process.wait()

    for one in started:
        assert one.out.read_text() == "", one.out
    check_lines(lines)


def check_lines(lines: dict[str, list[dict[str, Any]]]) -> None:
    for name, told in lines.items():
        assert told, name
        for line in told:
            assert line["timestamp"].endswith("Z"), line
            assert line["level"] in ("info", "warning", "error"), line
    assert {line["service"] for line in lines["store"]} == {"kv-trio"}
    (refused,) = [line for line in lines["one"] if line.get("kind") == "refusal"]
    assert (refused["service"], refused["level"]) == ("web", "error")
    assert refused["id"].count("-") >= 1
    assert {"web", "@edge"} == {line["service"] for line in lines["edge"]}
    assert {line["id"] for line in lines["edge"][1:]} == {"edge"}
    assert {(line.get("worker"), line["id"]) for line in lines["two"][1:]} >= {
        *((None, "two"), (1, "two.1"), (2, "two.2"))
    }
    for name in ("one", "store"):
        kinds = [line["event"] for line in lines[name] if line.get("kind") == "drain"]
        assert len(kinds) == 2, (name, kinds)


async def test_why_it_cannot_serve_is_a_line_too(tmp_path: Path) -> None:
    one = Serving(
        *(tmp_path, "one", "canary", "serve", "web", "--log-format", "json"),
        *("--access-log", tmp_path / "no" / "x", "--data", tmp_path),
    )
    with trio.fail_after(PATIENCE_S):
        while one.process.poll() is None:
            await trio.sleep(0.02)
    (told,) = map(json.loads, one.err.read_text().splitlines())
    assert one.process.returncode == 1
    assert told["level"] == "critical"
    assert told["event"].startswith("cannot open the access log")
    assert one.out.read_text() == ""
