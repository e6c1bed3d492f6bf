"""How a rollout stands, and who drives it: read from the store, as JSON and as lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from canary_trio.config.rollout import Rollout
    from canary_trio.control.driving.duty import KeptState
    from canary_trio.control.sources.source import KeyStore
    from canary_trio.rollout.moves import Ratio

_NUMBER = re.compile(r"[0-9]+")


async def read_rollout(client: KeyStore, service: str, now_s: float) -> dict[str, Any]:
    """Give a service's rollout as JSON has it.

    Raises:
        RolloutRefused: there is none.
        NoDocument, InvalidConfig, KvError: it cannot be read.
    """
    import attrs  # noqa: PLC0415

    from canary_trio.config.document import build, parse  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.control.changes.rollouts import read_freeze  # noqa: PLC0415
    from canary_trio.control.driving.duty import KeptState  # noqa: PLC0415
    from canary_trio.control.fleet.evidence import read_evidence  # noqa: PLC0415
    from canary_trio.control.store_keys import driver_key, driver_state_key  # noqa: PLC0415
    from canary_trio.errors import RolloutRefused  # noqa: PLC0415
    from canary_trio.rollout.fleet.counting_rule import window_of  # noqa: PLC0415
    from canary_trio.rollout.fleet.sums import learnt_in  # noqa: PLC0415

    text, revision = await read_document(client, service)
    config = build(parse(text), service=service)
    if config.rollout is None:
        raise RolloutRefused(
            f"{service} has no rollout; begin one with: canary rollout start {service}"
        )
    lock = (await client.get(driver_key(service))).entry
    kept_entry = (await client.get(driver_state_key(service))).entry
    kept = KeptState.load(None if kept_entry is None else kept_entry.value)
    is_driven = lock is not None and lock.session is not None
    shown = _shown(config.rollout, config.ratio, kept if is_driven else None, now_s)
    frozen = await read_freeze(client, service, now_s)
    learnt = None
    if config.rollout.mirrors:
        told = await read_evidence(client, service)
        learnt = learnt_in(told, window_of(config.rollout))
    driver = {
        "by": kept.by if is_driven else "",
        "last": kept.by,
        "seen_s": round(max(0.0, now_s - kept.at / 1000), 1) if kept.at else None,
    }
    return {
        "service": service,
        "revision": revision,
        **shown,
        "mirror": None
        if learnt is None
        else {
            "said": str(learnt),
            **attrs.asdict(learnt),
            "places": dict(learnt.places),
        },
        "driver": driver,
        "frozen": frozen,
    }


def _shown(
    rollout: Rollout, ratio: Ratio, kept: KeptState | None, now_s: float
) -> dict[str, Any]:
    from canary_trio.rollout.commands import next_command  # noqa: PLC0415
    from canary_trio.rollout.moves import mark_of  # noqa: PLC0415

    state = rollout.state
    own = kept.state.get("rollout") if kept is not None else None
    own = own if isinstance(own, dict) else {}
    # what is waited for is kept now and then: it may be of what is past
    waits_for = own.get("waits_for", "") if own.get("of") == mark_of(rollout) else ""
    verdict = None if state is None else state.verdict
    return {
        "id": rollout.id,
        "arm": rollout.arm,
        "phase": "not begun" if state is None else state.phase.value,
        "step": None if state is None or state.to_begin else state.step,
        "steps": [step.ratio / 10_000 for step in rollout.steps],
        "ratio": ratio.get(rollout.arm, 0) / 10_000,
        "reason": "" if state is None else state.reason,
        "by": "" if state is None else state.by,
        "since_s": None if state is None else round(now_s - state.since / 1000, 1),
        "waits_for": str(waits_for),
        "verdict": None
        if verdict is None
        else {
            "finding": verdict.finding,
            "e_value": verdict.e_value,
            "requests": list(verdict.requests),
        },
        "next": "its driver begins it" if state is None else next_command(state),
        "over": rollout.is_over,
    }


def timeless(found: dict[str, Any]) -> object:
    """Give what of a rollout is news when it changes: all but how much time went by.

    Documents have other revisions for other reasons, and holds are counted down.
    """
    driver = {name: one for name, one in found["driver"].items() if name != "seen_s"}
    waits_for = _NUMBER.sub("", found["waits_for"])
    left_out: dict[str, Any] = {"since_s": None, "revision": None, "mirror": None}
    left_out["waits_for"] = waits_for
    return {**found, **left_out, "driver": driver}


def rollout_lines(found: dict[str, Any]) -> Iterator[str]:
    """Give a rollout as lines."""
    from canary_trio.errors import printable  # noqa: PLC0415

    ratio, steps = found["ratio"], found["steps"]
    where = "" if found["step"] is None else f", step {found['step']} of {len(steps)}"
    yield f"{found['service']}: rollout {found['id']} is {found['phase']}{where}"
    marks = [
        f"[{share:g}]" if place == found["step"] else f"{share:g}"
        for place, share in enumerate(steps)
    ]
    yield f"  {found['arm']} has {ratio:g}; steps {'  '.join(marks)}"
    if found["reason"]:
        since = (
            f", {found['since_s']:.0f} s ago" if found["since_s"] is not None else ""
        )
        yield printable(f"  {found['reason']} (by {found['by']}{since})")
    if found["waits_for"] not in ("", found["reason"]) and not found["over"]:
        yield printable(f"  now: {found['waits_for']}")
    if found["verdict"] is not None:
        requests = " and ".join(f"{n:,}" for n in found["verdict"]["requests"])
        at_first = found["step"] is not None and not steps[found["step"]]
        what = "comparisons" if at_first else "requests"
        told = f" after {requests} {what}" if requests else ""
        yield printable(f"  judge: {found['verdict']['finding']}{told}")
    if found["mirror"] is not None:
        yield printable(f"  mirror: {found['mirror']['said']}")
        for place, count in found["mirror"]["places"].items():
            yield printable(f"    {count:,} times in {place}")
    if found["frozen"] not in ("", found["reason"]):
        yield printable(f"  {found['frozen']}")
    driver = found["driver"]
    if driver["by"]:
        yield printable(f"  driven by {driver['by']}")
    elif not found["over"]:
        yield printable(f"  no driver{_since(driver)}: the ratio stays as it is")
    yield f"  next: {found['next']}"


def _since(driver: dict[str, Any]) -> str:
    """Say since when nobody drives, as far as that is known."""
    if not driver["last"] or driver["seen_s"] is None:
        return ""
    return f" since {driver['last']}, seen {driver['seen_s']:.0f} s ago"
