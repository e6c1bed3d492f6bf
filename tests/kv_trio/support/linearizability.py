"""Whether a concurrent history can be explained by one thing after the other, pure.

The search is that of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993)
with the memory of Lowe ("Testing for Linearizability", 2017): what was tried is a set
of operations and a state, and is not tried again.

The rule that it obeys: an operation is placed only if no other one that is not yet
placed had ended before it began. One of unknown outcome has no end: it may take effect
at any later time, or never.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

import attrs

Request = TypeVar("Request")
Response = TypeVar("Response")
State = TypeVar("State", bound=Hashable)

_SHOWN = 6  # operations of the explained part that a person is shown


@attrs.frozen
class Operation(Generic[Request, Response]):
    """What a client requested, and what came of it.

    Attributes:
        begun: when it was sent, on any clock that all clients share.
        ended: when its response was there; None if none ever was.
        response: None if it is not known.
    """

    client: int
    begun: float
    ended: float | None
    request: Request
    response: Response | None

    def __str__(self) -> str:
        end = "?" if self.ended is None else f"{self.ended:g}"
        who = f"[{self.begun:g}, {end}] client {self.client}"
        return f"{who}: {self.request} -> {self.response}"


@attrs.frozen
class Verdict(Generic[State, Request, Response]):
    """What the checker found; true if the history is linearizable.

    Attributes:
        order: a linearization; if there is none, the longest one of a part.
        state: what it leads to.
        stuck: the operations of which none can be next; empty if there is an order.
    """

    order: tuple[Operation[Request, Response], ...]
    state: State
    stuck: tuple[Operation[Request, Response], ...]

    def __bool__(self) -> bool:
        return not self.stuck

    def __str__(self) -> str:
        if self:
            return f"linearizable: {len(self.order)} operations"
        lines = [f"not linearizable; {len(self.order)} can be placed, the last are"]
        lines += [f"  {operation}" for operation in self.order[-_SHOWN:]]
        lines += [f"which leads to {self.state}; then none of these can be next:"]
        lines += [f"  {operation}" for operation in self.stuck]
        return "\n".join(lines)


History = Sequence[Operation[Request, Response]]
Model = Callable[[State, Request], tuple[Response, State]]
"""What an operation is answered in a state, and the state that it leads to."""


def check(
    history: History[Request, Response],
    initial: State,
    model: Model[State, Request, Response],
) -> Verdict[State, Request, Response]:
    """Search for an order that explains a history."""
    return _Search(history, model).run(initial)


class _Search(Generic[State, Request, Response]):
    """Depth first; a set of operations is the bits of a number."""

    def __init__(
        self,
        history: History[Request, Response],
        model: Model[State, Request, Response],
    ) -> None:
        self._all = sorted(history, key=lambda operation: operation.begun)
        self._model = model
        ended = [at for at, one in enumerate(self._all) if one.ended is not None]
        self._known = sum(1 << at for at in ended)

    def run(self, initial: State) -> Verdict[State, Request, Response]:
        everything = (1 << len(self._all)) - 1
        path: list[int] = []
        furthest = (path.copy(), initial, everything)
        tried = {(everything, initial)}
        stack = [(everything, initial, self._choices(everything, initial))]
        while stack:
            left, state, choices = stack[-1]
            if not left & self._known:
                return self._verdict(path, state, left=0)
            if len(path) > len(furthest[0]):
                furthest = (path.copy(), state, left)
            for at, new in choices:
                rest = left & ~(1 << at)
                if (rest, new) not in tried:
                    tried.add((rest, new))
                    path.append(at)
                    stack.append((rest, new, self._choices(rest, new)))
                    break
            else:
                stack.pop()
                del path[-1:]
        return self._verdict(*furthest)

    def _choices(self, left: int, state: State) -> Iterator[tuple[int, State]]:
        """Give what may be next, and what it leads to; the likeliest first.

        What ended and changes nothing may always go first, so nothing else is tried
        beside it; what is of unknown outcome and changes nothing may as well be left
        out.
        """
        changing: list[tuple[int, State]] = []
        for at in self._concurrent(left):
            operation = self._all[at]
            response, after = self._model(state, operation.request)
            if operation.ended is None:
                if after != state:
                    changing.append((at, after))
            elif operation.response == response:
                if after == state:
                    yield at, state
                    return
                changing.append((at, after))
        changing.sort(key=lambda choice: self._all[choice[0]].ended is None)
        yield from changing

    def _concurrent(self, left: int) -> list[int]:
        """Give the operations before which none of those that are left ended."""
        first_end = float("inf")
        found: list[int] = []
        while left:
            lowest = left & -left
            at = lowest.bit_length() - 1
            operation = self._all[at]
            if operation.begun > first_end:
                break
            found.append(at)
            if operation.ended is not None:
                first_end = min(first_end, operation.ended)
            left ^= lowest
        return [at for at in found if self._all[at].begun <= first_end]

    def _verdict(
        self, path: list[int], state: State, left: int
    ) -> Verdict[State, Request, Response]:
        stuck = [self._all[at] for at in self._concurrent(left)]
        known = tuple(one for one in stuck if one.ended is not None)
        return Verdict(tuple(self._all[at] for at in path), state, known)
