"""A line of the process log is one line, has what is known, and is never waited for."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canary_health.process_log import (
    BUFFER_BYTES,
    PAUSE_S,
    LogForm,
    ProcessLog,
    configure,
    dropped,
    fail_as_json,
    know,
)

ODD = st.text(
    st.sampled_from(
        [*"ab =\"'[]", "\r", "\n", "\x1b", "\x00", "\x85", "\u2028", "\u202e"]
    )
    | st.characters()
)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level, sys.excepthook = handlers, level, hook
    logging.captureWarnings(capture=False)


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


def settle(handler: ProcessLog) -> None:
    """Wait until all is written, however slow the machine is."""
    handler.flush()
    while handler._lines or handler._is_writing:
        handler.flush()


@pytest.mark.parametrize("form", LogForm)
def test_a_traceback_has_no_values(form: LogForm, said: io.StringIO) -> None:
    handler = configure(form, to=said)
    secret = f"hidden-{form.value}"  # the line itself may be shown
    try:
        int("x" + secret[:0])
    except ValueError:
        logging.getLogger("one").exception("it failed")
    settle(handler)

    assert "it failed" in said.getvalue()
    assert "ValueError" in said.getvalue()
    assert secret not in said.getvalue()
    assert "\u2502" not in said.getvalue()  # a frame that is drawn


def test_json_has_time_level_event_and_who_it_is_first(said: io.StringIO) -> None:
    handler = configure(LogForm.JSON, to=said, service="web", worker=2)
    logging.getLogger("one").info("before %s", "its name")
    know(id="host-8080.2")
    logging.getLogger("one").warning("other", extra={"service": "shop", "arm": "v2"})
    settle(handler)

    first, second = map(json.loads, said.getvalue().splitlines())
    assert (first["template"], first["values"]) == ("before %s", ["its name"])
    assert "template" not in second
    assert list(second)[:6] == [
        "timestamp",
        "level",
        "event",
        "service",
        "id",
        "worker",
    ]
    assert (first["event"], first["service"], "id" in first) == (
        "before its name",
        "web",
        False,
    )
    assert (second["service"], second["arm"]) == ("shop", "v2")
    assert (second["id"], second["worker"], second["level"]) == (
        *("host-8080.2", 2),
        "warning",
    )
    when = datetime.fromisoformat(second["timestamp"])
    assert when.utcoffset() == timedelta(0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ODD, ODD, ODD)
def test_whatever_a_peer_sent_is_one_line_of_text(
    said: io.StringIO, event: str, value: str, raised: str
) -> None:
    handler = configure(LogForm.TEXT, to=said)
    said.seek(0)
    said.truncate()
    log = logging.getLogger("one")
    log.warning("it said %s", event, extra={"said": value})
    try:
        raise ValueError(raised)
    except ValueError:
        log.exception("it raised")
    settle(handler)

    head, *rest = said.getvalue().removesuffix("\n").split("\n")
    assert all(one.isprintable() for one in (head, *rest))
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z ", head)
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z .*it raised", rest[0])
    assert all(line.startswith("    ") for line in rest[1:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ODD, ODD)
def test_whatever_a_peer_sent_comes_back_from_json(
    said: io.StringIO, event: str, value: str
) -> None:
    handler = configure(LogForm.JSON, to=said)
    said.seek(0)
    said.truncate()
    logging.getLogger("one").warning("%s", event, extra={"said": value})
    settle(handler)
    (line,) = said.getvalue().splitlines()
    assert line.isascii()
    told = json.loads(line)
    assert (told["event"], told["said"]) == (event, value)


def test_a_reader_that_stands_still_costs_lines_and_no_wait() -> None:
    may_go_on = threading.Event()
    stream = io.StringIO()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            may_go_on.wait(60)
            return stream.write(text)

    handler = configure(LogForm.JSON, to=Slow())
    log, text = logging.getLogger("one"), "x" * 10_000
    count = 3 * BUFFER_BYTES // len(text)
    for _ in range(count):
        log.info(text)
    lost = dropped()
    assert 0 < lost < count
    may_go_on.set()
    settle(handler)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [line["lost"] for line in lines if "lost" in line]
    assert sum(told) == lost
    assert len(lines) == count - lost + len(told)


def test_a_stream_that_takes_nothing_ends_nothing() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    handler = configure(LogForm.TEXT, to=Full())
    logging.getLogger("one").info("lost")
    settle(handler)
    assert dropped() == 1


def test_a_line_that_cannot_be_told_is_said(said: io.StringIO) -> None:
    handler = configure(LogForm.JSON, to=said)
    logging.getLogger("one").info("%d", "no number")
    settle(handler)
    assert "cannot be told" in json.loads(said.getvalue())["event"]


def test_what_ends_the_process_is_a_line_too(said: io.StringIO) -> None:
    handler = configure(LogForm.JSON, to=said, service="web")
    with pytest.raises(SystemExit) as raised:
        fail_as_json("the port is taken", 2)
    sys.excepthook(ValueError, ValueError("no"), None)
    settle(handler)

    first, second = map(json.loads, said.getvalue().splitlines())
    assert raised.value.code == 2
    assert (first["event"], first["level"]) == ("the port is taken", "critical")
    assert second["exception"][0]["exc_type"] == "ValueError"


def test_in_text_the_command_says_itself_why_it_ends(said: io.StringIO) -> None:
    configure(LogForm.TEXT, to=said)
    fail_as_json("the port is taken")
    assert said.getvalue() == ""


def test_who_embeds_a_proxy_or_a_store_needs_no_structlog_and_keeps_his_logging() -> (
    None
):
    program = """
import logging, sys
import canary_trio, http_trio, kv_trio
canary_trio.serve, kv_trio.serve, http_trio.serve
import canary_trio.admin.metrics.catalog
assert not [name for name in sys.modules if name.partition('.')[0] == 'structlog']
assert not logging.getLogger().handlers
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_lines_in_a_row_are_written_together() -> None:
    """So a proxy whose configuration changes often is not woken for each line of it."""

    class Counting(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            return super().write(text)

    to = Counting()
    handler = ProcessLog(to)
    begun = time.monotonic()
    for number in range(3000):
        handler.emit(logging.makeLogRecord({"msg": f"line {number}"}))
        if number % 100 == 0:
            time.sleep(0.001)  # the thread has its turn
    took_s = time.monotonic() - begun
    settle(handler)

    assert to.getvalue().splitlines() == [f"line {n}" for n in range(3000)]
    assert to.writes <= 2 + took_s / PAUSE_S + 1
