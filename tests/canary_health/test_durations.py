"""A duration is taken in the same words by every option of both commands that is one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_health.commands import health_of
from canary_health.durations import Duration, read_duration, write_duration
from canary_trio.command.cli.main import main as canary
from kv_trio.cli.main import main as kv_trio

NO_TIMES = {"--slower", "--alpha", "--rate"}
"""Options that are numbers and no durations: factors, shares, requests."""


def _numbers(command: click.Command, name: str) -> Iterator[tuple[str, click.Option]]:
    for parameter in command.params:
        words = " ".join(
            [*parameter.opts, str(parameter.metavar), parameter.name or ""]
        )
        timed = any(w in words for w in ("SECONDS", "TIME", "DAYS", "days", "_s "))
        number = isinstance(parameter.type, click.types.FloatParamType) or timed
        if number and isinstance(parameter, click.Option):
            yield f"{name} {parameter.opts[0]}", parameter
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            one = command.get_command(context, inner)
            assert one is not None
            yield from _numbers(one, f"{name} {inner}")


FOUND = {
    name: option
    for command, of in [
        (canary, "canary"),
        (kv_trio, "kv-trio"),
        (health_of("canary"), "canary health"),
        (health_of("kv-trio"), "kv-trio health"),
    ]
    for name, option in _numbers(command, of)
    if option.opts[0] not in NO_TIMES and option.opts[0] != "--until"  # a date, too
}


def test_there_are_some() -> None:
    assert {
        "canary set --confirm-within",
        "canary set --wait",
        "canary rollout start --hold",
        "kv-trio serve --drain",
        "kv-trio serve --history-days",
        "canary health --timeout",
    } <= FOUND.keys()


@pytest.mark.parametrize("name", FOUND)
def test_an_option_takes_words(name: str) -> None:
    option = FOUND[name]
    assert isinstance(option.type, Duration), "a duration is of the type Duration"
    with click.Context(click.Command("x")) as context:
        unit = {"s": 1, "d": 86400}[option.type.unit]
        for text, seconds in [("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400)]:
            if seconds / unit > (option.type.max or math.inf):
                with pytest.raises(click.BadParameter, match=f"found {text}, expected"):
                    option.type.convert(text, option, context)
                continue
            found = option.type.convert(text, option, context)
            assert found == pytest.approx(seconds / unit)
        assert option.type.convert("9", option, context) == 9
        with pytest.raises(click.BadParameter, match="a time such as 90s"):
            option.type.convert("10x", option, context)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "10 m",
        "-1s",
        "10x",
        "1h-1m",
        "nan",
        "inf",
        "9" * 41,
        "1e999",
        "٣s",
        "5s\n",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as"):
        read_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1e1", 10), (".5", 0.5), ("5.", 5), ("250ms", 0.25), ("1m1ms", 60.001)],
)
def test_what_is_one_is_read(text: str, seconds: float) -> None:
    assert read_duration(text) == pytest.approx(seconds)


@given(st.integers(0, 10**9))
def test_what_is_written_is_read(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert read_duration(write_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8d", "1s to 7d"), ("0.5", "1s to 7d"), ("999ms", "1s to 7d")],
)
def test_beyond_the_range_says_the_range(text: str, expected: str) -> None:
    with pytest.raises(click.BadParameter, match=f"found {text}, expected {expected}"):
        Duration(min=1, max=7 * 86400).convert(text, None, None)
