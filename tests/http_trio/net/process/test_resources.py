"""Files are read whole or refused, and nothing is ever waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from http_trio import read_file


def _socket(path: Path) -> None:
    import socket  # noqa: PLC0415

    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


ODD: list[tuple[str, Callable[[Path], object], str]] = [
    ("absent", lambda path: None, "No such file"),
    ("a pipe", os.mkfifo, "no regular file"),
    ("a folder", Path.mkdir, "no regular file|Is a directory"),
    ("a socket", _socket, "."),
    ("a device", lambda path: path.symlink_to("/dev/zero"), "no regular file"),
    ("too large", lambda path: path.write_bytes(bytes(11)), "more than 10 bytes"),
]


@pytest.mark.parametrize(
    ("make", "words"), [one[1:] for one in ODD], ids=[one[0] for one in ODD]
)
def test_what_is_no_file_is_refused(
    make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    make(tmp_path / "it")
    with pytest.raises(OSError, match=words):
        read_file(tmp_path / "it", 10)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"0123456789")
    assert read_file(tmp_path / "it", 10) == b"0123456789"
