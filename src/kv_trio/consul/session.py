"""Sessions in Consul's JSON, pure: what one is to be like, and how it is shown.

A body's types are checked whole before its members are: a wrong one is the client's
fault (400), whatever else the body says.
"""

from __future__ import annotations

from typing import Any

from kv_trio.consul.durations import MAX_S, parse_duration_s
from kv_trio.consul.json_body import kind_of, parse_json
from kv_trio.errors import BadQuery
from kv_trio.state.entry import Session

_MIN_TTL_S, _MAX_TTL_S = 10.0, 86400.0
_CHECK = "serfHealth"  # of the node; in a cluster of one it always passes


def parse_session(body: bytes, id_: str, *, node: str, owner: str = "") -> Session:
    """Read what a session is to be like; the names of its fields have no case.

    Args:
        body: the JSON; without any, all fields have their defaults.
        id_: the new session's.
        node: the name of this server, the only one that a session can be on.
        owner: the name of the token that it is of; empty where there are none.

    Raises:
        BadQuery: it makes no sense; with Consul's texts.
    """
    try:
        fields = _fields(body)
        name, ttl = _text(fields, "Name"), _text(fields, "TTL")
        behavior = _text(fields, "Behavior") or "release"
        wanted_node = _text(fields, "Node")
        checks = _texts(fields, "Checks") + _texts(fields, "NodeChecks")
        _objects(fields, "ServiceChecks")
        lock_delay_s = _lock_delay_s(fields.get("lockdelay"))
    except ValueError as exc:
        raise BadQuery(400, f"Request decode failed: {exc}") from exc
    if wanted_node not in ("", node):
        raise BadQuery(500, "Missing node registration")
    for check in checks:
        if check != _CHECK:
            raise BadQuery(500, f"Missing check '{check}' registration")
    if behavior not in ("release", "delete"):
        raise BadQuery(500, f"Invalid Behavior setting '{behavior}'")
    return Session(
        id=id_,
        name=name,
        ttl_s=_ttl_s(ttl),
        ttl=ttl,
        lock_delay_s=lock_delay_s,
        deletes=behavior == "delete",
        owner=owner,
    )


def describe_session(session: Session, *, node: str) -> dict[str, Any]:
    """Give a session as Consul's API shows it."""
    return {
        "ID": session.id,
        "Name": session.name,
        "Node": node,
        "LockDelay": round(session.lock_delay_s * 1e9),
        "Behavior": "delete" if session.deletes else "release",
        "TTL": session.ttl,
        "NodeChecks": [_CHECK],
        "ServiceChecks": None,
        "CreateIndex": session.create_index,
        "ModifyIndex": session.create_index,
    }


def _fields(body: bytes) -> dict[str, Any]:
    """Give the fields by their names in lower case; whatever their types are."""
    if not body.strip():
        return {}
    document = parse_json(body)
    if not isinstance(document, dict):
        raise ValueError("expected an object")  # noqa: TRY004  # all faults are one
    return {name.lower(): value for name, value in document.items()}


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name.lower())
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong_type(value, name, "string")
    return value


def _texts(fields: dict[str, Any], name: str) -> list[str]:
    values = _list(fields, name, "[]string")
    for value in values:
        if not isinstance(value, str):
            raise _wrong_type(value, name, "string")
    return values


def _objects(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    values = _list(fields, name, "[]object")
    for value in values:
        if not isinstance(value, dict):
            raise _wrong_type(value, name, "object")
    return values


def _list(fields: dict[str, Any], name: str, expected: str) -> list[Any]:
    value = fields.get(name.lower())
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong_type(value, name, expected)
    return value


def _wrong_type(value: object, name: str, expected: str) -> ValueError:
    return ValueError(
        f"json: cannot unmarshal {kind_of(value)} into Go struct field .{name} of type"
        f" {expected}"
    )


def _ttl_s(ttl: str) -> float:
    if not ttl:
        return 0.0
    try:
        ttl_s = parse_duration_s(ttl)
    except ValueError as exc:
        text = f"Session TTL '{ttl}' invalid: time: invalid duration \"{ttl}\""
        raise BadQuery(500, text) from exc
    if not _MIN_TTL_S <= ttl_s <= _MAX_TTL_S:
        nanoseconds = round(ttl_s * 1e9)
        raise BadQuery(
            500,
            f"Invalid Session TTL '{nanoseconds}', must be between [10s=24h0m0s]",
        )
    return ttl_s


def _lock_delay_s(given: object) -> float:
    """Read a delay, which Consul takes as a duration, as seconds below 1000, or as ns."""
    if given is None:
        return 15.0
    if isinstance(given, str):
        return parse_duration_s(given)
    if not isinstance(given, int | float) or isinstance(given, bool):
        raise _wrong_type(given, "LockDelay", "time.Duration")
    if not -MAX_S < given < MAX_S * 1e9:
        raise ValueError("LockDelay: the number is too large")
    return float(given) if given < 1000 else given / 1e9
