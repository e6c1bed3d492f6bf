"""A store as simple as can be, to compare the real one with, and random requests.

Every change takes the next number, and every response tells a number: of the key's last
change, or, where nothing is there, of the store's. So a response fits one place only.
"""

from __future__ import annotations

from itertools import count

import attrs

from kv_trio import TxnOperation
from tests.kv_trio.support.linearizability import Operation


@attrs.frozen
class Get:
    """Read a key; whether it waits does not matter, for a return proves no change."""

    key: str


@attrs.frozen
class Put:
    """Write a key."""

    key: str
    value: bytes
    cas: int | None = None


@attrs.frozen
class Delete:
    """Remove a key."""

    key: str
    cas: int | None = None


@attrs.frozen
class ListAll:
    """Read all keys at once."""


@attrs.frozen
class Transact:
    """Run operations together or not at all."""

    operations: tuple[TxnOperation, ...]


Request = Get | Put | Delete | ListAll | Transact


@attrs.frozen
class Seen:
    """A key, or all of them, as they were read; and the response's index."""

    keys: tuple[tuple[str, bytes, int], ...]
    index: int


@attrs.frozen
class Wrote:
    """Whether a write's condition held, and the response's index."""

    done: bool
    index: int


@attrs.frozen
class Ran:
    """What a transaction's operations gave, or which of them failed."""

    gave: tuple[tuple[str, bytes, int], ...] = ()
    failed: tuple[int, ...] = ()


Response = Seen | Wrote | Ran
Happened = Operation[Request, Response]
Key = tuple[bytes, int]  # its value and the number of its last change


@attrs.frozen
class State:
    """All keys between two operations.

    Attributes:
        index: the number of the last change.
        keys: those that are there, sorted.
    """

    index: int
    keys: tuple[tuple[str, Key], ...] = ()

    def get(self, key: str) -> Key | None:
        return dict(self.keys).get(key)

    def put(self, key: str, value: bytes, index: int) -> State:
        old = self.get(key)
        if old is not None and old[0] == value:
            return self
        keys = dict(self.keys) | {key: (value, index)}
        return State(max(self.index, index), tuple(sorted(keys.items())))

    def delete(self, key: str, index: int) -> State:
        if self.get(key) is None:
            return self
        keys = tuple(pair for pair in self.keys if pair[0] != key)
        return State(max(self.index, index), keys)


def run(  # noqa: PLR0911  # one per case
    state: State, request: Request
) -> tuple[Response, State]:
    """Give the response to an operation, and what it makes of the store."""
    following = state.index + 1
    match request:
        case Get(key):
            found = state.get(key)
            if found is None:
                return Seen((), state.index), state
            return Seen(((key, *found),), found[1]), state
        case ListAll():
            keys = tuple((key, *found) for key, found in state.keys)
            return Seen(keys, state.index), state
        case Put(key, value, cas):
            old = state.get(key)
            if cas is not None and cas != (old[1] if old else 0):
                return Wrote(done=False, index=old[1] if old else 1), state
            after = state.put(key, value, following)
            return Wrote(done=True, index=dict(after.keys)[key][1]), after
        case Delete(key, cas):
            old = state.get(key)
            if old is not None and cas not in (None, old[1]):
                return Wrote(done=False, index=old[1]), state
            after = state.delete(key, following)
            return Wrote(done=True, index=after.index), after
        case Transact(operations):
            return _transact(state, operations, following)


def _transact(
    state: State, operations: tuple[TxnOperation, ...], index: int
) -> tuple[Ran, State]:
    after, failed = state, []
    gave: list[tuple[str, bytes, int]] = []
    for at, operation in enumerate(operations):
        key = operation.key.decode()
        old = after.get(key)
        if not _holds(operation, old):
            failed.append(at)
            continue
        if operation.verb in ("set", "cas"):
            after = after.put(key, operation.value, index)
        elif operation.verb in ("delete", "delete-cas"):
            after = after.delete(key, index)
        new = after.get(key)
        if new is not None and operation.verb != "check-not-exists":
            gave.append((key, new[0] if operation.verb == "get" else b"", new[1]))
    if failed:
        return Ran(failed=tuple(failed)), state
    return Ran(tuple(gave)), after


def _holds(operation: TxnOperation, old: Key | None) -> bool:
    match operation.verb:
        case "cas":
            return operation.index == (old[1] if old else 0)
        case "delete-cas":
            return old is None or operation.index == old[1]
        case "get":
            return old is not None
        case "check-index":
            return old is not None and operation.index == old[1]
        case "check-not-exists":
            return old is None
        case "set" | "delete":
            return True
        case verb:
            raise ValueError(f"the model knows no operation {verb!r}")


class Recorder:
    """A history while it happens; its clock counts what begins and ends."""

    def __init__(self) -> None:
        self.history: list[Happened] = []
        self._clock = count(1)

    def __repr__(self) -> str:
        return f"<Recorder {len(self.history)}>"

    def begin(self, client: int, request: Request) -> int:
        """Note what is about to be sent; give its number."""
        now = next(self._clock)
        self.history.append(Operation(client, now, None, request, None))
        return len(self.history) - 1

    def end(self, number: int, response: Response) -> None:
        """Note the response."""
        operation = self.history[number]
        self.history[number] = attrs.evolve(
            operation, ended=next(self._clock), response=response
        )
