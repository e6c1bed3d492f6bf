"""Who waits at a full server is served by turns among clients, and each in order."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from canary_trio.upstream.pending_queue import PendingQueue, client_of

CLIENTS = st.sampled_from(["a", "b", "c", ""])


@attrs.define(eq=False)
class Server:
    limit: int
    most: int = 2
    busy: list[str] = attrs.field(factory=list)

    @property
    def full(self) -> bool:
        return len(self.busy) >= self.limit

    def has_room_for(self, client: str) -> bool:
        has_share = bool(client) and self.busy.count(client) >= self.most
        return not self.full and not has_share


@attrs.define(eq=False)
class Waiter:
    server: Server
    client: str
    admitted: list[Waiter]

    def admit(self) -> None:
        assert self.server.has_room_for(self.client)
        self.server.busy.append(self.client)
        self.admitted.append(self)


class Waiting(RuleBasedStateMachine):
    """A queue beside a list: in order for each client, and nobody is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(3)
        self.queue = PendingQueue(self.server)
        self.model: list[Waiter] = []
        self.admitted: list[Waiter] = []

    @rule(client=CLIENTS)
    def come(self, client: str) -> None:
        if self.server.has_room_for(client):
            self.server.busy.append(client)
        else:
            waiter = Waiter(self.server, client, self.admitted)
            self.queue.join(waiter, client)
            self.model.append(waiter)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiter = data.draw(st.sampled_from(self.model))
        self.queue.leave(waiter)
        self.queue.leave(waiter)
        self.model.remove(waiter)

    @precondition(lambda self: self.server.busy)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.server.busy.remove(data.draw(st.sampled_from(self.server.busy)))
        before = len(self.admitted)
        self.queue.freed()
        for waiter in self.admitted[before:]:
            first = next(one for one in self.model if one.client == waiter.client)
            assert waiter is first, "each client's are served in order"
            self.model.remove(waiter)
        assert not [one for one in self.model if self.server.has_room_for(one.client)]

    @rule(limit=st.integers(1, 5))
    def change_limit(self, limit: int) -> None:
        self.server.limit = limit
        before = len(self.admitted)
        self.queue.freed()
        for waiter in self.admitted[before:]:
            self.model.remove(waiter)

    @invariant()
    def counts_agree(self) -> None:
        assert len(self.queue) == len(self.model)
        for client in ("a", "b", "c", ""):
            mine = [one for one in self.model if one.client == client]
            assert self.queue.count(client) == len(mine)


TestWaiting = Waiting.TestCase


def test_a_thousand_of_one_client_are_one_turn() -> None:
    server, admitted = Server(0, most=2000), list[Waiter]()
    queue = PendingQueue(server)
    for client in ["a"] * 1000 + ["b"] * 2 + ["c"]:
        queue.join(Waiter(server, client, admitted), client)
    for limit in range(1, 7):
        server.limit = limit
        queue.freed()
    assert [one.client for one in admitted] == ["a", "b", "c", "a", "b", "a"]


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8::ffff:1", "2001:db8::"),
        ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("unix", ""),
        ("", ""),
    ],
)
def test_whose_requests_count_as_one_clients(address: str, client: str) -> None:
    assert client_of(address) == client
