"""The console's API under schemathesis: whatever is sent, what is answered is in the contract.

It runs in a thread, against a real listener; how much is tried is for `make fuzz` to raise, by
`CONSOLE_EXAMPLES`.
"""

from __future__ import annotations

import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypothesis import HealthCheck, Phase, given, settings

from canary_trio import write_document
from tests.canary_trio.support.consoles import CONTRACT, DOCUMENT, served_console

EXAMPLES = int(os.environ.get("CONSOLE_EXAMPLES", "2"))
"""Of each operation, and of each way to make them."""

ENDLESS = {"/api/v1/stream"}
"""What never ends by itself; `test_stream` looks at it."""


def fuzz(base_url: str, secret: str) -> list[str]:
    """Send what the contract allows, and what it does not; give what was answered otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import schemathesis  # noqa: PLC0415
        from schemathesis import GenerationMode  # noqa: PLC0415
        from schemathesis.core.failures import FailureGroup  # noqa: PLC0415

        schema = schemathesis.openapi.from_dict(CONTRACT)
        found: list[str] = []
        tried = 0
        for result in schema.get_all_operations():
            operation: Any = result.ok()  # type: ignore[union-attr]
            if operation.path in ENDLESS:
                continue
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                except Exception as exc:  # such as: nothing can be negated
                    found += [] if "negat" in str(exc) else [repr(exc)]
                    continue

                @settings(
                    max_examples=EXAMPLES,
                    deadline=None,
                    database=None,
                    derandomize=True,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=strategy)
                def ask(case: Any) -> None:
                    nonlocal tried
                    tried += 1
                    headers = {"Authorization": f"Bearer {secret}"}
                    response = case.call(base_url=base_url, headers=headers)
                    assert response.status_code < 500 or response.status_code == 503
                    checks = schemathesis.checks
                    case.validate_response(
                        response,
                        checks=[
                            checks.not_a_server_error,
                            checks.response_schema_conformance,
                            checks.content_type_conformance,
                        ],
                    )

                try:
                    ask()
                except (AssertionError, FailureGroup) as exc:
                    found.append(f"{operation.label}: {exc!r} {exc}"[:2000])
                except Exception as exc:
                    if type(exc).__name__ != "Unsatisfiable":
                        found.append(f"{operation.label}: {exc!r}"[:2000])
        assert tried > 20, tried
        return found


async def test_whatever_is_sent_is_answered_by_the_contract(tmp_path: Path) -> None:
    async with served_console(tmp_path) as (server, store, secrets):
        await write_document(store, "web", DOCUMENT, over=0)
        run = partial(fuzz, server.url, secrets["anna"])
        found = await trio.to_thread.run_sync(run)

    assert found == []
