"""How the commands begin: with three streams, whatever they were given."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from canary_health.commands import have_standard_streams


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_that_was_closed_goes_nowhere(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, name, None)
    others = {"stdin", "stdout", "stderr"} - {name}
    before = {other: getattr(sys, other) for other in others}

    have_standard_streams()

    stream = getattr(sys, name)
    try:
        assert not stream.isatty()
        assert stream.read() == "" if name == "stdin" else stream.write("a") == 1
        stream.flush()
        assert os.path.samestat(os.fstat(stream.fileno()), Path(os.devnull).stat())
        assert {other: getattr(sys, other) for other in others} == before
    finally:
        os.close(stream.fileno())
