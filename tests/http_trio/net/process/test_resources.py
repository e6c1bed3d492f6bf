"""Files are read whole or refused, and nothing is ever waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from http_trio import open_to_append, opened_again, read_file


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


def test_a_file_that_was_moved_is_opened_anew_and_lines_are_added(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"1\n")
    fd = open_to_append(path)
    os.write(fd, b"2\n")
    path.rename(tmp_path / "old")
    found = opened_again("the log", path, fd)
    assert found is not None
    os.write(found, b"3\n")
    os.close(found)
    assert (tmp_path / "old").read_bytes() == b"1\n2\n"
    assert path.read_bytes() == b"3\n"


def test_where_it_cannot_be_the_old_one_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fd = open_to_append(tmp_path / "log")
    assert opened_again("the log", tmp_path / "no" / "log", fd) is None
    os.write(fd, b"1\n")
    os.close(fd)
    assert "the log goes on in the old file: No such file" in caplog.text
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        open_to_append(tmp_path / "pipe")
