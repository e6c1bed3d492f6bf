"""The recorded responses of a real Consul 1.8.7, compared with our store's.

All is alike, but for what `DIFFERENT` names: there, each with the parts in which it
differs, and no more. What differs in too many responses for that, `golden/judge.py` says.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from kv_trio import serve
from kv_trio.api.tokens import make_token
from tests.kv_trio.support.golden.judge import Differences, Judge
from tests.kv_trio.support.golden.player import INDEX, Got, Player, Step, cases_in, load

_POST = "POST is taken like PUT, and Allow says so"
_ABSENT = "a wait on what is absent ends only when it appears"
_CHUNKED = "a chunked body obeys the limit of a value too"
_TXN = "a transaction takes 128 operations and knows get-or-empty"
_FUTURE = "an index above the store's own is answered at once"
_TARGET = "bytes beyond ASCII in a target are no HTTP (RFC 9112 section 3.2)"
_ERROR = "an error carries no index"
_ROOT = "the server says its own name"
_CATALOG = "the catalog never changes, so its index is 1"
_CLUSTER = "of the cluster there is only what clients of the store ask"

_CONSUL = {"X-Consul-Knownleader", "X-Consul-Lastcontact", INDEX}
_RESPONSE = {"status", "Content-Type", "body"}
_RAW = {"X-Content-Type-Options", "Content-Security-Policy"}

DIFFERENT: dict[int, tuple[str, set[str]]] = {
    7: (_CATALOG, {INDEX}),
    8: (_CATALOG, {INDEX}),
    9: (_CLUSTER, _RESPONSE | _CONSUL),
    10: (_CLUSTER, _RESPONSE),
    11: (_CLUSTER, _RESPONSE | _CONSUL),
    14: (_ROOT, {"body"}),
    28: (_POST, {"Allow"}),
    29: (_POST, {"Allow"}),
    30: (_POST, {"Allow"}),
    31: (_POST, _RESPONSE | {"Allow"}),
    32: (_POST, {"Allow"}),
    71: (_CHUNKED, _RESPONSE),
    72: (_CHUNKED, _RESPONSE | _RAW),
    73: (_CHUNKED, _RESPONSE),
    74: (_CHUNKED, _RESPONSE),
    202: (_TARGET, _RESPONSE),
    203: (_TARGET, _RESPONSE | _CONSUL),
    246: (_FUTURE, {"ended"}),
    257: (_ABSENT, {"ended"}),
    265: (_ABSENT, {"ended"}),
    266: (_ABSENT, {"ended"}),
    267: (_ABSENT, {"ended"}),
    277: (_ABSENT, {"ended"}),
    287: (_TXN, {"status", "body"}),
    320: (_TXN, _RESPONSE),
    321: (_TXN, {"body"}),
    324: (_POST, {"Allow"}),
    325: (_POST, (_RESPONSE | _CONSUL | {"Allow"}) - {INDEX}),
    340: (_POST, _RESPONSE | {"Allow"}),
    343: (_ERROR, _CONSUL),
}


STEPS = load("consul.jsonl")
CASES = sorted(cases_in(STEPS), key=lambda step: int(step["case"]))


def parameters(*, different: bool) -> list[Any]:
    return [
        pytest.param(step, id=f"{step['case']:03d}-{step['name']}")
        for step in CASES
        if (step["case"] in DIFFERENT) == different
    ]


# === the replay ===


@attrs.frozen
class Replay:
    """All responses, and what is different in each."""

    got: dict[int, Got]
    differences: dict[int, Differences]


async def play_on(server: Any, steps: list[Step]) -> Replay:
    player = Player(server.addresses[0])
    itself = await player.exchange({"method": "GET", "path": "/v1/agent/self"})
    player.names["node"] = json.loads(itself.body)["Config"]["NodeName"]
    player.names["address"] = player.address
    await player.play(steps)
    return Replay(player.got, Judge(player).judge(list(cases_in(steps))))


async def play_all(data: Path) -> Replay:
    """Play all; what would change our store but not Consul's, on a store aside."""
    replays: list[Replay] = []

    async def play(data: Path, steps: list[Step]) -> None:
        async with trio.open_nursery() as nursery:
            server = await nursery.start(partial(serve, ["127.0.0.1:0"], data=data))
            replays.append(await play_on(server, steps))
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for name, is_aside in (("main", False), ("aside", True)):
            steps = [step for step in STEPS if step.get("aside", False) == is_aside]
            nursery.start_soon(play, data / name, steps)
    one, other = replays
    return Replay(one.got | other.got, one.differences | other.differences)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Replay:
    return trio.run(play_all, tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("step", parameters(different=False))
def test_a_response_is_consuls(step: Step, replay: Replay) -> None:
    assert not replay.differences[step["case"]], step["ask"]


@pytest.mark.parametrize("step", parameters(different=True))
def test_a_difference_is_the_one_that_we_chose(step: Step, replay: Replay) -> None:
    reason, parts = DIFFERENT[step["case"]]

    assert set(replay.differences[step["case"]]) == parts, reason


def test_a_response_to_a_write_names_its_index(replay: Replay) -> None:
    writes = [
        replay.got[step["case"]]
        for step in CASES
        if step["ask"]["method"] in ("PUT", "POST", "DELETE")
        and step["ask"]["path"].startswith("/v1/kv/")
    ]

    assert all(got.index >= 1 for got in writes if got.status == 200)


# === tokens ===


async def replay_acl(base_url: str, tokens: dict[str, str]) -> dict[str, Differences]:
    """Send a server with tokens what was sent to a Consul with ACLs.

    Args:
        base_url: of a server with an empty store that denies what no token allows.
        tokens: `master` may do all; `ro` may only read, below `a/`; `unknown` is none.

    Returns:
        What differs, by the number and name of the case; cases without a difference
        are left out. Consul's own way to make the token `ro` is not replayed.
    """
    address = base_url.removeprefix("http://")
    player = Player(address, names={**tokens, "address": address})
    steps = load("acl.jsonl")
    await player.play(steps)
    found = Judge(player).judge(steps)
    names = {step["case"]: f"{step['case']:03d}-{step['name']}" for step in steps}
    return {names[case]: differing for case, differing in found.items() if differing}


async def test_what_a_token_allows_is_consuls(tmp_path: Path) -> None:
    master, master_lines = make_token("master", [], [""])
    ro, ro_lines = make_token("ro", ["a/"], [])
    file = tmp_path / "tokens.toml"
    file.write_text(master_lines + ro_lines)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, ["127.0.0.1:0"], tokens=file))
        tokens = {"master": master, "ro": ro, "unknown": "unknown"}
        differences = await replay_acl(server.url, tokens)
        nursery.cancel_scope.cancel()

    for case in ("012-txn_notoken", "013-txn_get_notoken"):
        early = differences.pop(case)  # 403, before the body is waited for
        assert {"status", "Content-Type", "body"} <= set(early)
    assert differences == {}
