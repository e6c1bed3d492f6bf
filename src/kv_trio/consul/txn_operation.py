"""An operation of a transaction in Consul's JSON, both directions. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from kv_trio.state.txn_operation import TxnOperation

_UINT64 = 2**64
_ILLEGAL = re.compile(r"[^A-Za-z0-9+/]")
_FIELDS = ("Verb", "Key", "Value", "Flags", "Index", "Session")


def dump_operation(operation: TxnOperation) -> dict[str, Any]:
    """Write an operation in Consul's JSON; fields with their defaults are left out."""
    fields = {
        "Verb": operation.verb,
        "Key": operation.key.decode(),
        "Value": base64.b64encode(operation.value).decode(),
        "Flags": operation.flags,
        "Index": operation.index,
        "Session": operation.session,
    }
    return {"KV": {name: value for name, value in fields.items() if value}}


def parse_operation(item: object) -> TxnOperation:
    """Read an operation from Consul's JSON; the names of its fields have no case.

    Raises:
        ValueError: it is none; with Consul's texts.
    """
    fields = _fields(_fields(item, ("KV",)).get("KV", {}), _FIELDS)
    value = _string(fields, "Value")
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError(
            f"illegal base64 data at input byte {_find_illegal(value)}"
        ) from exc
    return TxnOperation(
        verb=_string(fields, "Verb"),
        key=_string(fields, "Key").encode(),
        value=decoded,
        flags=_unsigned(fields, "Flags"),
        index=_unsigned(fields, "Index"),
        session=_string(fields, "Session"),
    )


def _fields(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Give the fields of an object by their names as Consul spells them."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(  # noqa: TRY004  # all faults are one
            f"json: cannot unmarshal {type(value).__name__} into an operation"
        )
    right = {name.lower(): name for name in names}
    found: dict[str, Any] = {}
    for name, field in value.items():
        if name.lower() not in right:
            raise ValueError(f'json: unknown field "{name}"')
        if field is not None:
            found[right[name.lower()]] = field
    return found


def _string(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004  # all faults are one
            f"json: cannot unmarshal {json.dumps(value)} into {name}, a string"
        )
    return value


def _unsigned(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name, 0)
    if type(value) is not int or not 0 <= value < _UINT64:
        raise ValueError(
            f"json: cannot unmarshal {json.dumps(value)} into {name}, a uint64"
        )
    return value


def _find_illegal(text: str) -> int:
    """Give the position of the first character that is not of base64."""
    found = _ILLEGAL.search(text)
    return found.start() if found else len(text)
