"""The command `kv-trio`, as its users run it."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import sqlite3
from pathlib import Path

import pytest
import trio

from tests.e2e.processes import PATIENCE_S, Ran, World, run, running, world


async def kv(made: World, *words: object, status: int = 0, stdin: bytes = b"") -> Ran:
    verb, *rest = words
    return await run(
        *("kv-trio", verb, "--config-server", made.store_url, *rest),
        status=status,
        stdin=stdin,
    )


async def test_keys_are_written_read_and_removed(tmp_path: Path) -> None:
    async with world(tmp_path, versions=False) as made:
        assert (await kv(made, "put", "a/b", "-", stdin=b"\x00\xff")).out == "index 2\n"
        file = tmp_path / "value"
        file.write_text("from a file")
        await kv(made, "put", "a/c", f"@{file}", "--cas", 0)
        late = await kv(made, "put", "a/c", "x", "--cas", 0, status=4)
        assert late.err == "kv-trio: 'a/c' is not at index 0: it is at 3\n"
        assert (await kv(made, "get", "a/c")).out == "from a file"
        shown = json.loads((await kv(made, "list", "a/", "--json")).out)
        assert [one["key"] for one in shown] == ["a/b", "a/c"]
        assert (shown[0]["base64"], shown[1]["value"]) == ("AP8=", "from a file")
        absent = await kv(made, "put", "a/none", "x", "--cas", 5, status=4)
        assert absent.err == "kv-trio: 'a/none' is not at index 5: it is absent\n"
        for verb in ("put", "get", "watch"):
            walks = await kv(made, verb, "a/../b", *["x"][: verb == "put"], status=1)
            assert walks.err.startswith("kv-trio: 'a/../b' cannot be a key")
        await kv(made, "delete", "a/c", "--cas", 99, status=4)
        await kv(made, "delete", "a/", "--recurse")
        gone = await kv(made, "get", "a/c", status=3)
        assert gone.err == "kv-trio: no key 'a/c'\n"
        assert (await kv(made, "get", "a/c", "--at", 3)).out == "from a file"


async def test_the_past_is_shown_and_forgotten(tmp_path: Path) -> None:
    async with world(tmp_path, versions=False) as made:
        for value in ("one", "two"):
            await kv(made, "put", "k", value)
        await kv(made, "delete", "k")

        lines = (await kv(made, "history", "k")).out.splitlines()
        assert [line.split()[-1] for line in lines] == ["(deleted)", "two", "one"]
        assert "3 old states" in (await kv(made, "compact")).out
        await kv(made, "history", "k", status=3)
        old = await kv(made, "get", "k", "--at", 2, status=1)
        assert "410: index 2 is compacted" in old.err


async def test_what_is_exported_can_be_imported(tmp_path: Path) -> None:
    async with world(tmp_path, versions=False) as made:
        for n in range(3):
            await kv(made, "put", f"p/{n}", f"value {n}", "--flags", n)
        exported = (await kv(made, "export", "p/")).out
        await kv(made, "delete", "p/", "--recurse")

        assert (await kv(made, "import", "-", stdin=exported.encode())).out == (
            "3 keys written\n"
        )
        assert (await kv(made, "export", "p/")).out == exported
        bad = exported.replace('"key": "p/1"', '"name": "p/1"').encode()
        refused = await kv(made, "import", "-", stdin=bad, status=1)
        assert "[1]: KeyError('key')" in refused.err


async def test_large_values_are_imported_too(tmp_path: Path) -> None:
    """Beside small ones: what fills no transaction's body goes with others."""
    sizes = [400_000, 10, 350_000, 100_000, 100_000, 100_000, 512 * 1024, 0]
    items = [
        {"key": f"k/{n}", "flags": n, "value": base64.b64encode(bytes(size)).decode()}
        for n, size in enumerate(sizes)
    ]
    items.append({"key": "k/" + "é" * 50_000, "flags": 0, "value": None})
    async with world(tmp_path, versions=False) as made:
        shown = json.dumps(items).encode()
        assert (await kv(made, "import", "-", stdin=shown)).out == "9 keys written\n"
        assert json.loads((await kv(made, "export")).out) == [
            item | {"value": item["value"] or ""} for item in items
        ]
        items[6]["value"] = base64.b64encode(bytes(512 * 1024 + 1)).decode()
        refused = await kv(
            made, "import", "-", stdin=json.dumps(items).encode(), status=1
        )
        assert "413" in refused.err
        assert refused.err.endswith("; 6 keys are written\n")


