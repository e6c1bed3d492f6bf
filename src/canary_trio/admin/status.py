"""What a proxy says of itself to people and programs: its state as one table.

`/status` gives it as JSON, and `canary status --arms` shows the part about the arms.
The tables have a rule for each member that a function gives: what several workers say
of it (`merge_rules`). A test holds them together. One file, since tables and functions are
read side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import attrs
import trio

from canary_trio.admin import arm_traffic, certificates
from canary_trio.admin.merge_rules import ByName, MergeRule, Rows, Shape
from canary_trio.admin.proxy_view import Control, ProxyView
from canary_trio.config.model import WHOLE, Config
from canary_trio.config.parts.condition_codec import write_key
from canary_trio.control.driving.driver import Driving
from canary_trio.control.supervisor import STALE_S
from canary_trio.proxy.changing.trial import SIDES, Trial
from canary_trio.proxy.live import Beside, LiveConfig
from canary_trio.proxy.runtime import Runtime
from canary_trio.routing.arm_references import references_to
from canary_trio.upstream.arm import LiveArm
from canary_trio.upstream.server import ServerState
from http_trio import HttpServer

Table = dict[str, object]

_CONTACT: Mapping[str, Shape] = {
    "url": MergeRule.SLOWEST,
    "last_contact_age_s": MergeRule.LONGEST,
    "stale": MergeRule.ANY,
    "error": MergeRule.SAID,
    "move_error": MergeRule.SAID,
}

_DRIVER: Mapping[str, Shape] = {
    "by": MergeRule.SAID,
    "here": MergeRule.ANY,
    "duties": MergeRule.UNION,
    "none_since_s": MergeRule.LOWEST,
}

_SPLIT: Mapping[str, Shape] = {
    "decisions": MergeRule.ADDED,
    "p_value": MergeRule.LOWEST,
    "mismatch": MergeRule.ANY,
}

_MIRROR: Mapping[str, Shape] = {
    "outcomes": ByName(MergeRule.ADDED),
    "skipped": ByName(MergeRule.ADDED),
}

_COMPARISONS: Mapping[str, Shape] = {
    "in_progress": MergeRule.ADDED,
    "outcomes": ByName(MergeRule.ADDED),
    "dropped": ByName(MergeRule.ADDED),
}

_SERVER: Mapping[str, Shape] = {
    "url": MergeRule.SLOWEST,
    "mode": MergeRule.SLOWEST,
    "healthy": MergeRule.ALL,
    "up": MergeRule.ALL,
    "ejected": MergeRule.ANY,
    "ejections": MergeRule.ADDED,
    "since": MergeRule.HIGHEST,
    "most_in_flight": MergeRule.HIGHEST,
    "weight": MergeRule.HIGHEST,
    "in_flight": MergeRule.ADDED,
    "pending": MergeRule.ADDED,
    "requests": MergeRule.ADDED,
    "failures": MergeRule.ADDED,
    "latency_s": MergeRule.HIGHEST,
    "connections": MergeRule.ADDED,
}

_ARM: Mapping[str, Shape] = {
    "asked_share": MergeRule.SLOWEST,
    "observed_share": MergeRule.SHARE,
    "decisions": MergeRule.ADDED,
    "requests": MergeRule.ADDED,
    "errors": MergeRule.ADDED,
    "saved": MergeRule.ADDED,
    "fallbacks": MergeRule.ADDED,
    "taken_over": MergeRule.ADDED,
    "repeats": MergeRule.ADDED,
    "repeats_refused": MergeRule.ADDED,
    "in_flight": MergeRule.ADDED,
    "usable_servers": MergeRule.LOWEST,
    "panic": MergeRule.ANY,
    "unverified": MergeRule.ANY,
    "safe_to_remove": MergeRule.ALL,
    "held_by": MergeRule.UNION,
    "servers": Rows("url", _SERVER),
    **arm_traffic.RULES,
}

_RATE_LIMIT: Mapping[str, Shape] = {
    "passed": MergeRule.ADDED,
    "refused": MergeRule.ADDED,
    "dry_run": MergeRule.ADDED,
}

_AUTH: Mapping[str, Shape] = {
    "by": MergeRule.SLOWEST,
    "outcomes": ByName(MergeRule.ADDED),
    "questions": MergeRule.ADDED,
    "waiting": MergeRule.ADDED,
    "trouble": MergeRule.SAID,
}

_TRIAL: Mapping[str, Shape] = {
    "revision": MergeRule.LOWEST,
    "share": MergeRule.SLOWEST,
    "documents": ByName(
        {
            "requests": MergeRule.ADDED,
            "errors": MergeRule.ADDED,
            "latency": ByName(MergeRule.ADDED),
        }
    ),
}

_REMOVED: Mapping[str, Shape] = {
    "in_flight": MergeRule.ADDED,
}

_CLIENTS: Mapping[str, Shape] = {
    "connected": MergeRule.ADDED,
    "connections": MergeRule.ADDED,
    "in_progress": MergeRule.ADDED,
}

_SERVICE: Mapping[str, Shape] = {
    "service": MergeRule.SLOWEST,
    "id": MergeRule.SLOWEST,
    "instance": MergeRule.SLOWEST,
    "running": MergeRule.LOWEST,
    "attempted": MergeRule.LOWEST,
    "failed": MergeRule.SLOWEST,
    "remembered": MergeRule.ANY,
    "store": _CONTACT,
    "config": MergeRule.SLOWEST,
    "split": _SPLIT,
    "mirror": ByName(_MIRROR),
    "comparisons": _COMPARISONS,
    "trial": _TRIAL,
    "arms": ByName(_ARM),
    "removed_arms": ByName(_REMOVED),
    "rate_limits": ByName(_RATE_LIMIT),
    "auth": ByName(_AUTH),
    "driver": _DRIVER,
    "pending": MergeRule.SLOWEST,
}

RULES: Mapping[str, Shape] = {
    **_SERVICE,
    "clients": ByName(_CLIENTS),
    "certificates": Rows("file", certificates.RULES),
    "routes": MergeRule.SLOWEST,
    "services": ByName(_SERVICE),
}
"""What several workers say of all that `describe` gives."""


def describe(view: ProxyView, *, with_services: bool = True) -> Table:
    """Give the state of a proxy, and of the services of a gateway if that is asked."""
    gateway = view.gateway
    table = {
        **describe_service(view),
        "clients": {} if view.server is None else _clients(view.server),
        "certificates": certificates.describe_certificates(view),
        "routes": [route.shown for route in gateway.routes] if gateway else [],
    }
    if with_services:
        parts = gateway.parts if gateway else {}
        table["services"] = {
            name: describe_service(part) for name, part in parts.items()
        }
    return table


def describe_service(view: ProxyView) -> Table:
    """Give the state of one service, or of what a gateway itself is."""
    runtime, control = view.runtime, view.control
    live = runtime.live
    status = control.status
    return {
        "service": view.service,
        "id": view.proxy_id,
        "instance": control.instance,
        "running": control.running,
        "attempted": status.attempted,
        "failed": None if status.failed is None else attrs.asdict(status.failed),
        "remembered": status.remembered,
        "store": _contact(control, _rate(view)),
        "config": None if live is None else _config(live.config),
        "split": None if live is None else _split(live),
        "mirror": _mirror(runtime),
        "comparisons": attrs.asdict(runtime.observer.mirror_counters.comparisons),
        "trial": None if live is None else _trial(live.trial),
        "arms": {} if live is None else _arms(live, view),
        "removed_arms": {} if live is None else _removed(live, runtime),
        "rate_limits": {
            name: attrs.asdict(counts)
            for name, counts in runtime.observer.counters.limits.items()
        },
        "auth": _auth(runtime),
        "driver": _driver(control.driver.shown),
        "pending": control.unconfirmed.shown,
    }


def _driver(found: Driving) -> Table:
    """Say who acts for the service, and why somebody has to."""
    return {**attrs.asdict(found), "duties": list(found.duties)}


def _clients(server: HttpServer) -> Table:
    """Say who is connected, by protocol."""
    counts, exchanges = server.counts, Counter(one.protocol for one in server.exchanges)
    exchanges["HTTP/1.1"] += exchanges.pop("HTTP/1.0", 0)
    return {
        protocol: {
            "connected": counts.open[protocol],
            "connections": counts.connections[protocol],
            "in_progress": exchanges[protocol],
        }
        for protocol in ("HTTP/1.1", "HTTP/2")
    }


def _rate(view: ProxyView) -> float:
    """Give the longest time for which a quiet store says nothing."""
    if view.gateway is not None:
        return view.gateway.update_rate
    return view.runtime.live.config.update_rate if view.runtime.live else 0.0


def _contact(control: Control, update_rate: float) -> Table:
    contact = control.status.contact
    now = trio.current_time()
    age_s = None if contact.last_s is None else round(now - contact.last_s, 3)
    patience_s = STALE_S + update_rate * 17 / 16
    return {
        "url": control.status.config_server,
        "last_contact_age_s": age_s,
        "stale": age_s is None or age_s > patience_s,
        "error": contact.error,
        "move_error": control.status.move_error,
    }


def _config(config: Config) -> Table:
    sticky = config.sticky_sessions
    return {
        "style": config.style.value,
        "ratio": {name: share / WHOLE for name, share in config.ratio.items()},
        "sticky_sessions": False
        if sticky is None
        else {**write_key(sticky.key), "epoch": sticky.epoch},
        "update_rate": config.update_rate,
    }


def _split(live: LiveConfig) -> Table:
    """Say how the ratio's decisions since its last change compare with what it asks."""
    split = live.labels.split
    return {
        "decisions": split.total,
        "p_value": split.p_value(),
        "mismatch": split.is_mismatch(),
    }


