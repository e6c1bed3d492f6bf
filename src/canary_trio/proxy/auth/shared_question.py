"""Questions under way: who asks the same waits for the same answer.

The rules that it obeys: a question is asked as long as somebody waits for its answer, and no
longer; an answer that is one client's own is given to the first who asked, and the others ask
for themselves; and whoever waits is told once, whatever happens.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from canary_trio.proxy.auth.verdict import AuthOutcome, Denied, Tell, Verdict
from canary_trio.routing.access.gate import RefusalKind
from http_trio import Exchange, error_response

_log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[Verdict]]


class Asker:
    """One who waits for an answer."""

    __slots__ = ("_exchange", "question", "tell", "work")

    def __init__(self, exchange: Exchange, tell: Tell, work: Work) -> None:
        self._exchange = exchange
        self.tell = tell
        self.work = work
        self.question: _Question | None = None

    def __repr__(self) -> str:
        return f"<Asker of {self.question!r}>"

    def leave(self) -> None:
        """Wait no more; the last one who leaves ends the question."""
        question, self.question = self.question, None
        if question is not None:
            question.leave(self)

    def begin(self, questions: Questions, key: bytes | None) -> None:
        """Ask by itself, from now on."""
        self.question = question = _Question(questions, key, self)
        self._exchange.loop.spawn(question.run, self.work)


class Questions:
    """The questions of one check."""

    def __init__(self) -> None:
        self._under_way: dict[bytes, _Question] = {}

    def __repr__(self) -> str:
        return f"<Questions {len(self._under_way)} under way>"

    def __len__(self) -> int:
        return len(self._under_way)

    def __contains__(self, key: bytes) -> bool:
        return key in self._under_way

    def ask(self, exchange: Exchange, key: bytes, work: Work, tell: Tell) -> Asker:
        """Ask, or wait with whoever asks the same.

        Args:
            exchange: for which; its event loop carries the question.
            key: what is the same has the same.
            work: gives the answer; it is cancelled when nobody waits any more.
            tell: is called with it, from another turn of the event loop.
        """
        asker = Asker(exchange, tell, work)
        question = self._under_way.get(key)
        if question is None:
            asker.begin(self, key)
        else:
            question.join(asker)
        return asker

    def waiting(self) -> list[Asker]:
        """Give those who wait with others, or might."""
        return [asker for one in self._under_way.values() for asker in one.askers]

    def note(self, key: bytes, question: _Question) -> None:
        """Let others join a question."""
        self._under_way[key] = question

    def forget(self, key: bytes, question: _Question) -> None:
        """Let nobody join it any more."""
        if self._under_way.get(key) is question:
            del self._under_way[key]


class _Question:
    """One question, and who waits.

    Attributes:
        askers: who waits, first come first.
    """

    __slots__ = ("_key", "_questions", "_scope", "askers")

    def __init__(self, questions: Questions, key: bytes | None, first: Asker) -> None:
        self._questions = questions
        self._key = key
        self.askers: dict[Asker, None] = {first: None}
        self._scope = trio.CancelScope()
        if key is not None:
            questions.note(key, self)

    def __repr__(self) -> str:
        return f"<_Question of {len(self.askers)}>"

    def join(self, asker: Asker) -> None:
        asker.question = self
        self.askers[asker] = None

    def leave(self, asker: Asker) -> None:
        self.askers.pop(asker, None)
        if not self.askers:
            self._forget()
            self._scope.cancel()

    async def run(self, work: Work) -> None:
        verdict: Verdict = _crashed()
        try:
            with self._scope:
                verdict = await work()
        except Exception:
            _log.exception("a check of who asks failed")
        finally:
            self._forget()
        askers, self.askers = list(self.askers), {}
        for place, asker in enumerate(askers):
            asker.question = None
            if place and verdict.is_personal:
                asker.begin(self._questions, None)
            else:
                asker.tell(verdict)

    def _forget(self) -> None:
        if self._key is not None:
            self._questions.forget(self._key, self)


def _crashed() -> Denied:
    outcome = AuthOutcome.FAILED
    return Denied(RefusalKind.AUTH_FAILED, error_response(500, ""), outcome)
