"""What a proxy says of itself to people and programs: its state as one table."""

from __future__ import annotations

import attrs
import trio

from canary_trio.config import WHOLE, Config
from canary_trio.control import STALE_S, Control
from canary_trio.runtime import Live, Runtime
from canary_trio.view import View

Table = dict[str, object]


def describe(view: View) -> Table:
    """Give the state of a proxy."""
    runtime, control = view.runtime, view.control
    live = runtime.live
    status = control.status
    return {
        "service": view.service,
        "id": view.proxy_id,
        "running": control.running,
        "attempted": status.attempted,
        "failed": None if status.failed is None else attrs.asdict(status.failed),
        "remembered": status.remembered,
        "store": _contact(control, live.config if live else None),
        "config": None if live is None else _config(live.config),
        "arms": {} if live is None else _arms(live, runtime),
    }


def _contact(control: Control, config: Config | None) -> Table:
    contact = control.status.contact
    now = trio.current_time()
    age_s = None if contact.last_s is None else round(now - contact.last_s, 3)
    patience_s = STALE_S + (config.update_rate * 17 / 16 if config else 0)
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
        else {"cookie": sticky.key.name, "epoch": sticky.epoch},
        "update_rate": config.update_rate,
    }


def _arms(live: Live, runtime: Runtime) -> Table:
    total = sum(state.requests for state in runtime.arms.values())
    return {
        name: {
            "requests": arm.state.requests,
            "errors": arm.state.errors,
            "share": round(arm.state.requests / total, 4) if total else None,
            "servers": [
                {
                    "url": server.server.url,
                    "weight": server.weight,
                    "in_flight": server.in_flight,
                    "requests": server.requests,
                    "failures": server.failures,
                    "connections": server.upstream.open,
                }
                for server in arm.servers
            ],
        }
        for name, arm in live.arms.items()
    }
