"""A rollout as the document has it: its steps, its judge, its gates, and how it stands.

Frozen values, made from outside by the codecs in `parts` alone. Pure. Times are
milliseconds since 1970 where something happened, and seconds where something lasts; shares
are ten-thousandths, as in the ratio. One file, since it is one table, which its reader finds
here in one place.
"""

from __future__ import annotations

import enum
from typing import Any

import attrs

from canary_trio.config.policies import described, may_lack

MOST_E_VALUE = 1e15
"""Of evidence, as it is written: more says nothing more, and no field takes any number."""


class Phase(enum.Enum):
    """How a rollout stands."""

    RUNNING = "running"
    """On the way to a step's ratio, or in its hold."""

    PAUSED = "paused"
    """Nothing moves until somebody says so."""

    WAITING = "waiting"
    """The hold is over, and something is missing for the next step."""

    ABORTING = "aborting"
    """On the way down to 0."""

    ABORTED = "aborted"
    DONE = "done"

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes by itself."""
        return self in (Phase.ABORTED, Phase.DONE)


class Then(enum.Enum):
    """What follows from a regression."""

    ABORT = "abort"
    PAUSE = "pause"
    SAY = "say"
    """It is only said; the rollout goes on."""


class AtDeadline(enum.Enum):
    """What follows when the deadline has passed."""

    ABORT = "abort"
    PAUSE = "pause"


@attrs.frozen
class RolloutStep:
    """One step: a ratio, and how long it lasts at least."""

    ratio: int = described(
        "The share of the arm, more than in the step before; 0 in a first step, in which"
        " `judge.mirror` compares copies."
    )
    hold: float | None = described(
        "Seconds at this ratio at least; null for until somebody promotes it.",
        default=0.0,
    )
    requests: int = described(
        "Requests at least that the arm, and the one it is compared with, must have had in"
        " this step.",
        default=0,
    )


class ErrorUnit(enum.Enum):
    """What errors are counted by, where users have keys."""

    USERS = "users"
    """Each once in a step."""

    REQUESTS = "requests"
    """Each one; a test watches whether failures hang together by user."""


@attrs.frozen
class JudgedErrors:
    """How errors are judged."""

    status: tuple[tuple[int, int], ...] = described(
        "Statuses that are failures, of both arms: a list of codes and ranges. An error that"
        " is expected is left out of them, and a 404 fails only if it is said here. Of gRPC"
        " it is the status that grpc-status stands for. Timeouts, responses that were cut and"
        " connections that were refused always fail.",
        default=((500, 599),),
    )
    tolerance: float = described(
        "A rate of errors of so many times the baseline's is no regression.",
        default=1.0,
    )
    ceiling: float = described(
        "A rate of errors that is fine whatever the baseline's is, 0 to 1.",
        default=0.001,
    )
    unit: ErrorUnit = described(
        "What errors are counted by where users have keys: users, each once in a step, or"
        " requests, for services with few users whose requests fail independently; whether"
        " they do is watched. Elsewhere it is requests.",
        default=ErrorUnit.USERS,
    )


@attrs.frozen
class JudgedLatency:
    """How latency is judged."""

    quantiles: tuple[float, ...] = described(
        "The baseline's quantiles, beyond which slow requests are counted.",
        default=(0.5, 0.9, 0.99),
    )
    tolerance: float = described(
        "A share of slow requests of so many times the baseline's is no regression.",
        default=1.1,
    )


@attrs.frozen
class JudgedMirror:
    """Answers to copies of requests, compared before any user is exposed."""

    methods: tuple[str, ...] = described(
        "The methods of requests that are copied. Others than GET, HEAD and OPTIONS may"
        " change something, and three copies change it three times more.",
        default=("GET", "HEAD", "OPTIONS"),
    )
    share: int = described("The share of requests compared, 0 to 1.", default=10_000)
    rate: float = described(
        "Comparisons that one proxy begins in a second, at most: three requests each.",
        default=10.0,
    )
    concurrency: int = described(
        "Comparisons in progress at one proxy at most; beyond it none is made.",
        default=8,
    )
    timeout: float = described(
        "Seconds that a copy may take; one that takes longer has no answer.",
        default=5.0,
    )
    size: int = described(
        "Bytes of a body, of a request and of an answer, that are looked at, at most.",
        default=64 * 1024,
    )
    headers: tuple[str, ...] = described(
        "Header fields of the answers that are compared.", default=("Content-Type",)
    )
    body: bool = described(
        "Whether bodies are compared: JSON by its values, others by their bytes.",
        default=True,
    )
    ignore: tuple[str, ...] = described(
        "What of a body of JSON is left out, with all below it: names and places with dots"
        " between, * for any, such as time or items.*.id.",
        default=(),
    )
    tolerance: float = described(
        "It is no regression that the canary differs from stable so many times as often as"
        " stable does from itself.",
        default=1.0,
    )
    requests: int = described(
        "Comparisons at least before the first step that exposes users.", default=1000
    )


@attrs.frozen
class JudgeRules:
    """The judge: whether the arm is worse than the one that it is compared with."""

    errors: JudgedErrors = described("Errors.", factory=JudgedErrors)
    latency: JudgedLatency | None = described(
        "Latency; null to judge errors only.", factory=JudgedLatency
    )
    mirror: JudgedMirror | None = described(
        "Compares answers to copies of requests, in a first step of ratio 0: of stable, of"
        " stable again, and of the arm. true for all of it as it is by default; null for"
        " none.",
        default=None,
    )
    alpha: float = described(
        "How likely a false alarm may be in the whole rollout, however often one looks.",
        default=0.01,
    )
    requests: int = described(
        "Requests of each arm at least, in a step, before the judge calls anything fine.",
        default=5000,
    )
    then: Then = described(
        "What follows from a regression: abort, pause, or say, which is a dry run.",
        default=Then.PAUSE,
    )


@attrs.frozen
class ExpectedJson:
    """What the body of a gate's response must say."""

    path: str = described("Where: names and places with dots between, such as a.b.0.")
    value: Any = described("The value there: a text, a number, true, false or null.")


