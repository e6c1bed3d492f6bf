"""A number that an option takes has an end, whichever option it is."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from canary_health.finite import Finite
from canary_trio.command.cli.main import main as canary
from kv_trio.cli.main import main as kv_trio


def numbers(command: click.Command, name: str) -> Iterator[tuple[str, click.Parameter]]:
    """Give the parameters of a command, and of those in it, that are numbers."""
    for parameter in command.params:
        if isinstance(parameter.type, click.types.FloatParamType):
            yield f"{name} {parameter.opts[0]}", parameter
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            one = command.get_command(context, inner)
            assert one is not None
            yield from numbers(one, f"{name} {inner}")


FOUND = dict([*numbers(canary, "canary"), *numbers(kv_trio, "kv-trio")])


def test_there_are_some() -> None:
    assert {"canary serve --drain", "kv-trio serve --wait-data"} <= FOUND.keys()


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "-1", "soon", ""])
def test_what_has_no_end_is_refused(name: str, text: str) -> None:
    parameter = FOUND[name]
    with click.Context(click.Command("x")) as context:
        with pytest.raises(click.BadParameter):
            parameter.type.convert(text, parameter, context)


@pytest.mark.parametrize("text", ["0", "0.5", "1e3"])
def test_a_number_is_read(text: str) -> None:
    assert Finite(min=0).convert(text, None, None) == float(text)