def _trial(trial: Beside | None) -> Table | None:
    """Say what is tried beside the document, and how both have fared since it began."""
    if not isinstance(trial, Trial):
        return None
    both = {SIDES.against: trial.present, SIDES.arm: trial.tried}
    return {
        "revision": trial.revision,
        "share": trial.share / WHOLE,
        "documents": {
            name: {
                "requests": counts.requests,
                "errors": counts.errors,
                "latency": arm_traffic.by_end(counts.took.counts),
            }
            for name, counts in both.items()
        },
    }


def _mirror(runtime: Runtime) -> Table:
    """Say how the responses to copies compared, by the arm that got them."""
    return {
        name: {"outcomes": dict(arm.outcomes), "skipped": dict(arm.skips)}
        for name, arm in runtime.observer.mirror_counters.arms.items()
    }


def _arms(live: LiveConfig, view: ProxyView) -> Table:
    traffic = arm_traffic.arm_traffic(view)
    return {
        name: {**_arm(name, arm, live, view.runtime), **traffic[name]}
        for name, arm in live.arms.items()
    }


def _arm(name: str, arm: LiveArm, live: LiveConfig, runtime: Runtime) -> Table:
    split, server_set = live.labels.split, arm.state.server_set
    in_flight = runtime.in_flight(name)
    held_by = references_to(live.config, name)
    if isinstance(live.trial, Trial):
        held_by += live.trial.references_to(name)
    if in_flight:
        held_by.append(f"{in_flight} requests in progress")
    return {
        "asked_share": split.shares.get(name, 0) / WHOLE,
        "observed_share": split.observed(name),
        "decisions": split.counts.get(name, 0),
        "requests": arm.state.requests,
        "errors": arm.state.errors,
        "saved": arm.state.saved,
        "fallbacks": arm.state.fallbacks,
        "taken_over": arm.state.taken_over,
        "repeats": arm.state.budget.spent,
        "repeats_refused": arm.state.budget.refused,
        "in_flight": in_flight,
        "usable_servers": len(server_set.usable),
        "panic": server_set.panic,
        "unverified": live.config.arms[name].is_unverified,
        "safe_to_remove": not held_by,
        "held_by": held_by,
        "servers": [_server(server) for server in arm.servers],
    }