@attrs.frozen
class TimeWindow:
    """When steps may begin."""

    days: tuple[str, ...] = described(
        "Days of the week: mon, tue, wed, thu, fri, sat, sun.",
        default=("mon", "tue", "wed", "thu", "fri"),
    )
    begin: str = described("From when, HH:MM.", called="from", default="00:00")
    end: str = described(
        "Until when, HH:MM; 24:00 for the end of the day.", called="to", default="24:00"
    )
    zone: str = described("The time zone, such as Europe/Berlin.", default="UTC")


@attrs.frozen
class RolloutGate:
    """What must hold before a step begins: a request, a query, a window or an approval."""

    name: str = described("Its name, once in a rollout.", default="")
    at: tuple[int, ...] | None = described(
        "The steps, from 0, that begin only when it has passed; null for all.",
        default=None,
    )
    url: str | None = may_lack("A request to this URL must have the expected response.")
    method: str = described("Of that request.", default="GET")
    headers: str | None = may_lack(
        "The name of a file of header fields for that request, one a line, in the directory"
        " of `canary serve --rollout-files DIR`."
    )
    status: tuple[tuple[int, int], ...] = described(
        "The statuses that pass, numbers or ranges.", default=((200, 299),)
    )
    json: ExpectedJson | None = may_lack("What the response's body must say, too.")
    prometheus: str | None = may_lack("The URL of a Prometheus that is asked `query`.")
    query: str | None = may_lack("A query whose result is one number.")
    min: float | None = may_lack("That number must not be lower.")
    max: float | None = may_lack("That number must not be higher.")
    window: TimeWindow | None = may_lack("Steps begin only in this time.")
    approval: bool = described(
        "Steps begin only when somebody approves: canary rollout approve.",
        default=False,
    )
    timeout: float = described("Seconds that a response may take.", default=5.0)
    interval: float = described("Seconds between two tries.", default=10.0)
    tries: int | None = described(
        "After so many failed tries the rollout pauses; null to try on.", default=None
    )

    @property
    def kind(self) -> str:
        """Which of the four it is: the name of its field."""
        if self.url is not None:
            return "url"
        if self.prometheus is not None:
            return "prometheus"
        return "window" if self.window is not None else "approval"

    def is_at(self, step: int) -> bool:
        """Tell whether a step waits for it."""
        return self.at is None or step in self.at


