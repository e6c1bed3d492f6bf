"""Rollouts in documents: a move written into one, and what stops steps from beginning."""

from __future__ import annotations

import copy
import json
from typing import Any

import attrs

from canary_trio.config.document import build
from canary_trio.config.model import CANARY, WHOLE
from canary_trio.config.parts.rollout_codec import STATE
from canary_trio.config.rollout import Phase, Rollout
from canary_trio.config.scalars import RATIO
from canary_trio.control.sources.source import KeyStore
from canary_trio.control.store_keys import freeze_key
from canary_trio.errors import InvalidConfig
from canary_trio.rollout.commands import after_operator, brought_back
from canary_trio.rollout.moves import Move, Ratio, Situation

FREEZE_WORDS = 500
"""Characters of what is said of a freeze at most."""


@attrs.frozen
class Freeze:
    """Why no step begins.

    Attributes:
        by: who said so.
        message: why.
        until: when it ends, in seconds since 1970; None for when somebody ends it.
    """

    by: str
    message: str = ""
    until: float | None = None

    @property
    def words(self) -> str:
        """What a rollout says that waits for its end."""
        return f"frozen by {self.by}" + (f": {self.message}" if self.message else "")

    def dump(self) -> bytes:
        """Write it."""
        return json.dumps(attrs.asdict(self)).encode()

    @staticmethod
    def load(text: bytes) -> Freeze:
        """Read it; what nobody can read stops steps, too."""
        try:
            found = json.loads(text)
            until = found.get("until")
            is_time = isinstance(until, int | float) and not isinstance(until, bool)
            return Freeze(
                str(found.get("by", "?"))[:FREEZE_WORDS],
                str(found.get("message", ""))[:FREEZE_WORDS],
                float(until) if is_time else None,
            )
        except (ValueError, AttributeError, RecursionError, OverflowError):
            return Freeze("?", "what stands there is not readable")


async def read_freeze(client: KeyStore, service: str, now_s: float) -> str:
    """Say why no step of a service begins now; empty if one may.

    Raises:
        KvError: the store cannot be read.
    """
    entry = (await client.get(freeze_key(service))).entry
    if entry is None:
        return ""
    found = Freeze.load(entry.value)
    if found.until is not None and now_s >= found.until:
        return ""
    return "".join(c if c.isprintable() else " " for c in found.words)


def with_move(document: dict[str, Any], move: Move) -> dict[str, Any]:
    """Give a copy of a document with a move made: ratio and state together."""
    changed = copy.deepcopy(document)
    changed["ratio"] = _ratio_as_it_was(document, move.ratio)
    reason = "".join(c if c.isprintable() else " " for c in move.state.reason)[:1000]
    state = attrs.evolve(move.state, reason=reason, by=move.state.by[:200])
    changed["rollout"] = {**changed["rollout"], "state": STATE.encode(state)}
    return changed


def keep_state(
    before: dict[str, Any] | None,
    after: dict[str, Any],
    seen: Situation,
    *,
    is_former: bool = False,
) -> tuple[dict[str, Any], str]:
    """Give a document that an operator writes, with its rollout as it stands; and what to say.

    Args:
        before: the document that is replaced; None for none.
        after: that is to be written.
        seen: when, and by whom.
        is_former: whether it is one that was there before, and comes back.
    """
    old, ratio_before = rollout_in(before)
    new, ratio = rollout_in(after)
    if new is None:
        return after, ""
    if old is None or old.state is None or old.id != new.id:
        if new.state is None and not is_former:
            return after, ""  # another id begins another rollout
        back = brought_back(new, ratio, seen)
        if back is None:
            return after, ""
        return with_move(
            after, back
        ), f"rollout {new.id} is paused: {back.state.reason}"
    move = after_operator(old, ratio_before, new, ratio, seen)
    if move is None:
        return after, ""
    said = ""
    is_paused = move.state.phase is not old.state.phase
    if is_paused:
        said = f"rollout {old.id} is paused: {move.state.reason}"
    return with_move(after, move), said


def with_abort_kept(present: dict[str, Any], former: dict[str, Any]) -> dict[str, Any]:
    """Give a former document that is gone back to, where its rollout was aborted since.

    An abort is not undone by anything but a command for it: its ratio and its state stay.
    """
    now, _ = rollout_in(present)
    then, _ = rollout_in(former)
    if now is None or then is None or now.id != then.id or now.state is None:
        return former
    if now.state.phase not in (Phase.ABORTING, Phase.ABORTED):
        return former
    kept = {name: one for name, one in former.items() if name != "ratio"}
    if "ratio" in present:
        kept["ratio"] = present["ratio"]
    state = present["rollout"]["state"]
    return {**kept, "rollout": {**former["rollout"], "state": state}}


def rollout_in(document: dict[str, Any] | None) -> tuple[Rollout | None, Ratio]:
    """Give the rollout of a document and its ratio; None where it has none, or is invalid."""
    if document is None or not isinstance(document.get("rollout"), dict):
        return None, {}
    try:
        config = build(document)
    except InvalidConfig:
        return None, {}
    return config.rollout, config.ratio


def _ratio_as_it_was(document: dict[str, Any], ratio: Ratio) -> Any:
    """Write a ratio as the document had it, a table or a number, as far as that can be."""
    if set(ratio) <= {CANARY}:
        return ratio.get(CANARY, 0) / WHOLE
    given = document.get("ratio", 0)
    if isinstance(given, dict):
        return {name: share / WHOLE for name, share in ratio.items()}
    return RATIO.encode(ratio)
