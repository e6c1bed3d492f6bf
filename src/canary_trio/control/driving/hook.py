"""Who wants to know of a rollout is told by POST: signed, in order, a bounded number of times."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections import deque
from pathlib import Path
from typing import Any

import trio

from canary_trio.config.rollout import RolloutHook
from canary_trio.control.driving.asking import NothingUsable, ask, read_own_file
from kv_trio import Backoff

_log = logging.getLogger(__name__)

MOST_WAITING = 100
"""Messages that wait at most; of more the oldest are left out."""

SIGNATURE = "X-Canary-Signature"
"""The field with `sha256=` and the HMAC of the body, in hexadecimal."""


class HookTeller:
    """Tells the hook of one service's rollout."""

    def __init__(self, files: Path | None) -> None:
        """Begin with nothing to tell; `files` is the directory that keys are in."""
        self._files = files
        self._waiting: deque[tuple[RolloutHook, bytes]] = deque(maxlen=MOST_WAITING)

    def __repr__(self) -> str:
        return f"<HookTeller {len(self._waiting)} waiting>"

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, hook: RolloutHook, message: dict[str, Any]) -> None:
        """Tell a message later, after those that wait."""
        self._waiting.append((hook, json.dumps(message, sort_keys=True).encode()))

    async def tell_all(self) -> None:
        """Tell what waits; what nobody takes is logged and left."""
        while self._waiting:
            hook, body = self._waiting[0]
            error = await self._tell(hook, body)
            if error:
                _log.warning("the hook at %s was not told: %s", hook.url, error)
            if self._waiting and self._waiting[0][1] is body:
                self._waiting.popleft()

    async def _tell(self, hook: RolloutHook, body: bytes) -> str:
        """Tell one message; say why that failed, empty if it did not."""
        backoff, error = Backoff(0.2, 5.0), ""
        for _ in range(hook.tries):
            if error:
                await backoff.pause()
            try:
                fields = [("Content-Type", "application/json")]
                if hook.key is not None:
                    key = await trio.to_thread.run_sync(
                        read_own_file, self._files, hook.key
                    )
                    fields.append((SIGNATURE, signature(key.strip(), body)))
                reply = await ask(
                    hook.url,
                    method="POST",
                    fields=fields,
                    body=body,
                    timeout_s=hook.timeout,
                )
            except NothingUsable as exc:
                error = str(exc)
                continue
            if 200 <= reply.status < 300:
                return ""
            error = f"it answered {reply.status}"
        return error


def signature(key: bytes, body: bytes) -> str:
    """Give what a message is signed with.

    >>> signature(b"k", b"{}")[:15]
    'sha256=add853b1'
    """
    return "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
