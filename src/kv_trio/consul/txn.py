"""Transactions in Consul's JSON, as `/v1/txn` takes them. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from kv_trio.consul.json_body import has_more_values, kind_of, parse_json
from kv_trio.errors import BadQuery
from kv_trio.limits import StoreLimits
from kv_trio.state.acl import Acl
from kv_trio.state.txn import Transaction, TxnOperation, quoted

OPERATION_LIMIT = 128
"""Operations of a transaction at most; Consul took 64 up to 1.13."""

DEFAULTS = StoreLimits()
_UINT64 = 2**64
_VALUES = 16 * OPERATION_LIMIT  # of the JSON; each operation has 7, and its object
_ILLEGAL = re.compile(r"[^A-Za-z0-9+/]")
_FIELDS = ("Verb", "Key", "Value", "Flags", "Index", "Session")


def parse_transaction(
    body: bytes, acl: Acl, *, value_limit: int, limits: StoreLimits = DEFAULTS
) -> Transaction:
    """Read a transaction from Consul's JSON; the names of its fields have no case.

    Raises:
        BadQuery: it makes no sense, or is too large; with Consul's texts.
    """
    if not body.strip():
        raise BadQuery(400, "Failed to parse body: EOF")
    if has_more_values(body, _VALUES):  # before it is parsed
        count = f"more than {OPERATION_LIMIT}, or what is none"
        raise BadQuery(413, f"Transaction contains too many operations ({count})")
    try:
        document = parse_json(body)
        if document is not None and not isinstance(document, list):
            raise ValueError(
                f"json: cannot unmarshal {kind_of(document)} into Go value of type"
                " api.TxnOps"
            )
        if document and len(document) > OPERATION_LIMIT:  # before each is looked at
            count = f"{len(document)} > {OPERATION_LIMIT}"
            raise BadQuery(413, f"Transaction contains too many operations ({count})")
        operations = tuple(_parse_operation(item) for item in document or [])
    except (ValueError, RecursionError) as exc:
        raise BadQuery(400, f"Failed to parse body: {exc}") from exc
    for operation in operations:
        if len(operation.value) > value_limit:
            text = f"Value for key {quoted(operation.key)} is too large"
            raise BadQuery(
                413, f"{text} ({len(operation.value)} > {value_limit} bytes)"
            )
    return Transaction(operations, acl, limits)


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


def _parse_operation(item: object) -> TxnOperation:
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
