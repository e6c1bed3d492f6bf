"""Each command is where its group says, and none is imported for another one."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from canary_health.command_group import CommandGroup
from canary_trio.command.cli.main import COMMANDS as CANARY
from canary_trio.command.cli.main import main as canary
from kv_trio.cli.main import COMMANDS as KV_TRIO
from kv_trio.cli.main import main as kv_trio


@pytest.mark.parametrize(
    ("group", "name"),
    [*((canary, name) for name in CANARY), *((kv_trio, name) for name in KV_TRIO)],
    ids=[
        *(f"canary {name}" for name in CANARY),
        *(f"kv-trio {name}" for name in KV_TRIO),
    ],
)
def test_a_command_is_where_its_group_says(group: click.Group, name: str) -> None:
    command = group.get_command(click.Context(group), name)

    assert command is not None
    assert command.name == name
    assert command.help, "the list of commands says what each does"


@pytest.mark.parametrize(("group", "places"), [(canary, CANARY), (kv_trio, KV_TRIO)])
def test_all_are_listed_in_order(group: click.Group, places: dict[str, str]) -> None:
    assert group.list_commands(click.Context(group)) == sorted([*places, "health"])


def test_one_that_is_not_there_is_none() -> None:
    group = CommandGroup("x", places={})

    assert group.get_command(click.Context(group), "y") is None


def test_only_the_one_that_is_run_is_imported() -> None:
    code = (
        "import sys; from kv_trio.cli.main import main;"
        " main(['get', '--help'], standalone_mode=False);"
        " print(*(name for name in sys.modules if name.startswith('kv_trio.cli.')))"
    )
    run = [sys.executable, "-c", code]
    shown = subprocess.run(run, capture_output=True, text=True, check=True).stdout

    assert "kv_trio.cli.key_commands" in shown
    assert "kv_trio.cli.serve" not in shown
