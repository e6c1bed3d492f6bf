"""Transactions in Consul's JSON, pure: `PUT /v1/txn` and its texts."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from kv_trio.errors import BadQuery
from kv_trio.state.acl import Access
from kv_trio.state.txn import Step, Transaction, quoted

STEPS = 128
"""Steps of a transaction at most; Consul took 64 up to 1.13."""

_UINT64 = 2**64
_FIELDS = ("Verb", "Key", "Value", "Flags", "Index", "Session")


def parse_transaction(body: bytes, access: Access, *, value_limit: int) -> Transaction:
    """Read a transaction from Consul's JSON; the names of its fields have no case.

    Raises:
        BadQuery: it makes no sense, or is too large; with Consul's texts.
    """
    if not body.strip():
        raise BadQuery(400, "Failed to parse body: EOF")
    try:
        asked = json.loads(body)
        if asked is not None and not isinstance(asked, list):
            kind = {dict: "object", str: "string", bool: "bool"}.get(
                type(asked), "number"
            )
            raise ValueError(
                f"json: cannot unmarshal {kind} into Go value of type api.TxnOps"
            )
        steps = tuple(_parse_step(one) for one in asked or [])
    except json.JSONDecodeError as exc:
        text = "unexpected EOF" if exc.pos >= len(exc.doc.rstrip()) else exc.msg
        raise BadQuery(400, f"Failed to parse body: {text}") from exc
    except (ValueError, RecursionError) as exc:
        raise BadQuery(400, f"Failed to parse body: {exc}") from exc
    if len(steps) > STEPS:
        text = f"Transaction contains too many operations ({len(steps)} > {STEPS})"
        raise BadQuery(413, text)
    for step in steps:
        if len(step.value) > value_limit:
            text = f"Value for key {quoted(step.key)} is too large"
            raise BadQuery(413, f"{text} ({len(step.value)} > {value_limit} bytes)")
    return Transaction(steps, access)


def dump_step(step: Step) -> dict[str, Any]:
    """Write a step in Consul's JSON; what is not given is left out."""
    given = {
        "Verb": step.verb,
        "Key": step.key.decode(),
        "Value": base64.b64encode(step.value).decode(),
        "Flags": step.flags,
        "Index": step.index,
        "Session": step.session,
    }
    return {"KV": {name: value for name, value in given.items() if value}}


def _parse_step(asked: object) -> Step:
    operation = _fields(asked, ("KV",))
    given = _fields(operation.get("KV", {}), _FIELDS)
    value = _of_type(given, "Value", str, "")
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError(f"illegal base64 data at input byte {_bad_at(value)}") from exc
    return Step(
        verb=_of_type(given, "Verb", str, ""),
        key=_of_type(given, "Key", str, "").encode(),
        value=decoded,
        flags=_unsigned(given, "Flags"),
        index=_unsigned(given, "Index"),
        session=_of_type(given, "Session", str, ""),
    )


def _fields(asked: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Give the fields of an object by their right names."""
    if asked is None:
        return {}
    if not isinstance(asked, Mapping):
        raise ValueError(  # noqa: TRY004  # all faults are one
            f"json: cannot unmarshal {type(asked).__name__} into an operation"
        )
    right = {name.lower(): name for name in names}
    found: dict[str, Any] = {}
    for name, value in asked.items():
        if name.lower() not in right:
            raise ValueError(f'json: unknown field "{name}"')
        if value is not None:
            found[right[name.lower()]] = value
    return found


def _of_type(given: dict[str, Any], name: str, kind: type[str], default: str) -> str:
    value = given.get(name, default)
    if not isinstance(value, kind):
        raise ValueError(  # noqa: TRY004  # all faults are one
            f"json: cannot unmarshal {json.dumps(value)} into {name}, a string"
        )
    return value


def _unsigned(given: dict[str, Any], name: str) -> int:
    value = given.get(name, 0)
    if type(value) is not int or not 0 <= value < _UINT64:
        raise ValueError(
            f"json: cannot unmarshal {json.dumps(value)} into {name}, a uint64"
        )
    return value


def _bad_at(text: str) -> int:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    wrong = (at for at, char in enumerate(text) if char not in alphabet)
    return next(wrong, len(text))
