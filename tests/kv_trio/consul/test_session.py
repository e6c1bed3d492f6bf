"""Sessions in Consul's JSON: what is none, and that what is one can be kept."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kv_trio.consul.encode import dump_json
from kv_trio.consul.session import describe_session, parse_session
from kv_trio.errors import BadQuery
from kv_trio.state.entry import Session
from kv_trio.state.operations import CreateSession
from kv_trio.state.write_batch import WriteBatch
from kv_trio.storage.engine import StorageEngine
from tests.kv_trio.support import odd_json

ID = "adf4238a-882b-9ddc-4a9d-5b6758e4159e"
TEXTS = ("Name", "Node", "TTL", "Behavior")
LISTS = ("Checks", "NodeChecks", "ServiceChecks")
MEMBERS = [*TEXTS, *LISTS, "LockDelay"]
OF_CONSUL = ("Missing ", "Invalid ", "Session TTL ")
"""How Consul's refusals begin that have its odd status 500."""


def parse(body: bytes) -> Session:
    return parse_session(body, ID, node="n")


def refusal_of(body: bytes) -> BadQuery:
    with pytest.raises(BadQuery) as caught:
        parse(body)
    return caught.value


@pytest.mark.parametrize("value", [5, -0.5, True, [], ["a"], {}, [[[]]]], ids=str)
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_of_another_type_is_refused(name: str, value: object) -> None:
    refusal = refusal_of(json.dumps({name.lower(): value}).encode())

    assert refusal.status == 400
    assert f"field .{name} of type string" in str(refusal)


@pytest.mark.parametrize("value", [5, True, "serfHealth", {}, [5], [None], [[]]])
@pytest.mark.parametrize("name", LISTS)
def test_checks_of_another_type_are_refused(name: str, value: object) -> None:
    refusal = refusal_of(json.dumps({name: value}).encode())

    assert refusal.status == 400
    assert f"field .{name} of type" in str(refusal)


@pytest.mark.parametrize(
    ("delay", "words"),
    [
        *(("true", "cannot unmarshal bool"), ("[]", "cannot unmarshal array")),
        *(("{}", "cannot unmarshal object"), ('""', "duration ''")),
        *(("1e999", "too large"), ("1e300", "too large"), ("-1e300", "too large")),
        *(("9" * 300, "too large"), ("9" * 5000, "too large"), ("NaN", "no JSON")),
        *((f'"{"9" * 400}h"', "401 characters"), ('"2562048h"', "expected less")),
        *(('"\u0663s"', "duration"), ("[" * 100_000, "nested too deep")),
    ],
    ids=range(14),
)
def test_a_lock_delay_that_cannot_be_is_refused(delay: str, words: str) -> None:
    refusal = refusal_of(b'{"LockDelay": %b}' % delay.encode())

    assert refusal.status == 400
    assert words in str(refusal)


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        *((b"null", 15.0), (b"0", 0.0), (b"-0.0", 0.0), (b'"-0s"', 0.0), (b"5", 5.0)),
        *((b"1.5", 1.5), (b"15000000000", 15.0), (b'"1m"', 60.0), (b'"-1s"', -1.0)),
        *((b'"2562047h"', 2562047 * 3600.0),),
    ],
)
def test_a_lock_delay(delay: bytes, seconds: float) -> None:
    session = parse(b'{"LockDelay": %b}' % delay)

    assert session.lock_delay_s == seconds
    assert math.copysign(1, session.lock_delay_s) == (-1 if seconds < 0 else 1)


@pytest.mark.parametrize("ttl", [f"{'9' * 400}h", "9s", "25h", "abc", "1e9s", "-0s"])
def test_a_ttl_that_cannot_be_is_refused_as_consul_does(ttl: str) -> None:
    refusal = refusal_of(json.dumps({"TTL": ttl}).encode())

    assert refusal.status == 500
    assert "Session TTL" in str(refusal)


def test_half_a_character_is_refused() -> None:
    refusal = refusal_of(b'{"Name": "\\ud800"}')

    assert refusal.status == 400
    assert "half a character" in str(refusal)


@given(odd_json.texts(MEMBERS).map(str.encode) | st.binary(max_size=50))
def test_whatever_is_accepted_can_be_shown_and_read_again(body: bytes) -> None:
    try:
        session = parse(body)
    except BadQuery as exc:
        assert exc.status == 400 or str(exc).startswith(OF_CONSUL), exc
        return
    json.loads(dump_json(describe_session(session, node="n")))
    engine = StorageEngine(None)
    write_batch = WriteBatch(engine.load())
    write_batch.apply(CreateSession(session), 0.0)
    engine.commit(write_batch)
    assert engine.load().sessions == write_batch.sessions
    assert not engine.check()
    engine.close()