@attrs.frozen
class RolloutHook:
    """Who is told of each change of phase or step."""

    url: str = described("Where it is told, by POST.")
    key: str | None = described(
        "The name of a file with the key that signs what is told (HMAC-SHA256, in"
        " X-Canary-Signature), in the directory of --rollout-files; null to sign nothing.",
        default=None,
    )
    timeout: float = described("Seconds that a response may take.", default=5.0)
    tries: int = described("How often it is tried at most.", default=5)


@attrs.frozen
class StoredVerdict:
    """What the judge said when the rollout moved last."""

    finding: str = described("In words.")
    e_value: float = described("Evidence for a regression; 1 is none.", default=1.0)
    requests: tuple[int, ...] = described(
        "Of the arm and of the one it is compared with, in the step.", default=()
    )


@attrs.frozen
class RolloutState:
    """How a rollout stands; written by its driver and by commands, not by hand."""

    phase: Phase = described("running, paused, waiting, aborting, aborted or done.")
    step: int = described("Which step, from 0.", default=0)
    target: int | None = described(
        "The ratio of that step when it began; null for unknown.", default=None
    )
    to_begin: bool = described(
        "Whether the first step has not begun: a freeze or a gate holds it.",
        default=False,
    )
    ratio: int | None = described(
        "The ratio that the rollout wrote last; null for unknown.", default=None
    )
    begun: int = described("When the rollout began, ms since 1970.", default=0)
    judged_from: int = described(
        "Since when the judge counts, ms since 1970: an operator who lets go on what it"
        " stopped lets it begin anew; 0 for since it began.",
        default=0,
    )
    since: int = described("When it moved last, ms since 1970.", default=0)
    by: str = described("Who moved it last.", default="")
    reason: str = described("Why, in words.", default="")
    by_hand: bool = described("Whether an operator paused it.", default=False)
    passed: tuple[str, ...] = described(
        "Gates of the next step that somebody approved or skipped.", default=()
    )
    verdict: StoredVerdict | None = described(
        "What the judge said when it moved last.", default=None
    )
    before: int = described(
        "The revision that was there before the rollout began; what `undo` goes back to.",
        default=0,
    )


@attrs.frozen
class Rollout:
    """A rollout: the ratio of an arm, raised step by step."""

    id: str = described("Its name; another one begins another rollout.")
    steps: tuple[RolloutStep, ...] = described(
        "Its steps, each a ratio or a table; rising."
    )
    arm: str = described("The arm whose ratio is raised.", default="canary")
    against: str = described(
        "The arm that it is compared with: stable, or one with the old version, which gets"
        " the same share as long as both fit.",
        default="stable",
    )
    judge: JudgeRules | None = described(
        "The judge; null for steps and gates alone.", default=None
    )
    gates: tuple[RolloutGate, ...] = described(
        "What must hold before steps begin.", default=()
    )
    deadline: float | None = described(
        "Seconds from the start after which it ends; null for none.", default=None
    )
    when: AtDeadline = described(
        "What follows at the deadline: abort or pause.", default=AtDeadline.ABORT
    )
    slope: float = described(
        "How much of all traffic may move in a second, by the driver; an abort by a command"
        " or by the judge is at once.",
        default=0.1,
    )
    hook: RolloutHook | None = described("Who is told.", default=None)
    state: RolloutState | None = described(
        "How it stands; left out, it has not begun.", default=None
    )

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes by itself."""
        return self.state is not None and self.state.phase.is_over

    @property
    def mirrors(self) -> bool:
        """Whether it is in the step that compares copies, and exposes nobody."""
        state = self.state
        if state is None or state.to_begin or state.step or not self.compares_first:
            return False
        return state.phase in (Phase.RUNNING, Phase.WAITING)

    @property
    def compares_first(self) -> bool:
        """Whether its first step exposes nobody, and compares copies."""
        return self.judge is not None and self.judge.mirror is not None
