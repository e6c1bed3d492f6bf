"""A server that is asked whether a request may pass, before it goes on.

    GET /verify HTTP/1.1                    what it is asked, whatever the method was
    X-Forwarded-Method, -Proto, -Host, -Uri, -For
    Cookie, Authorization                   or the fields that the document names; never a body

A 2xx lets the request pass, with the fields of it that the document names. Any other answer
goes to the client: its status, fields and body, so a login page, a redirect or a challenge work.
5xx, and no answer in time, are failures, and close the door unless the document says otherwise.

The rule that it obeys: an answer is for those alone who would ask the same. So it is kept and
shared by all that the question has, or by what the document names in place of that; and one
that sets a cookie is nobody else's. One file, since what is asked is what an answer is for.
"""

from __future__ import annotations

import logging
import math
import re
import secrets
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b

import attrs
import trio

from canary_trio.config.auth import ForwardAuth, OnFailure
from canary_trio.proxy.auth.answer_cache import AnswerCache
from canary_trio.proxy.auth.shared_question import Asker, Questions
from canary_trio.proxy.auth.verdict import (
    AuthOutcome,
    Denied,
    Granted,
    Tell,
    Verdict,
)
from canary_trio.routing.access.gate import RefusalKind
from canary_trio.telemetry.auth_counts import AuthCounts
from http_trio import (
    Exchange,
    FetchResult,
    NoResponse,
    Response,
    Upstream,
    error_response,
    fetch_pooled,
)
from http_trio.http1.fields import find_value, find_values

BODY_BYTES = 64 * 1024
"""Of an answer that goes to a client at most; of a longer one its status and fields go alone."""

_log = logging.getLogger(__name__)

TellAuth = Callable[[str, str, str], None]
"""Is told of a check, by whom, and why there is no answer; nothing where there is again."""

_LINE = re.compile(rb"\r\n([^:\r\n]+):[ \t]*([^\r\n]*)")
_OWN = frozenset({b"date", b"content-length", b"transfer-encoding", b"trailer"})
_OF_BODY = frozenset(
    {b"content-type", b"content-encoding", b"content-language", b"etag"}
)
_NO_STORE = re.compile(
    rb"\r\n(?:set-cookie:|cache-control:[^\r\n]*\bno-store\b)", re.IGNORECASE
)
_COOKIES = re.compile(rb"\r\nset-cookie:[^\r\n]*", re.IGNORECASE)


def _to_log(check: str, by: str, trouble: str) -> None:
    if trouble:
        _log.warning("%s by %s: %s", check, by, trouble)
    else:
        _log.info("%s by %s: it answers again", check, by)


