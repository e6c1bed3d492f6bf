"""The checkers: a record in, violations out. Pure.

    drops    a request was lost that nothing excuses
    torn     a response is not what the revision allows that it says it is of
    stale    a response is of a revision older than one that was said to be live everywhere
    moved    a user was in the canary at a ratio, and not in it at the same or a higher one
    unsaved  a change was acknowledged, and is not in the store's history
    stuck    something did not come to its end in time

The rule that all of them obey: what they do not know they do not hold against anybody; how
much that was is said beside the verdict (`unjudged`). One file, since each property is read beside the
others.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Collection, Iterator

import attrs

from canary_trio.config.model import CANARY
from canary_trio.verify.arithmetic import (
    disagreement,
    servers_of,
    shares_of,
    user_of,
)
from canary_trio.verify.observation import (
    GOING,
    REPEATABLE,
    WEBSOCKETS,
    ClientKind,
    DoneTo,
    Incident,
    Observation,
    Record,
)

KILL_GRACE_S = 0.25
"""So long after a server's end a proxy may not have heard of it, and send it a request."""


class Property(enum.StrEnum):
    """What must hold."""

    DROPS = "drops"
    TORN = "torn"
    STALE = "stale"
    MOVED = "moved"
    UNSAVED = "unsaved"
    STUCK = "stuck"


@attrs.frozen
class Violation:
    """Something that must not be.

    Attributes:
        of: the property that does not hold.
        what: it was, in words.
        at: when, in seconds of the run.
        step: during which step.
    """

    of: Property
    what: str
    at: float
    step: str


@attrs.frozen
class Excused:
    """A request that was lost, and that nothing could have saved."""

    seen: Observation
    why: str


def violations(record: Record) -> list[Violation]:
    """Give all that is wrong, in the order of time."""
    found = [
        *drops(record),
        *torn(record),
        *stale(record),
        *moved(record),
        *unsaved(record),
        *stuck(record),
    ]
    return sorted(found, key=lambda one: one.at)


# === requests that were lost ===


def drops(record: Record) -> Iterator[Violation]:
    """Tell of requests that were lost without an excuse."""
    for seen in record.observations:
        if seen.failure and not excuse(seen, record):
            what = f"{seen.kind.value} by {seen.proxy}{_by(seen)}: {seen.failure}"
            yield _at(record, Property.DROPS, what, seen.ended)


def excused(record: Record) -> list[Excused]:
    """Give the lost requests that nothing could have saved."""
    return [
        Excused(seen, why)
        for seen in record.observations
        if seen.failure and (why := excuse(seen, record))
    ]


def excuse(seen: Observation, record: Record) -> str:
    """Say why nothing could have saved a lost request; empty if something could."""
    for incident in record.incidents:
        fault = incident.fault
        if fault is DoneTo.SERVER_KILLED and _was_there(seen, incident, record):
            return "its server was killed, and it may not be repeated"
        if fault is DoneTo.PROXY_ENDING and _was_told(seen, incident):
            return "its proxy was asked to end, and said so in the close frame"
    return ""


def _was_there(seen: Observation, incident: Incident, record: Record) -> bool:
    """Tell whether a request that may not be repeated was at a server that was killed."""
    if seen.kind in REPEATABLE or seen.ended < incident.begun:
        return False
    if seen.began > incident.over + KILL_GRACE_S:
        return False
    if seen.server:
        return seen.server in incident.of
    document = record.documents.get(seen.revision)
    if document is None or not seen.arm:
        return True  # nobody says where it was
    return bool(servers_of(document, seen.arm) & incident.of)


def _was_told(seen: Observation, incident: Incident) -> bool:
    """Tell whether a WebSocket was ended as it should be by a proxy that ends."""
    return (
        seen.kind in WEBSOCKETS
        and seen.close_code in GOING
        and seen.proxy in incident.of
        and incident.begun <= seen.ended <= incident.over + KILL_GRACE_S
    )


# === configurations ===


def torn(record: Record) -> Iterator[Violation]:
    """Tell of responses that their revision does not allow."""
    for seen in record.observations:
        if not seen.revision or not seen.arm:
            continue
        document = record.documents.get(seen.revision)
        if document is None:
            if seen.revision in record.missing or record.unread or not record.whole:
                continue
            words = "the store never had that revision"
        else:
            words = disagreement(document, seen, record.service)
        if words:
            what = f"{seen.kind.value} by {seen.proxy}{_by(seen)}: {words}"
            yield _at(record, Property.TORN, what, seen.began)


