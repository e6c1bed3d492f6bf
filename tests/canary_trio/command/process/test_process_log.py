"""A traceback in the process log is plain, and holds no value of a variable."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from canary_trio.command.process.process_log import LogForm, configure


@pytest.fixture(autouse=True)
def _root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("form", LogForm)
def test_a_traceback_has_no_values(
    form: LogForm, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(form)
    secret = f"hidden-{form.value}"  # the line itself may be shown
    try:
        int("x" + secret[:0])
    except ValueError:
        logging.getLogger("one").exception("it failed")
    said = capsys.readouterr().err

    assert "it failed" in said
    assert "ValueError" in said
    assert secret not in said
    assert "\u2502" not in said  # a frame that is drawn