def _server(server: ServerState) -> Table:
    return {
        "url": server.server.url,
        "mode": server.server.mode.value,
        "healthy": server.healthy,
        "up": server.up,
        "ejected": bool(server.ejected_until),
        "ejections": server.record.total,
        "since": round(server.since, 3),
        "weight": server.weight,
        "in_flight": server.in_flight,
        "most_in_flight": server.most_in_flight,
        "pending": 0 if server.queue is None else len(server.queue),
        "requests": server.requests,
        "failures": server.failures,
        "latency_s": round(server.latency_s, 6),
        "connections": server.upstream.open,
    }


def _auth(runtime: Runtime) -> Table:
    """Say how those checks of who asks are that the document has."""
    checks = [check for auth in runtime.asking for check in auth.checks]
    return {
        check.name: {
            "by": check.words,
            "outcomes": dict(check.counts.outcomes),
            "questions": check.counts.asked,
            "waiting": len(check.waiting()),
            "trouble": check.trouble,
        }
        for check in checks
    }


def _removed(live: LiveConfig, runtime: Runtime) -> Table:
    """Say which arms are no more in the document, but have requests in progress."""
    counts = {name: runtime.in_flight(name) for name in runtime.arms}
    return {
        name: {"in_flight": count}
        for name, count in counts.items()
        if count and name not in live.arms
    }
