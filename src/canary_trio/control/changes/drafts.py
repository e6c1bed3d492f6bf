"""What is to be written, and of which revision it was made: of rollouts, and of what waits.

A command and the console say the same things of a document; how each is written, noted and
waited for is theirs. Nothing here writes. What checks documents is imported where it is needed:
a command that only says what it can do needs none of it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from canary_trio.config.rollout import Rollout
    from canary_trio.control.sources.source import KeyStore
    from canary_trio.rollout.moves import Move, Ratio, Situation

    Told = Callable[[Rollout, Ratio, Situation], Move | None]


@attrs.frozen
class Draft:
    """What is to be written.

    Attributes:
        document: parsed JSON.
        over: the revision that it was made of; 0 for none.
        copy_of: the revision whose content it is, if it is one's.
        undoes: the revision that it takes back, if it does.
        message: why, where the user does not say.
        told: what it does, in words, where there is more to say than that it is written.
        fields: the same for JSON.
        moves_rollout: whether it says itself how a rollout stands; else that stays as it is
            in the store, and one in progress pauses where the ratio changes.
    """

    document: dict[str, Any]
    over: int
    copy_of: int = 0
    undoes: int = 0
    message: str = ""
    told: str = ""
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    moves_rollout: bool = False


async def told_draft(
    client: KeyStore, service: str, told: Told, *, by: str, what: str
) -> Draft:
    """Give what comes of telling a rollout something; the same document if it is so already.

    Args:
        client: of the store.
        service: whose rollout it is.
        told: what it is told, see `canary_trio.rollout.commands`.
        by: who tells it.
        what: the same in words.

    Raises:
        RolloutRefused: there is none, or it cannot do that now.
        NoDocument, InvalidConfig, KvError: the document cannot be read.
    """
    from canary_trio.config.document import build, parse  # noqa: PLC0415
    from canary_trio.config.model import format_share  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.control.changes.rollouts import with_move  # noqa: PLC0415
    from canary_trio.errors import RolloutRefused  # noqa: PLC0415
    from canary_trio.rollout.moves import Situation  # noqa: PLC0415

    text, revision = await read_document(client, service)
    document = parse(text)
    config = build(document, service=service)
    if config.rollout is None:
        raise RolloutRefused(
            f"{service} has no rollout; begin one with: canary rollout start {service}"
        )
    now_ms = round(time.time() * 1000)
    seen = Situation(now_ms, by=by, before=revision)
    move = told(config.rollout, config.ratio, seen)
    if move is None:
        return Draft(document, revision, moves_rollout=True)
    share = format_share(move.ratio.get(config.rollout.arm, 0))
    state, id_ = move.state, config.rollout.id
    fields = {"phase": state.phase.value, "step": state.step, "ratio": float(share)}
    return Draft(
        with_move(document, move),
        revision,
        message=f"rollout {what}",
        told=f"rollout {id_} is {state.phase.value}, step {state.step}, ratio {share}",
        fields={"rollout": {"id": id_, **fields}},
        moves_rollout=True,
    )


async def finished_draft(client: KeyStore, service: str) -> tuple[Draft, str]:
    """Give what makes the servers of the new version those of `stable`, and the arm.

    Raises:
        RolloutRefused: there is none that is done and has all traffic.
        NoDocument, InvalidConfig, KvError: the document cannot be read.
    """
    from canary_trio.config.document import build, parse  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.errors import RolloutRefused  # noqa: PLC0415
    from canary_trio.rollout.commands import check_finish  # noqa: PLC0415

    text, revision = await read_document(client, service)
    document = parse(text)
    config = build(document, service=service)
    if config.rollout is None:
        raise RolloutRefused(f"{service} has no rollout")
    check_finish(config.rollout, config.ratio)
    arm, id_ = config.rollout.arm, config.rollout.id
    changed = copy.deepcopy(document)
    changed["arms"]["stable"]["servers"] = changed["arms"][arm]["servers"]
    changed["ratio"] = 0
    changed["rollout"]["state"] |= {"ratio": 0, "reason": "finished"}
    draft = Draft(
        changed,
        revision,
        message=f"rollout {id_} is finished",
        told=f"the servers of {arm} are stable's, and its ratio is 0",
        fields={"rollout": {"id": id_, "phase": "done"}},
        moves_rollout=True,
    )
    return draft, arm


async def before_rollout_draft(client: KeyStore, service: str, *, by: str) -> Draft:
    """Give the document that was there before a rollout began.

    Where another rollout was in progress then, it comes back paused.

    Args:
        client: of the store.
        service: whose rollout it is.
        by: who goes back.

    Raises:
        RolloutRefused: nobody knows it.
        NoRevision: it is not kept any more.
        NoDocument, InvalidConfig, KvError: the document cannot be read.
    """
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.documents import read_revision  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.control.changes.rollouts import keep_state, rollout_in  # noqa: PLC0415
    from canary_trio.errors import RolloutRefused  # noqa: PLC0415
    from canary_trio.rollout.moves import Situation  # noqa: PLC0415

    text, revision = await read_document(client, service)
    rollout, _ = rollout_in(parse(text))
    if rollout is None or rollout.state is None or not rollout.state.before:
        raise RolloutRefused(
            f"it is not known what was there before a rollout of {service}; see"
            " canary history, and canary rollback"
        )
    earlier = rollout.state.before
    former = parse(await read_revision(client, service, earlier))
    seen = Situation(round(time.time() * 1000), by=by)
    document, said = keep_state(None, former, seen, is_former=True)
    told = f"a copy of {earlier}, from before rollout {rollout.id}"
    return Draft(
        document,
        revision,
        copy_of=earlier,
        message=f"back to before rollout {rollout.id}",
        told="; ".join(filter(None, (told, said))),
        fields={"copy_of": earlier},
        moves_rollout=True,
    )


async def reverted_draft(client: KeyStore, service: str) -> Draft:
    """Give the document that a change which waits to be confirmed goes back to.

    Raises:
        NothingPending: none waits.
        InvalidConfig, KvError: it cannot be read.
    """
    from canary_trio.config.document import parse  # noqa: PLC0415
    from canary_trio.control.changes.waiting import read_pending  # noqa: PLC0415

    change = (await read_pending(client, service)).check(service)
    return Draft(
        parse(change.document),
        change.index,
        copy_of=change.revision,
        message=f"revision {change.index} is not confirmed",
        told=f"a copy of {change.revision}",
        fields={"copy_of": change.revision, "reverted": change.index},
    )
