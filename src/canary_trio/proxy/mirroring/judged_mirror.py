"""The judge's mirror: three copies of a request, whose answers are compared.

    a request that was answered --> stable, stable again, the new version, all at one moment

What the user was given is not looked at: so the request costs nothing more than before, and
all three answers are of one moment and of the same request. A copy is made as the original
would be sent to its arm, but for what makes an answer hang on what its client has already:
conditions of caches are left out, and no coding is asked for.

The rule that it obeys: whatever becomes of the copies, the original is over before they
begin; how many there are, how long they take and how much of an answer is read has a limit;
and what is not compared is counted.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from canary_trio.config.policies import HeaderRules
from canary_trio.config.rollout import JudgedMirror
from canary_trio.proxy.fields.header_changes import HeaderChanges, compile_changes
from canary_trio.proxy.mirroring.answers import (
    NO_RESPONSE,
    Comparer,
    CopyResponse,
    paths_of,
)
from canary_trio.proxy.mirroring.copies import Copy, stands_for
from canary_trio.rollout.fleet.compared import ComparedTally, Dropped, compare
from canary_trio.routing.weighted_sequence import WeightedSequence
from canary_trio.telemetry.events import EventKind
from canary_trio.telemetry.observer import Observer
from canary_trio.upstream.arm import LiveArm
from http_trio import FetchResult, NoResponse, fetch

if TYPE_CHECKING:
    from http_trio import ForwardedRequest

_log = logging.getLogger(__name__)

_CONDITIONS = (
    *("If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"),
    *("If-Range", "Accept-Encoding"),
)
_PLAIN = HeaderRules(set={"Accept-Encoding": "identity"})


@attrs.frozen
class MirroredArm:
    """An arm that gets copies, as one revision has it."""

    live: LiveArm
    changes: HeaderChanges

    @staticmethod
    def of(live: LiveArm) -> MirroredArm:
        """Make one ready."""
        return MirroredArm(live, compile_changes(live.config.request_headers))


class JudgeMirror:
    """What of one revision's requests is compared for the judge of its rollout."""

    __slots__ = (
        *(
            "_against",
            "_arm",
            "_comparer",
            "_counts",
            "_events",
            "_methods",
            "_next_at",
        ),
        *("_plain", "_rules", "_sequence", "_service", "_tally", "_tasks", "_told"),
    )

    def __init__(
        self,
        rules: JudgedMirror,
        arm: LiveArm,
        against: LiveArm,
        tally: ComparedTally,
        observer: Observer,
        service: str,
    ) -> None:
        """Begin with nothing in progress.

        Args:
            rules: what is compared, and how much of it.
            arm: the new version.
            against: the old one.
            tally: where it is counted for the judge.
            observer: where it is counted for who looks on, and told.
            service: whose requests they are.
        """
        self._rules = rules
        self._arm, self._against = MirroredArm.of(arm), MirroredArm.of(against)
        self._tally = tally
        self._counts = observer.mirror_counters.comparisons
        self._tasks, self._events = observer.tasks, observer.events
        self._service = service
        self._methods = frozenset(method.encode() for method in rules.methods)
        self._comparer = Comparer(rules.headers, rules.body, paths_of(rules.ignore))
        self._plain = compile_changes(_PLAIN, *_CONDITIONS)
        self._sequence = WeightedSequence()
        self._next_at = 0.0
        self._told = ""

    def __repr__(self) -> str:
        return f"<JudgeMirror of {self.arm} {self._tally!r}>"

    @property
    def arm(self) -> str:
        """The arm that is judged, whose own requests are not compared."""
        return self._arm.live.state.name

    def offer(
        self, request: ForwardedRequest, status: int, fields: bytes, *, answered: bool
    ) -> None:
        """Take a request whose response has been sent, as `Mirror.offer`."""
        try:
            self._offer(request, status, fields, answered=answered)
        except Exception as exc:
            self._fail(exc)

    def _offer(
        self, request: ForwardedRequest, status: int, fields: bytes, *, answered: bool
    ) -> None:
        exchange, rules = request.exchange, self._rules
        head, now = exchange.head, exchange.loop.now
        if head.method not in self._methods or head.upgrade is not None:
            return
        if self._sequence.next({"copy": rules.share}) != "copy":
            return
        body = b"" if head.framing == 0 else request.body
        if not answered or not status or exchange.gone:
            self._drop(Dropped.NO_ORIGINAL)
        elif body is None or len(body) > rules.size:
            self._drop(Dropped.SIZE)
        elif self._counts.in_progress >= rules.concurrency:
            self._drop(Dropped.BUSY)
        elif now < self._next_at:
            self._drop(Dropped.RATE)
        else:
            arms = (self._against, self._against, self._arm)
            servers = [arm.live.pick(None) for arm in arms]
            copies = [
                Copy(exchange, self._fields(fields, arm), body, server.upstream)
                for arm, server in zip(arms, servers, strict=True)
                if server is not None
            ]
            if len(copies) < len(arms):
                self._drop(Dropped.NO_SERVER)
                return
            path = head.target.partition(b"?")[0]
            exchange.loop.spawn(self._compare, copies, path)
            self._counts.in_progress += 1  # last: who is not made gives none back
            self._next_at = now + 1 / rules.rate

    def _fields(self, fields: bytes, arm: MirroredArm) -> bytes:
        plain = self._plain.without(fields) + self._plain.lines
        return arm.changes.without(plain) + arm.changes.lines

    async def _compare(self, copies: list[Copy], path: bytes) -> None:
        try:
            answers: dict[int, CopyResponse] = {}
            async with trio.open_nursery() as nursery:
                for place, copy in enumerate(copies):
                    nursery.start_soon(self._ask, copy, place, answers)
            first, again, new = (answers[place] for place in range(3))
            if first.body is None and self._rules.body:
                self._drop(Dropped.SIZE)
                return
            differences = partial(self._comparer.differences, first)
            said = differences(new), differences(again)
            self._counts.outcomes[compare(*said)] += 1
            for where in self._tally.add(*said):
                self._tell(where, copies[0].method, path)
        except Exception as exc:
            self._fail(exc)
        finally:
            self._counts.in_progress -= 1

    async def _ask(
        self, copy: Copy, place: int, answers: dict[int, CopyResponse]
    ) -> None:
        answers[place] = NO_RESPONSE
        try:
            with trio.move_on_after(self._rules.timeout):
                response = await fetch(
                    copy.upstream,
                    copy.request,
                    method=copy.method,
                    body_limit=self._rules.size,
                    keep_body=self._rules.body,
                    lead=copy.lead,
                )
                answers[place] = self._answer(response)
        except NoResponse as exc:
            _log.debug("a copy had no response: %s", exc)

    def _answer(self, response: FetchResult) -> CopyResponse:
        kind = (response.value(b"content-type") or b"").partition(b";")[0].lower()
        return CopyResponse(
            stands_for(response),
            tuple(values_of(response.fields, name) for name in self._rules.headers),
            response.body if response.whole else None,
            kind.rstrip().endswith((b"/json", b"+json")),
        )

    def _drop(self, why: Dropped) -> None:
        self._tally.drop(why)
        self._counts.dropped[why] += 1

    def _fail(self, exc: Exception) -> None:
        """Tell of what nobody foresaw, and count it."""
        self._drop(Dropped.FAILED)
        self._told = self._tasks.note("mirror", exc, self._told)

    def _tell(self, place: str, method: bytes, path: bytes) -> None:
        words = f"{method.decode('latin-1')} {path.decode('latin-1', 'replace')[:200]}"
        self._events.tell(
            EventKind.ROLLOUT,
            f"the answer of {self.arm} to a copy of {words} differs in {place}",
            level=logging.WARNING,
            service=self._service,
            place=place,
            request=words,
        )


def values_of(fields: bytes, name: str) -> tuple[bytes, ...]:
    r"""Give all values of a field among lines that CRLF leads.

    >>> values_of(b"\r\nA: 1\r\nB: 2\r\na:3", "a")
    (b'1', b'3')
    """
    wanted = name.lower().encode()
    rows = (line.partition(b":") for line in fields.split(b"\r\n") if line)
    return tuple(value.strip() for key, _, value in rows if key.lower() == wanted)
