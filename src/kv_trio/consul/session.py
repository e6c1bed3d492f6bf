"""Sessions in Consul's JSON, pure: what one is to be like, and how it is shown."""

from __future__ import annotations

import json
from typing import Any

from kv_trio.consul.durations import parse_duration_s
from kv_trio.errors import BadQuery
from kv_trio.state.entry import Session

_MIN_TTL_S, _MAX_TTL_S = 10.0, 86400.0
_CHECK = "serfHealth"  # of the node; in a cluster of one it always passes


def parse_session(body: bytes, id_: str, *, node: str) -> Session:
    """Read what a session is to be like; the names of its fields have no case.

    Args:
        body: the JSON; without any, all fields have their defaults.
        id_: the new session's.
        node: the name of this server, the only one that a session can be on.

    Raises:
        BadQuery: it makes no sense; with Consul's texts.
    """
    fields = _fields(body)
    ttl = _text(fields, "TTL")
    behavior = _text(fields, "Behavior") or "release"
    try:
        lock_delay_s = _lock_delay_s(fields.get("lockdelay"))
    except ValueError as exc:
        raise BadQuery(400, f"Request decode failed: {exc}") from exc
    if _text(fields, "Node") not in ("", node):
        raise BadQuery(500, "Missing node registration")
    for check in [*(fields.get("checks") or []), *(fields.get("nodechecks") or [])]:
        if check != _CHECK:
            raise BadQuery(500, f"Missing check '{check}' registration")
    if behavior not in ("release", "delete"):
        raise BadQuery(500, f"Invalid Behavior setting '{behavior}'")
    return Session(
        id=id_,
        name=_text(fields, "Name"),
        ttl_s=_ttl_s(ttl),
        ttl=ttl,
        lock_delay_s=lock_delay_s,
        deletes=behavior == "delete",
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
    if not body.strip():
        return {}
    try:
        document = json.loads(body)
    except json.JSONDecodeError as exc:
        text = "unexpected EOF" if exc.pos >= len(exc.doc.rstrip()) else exc.msg
        raise BadQuery(400, f"Request decode failed: {text}") from exc
    except (ValueError, RecursionError) as exc:
        raise BadQuery(400, f"Request decode failed: {exc}") from exc
    if not isinstance(document, dict):
        raise BadQuery(400, "Request decode failed: expected an object")
    return {str(name).lower(): value for name, value in document.items()}


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name.lower())
    if value is None:
        return ""
    if not isinstance(value, str):
        kind = "bool" if isinstance(value, bool) else "number"
        raise BadQuery(
            400,
            f"Request decode failed: json: cannot unmarshal {kind} into Go struct"
            f" field .{name} of type string",
        )
    return value


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
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given) if given < 1000 else given / 1e9
    raise ValueError(f"LockDelay {given!r}")  # answered like a bad duration
