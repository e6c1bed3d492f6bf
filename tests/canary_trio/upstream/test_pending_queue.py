"""Who waits at a full server is served first come, first served."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from canary_trio.upstream.pending_queue import PendingQueue


@attrs.define(eq=False)
class Server:
    limit: int
    busy: int = 0

    @property
    def full(self) -> bool:
        return self.busy >= self.limit


@attrs.define(eq=False)
class Waiter:
    server: Server
    admitted: list[Waiter]

    def admit(self) -> None:
        assert not self.server.full
        self.server.busy += 1
        self.admitted.append(self)


class Waiting(RuleBasedStateMachine):
    """A queue beside a list: first come, first served, and nobody is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(2)
        self.queue = PendingQueue(self.server)
        self.model: list[Waiter] = []
        self.admitted: list[Waiter] = []

    @rule()
    def come(self) -> None:
        waiter = Waiter(self.server, self.admitted)
        if self.server.full:
            self.queue.join(waiter)
            self.model.append(waiter)
        else:
            self.server.busy += 1

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.model))
        self.queue.leave(waiter)
        self.model.remove(waiter)

    @precondition(lambda self: self.server.busy)
    @rule()
    def end(self) -> None:
        self.server.busy -= 1
        before = len(self.admitted)
        self.queue.freed()
        came = self.admitted[before:]
        assert came == self.model[: len(came)]
        del self.model[: len(came)]

    @rule(limit=st.integers(1, 4))
    def change_limit(self, limit: int) -> None:
        self.server.limit = limit

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.model)

    @invariant()
    def nobody_waits_at_an_idle_server(self) -> None:
        assert self.server.busy or not self.model


TestWaiting = Waiting.TestCase
