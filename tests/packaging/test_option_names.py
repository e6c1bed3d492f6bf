"""Both commands call the same thing by one name: the option and its variable.

Who has exported a variable for one command has done so for the other; who knows an option of
one knows it of the other; `--url` and `--state` are what one command's users have called them. Only a server's own directory has a variable for each command,
since two servers must not share it.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from canary_health.commands import health_of
from canary_trio.command.cli.main import main as canary
from kv_trio.cli.main import main as kv_trio

OWN = {"--data": {("CANARY_DATA",), ("KV_TRIO_DATA",)}}
"""What is not shared: the directory that each server has for itself."""


def _options(command: click.Command) -> Iterator[click.Option]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _options(below)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield parameter


def _variables(option: click.Option) -> tuple[str, ...]:
    given = option.envvar or ()
    return (given,) if isinstance(given, str) else tuple(given)


ALL = [
    option
    for command in (canary, kv_trio, health_of("canary"), health_of("kv-trio"))
    for option in _options(command)
]


def test_a_variable_belongs_to_one_option() -> None:
    found: dict[str, set[str]] = {}
    for option in ALL:
        for variable in _variables(option):
            found.setdefault(variable, set()).add(option.opts[0])
    assert {name: names for name, names in found.items() if len(names) > 1} == {}


def test_an_option_has_the_same_variable_everywhere() -> None:
    found: dict[str, set[tuple[str, ...]]] = {}
    for option in ALL:
        if _variables(option):
            found.setdefault(option.opts[0], set()).add(_variables(option))
    assert found.pop("--data") == OWN["--data"]
    assert {name: sets for name, sets in found.items() if len(sets) > 1} == {}


@pytest.mark.parametrize("option", ALL, ids=lambda option: option.opts[0])
def test_a_variable_is_named_after_its_option(option: click.Option) -> None:
    for variable in _variables(option)[:1]:  # others are of Consul's
        name = option.opts[0].removeprefix("--").replace("-", "_").upper()
        assert variable in (f"CANARY_{name}", f"KV_TRIO_{name}")
        assert option.show_envvar, variable


@pytest.mark.parametrize(
    ("name", "alias"), [("--config-server", "--url"), ("--data", "--state")]
)
def test_the_store_and_the_directory_have_one_alias(name: str, alias: str) -> None:
    found = {tuple(option.opts) for option in ALL if {name, alias} & {*option.opts}}
    assert found == {(name, alias)}