@pytest.mark.parametrize(
    "item",
    [
        *('{"key": 5, "value": ""}', '{"key": "", "value": ""}', '{"key": "a"}', "5"),
        *('{"key": "a", "value": 5}', '{"key": "a", "value": "?"}', "[" * 9999),
        *('{"key": "a", "value": "", "flags": -1}', '{"key": "\\ud800", "value": ""}'),
    ],
)
async def test_what_is_no_export_is_one_line(item: str) -> None:
    words = ("kv-trio", "import", "-", "--config-server", "http://127.0.0.1:1")
    ran = await run(*words, status=1, stdin=f"[{item}]".encode())
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("kv-trio: ")
    assert "127.0.0.1" not in ran.err  # nothing was tried


async def test_a_watch_prints_what_happens(tmp_path: Path) -> None:
    async with world(tmp_path, versions=False) as made:
        words = ("kv-trio", "watch", "--config-server", made.store_url)
        async with (
            running(*words, "k", state=tmp_path) as one,
            running(*words, "--prefix", "--json", "p/", state=tmp_path) as some,
        ):
            await one.says(r"k  \(absent\)")
            await kv(made, "put", "k", "here")
            await one.says("k  here")
            await kv(made, "put", "p/1", "x")
            await some.says(r'\{"key": "p/1", "index": \d+, "created"')
            await kv(made, "delete", "p/1")
            await some.says(r'\{"key": "p/1", "index": \d+\}')


async def test_a_backup_of_a_busy_store_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "copy" / "kv.sqlite"
    target.parent.mkdir()
    async with world(tmp_path, versions=False) as made:
        await kv(made, "put", "k", "x" * 1000)
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                for n in range(20):
                    await kv(made, "put", "k", str(n))

            nursery.start_soon(write)
            await kv(made, "backup", target)
        await kv(made, "backup", target, status=1)

    checked = await run("kv-trio", "check", target.parent)
    assert "is whole: 1 entries" in checked.out


async def test_a_check_tells_what_is_wrong(tmp_path: Path) -> None:
    async with world(tmp_path, versions=False) as made:
        await kv(made, "put", "k", "value")
        await run("kv-trio", "check", tmp_path / "kv", status=1)
        assert made.store is not None
        await made.store.ends()
    await run("kv-trio", "check", tmp_path / "kv")
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "kv" / "kv.sqlite")) as other,
        other,
    ):
        other.execute("UPDATE journal SET value = 'other'")
    other.close()

    found = await run("kv-trio", "check", tmp_path / "kv", status=1)

    assert "journal: the checksum of the key b'k' does not fit" in found.err
    await run("kv-trio", "check", tmp_path / "none", status=1)


async def test_tokens_guard_a_store_and_the_proxy_has_one(tmp_path: Path) -> None:
    made_token = await run("kv-trio", "token", "--for-proxy", "web")
    file = tmp_path / "tokens.toml"
    file.write_text(made_token.out)
    secret = made_token.err.split()[-1]
    served = ("kv-trio", "serve", "--bind", "127.0.0.1:0", "--token-file", file)
    async with running(*served, state=tmp_path) as store:
        url = "http://" + (await store.says(r"listens on (\S+),"))[1]
        document = tmp_path / "web.json"
        arms = {"stable": {"servers": ["http://127.0.0.1:1"]}}
        document.write_text(json.dumps({"ratio": 0, "arms": arms}))
        proxy = (
            *("canary", "serve", "web", "--config-server", url, "--token", secret),
            *("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0"),
            *("--bootstrap", document),
        )
        async with running(*proxy, state=tmp_path / "state") as running_proxy:
            await running_proxy.says("runs revision")
            asked = ("web", "--config-server", url)
            with trio.fail_after(PATIENCE_S):
                refused = await run("canary", "get", *asked, status=1)
                await run("canary", "status", *asked, "--token", secret)
    assert "403: Permission denied" in refused.err


async def test_a_bad_token_file_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text('[[token]]\nname = "x"\nreads = ["a"]\n')

    found = await run("kv-trio", "serve", "--token-file", file, status=1)

    assert found.err.count("\n") == 1
    assert "token[0].reads: unknown; token[0].hash: missing" in found.err


async def test_a_store_for_others_needs_tokens(tmp_path: Path) -> None:
    found = await run("kv-trio", "serve", "--bind", "0.0.0.0:0", status=1)
    assert "give a --token-file, bind to 127.0.0.1, or say --insecure" in found.err


async def test_a_reload_ends_no_store_and_reads_its_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text("")
    words = ("kv-trio", "serve", "--bind", "127.0.0.1:0", "--token-file", file)
    async with running(*words, state=tmp_path) as store:
        await store.says("listens on")
        file.write_text("[[token]")
        store.process.send_signal(signal.SIGHUP)
        await store.says("the tokens stay as they were")
        assert store.process.poll() is None
        assert await store.ends() == 0
