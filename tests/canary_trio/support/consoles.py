"""A console before a real store in memory, and what asks it: HTTP over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
from jsonschema import Draft202012Validator

from canary_trio.admin.asking.tokens import make_admin_token
from canary_trio.console import app
from canary_trio.console.contract import contract
from http_trio import HostedApp, HttpServer
from http_trio.testing.peers import RawClient, connected, serving
from kv_trio import Client
from kv_trio.testing import in_memory_store

CONTRACT = contract()
DOCUMENT = {
    "arms": {
        "stable": {"servers": ["http://10.0.0.1:1", "http://10.0.0.2:1"]},
        "canary": {"servers": ["http://10.0.0.3:1"]},
    },
    "ratio": 0.1,
}
SERVICE = "/api/v1/services/web"


@attrs.define
class Answer:
    """What was answered."""

    status: int
    head: bytes
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def field(self, name: bytes) -> bytes | None:
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.lower() == name:
                return value.strip()
        return None


@attrs.define
class Asker:
    """Who asks a console, with the secrets of two tokens."""

    client: RawClient
    store: Client
    secrets: dict[str, str]

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        by: str = "",
        match: int | None = None,
        fields: dict[str, str] | None = None,
    ) -> Answer:
        """Ask, and look whether what is answered is as the contract has it."""
        sent = dict(fields or {})
        data = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        if by:
            sent["Authorization"] = f"Bearer {self.secrets.get(by, by)}"
        if match is not None:
            sent["If-Match"] = f'"{match}"'
        lines = [f"{name}: {value}".encode() for name, value in sent.items()]
        with trio.fail_after(20):
            head, got = await self.client.ask(
                path.encode(), *lines, method=method.encode(), body=data
            )
        found = Answer(int(head.split()[1]), head, got)
        check(method, path, found)
        return found


def check(method: str, path: str, found: Answer) -> None:
    """Look whether a response is one of those that the contract has."""
    template = template_of(path.partition("?")[0])
    if template is None:
        return
    operation = CONTRACT["paths"][template][method.lower()]
    response = operation["responses"].get(str(found.status))
    assert response is not None, f"{method} {path} {found.status} {found.body!r}"
    if "$ref" in response:
        response = CONTRACT["components"]["responses"][response["$ref"].split("/")[-1]]
    kinds = response["content"]
    kind = (found.field(b"content-type") or b"").decode()
    assert kind in kinds, f"{method} {path} {found.status} is {kind}"
    schema = {**kinds[kind]["schema"], "components": CONTRACT["components"]}
    faults = Draft202012Validator(schema).iter_errors(found.json)
    assert [f"{list(f.path)}: {f.message}" for f in faults] == [], path


def template_of(path: str) -> str | None:
    """Give the path of the contract that a path is one of."""
    parts = path.split("/")
    for template in sorted(CONTRACT["paths"], key=lambda one: one.count("{")):
        wanted = template.split("/")
        if len(wanted) == len(parts) and all(
            one.startswith("{") or one == other
            for one, other in zip(wanted, parts, strict=True)
        ):
            return str(template)
    return None


@asynccontextmanager
async def served_console(
    directory: Path, *, source: str = "", **options: Any
) -> AsyncIterator[tuple[HttpServer, Client, dict[str, str]]]:
    """Serve a console of a store; give the secrets of a token that may write, and one that may read."""
    made = {
        name: make_admin_token(name, role)
        for name, role in (("anna", "write"), ("bob", "read"))
    }
    file = directory / "admin.toml"
    file.write_text("\n".join(lines for _, lines in made.values()))
    file.chmod(0o600)
    secrets = {name: secret for name, (secret, _) in made.items()}
    async with in_memory_store() as store, trio.open_nursery() as nursery:
        hosted = HostedApp(
            app(source or store.url, roles=file, **options), body_limit=1 << 23
        )
        await nursery.start(hosted.live)
        async with serving(hosted) as server:
            yield server, store, secrets
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def console(directory: Path, **options: Any) -> AsyncIterator[Asker]:
    """Serve a console, and connect to it; the whole is done within ten seconds."""
    async with (
        served_console(directory, **options) as (server, store, secrets),
        connected(server) as client,
    ):
        yield Asker(client, store, secrets)