class ForwardAuthCheck:
    """The check of one service, or of one route.

    Args:
        rules: as the document has them.
        upstream: the server that is asked.
        counts: where it is counted what it came to.
        name: what it is called.
    """

    def __init__(
        self,
        rules: ForwardAuth,
        upstream: Upstream,
        counts: AuthCounts,
        name: str = "forward_auth",
        tell: TellAuth | None = None,
    ) -> None:
        self.name, self._tell = name, tell or _to_log
        self.rules = rules
        self.upstream = upstream
        self.counts = counts
        self._told = fields_named(rules.request_headers)
        self._copied = [name.encode() for name in rules.copy_headers]
        self._questions = Questions()
        self._key = secrets.token_bytes(32)
        cache = rules.cache
        self._by = None
        if cache is not None and cache.by is not None:
            self._by = [fields_named([name]) for name in cache.by]
        self._shares_refusals = self._by is None or bool(cache and cache.refusals)
        self._kept: AnswerCache[Verdict] = AnswerCache(cache.entries if cache else 1)
        target = upstream.prefix + rules.path.encode() or b"/"
        self._start = b"GET %b HTTP/1.1\r\nHost: %b" % (target, upstream.host)
        self._trouble = ""

    def __repr__(self) -> str:
        return f"<ForwardAuthCheck by {self.upstream.name} {self._kept!r}>"

    @property
    def hides(self) -> tuple[str, ...]:
        """The fields that are not passed on as a client sends them."""
        user, copied = self.rules.user_header, self.rules.copy_headers
        return copied if user is None else (*copied, user)

    @property
    def words(self) -> str:
        """What it goes by, for people."""
        return f"{self.rules.url}{self.rules.path}"

    def decide(self, exchange: Exchange, fields: bytes, tell: Tell) -> Verdict | Asker:
        """Give the verdict, or who is told it later."""
        question = self._question(exchange, fields)
        key = self._key_of(question, fields)
        known = self._kept.get(key, exchange.loop.now) if self.rules.cache else None
        if known is not None:
            return self._counted(known)
        return self._questions.ask(
            exchange,
            key,
            partial(self._ask, exchange, question, key),
            lambda verdict: tell(self._counted(verdict)),
        )

    def _question(self, exchange: Exchange, fields: bytes) -> bytes:
        head = exchange.head
        told = b"" if self._told is None else b"".join(self._told.findall(fields))
        return b"%b%b\r\nX-Forwarded-Method: %b\r\nX-Forwarded-Uri: %b%b\r\n\r\n" % (
            self._start,
            exchange.forwarded_fields(),
            head.method,
            head.judged,
            told,
        )

    def _key_of(self, question: bytes, fields: bytes) -> bytes:
        """Give what answers are shared by: all of the question, or what is named."""
        if self._by is not None:
            found = [b"".join(one.findall(fields)) if one else b"" for one in self._by]
            question = b"\0".join(found)  # no field has one
        return blake2b(question, key=self._key, digest_size=32).digest()

    async def _ask(self, exchange: Exchange, question: bytes, key: bytes) -> Verdict:
        rules, loop = self.rules, exchange.loop
        limits = attrs.evolve(
            loop.limits,
            connect_s=rules.timeout,
            response_s=rules.timeout,
            stream_idle_s=math.inf,
            write_s=math.inf,
        )
        self.counts.asked += 1
        trouble = f"it gave no answer within {rules.timeout:g} seconds"
        with trio.move_on_after(rules.timeout):
            try:
                found = await fetch_pooled(
                    *(self.upstream, loop, question),
                    method=b"GET",
                    limits=limits,
                    body_limit=BODY_BYTES,
                    keep_body=True,
                )
            except NoResponse as exc:
                trouble = str(exc)
            else:
                if found.status < 500:
                    self._is_well()
                    verdict = self._judge(found)
                    self._keep(key, verdict, found, loop.now)
                    return verdict
                trouble = f"it answered {found.status}"
        return self._failed(trouble)

    def _judge(self, found: FetchResult) -> Verdict:
        cookies = b"".join(_COOKIES.findall(found.fields))
        if 200 <= found.status < 300:
            lines = b"".join(
                b"\r\n%b: %b" % (name, value)
                for name in self._copied
                for value in find_values(found.fields, name)
            )
            given = cookies if self.rules.set_cookies else b""
            header, user = self.rules.user_header, b""
            if header is not None:
                user = find_value(found.fields, header.encode()) or b""
            return Granted(lines, given, user, is_personal=bool(cookies))
        # A redirect to a login has much of the request that is not in a narrow key.
        own = bool(cookies) or not self._shares_refusals
        return Denied(RefusalKind.AUTH_DENIED, passed_on(found), is_personal=own)

    def _keep(
        self, key: bytes, verdict: Verdict, found: FetchResult, now: float
    ) -> None:
        cache = self.rules.cache
        if cache is None or _NO_STORE.search(found.fields):
            return
        if isinstance(verdict, Granted):
            time_s, size = cache.time, len(verdict.lines)
        else:
            time_s, size = cache.refusals, len(found.fields) + len(found.body)
        if time_s:
            self._kept.put(key, verdict, until=now + time_s, size=size)

    def _failed(self, trouble: str) -> Verdict:
        lets_by = self.rules.on_failure is OnFailure.ALLOW
        if not self._trouble:
            does = "pass unasked" if lets_by else "are refused"
            self._tell(self.name, self.words, f"{trouble}; requests {does}")
        self._trouble = trouble
        if lets_by:
            return Granted(outcome=AuthOutcome.LET_BY)
        response = error_response(
            503, "it cannot be told now who may pass", retry_after_s=1
        )
        return Denied(RefusalKind.AUTH_FAILED, response, AuthOutcome.FAILED)

    def _is_well(self) -> None:
        if self._trouble:
            self._tell(self.name, self.words, "")
            self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why the last question had no answer; empty if it had one."""
        return self._trouble

    def waiting(self) -> list[Asker]:
        """Give those who wait for an answer."""
        return self._questions.waiting()

    def _counted(self, verdict: Verdict) -> Verdict:
        self.counts.add(verdict.outcome.value)
        return verdict


def fields_named(names: Iterable[str]) -> re.Pattern[bytes] | None:
    r"""Give what finds all lines of some fields; None for no field.

    With `_` for `-` too, as many servers read both as the same name.

    >>> fields_named(["Remote-User"]).findall(b"\r\nA: b\r\nremote_user: c\r\nremote-users: d")
    [b'\r\nremote_user: c']
    """
    patterns = [
        re.escape(name.replace("_", "-")).replace(r"\-", "[-_]") for name in names
    ]
    if not patterns:
        return None
    joined = "|".join(patterns).encode()
    return re.compile(rb"\r\n(?:%b)[ \t]*:[^\r\n]*" % joined, re.IGNORECASE)


def passed_on(found: FetchResult) -> Response:
    """Give an answer as it goes to the client."""
    fields = [
        (name, value.rstrip(b" \t"))
        for name, value in _LINE.findall(found.fields)
        if name.lower() not in _OWN
    ]
    if found.whole:
        return Response(found.status, found.body, None, tuple(fields))
    response = error_response(found.status, "")
    response.headers = tuple(one for one in fields if one[0].lower() not in _OF_BODY)
    return response
