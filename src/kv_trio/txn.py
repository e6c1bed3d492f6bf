"""Transactions, pure: `PUT /v1/txn` as steps, and what comes of them.

All steps are tried in order on a draft of their own, where each sees what those before
it wrote; all writes share one number. If any step fails, nothing of it takes effect,
and every step that failed is told.

The texts are Consul's: its clients match on them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import attrs

from kv_trio.access import Access
from kv_trio.core import Entry
from kv_trio.draft import Delete, Draft, Outcome, Put
from kv_trio.errors import BadQuery

STEPS = 128
"""Steps of a transaction at most; Consul took 64 up to 1.13."""

_UINT64 = 2**64
_FIELDS = ("Verb", "Key", "Value", "Flags", "Index", "Session")
_WRITES = frozenset(
    {"set", "cas", "lock", "unlock", "delete", "delete-tree", "delete-cas"}
)


def _encoded(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


@attrs.frozen
class Step:
    """One operation of a transaction.

    Attributes:
        verb: `set`, `cas` (if at `index`), `lock`, `unlock` (of `session`), `delete`,
            `delete-tree`, `delete-cas`, `get`, `get-or-empty`, `get-tree`,
            `check-index`, `check-session` or `check-not-exists`.
        key: the key, or for a tree the prefix.
    """

    verb: str
    key: bytes = attrs.field(converter=_encoded)
    value: bytes = b""
    flags: int = 0
    index: int = 0
    session: str = ""

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.verb in _WRITES


@attrs.frozen
class StepFailed:
    """Which step failed, and why in Consul's words."""

    at: int
    reason: str


@attrs.frozen
class Transacted(Outcome):
    """What came of a transaction.

    Attributes:
        results: what the steps give, in order; those that only delete give nothing.
        failed: the steps that failed; then nothing took effect.
    """

    results: tuple[Entry, ...] = ()
    failed: tuple[StepFailed, ...] = ()


@attrs.frozen
class Transaction:
    """Steps that take effect together or not at all.

    Attributes:
        access: what its sender may do.
    """

    steps: tuple[Step, ...]
    access: Access

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return any(step.writes for step in self.steps)

    def apply_to(self, draft: Draft, now: float) -> Transacted:
        """Try it; the draft takes it over if no step fails."""
        own = Draft(draft, one_index=True)
        results: list[Entry] = []
        failed: list[StepFailed] = []
        for at, step in enumerate(self.steps):
            try:
                results += self._run(step, own, now)
            except _FailedError as exc:
                failed.append(StepFailed(at, str(exc)))
        if failed:
            return Transacted(done=False, failed=tuple(failed))
        draft.absorb(own)
        return Transacted(done=True, index=draft.index, results=tuple(results))

    def _run(self, step: Step, draft: Draft, now: float) -> list[Entry]:
        """Run a step; give what it adds to the results.

        Raises:
            _FailedError: its condition does not hold.
        """
        if not step.key and step.verb not in ("get-tree", "delete-tree"):
            raise _FailedError("Must provide key")
        if step.writes:
            tree = step.verb == "delete-tree"
            may = self.access.may_write_under if tree else self.access.may_write
            if not may(step.key):
                raise _FailedError("Permission denied")
            return _write(step, draft, now)
        found = _read(step, draft)
        return [entry for entry in found if self.access.may_read(entry.key)]


class _FailedError(Exception):
    """A step's condition does not hold."""


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
            text = f"Value for key {_quoted(step.key)} is too large"
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


def _quoted(key: bytes) -> str:
    return json.dumps(key.decode("utf-8", "replace"), ensure_ascii=False)


def _read(step: Step, draft: Draft) -> list[Entry]:
    key = _quoted(step.key)
    if step.verb == "get-tree":
        found = [draft.get(name) for name in draft.keys_under(step.key)]
        return [entry for entry in found if entry is not None]
    entry = draft.get(step.key)
    match step.verb:
        case "get" if entry is None:
            raise _FailedError(f"key {key} doesn't exist")
        case "get-or-empty" if entry is None:
            return [Entry(step.key, b"", 0, 0, 0)]
        case "get" | "get-or-empty":
            pass
        case "check-not-exists":
            if entry is not None:
                raise _FailedError(f"key {key} exists")
            return []
        case "check-index":
            _check_index(step, key, entry)
        case "check-session":
            _check_session(step, key, entry)
        case verb:
            raise _FailedError(f'unknown KV verb "{verb}"')
    assert entry is not None, "each branch above has seen to it"
    return [entry if step.verb.startswith("get") else attrs.evolve(entry, value=b"")]


def _check_index(step: Step, key: str, entry: Entry | None) -> None:
    if entry is None:
        raise _FailedError(f"failed to check index, key {key} doesn't exist")
    if entry.modify_index != step.index:
        raise _FailedError(
            f"failed index check for key {key}, current modify index"
            f" {entry.modify_index} != {step.index}"
        )


def _check_session(step: Step, key: str, entry: Entry | None) -> None:
    if entry is None:
        raise _FailedError(f"failed to check session, key {key} doesn't exist")
    if (entry.session or "") != step.session:
        raise _FailedError(
            f'failed session check for key {key}, current session "{entry.session or ""}"'
            f' != "{step.session}"'
        )


def _write(step: Step, draft: Draft, now: float) -> list[Entry]:
    key = _quoted(step.key)
    put = Put(step.key, step.value, step.flags)
    operation: Put | Delete
    match step.verb:
        case "set":
            operation, refusal = put, ""
        case "cas":
            operation = attrs.evolve(put, cas=step.index)
            refusal = f"failed to set key {key}, index is stale"
        case "lock":
            operation = attrs.evolve(put, acquire=step.session)
            refusal = f"failed to lock key {key}, lock is already held"
            if draft.is_delayed(step.key, now):
                refusal = f"failed to lock key {key} due to lock delay"
        case "unlock":
            operation = attrs.evolve(put, release=step.session)
            refusal = (
                f"failed to unlock key {key}, lock isn't held, or is held by another"
                " session"
            )
        case verb:
            cas = step.index if verb == "delete-cas" else None
            operation = Delete(step.key, recurse=verb == "delete-tree", cas=cas)
            refusal = f"failed to delete key {key}, index is stale"
    outcome = draft.apply(operation, now)
    if not outcome.done:
        raise _FailedError(outcome.refused or refusal)
    entry = None if isinstance(operation, Delete) else draft.get(step.key)
    return [] if entry is None else [attrs.evolve(entry, value=b"")]
