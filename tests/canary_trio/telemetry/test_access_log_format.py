"""A line of the access log, whatever a client sends."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_trio.telemetry.access_log_format import (
    LineForm,
    RequestFields,
    escape_json,
    escape_text,
    formatter,
)

_AT = 1795556303.125  # 2026-11-24T21:38:23.125Z


@attrs.define
class _Asked:
    method: bytes = b"GET"
    asked: bytes = b"/a?b=c"


@attrs.define
class _Over:
    head: RequestFields
    protocol: str = "HTTP/1.1"
    client: str = "192.0.2.7"
    response_bytes: int = 512


@attrs.define
class _Said:
    json: bytes = b'"revision":57,"arm":"canary","reason":"rule","rule":"beta"'
    text: bytes = b"arm=canary reason=rule rule=beta revision=57"


def _line(
    form: LineForm,
    asked: _Asked | None = None,
    server: str = "http://h:1",
    request_id: bytes = b"abc",
) -> bytes:
    return formatter(form)(
        _AT,
        _Over(asked or _Asked()),
        _Said(),
        200,
        0.0015321,
        server=server,
        request_id=request_id,
        retries=1,
    )


def test_a_line_of_json() -> None:
    line = _line(LineForm.JSON)

    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "time": "2026-11-24T21:38:23.125Z",
        "client": "192.0.2.7",
        "method": "GET",
        "target": "/a?b=c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 512,
        "seconds": 0.001532,
        "server": "http://h:1",
        "request_id": "abc",
        "retries": 1,
        "revision": 57,
        "arm": "canary",
        "reason": "rule",
        "rule": "beta",
    }


def test_a_line_of_text_begins_as_the_common_log_format() -> None:
    assert _line(LineForm.TEXT) == (
        b'192.0.2.7 - - [24/Nov/2026:21:38:23 +0000] "GET /a?b=c HTTP/1.1" 200 512'
        b" seconds=0.001532 server=http://h:1 id=abc retries=1"
        b" arm=canary reason=rule rule=beta revision=57\n"
    )


@pytest.mark.parametrize("protocol", ["HTTP/1.0", "HTTP/1.1", "HTTP/2"])
def test_a_line_names_the_protocol(protocol: str) -> None:
    over = _Over(_Asked(asked=b"/"), protocol)
    rest: Any = {"server": "", "request_id": b"", "retries": 0}
    said = [formatter(form)(_AT, over, _Said(), 200, 0, **rest) for form in LineForm]

    assert json.loads(said[0])["protocol"] == protocol
    assert b'"GET / %b" 200 ' % protocol.encode() in said[1]


def test_a_failure_is_named() -> None:
    said = [
        formatter(form)(
            _AT,
            _Over(_Asked()),
            _Said(),
            504,
            0.1,
            server="http://h:1",
            request_id=b"",
            retries=0,
            failure="response timeout",
        )
        for form in LineForm
    ]

    assert json.loads(said[0])["failure"] == "response timeout"
    assert said[1].endswith(rb" revision=57 failure=response\x20timeout" + b"\n")


def test_what_is_unknown_is_a_dash_in_text() -> None:
    assert b" server=- id=- " in _line(LineForm.TEXT, server="", request_id=b"")


def test_the_second_is_written_anew_when_it_changes() -> None:
    line = formatter(LineForm.JSON)
    said = [
        line(at, _Over(_Asked()), _Said(), 200, 0, server="", request_id=b"", retries=0)
        for at in (0.999, 1.0, 59.9996)
    ]

    assert [json.loads(one)["time"][17:] for one in said] == [
        *("00.999Z", "01.000Z", "59.999Z")
    ]


_BYTES = st.one_of(
    st.binary(max_size=50),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b'"}\n{"time":"', b"a\r\nb", b"\\", b'\\"', b"\x00\x1b[31m", b"\x7f"]
    ),
)


@given(_BYTES, _BYTES, _BYTES)
def test_nobody_writes_a_line_of_json_but_we(
    method: bytes, target: bytes, request_id: bytes
) -> None:
    line = _line(LineForm.JSON, _Asked(method, target), request_id=request_id)

    assert line.count(b"\n") == 1
    assert line.isascii()
    said = json.loads(line)
    assert said["target"] == target.decode("utf-8", "backslashreplace")
    assert said["request_id"] == request_id.decode("utf-8", "backslashreplace")
    assert (said["status"], said["arm"]) == (200, "canary")


@given(_BYTES, _BYTES, _BYTES)
def test_nobody_writes_a_line_of_text_but_we(
    method: bytes, target: bytes, request_id: bytes
) -> None:
    line = _line(LineForm.TEXT, _Asked(method, target), request_id=request_id)

    form = (
        rb'192\.0\.2\.7 - - \[[^\]]+\] "([!-~]*) ([!-~]*) HTTP/1\.1" 200 512'
        rb" seconds=0\.001532 server=http://h:1 id=([!-~]+) retries=1 arm=canary [ -~]+\n"
    )
    match = re.fullmatch(form, line)
    assert match is not None
    assert b'"' not in match[1] + match[2] + match[3]
    assert _unescaped(match[2]) == target


def _unescaped(value: bytes) -> bytes:
    return re.sub(rb"\\x(..)", lambda match: bytes([int(match[1], 16)]), value)


@pytest.mark.parametrize("escape", [escape_json, escape_text])
def test_what_is_harmless_stays(escape: object) -> None:
    assert callable(escape)
    harmless = b"/path/to?query=%20&a[]=b;c~d|e^f`g{h}"
    assert escape(harmless) == harmless