def stale(record: Record) -> Iterator[Violation]:
    """Tell of requests routed by less than what was live everywhere when they began."""
    newest, times, revisions = 0, [], []
    for live in sorted(record.live, key=lambda one: one.at):
        newest = max(newest, live.revision)
        times.append(live.at)
        revisions.append(newest)
    for seen in record.observations:
        place = bisect_right(times, seen.began)
        if seen.revision and place and seen.revision < revisions[place - 1]:
            what = (
                f"{seen.kind.value} by {seen.proxy}{_by(seen)}: revision"
                f" {revisions[place - 1]} was live everywhere"
                f" {seen.began - times[place - 1]:.3f} s before"
            )
            yield _at(record, Property.STALE, what, seen.began)


# === users ===


def moved(record: Record) -> Iterator[Violation]:
    """Tell of users that no threshold explains: each has one ratio from which on it is canary's.

    Of each user the lowest ratio at which it was the canary's, and the highest at which it was
    not: the first must lie above the second.
    """
    lowest: dict[tuple[str, int, str], tuple[int, Observation]] = {}
    highest: dict[tuple[str, int, str], tuple[int, Observation]] = {}
    told: set[tuple[str, int, str]] = set()
    for seen in sorted(record.observations, key=lambda one: one.began):
        document = record.documents.get(seen.revision)
        if document is None or seen.rule or not seen.chosen:
            continue
        user, shares = user_of(document, seen), shares_of(document)
        if user is None or user in told or set(shares) > {CANARY}:
            continue
        ratio = shares.get(CANARY, 0)
        if seen.chosen == CANARY:
            if user not in lowest or ratio < lowest[user][0]:
                lowest[user] = ratio, seen
        elif user not in highest or ratio > highest[user][0]:
            highest[user] = ratio, seen
        if user not in lowest or user not in highest:
            continue
        low, high = lowest[user], highest[user]
        if low[0] <= high[0]:
            told.add(user)
            what = (
                f"user {user[2][:40]} ({user[0]}) was canary's at {low[0] / 100:g} %"
                f"{_by(low[1])}, and not at {high[0] / 100:g} %{_by(high[1])}"
            )
            yield _at(record, Property.MOVED, what, seen.began)


def judged_users(record: Record) -> tuple[int, int]:
    """Tell of how many users the arm is known at several ratios, and how many moved."""
    ratios: dict[tuple[str, int, str], set[int]] = {}
    arms: dict[tuple[str, int, str], set[str]] = {}
    for seen in record.observations:
        document = record.documents.get(seen.revision)
        if document is None or seen.rule or not seen.chosen:
            continue
        user = user_of(document, seen)
        if user is not None:
            ratios.setdefault(user, set()).add(shares_of(document).get(CANARY, 0))
            arms.setdefault(user, set()).add(seen.chosen)
    several = [user for user, found in ratios.items() if len(found) > 1]
    return len(several), sum(len(arms[user]) > 1 for user in several)


# === the store, and the steps ===


def unsaved(record: Record) -> Iterator[Violation]:
    """Tell of changes that were acknowledged and are nowhere."""
    for one in () if record.unread else record.written:
        if one.revision not in record.history:
            what = f"revision {one.revision} was acknowledged, and the store has none"
            yield _at(record, Property.UNSAVED, what, one.acknowledged)


def stuck(record: Record) -> Iterator[Violation]:
    """Tell of steps that did not come to their end."""
    for step in record.steps:
        if step.stuck:
            yield _at(record, Property.STUCK, step.stuck, step.over)


# === what could not be judged ===


def unjudged(record: Record, kinds: Collection[ClientKind]) -> list[str]:
    """Give why no verdict is possible; empty if one is.

    Args:
        record: of the run.
        kinds: of clients that there were.
    """
    good = {seen.kind for seen in record.observations if not seen.failure}
    reasons = [
        f"no {kind.value} came through in all the time: nothing is known of them"
        for kind in ClientKind
        if kind in kinds and kind not in good
    ]
    if not any(seen.revision for seen in record.observations):
        reasons.append("no response says its revision (decision_header)")
    if record.unread:
        reasons.append("the store's history could not be read at the end")
    unknown = {
        seen.revision
        for seen in record.observations
        if seen.revision and seen.revision not in record.documents
    }
    is_all = record.whole and not record.unread
    if lost := sorted(unknown & record.missing if is_all else unknown):
        shown = ", ".join(map(str, lost[:5])) + (", ..." if len(lost) > 5 else "")
        reasons.append(f"of the revisions {shown} no document is kept")
    if not record.steps:
        reasons.append("no step was done")
    elif not judged_users(record)[0]:
        reasons.append("no user was seen at two ratios")
    return reasons


def _by(seen: Observation) -> str:
    if not seen.revision:
        return ""
    chosen = "" if seen.chosen == seen.arm else f" for {seen.chosen}"
    return f" (revision {seen.revision}, {seen.arm}{chosen}, {seen.reason})"


def _at(record: Record, of: Property, what: str, at: float) -> Violation:
    return Violation(of, what, at, record.step_at(at))
