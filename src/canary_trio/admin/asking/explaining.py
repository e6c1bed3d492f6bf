"""What would become of a request, by the store's document and the fleet's secret; in words.

It is computed here, by the code that routes the traffic: no proxy is asked.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from canary_trio.config.model import Config
    from canary_trio.control.changes.pending import PendingChange
    from canary_trio.control.sources.source import KeyStore
    from canary_trio.routing.explain import Explanation
    from canary_trio.routing.request.request_spec import RequestSpec


async def explain_request(
    store: KeyStore, name: str, spec: RequestSpec, document: bytes | None
) -> tuple[dict[str, Any], Explanation | None]:
    """Explain a request to a service, or to a gateway: what is said of its route too."""
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.routing.edge.explain_route import explain_route  # noqa: PLC0415
    from canary_trio.routing.edge.names import is_gateway  # noqa: PLC0415
    from canary_trio.routing.edge.table_codec import load_table  # noqa: PLC0415

    if not is_gateway(name):
        return {}, await _explain(store, name, spec, document)
    text = document or (await read_document(store, name))[0]
    service, spec, routed = explain_route(spec, load_table(text).routes)
    if service is None:
        return routed, None
    return routed, await _explain(store, service, spec, None)


def explained_lines(routed: dict[str, Any], found: Explanation | None) -> Iterator[str]:
    """Give an explanation in words, one fact a line."""
    if routed:
        yield _shown_route(routed)
        yield from _limit_lines(routed.get("route_rate_limits", ()))
        yield from _auth_lines(routed.get("route_auth", ()))
    if found is not None:
        yield from _shown(found).split("\n")


def _shown_route(routed: dict[str, Any]) -> str:
    if routed["route"] is None:
        return f"status {routed['status']}: {routed['why']}"
    if "location" in routed:
        to = f"status {routed['status']} to {routed['location']}"
    elif routed["service"] is None:
        to = f"status {routed['status']}"
    else:
        to = f"service {routed['service']}"
        to += f", as {routed['target']}" if "target" in routed else ""
    return f"route {routed['route']}: {to}"


async def _explain(
    store: KeyStore, service: str, spec: RequestSpec, document: bytes | None
) -> Explanation:
    import attrs  # noqa: PLC0415

    from canary_trio.config.document import load  # noqa: PLC0415
    from canary_trio.control.changes.reading import read_document  # noqa: PLC0415
    from canary_trio.routing.access.explain import with_refusal  # noqa: PLC0415
    from canary_trio.routing.decision import Chance  # noqa: PLC0415
    from canary_trio.routing.explain import explain  # noqa: PLC0415
    from canary_trio.routing.router import Router  # noqa: PLC0415

    tried: PendingChange | None = None
    if document is None:
        text, revision = await read_document(store, service)
        tried = await _tried(store, service)
    else:
        text, revision = document, 0
    config = load(text)
    fleet_secrets = await _secrets(store, service, config)
    router = Router(config, service=service, secrets=fleet_secrets)
    chance = Chance(random.random, secrets.token_bytes)
    told: dict[str, object] | None = None
    if tried is not None:
        from canary_trio.proxy.changing.trial_split import (  # noqa: PLC0415
            TrialSplit,
            trial_salt,
        )

        other = load(tried.document.encode())
        fleet_secrets = await _secrets(store, service, other)
        routed = Router(other, service=service, secrets=fleet_secrets)
        salt = trial_salt(service, tried.document)
        split = TrialSplit(tried.share, salt, router, routed)
        tries = split.sure(spec.head(), spec.client, spec.certificate)
        share = tried.share / 10_000
        told = {"revision": tried.index, "share": share, "tries": tries}
        if tries:
            config, router, revision = other, routed, tried.index
    found, _ = explain(spec, router, revision, chance)
    return attrs.evolve(with_refusal(found, spec, config), trial=told)


async def _tried(store: KeyStore, service: str) -> PendingChange | None:
    """Give what a share of the users tries; None for nothing."""
    from canary_trio.control.changes.waiting import read_pending  # noqa: PLC0415
    from canary_trio.control.sources.source import SourceCannot  # noqa: PLC0415

    try:
        found = (await read_pending(store, service)).change
    except SourceCannot:  # a file: nothing is tried there
        return None
    return found if found is not None and found.share else None


async def _secrets(store: KeyStore, service: str, config: Config) -> tuple[bytes, ...]:
    """Give what the fleet signs and verifies cookies with, where a cookie decides."""
    from canary_trio.config.rules import Source  # noqa: PLC0415
    from canary_trio.control.fleet_secret import BadSecret, FleetSecret  # noqa: PLC0415
    from canary_trio.control.secret_keeper import utc_now  # noqa: PLC0415
    from canary_trio.control.store_keys import secret_key  # noqa: PLC0415

    sticky = config.sticky_sessions
    if sticky is None or sticky.key.source is not Source.COOKIE:
        return (b"",)
    entry = (await store.get(secret_key(service))).entry
    try:
        return (b"",) if entry is None else FleetSecret.load(entry.value).at(utc_now())
    except BadSecret:
        return (b"",)


def _shown(found: Explanation) -> str:
    """Give the explanation in words, one fact a line."""
    of = f"revision {found.revision}" if found.revision else "this document"
    trial = found.trial or {}
    if trial.get("tries"):
        of += f", which {trial['share']:.2%} of users try, this one too"
    lines = _said(found, of)
    if trial and trial["tries"] is None:
        lines += (
            f"\n  or by revision {trial['revision']}, which is tried by {trial['share']:.2%}:"
            " it has no key that says"
        )
    elif trial and not trial["tries"]:
        lines += f"\n  not by revision {trial['revision']}, which other users try"
    return lines


def _said(found: Explanation, of: str) -> str:
    if found.refused is not None:
        return f"{of}: refused, {found.refused}: it would reach no arm"
    return "\n".join([*_arm_lines(found, of), *_auth_lines(found.auth)])


def _auth_lines(checks: Iterable[Mapping[str, str]]) -> list[str]:
    return [f"  only if {one['check']} lets it pass: {one['by']}" for one in checks]


def _arm_lines(found: Explanation, of: str) -> list[str]:
    from canary_trio.routing.arm_references import called  # noqa: PLC0415

    if not found.certain:
        shares = found.shares or {}
        split = ", ".join(f"{arm} {share:.4g}" for arm, share in shares.items())
        lines = [f"{of}: by the ratio: {split}"]
        if found.new_user:
            lines.append("  it would be given a cookie, and stay with its arm")
        return [*lines, *_limit_lines(found.rate_limits)]
    why = called(found.rule) if found.rule is not None else found.reason
    lines = [f"{of}: arm {found.arm}, by {why}"]
    if found.bucket is not None:
        lines.append(f"  bucket {found.bucket} of 10,000")
    if found.new_user:
        lines.append("  it would be given a cookie")
    lines += _limit_lines(found.rate_limits)
    lines += [f"  server {url}" for url in found.servers]
    if not found.servers:
        lines.append(f"  no server is ready; fallback: {found.fallback or 'none'}")
    return lines


def _limit_lines(limits: Iterable[Any]) -> list[str]:
    return [
        f"  counts against {one['limit']}: {one['rule']}, by {one['by']}"
        + (", dry run" if one["dry_run"] else "")
        for one in limits
    ]
