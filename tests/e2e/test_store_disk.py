"""A store whose disk is full, or not there: it says so, and goes on when it can."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kv_trio import Client, StoreRefused
from tests.e2e.processes import run, running

SIZE = 1024 * 1024


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux's prlimit")
async def test_a_limit_of_file_size_is_a_500_until_it_is_lifted(tmp_path: Path) -> None:
    data = tmp_path / "kv"
    served = ("kv-trio", "serve", "--bind", "127.0.0.1:0", "--data", data)
    async with running(*served, state=tmp_path) as server:
        url = "http://" + (await server.says(r"listens on (\S+),"))[1]
        async with Client(url) as client:
            before = await client.put("k", b"old")
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            pid, kind = server.process.pid, resource.RLIMIT_FSIZE
            resource.prlimit(pid, kind, (100_000, hard))
            for _ in range(3):
                with pytest.raises(StoreRefused, match="cannot write to") as caught:
                    await client.put("k", b"x" * 200_000)
                assert caught.value.status == 500
            still = (await client.get("k")).entry
            resource.prlimit(pid, kind, (hard, hard))
            after = await client.put("k", b"new")
    assert still is not None
    assert (still.value, still.modify_index) == (b"old", before.index)
    assert after.index == before.index + 1
    assert "is whole: 1 entries" in (await run("kv-trio", "check", data)).out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 1 MiB, where this user may mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only who may mount a file system can fill it")
    yield path
    subprocess.run(["umount", str(path)], check=True)


async def test_a_full_disk_is_a_500_until_there_is_room(small_disk: Path) -> None:
    data, ballast = small_disk / "kv", small_disk / "ballast"
    served = ("kv-trio", "serve", "--bind", "127.0.0.1:0", "--data", data)
    async with running(*served, state=small_disk) as server:
        url = "http://" + (await server.says(r"listens on (\S+),"))[1]
        async with Client(url) as client:
            before = await client.put("k", b"old")
            with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
                file.write(bytes(SIZE))
            with pytest.raises(StoreRefused, match="cannot write to") as caught:
                await client.put("k", b"x" * 200_000)
            still = (await client.get("k")).entry
            ballast.unlink()
            after = await client.put("k", b"new")
        server.kill()
    assert caught.value.status == 500
    assert still is not None
    assert (still.value, still.modify_index) == (b"old", before.index)
    assert after.index == before.index + 1
    assert "is whole: 1 entries" in (await run("kv-trio", "check", data)).out


async def test_a_start_that_cannot_be_is_one_clear_line(tmp_path: Path) -> None:
    served = ("kv-trio", "serve", "--bind", "127.0.0.1:0", "--data")
    data = tmp_path / "kv"
    async with running(*served, data, state=tmp_path) as server:
        await server.says("listens on")
        second = await run(*served, data, status=1)
        await server.ends()
    nowhere = await run(*served, "/proc/kv", status=1)
    (data / "kv.sqlite").write_bytes(b"no database" * 100)
    damaged = await run(*served, data, status=1)

    assert "another server has" in second.err
    assert "cannot use /proc/kv for data" in nowhere.err
    assert "restore it from a backup" in damaged.err
    assert all(ran.err.count("\n") == 1 for ran in (second, nowhere, damaged))
