"""Writing a document that has to be confirmed, or that ends the wait for another one.

It is a proxy that takes back what nobody confirms. So whoever asks for that is told where no
proxy is about to: such a change would stay, confirmed or not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from canary_trio.control.changes.history import Note
    from canary_trio.control.changes.pending import PendingChange
    from canary_trio.control.sources.source import KeyStore

DRIVEN_S = 2.0
"""So long it is waited at most until a proxy looks after what was written."""


@attrs.frozen
class Outlook:
    """What waits, and what does not any more, after a write.

    Attributes:
        words: for people; empty for nothing.
        fields: the same for JSON.
        fault: why what waits may not be taken back; empty where it will.
    """

    words: str = ""
    fields: dict[str, Any] = attrs.field(factory=dict)
    fault: str = ""


async def write_and_look(
    client: KeyStore,
    service: str,
    document: dict[str, Any],
    *,
    over: int,
    note: Note,
    within_s: float | None,
) -> tuple[int, Outlook]:
    """Write a document; give its revision, and what waits then.

    Args:
        client: of the store.
        service: whose document it is.
        document: parsed JSON.
        over: the revision that it replaces.
        note: who changes it, and why.
        within_s: seconds in which it has to be confirmed; None where it is for good.
    """
    from canary_trio.control.changes.documents import write_document  # noqa: PLC0415
    from canary_trio.control.changes.waiting import read_pending  # noqa: PLC0415

    waited = (await read_pending(client, service)).change
    if within_s is None:
        revision = await write_document(client, service, document, over=over, note=note)
        change = waited if revision == over else None
    else:
        from canary_trio.control.changes.confirming import write_unconfirmed  # noqa: PLC0415

        revision, change = await write_unconfirmed(
            client, service, document, over=over, within_s=within_s, note=note
        )
    words: list[str] = []
    fields: dict[str, Any] = {}
    if waited is not None and revision != over:
        words.append(
            f"revision {waited.index} is no longer waited for: it was replaced"
        )
        fields["no_longer_waited_for"] = waited.index
    if within_s is not None and change is None:
        words.append("there is nothing to confirm: that is what it would go back to")
    if change is None:
        return revision, Outlook("; ".join(words), fields)
    said, fields["pending"] = _shown(service, change, is_new=revision != over)
    fault = await why_alone(client, service)
    return revision, Outlook("; ".join([said, *words]), fields, fault)


def _shown(
    service: str, change: PendingChange, *, is_new: bool
) -> tuple[str, dict[str, Any]]:
    from canary_trio.control.changes.pending import in_time, words_of  # noqa: PLC0415

    shown = change.shown(round(time.time() * 1000))
    if change.is_trial:
        return words_of(service, shown), shown
    words = (
        f"it goes back to revision {change.revision} {in_time(shown['left_s'])} unless it"
        f" is confirmed: canary confirm {service}"
    )
    return (words if is_new else f"it waits still: {words}"), shown


async def why_alone(client: KeyStore, service: str) -> str:
    """Say why nobody takes back what waits; empty where somebody will."""
    import trio  # noqa: PLC0415

    from canary_trio.control.driving.driver import wait_driven  # noqa: PLC0415
    from canary_trio.control.fleet.applied import read_fleet  # noqa: PLC0415
    from kv_trio import KvError  # noqa: PLC0415

    try:
        with trio.move_on_after(DRIVEN_S):
            await wait_driven(client, service)
            return ""
        with trio.move_on_after(DRIVEN_S):
            if (await read_fleet(client, service, 0)).reports:
                return (
                    f"no proxy has begun to look after it within {DRIVEN_S:g} s, so maybe"
                    " nobody takes it back by itself; their logs say why, such as a right"
                    f" to write below canary/{service}/ that they miss"
                )
    except KvError as exc:
        return f"whether somebody takes it back by itself is not known: {exc}"
    return (
        "no proxy is live, so nobody takes it back by itself until one is: canary revert"
        f" {service}"
    )
