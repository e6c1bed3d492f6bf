"""What a call of gRPC is, and what its statuses stand for."""

from __future__ import annotations

import pytest

from http_trio.http1.grpc import (
    grpc_error,
    grpc_status_of,
    http_status_of,
    is_grpc,
    parse_grpc_status,
)
from http_trio.http1.response import Response, error_response


@pytest.mark.parametrize(
    ("content_type", "is_one"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc; charset=x", True),
        (b"Application/GRPC", True),
        (b"application/grpc-web", False),
        (b"application/grpcx", False),
        (b"application/json", False),
        (b"", False),
        (None, False),
    ],
)
def test_a_call_is_known_by_its_type(content_type: bytes | None, is_one: bool) -> None:
    assert is_grpc(content_type) is is_one


def test_from_500_it_was_the_server() -> None:
    faults = [code for code in range(18) if http_status_of(code) >= 500]
    assert faults == [2, 4, 12, 13, 14, 15, 17]


@pytest.mark.parametrize(
    ("http", "grpc"),
    [
        *[(400, 13), (401, 16), (403, 7), (404, 12), (429, 14)],
        *[(502, 14), (503, 14), (504, 14), (500, 2), (408, 2), (413, 2), (431, 2)],
    ],
)
def test_an_error_of_http_is_one_of_grpc(http: int, grpc: int) -> None:
    assert grpc_status_of(http) == grpc


@pytest.mark.parametrize(
    "value", [None, b"", b"-1", b"x", b"1x", b"0x1", b"9" * 400, b"\xb2"]
)
def test_a_status_that_is_none_is_unknown(value: bytes | None) -> None:
    assert parse_grpc_status(value) == 2


def test_an_error_is_a_head_and_nothing_else() -> None:
    said = error_response(503, "n\u00e4h: 100%\r\nx: y", retry_after_s=1)
    made = grpc_error(said)
    assert made.status == 200
    assert made.body == b""
    fields = dict(made.headers)
    assert fields[b"grpc-status"] == b"14"
    assert b"100%25%0D%0Ax: y" in fields[b"grpc-message"]
    assert fields[b"grpc-message"].isascii()
    assert b"content-type: application/grpc\r\n" in made.render().lower()


def test_its_own_fields_stay() -> None:
    made = grpc_error(Response(404, b"no", headers=((b"X-Decision", b"a"),)))
    assert (b"X-Decision", b"a") in made.headers
