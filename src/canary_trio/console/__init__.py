"""The console: one page on which services are watched and led, and the API behind it."""

from typing import TYPE_CHECKING

from canary_health.commands import spare_no_more
from canary_health.face import lazy_face

spare_no_more("anyio")  # which the framework stands on

if TYPE_CHECKING:
    from canary_trio.console.application import app
else:
    __getattr__, __dir__ = lazy_face(__name__, {"application": "app"})

__all__ = ["app"]
