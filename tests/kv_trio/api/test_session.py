"""Sessions where there are tokens: whose they are, and who may do what with them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from kv_trio import serve
from kv_trio.api.tokens import make_token

RIGHTS = {
    "owner": ([], ["a/"]),
    "other": ([], ["b/"]),
    "same": ([], ["a/"]),
    "reader": (["a/"], ["c/"]),
    "root": ([], [""]),
}


class Store:
    """A store with a token of each kind, and a session of `owner`."""

    def __init__(self, url: str, secrets: dict[str, str]) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=10)
        self.secrets = secrets

    async def ask(
        self, name: str, method: str, path: str, body: str = ""
    ) -> httpx.Response:
        headers = {"X-Consul-Token": self.secrets[name]}
        return await self.http.request(method, path, headers=headers, content=body)

    async def begin(self, name: str = "owner", *, holds: str = "") -> str:
        body = '{"Behavior": "delete", "LockDelay": "0s"}'
        made = await self.ask(name, "PUT", "/v1/session/create", body)
        id_ = str(made.json()["ID"])
        if holds:
            taken = await self.ask(name, "PUT", f"/v1/kv/{holds}?acquire={id_}", "x")
            assert taken.text == "true"
        return id_


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = {name: make_token(name, *rights) for name, rights in RIGHTS.items()}
    file = tmp_path / "tokens.toml"
    file.write_text("".join(lines for _, lines in made.values()))
    async with trio.open_nursery() as nursery:
        start = partial(serve, ["127.0.0.1:0"], tokens=file, data=tmp_path / "data")
        url = (await nursery.start(start)).url
        store = Store(url, {name: secret for name, (secret, _) in made.items()})
        async with store.http:
            yield store
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("holds", ["", "a/k"])
@pytest.mark.parametrize("way", ["renew", "destroy", "acquire", "lock"])
@pytest.mark.parametrize("name", list(RIGHTS))
async def test_a_session_is_its_owners_and_whose_is_all_that_it_holds(
    store: Store, name: str, way: str, holds: str
) -> None:
    id_ = await store.begin(holds=holds)
    own = {"other": "b/k", "reader": "c/k"}.get(name, "a/k")
    if way == "acquire":
        response = await store.ask(name, "PUT", f"/v1/kv/{own}?acquire={id_}", "y")
    elif way == "lock":
        operation = {"Verb": "lock", "Key": own, "Value": "", "Session": id_}
        body = json.dumps([{"KV": operation}])
        response = await store.ask(name, "PUT", "/v1/txn", body)
    else:
        response = await store.ask(name, "PUT", f"/v1/session/{way}/{id_}")
    may = name in {"owner", "root"} or (name == "same" and bool(holds))
    assert (response.status_code == 200) == may
    assert may or "Permission denied" in response.text
    if not may and holds:
        entry = (await store.ask("owner", "GET", f"/v1/kv/{holds}")).json()[0]
        assert entry["Session"] == id_


@pytest.mark.parametrize("name", list(RIGHTS))
async def test_only_what_may_be_read_is_listed(store: Store, name: str) -> None:
    bare, holding = await store.begin(), await store.begin(holds="a/k")
    node = (await store.ask("root", "GET", f"/v1/session/info/{bare}")).json()[0][
        "Node"
    ]
    expected = {
        "owner": {bare, holding},
        "root": {bare, holding},
        "same": {holding},
        "reader": {holding},
        "other": set[str](),
    }[name]
    for path in ("list", f"node/{node}"):
        shown = (await store.ask(name, "GET", f"/v1/session/{path}")).json()
        assert {session["ID"] for session in shown} == expected
    for id_ in (bare, holding):
        shown = (await store.ask(name, "GET", f"/v1/session/info/{id_}")).json()
        assert bool(shown) == (id_ in expected)


@pytest.mark.parametrize("key", ["b/there", "b/absent", "b/held"])
async def test_a_transaction_tells_nothing_of_what_may_not_be_read(
    store: Store, key: str
) -> None:
    """Its response is the same, whatever the store has."""
    await store.ask("other", "PUT", "/v1/kv/b/there", "x")
    id_ = await store.begin("other", holds="b/held")
    told: dict[str, str] = {}
    for verb in (
        "get",
        "get-or-empty",
        "get-tree",
        "check-index",
        "check-session",
        "check-not-exists",
    ):
        operation = {"Verb": verb, "Key": key, "Index": 3, "Session": id_}
        body = json.dumps([{"KV": operation}])
        told[verb] = (await store.ask("owner", "PUT", "/v1/txn", body)).text
    for verb, text in told.items():
        denied = verb.startswith("check")
        assert ("Permission denied" in text) == denied, verb
        assert denied or json.loads(text)["Results"] == [], verb
        assert key not in text
        assert id_ not in text


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with trio.open_nursery() as nursery:
        url = (await nursery.start(partial(serve, ["127.0.0.1:0"]))).url
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            yield client
        nursery.cancel_scope.cancel()


async def test_ids_have_no_case(http: httpx.AsyncClient) -> None:
    made = await http.put("/v1/session/create", content='{"LockDelay": "0s"}')
    id_ = made.json()["ID"]
    big = id_.upper()
    lock = {"Verb": "lock", "Key": "l", "Value": "", "Session": big}
    checked = {"Verb": "check-session", "Key": "l", "Session": big}

    assert (await http.put(f"/v1/kv/k?acquire={big}", content="x")).text == "true"
    assert (await http.get("/v1/kv/k")).json()[0]["Session"] == id_
    assert (await http.put(f"/v1/kv/k?release={big}", content="x")).text == "true"
    body = json.dumps([{"KV": lock}, {"KV": checked}])
    assert (await http.put("/v1/txn", content=body)).status_code == 200
    assert (await http.get(f"/v1/session/info/{big}")).json()[0]["ID"] == id_
    assert (await http.put(f"/v1/session/renew/{big}")).json()[0]["ID"] == id_
    assert (await http.put(f"/v1/session/destroy/{big}")).text == "true"
    assert (await http.get(f"/v1/session/info/{id_}")).json() == []


@pytest.mark.parametrize("key", ["there", "absent"])
@pytest.mark.parametrize("id_", ["foo", "x" * 36, "x" * 1000, "%C2%B2"])
async def test_what_is_no_session_releases_nothing(
    http: httpx.AsyncClient, key: str, id_: str
) -> None:
    """It is compared with the lock's holder, and is another one."""
    await http.put("/v1/kv/there", content="x")
    response = await http.put(f"/v1/kv/{key}?release={id_}", content="y")
    assert (response.status_code, response.text) == (200, "false")


async def test_the_catalog_has_one_node_and_one_service(
    http: httpx.AsyncClient,
) -> None:
    nodes = (await http.get("/v1/catalog/nodes")).json()
    itself = (await http.get("/v1/agent/self")).json()
    assert (await http.get("/v1/catalog/services")).json() == {"consul": []}
    assert [node["Node"] for node in nodes] == [itself["Config"]["NodeName"]]
