"""Where clients note what they saw, and who they are.

The rule that it obeys: a request is noted once, when it is over for its client, who
has then done what any client does: asked again over another connection where the server
had said that it never looked at the request.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from sys import intern

import attrs
import trio

from canary_trio.verify.arithmetic import USER
from canary_trio.verify.documents import COOKIE, DECISION
from canary_trio.verify.observation import ClientKind, Observation, Record
from canary_trio.verify.peers.wire import decision_of

REQUEST_S = 20.0
"""How long a request may take; then it is lost."""

USERS = 200


@attrs.define
class User:
    """Somebody who asks: the key that it shows, and the cookie that it was given."""

    name: str
    cookie: bytes = b""

    def take(self, given: list[bytes], name: bytes) -> bool:
        """Keep the cookie of a name if a response gives one; tell whether it did."""
        found = [one.partition(b";")[0] for one in given if one.startswith(name + b"=")]
        if found:
            self.cookie = found[-1]
        return bool(found)


@attrs.define(eq=False)
class Journal:
    """What all clients of a run note.

    Attributes:
        record: of the run.
        over: set when no request is to begin any more.
        path: that is asked for.
        host: that requests name; empty for the proxy's address.
        decision: the field that says how a response was routed, in small letters.
        cookie: the name of the cookie that keeps users.
        key: the field by which they say who they are.
        any_answer: whether a server may answer what it likes, errors of its own aside.
        counts: of what came through, by kind.
        lost: how many did not.
    """

    record: Record
    over: trio.Event = attrs.field(factory=trio.Event)
    path: bytes = b"/"
    host: bytes = b""
    decision: bytes = DECISION.lower().encode()
    cookie: bytes = COOKIE.encode()
    key: bytes = USER.encode()
    any_answer: bool = False
    counts: Counter[ClientKind] = attrs.field(factory=Counter)
    lost: int = 0
    began: float = attrs.field(factory=trio.current_time)
    users: list[User] = attrs.field(
        factory=lambda: [User(f"user-{number}") for number in range(USERS)]
    )

    def __repr__(self) -> str:
        return f"<Journal {self.counts.total()} requests, {self.lost} lost>"

    def now(self) -> float:
        """Give the run's time."""
        return trio.current_time() - self.began

    def user(self, chance: random.Random) -> User:
        """Draw a user."""
        return chance.choice(self.users)

    def fields(self, user: str, cookie: bytes) -> list[tuple[bytes, bytes]]:
        """Give what a user's requests say of it."""
        found = [(self.key, user.encode())]
        return [*found, (b"Cookie", cookie)] if cookie else found

    def bad_status(self, status: int) -> str:
        """Say what is wrong with a final status; empty if nothing is."""
        wrong = status >= 500 if self.any_answer else status != 200
        return f"status {status}" if wrong else ""

    def note(
        self,
        kind: ClientKind,
        proxy: str,
        began: float,
        fields: Mapping[bytes, bytes],
        failure: str = "",
        *,
        user: str = "",
        cookie: bytes = b"",
        fresh: bool = False,
        close_code: int = 0,
    ) -> Observation:
        """Note a request that is over.

        Args:
            kind: of client.
            proxy: that was asked.
            began: when.
            fields: of the response's head, by names in small letters; empty if none came.
            failure: why it was lost.
            user: whose it was; empty for nobody's.
            cookie: that it was sent with, or that the response gave.
            fresh: whether the response gave it.
            close_code: of a WebSocket.
        """
        said = decision_of(fields.get(self.decision, b""))
        revision, arm = said.get("revision", "0"), said.get("arm", "")
        found = Observation(
            kind=kind,
            proxy=proxy,
            began=began,
            ended=self.now(),
            failure=failure,
            user=user,
            cookie=intern(cookie.decode("latin-1")),
            fresh=fresh,
            revision=int(revision) if revision.isdecimal() else 0,
            arm=intern(arm),
            chosen=intern(said.get("chosen", arm)),
            reason=intern(said.get("reason", "")),
            rule=intern(said.get("rule", "")),
            server=intern(fields.get(b"x-server", b"").decode("latin-1")),
            close_code=close_code,
        )
        self.record.observations.append(found)
        if failure:
            self.lost += 1
        else:
            self.counts[kind] += 1
        return found
