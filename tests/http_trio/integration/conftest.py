"""What several of these tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.http_trio.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority that issues certificates into a directory of the test's own."""
    return Authority(tmp_path)
