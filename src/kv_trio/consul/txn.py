"""Transactions in Consul's JSON, as `/v1/txn` takes them. Pure."""

from __future__ import annotations

from kv_trio.consul.json_body import has_more_values, kind_of, parse_json
from kv_trio.consul.txn_operation import parse_operation
from kv_trio.errors import BadQuery
from kv_trio.limits import StoreLimits
from kv_trio.state.acl import Acl
from kv_trio.state.txn import Transaction, quoted

OPERATION_LIMIT = 128
"""Operations of a transaction at most; Consul took 64 up to 1.13."""

DEFAULTS = StoreLimits()
_VALUES = 16 * OPERATION_LIMIT  # of the JSON; each operation has 7, and its object


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
        operations = tuple(parse_operation(item) for item in document or [])
    except (ValueError, RecursionError) as exc:
        raise BadQuery(400, f"Failed to parse body: {exc}") from exc
    for operation in operations:
        if len(operation.value) > value_limit:
            text = f"Value for key {quoted(operation.key)} is too large"
            raise BadQuery(
                413, f"{text} ({len(operation.value)} > {value_limit} bytes)"
            )
    return Transaction(operations, acl, limits)
