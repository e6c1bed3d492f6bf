"""A small document, and what is wrong with others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from canary_trio.config.document import load
from canary_trio.errors import InvalidConfig

ARMS = {"stable": {"servers": ["http://a"]}, "canary": {"servers": ["http://b:81/"]}}


def problems(document: Any) -> dict[str, tuple[str, str]]:
    with pytest.raises(InvalidConfig) as caught:
        load(document if isinstance(document, str | bytes) else json.dumps(document))
    return {one.path: (one.found, one.expected) for one in caught.value.problems}
