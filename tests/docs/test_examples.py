"""Each program in examples/ does what it says, and says what its page shows."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import trio

from tests.docs.pages import ROOT

PRINTED = {
    "asgi_mount": "the application\nthe engine, at /engine/room\n",
    "blue_green": "green stays: False\nserved by blue\ngreen stays: True\nserved by green\n",
    "custom_gate": "the gate was asked, and is closed\nthe rollout is done\n",
    "custom_source": "served by one\nserved by two\n",
    "embed": "ratio 0: {'v1': 100}\nratio 0.25: {'v1': 75, 'v2': 25}\nratio 1: {'v2': 100}\n",
    "live_flag": "hello, old checkout\nhello, new checkout\n",
    "live_value": "at first Limits(rate=10)\nnow Limits(rate=20)\n",
}


def test_each_example_is_run() -> None:
    there = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"__init__"}

    assert there == PRINTED.keys()


@pytest.mark.parametrize("name", PRINTED)
async def test_an_example_does_what_it_says(
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with trio.fail_after(10):
        await importlib.import_module(f"examples.{name}").main()

    assert capsys.readouterr().out == PRINTED[name]
