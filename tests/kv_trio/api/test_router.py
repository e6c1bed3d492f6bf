"""Which endpoint a request gets; what is Consul's alone is refused with words."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from kv_trio.testing import in_memory_store


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with (
        in_memory_store() as client,
        httpx.AsyncClient(base_url=client.url) as made,
    ):
        yield made


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"User-Agent": "Go-http-client/1.1"}, 501),
        ("PUT", {"User-Agent": "Go-http-client/1.1"}, 501),
        ("PUT", {}, 501),
        ("GET", {}, 200),
        ("GET", {"User-Agent": "curl/8"}, 200),
        (
            "GET",
            {
                "User-Agent": "Go-http-client/2.0",
                "Accept": "application/vnd.sqlite3",
            },
            200,
        ),
    ],
)
async def test_a_snapshot_of_a_consul_is_refused_with_words(
    http: httpx.AsyncClient, method: str, headers: dict[str, str], status: int
) -> None:
    response = await http.request(method, "/v1/snapshot", headers=headers)
    assert response.status_code == status
    if status == 200:
        assert response.content.startswith(b"SQLite format 3\0")
    else:
        assert "kv-trio backup" in response.text
