"""The token that a proxy shows comes from a file, which may change while it runs."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import httpx
import trio

from tests.e2e.processes import PATIENCE_S, run, running


async def test_a_token_is_read_again_at_sighup_and_a_broken_file_changes_nothing(
    tmp_path: Path,
) -> None:
    grants, shown = tmp_path / "tokens.toml", tmp_path / "token"
    document = tmp_path / "web.json"
    servers = {"servers": ["http://127.0.0.1:1"]}
    document.write_text(json.dumps({"ratio": 0, "arms": {"stable": servers}}))

    async def make() -> str:
        made = await run("kv-trio", "token", "--for-proxy", "web")
        grants.write_text(made.out)
        return made.err.split()[-1]

    first = await make()
    shown.write_text("no-such-token\n")
    served = ("kv-trio", "serve", "--bind", "127.0.0.1:0", "--token-file", grants)
    async with running(*served, state=tmp_path) as store:
        url = "http://" + (await store.says(r"listens on (\S+),"))[1]
        ask = ("web", "--config-server", url, "--token-file", shown)
        words = ("--bind", "127.0.0.1:0", "--admin", "127.0.0.1:0")
        proxy = ("canary", "serve", *ask, *words, "--bootstrap", document)
        async with (
            running(*proxy, state=tmp_path / "state") as one,
            httpx.AsyncClient(trust_env=False) as client,
        ):
            admin = (await one.says(r"admin on (\S+)"))[1]
            shown.write_text(f"{first}\n")
            one.process.send_signal(signal.SIGHUP)
            await one.says("runs revision")  # it was refused until then

            shown.write_text("two words\n")
            one.process.send_signal(signal.SIGHUP)
            await one.says(r"stays as it was: .*token holds no token: found spaces")
            await run("canary", "set", *ask[:3], "ratio=0", "--token", first)

            second = await make()  # and the first is worth nothing any more
            shown.write_text(second)
            one.process.send_signal(signal.SIGHUP)
            store.process.send_signal(signal.SIGHUP)
            said = ""
            with trio.fail_after(PATIENCE_S):
                while "live on 1/1 proxies" not in said:
                    ran = await run(
                        *("canary", "set", *ask, "update_rate=20", "--wait", "40"),
                        status=None,
                    )
                    said = ran.out
                table = (await client.get(f"http://{admin}/status")).json()
            assert table["store"]["error"] == ""
