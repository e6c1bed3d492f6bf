"""A request whose response is looked at before anything of it goes out.

So an arm's failing statuses are tried elsewhere, its fields are changed, and its content is
compressed, in this order. The rule that it obeys: what of these an arm does not ask for
costs it nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from canary_trio.proxy.proxied_request import ProxiedRequest
from http_trio import ForwardedRequest, Retry, Upstream

if TYPE_CHECKING:
    from http_trio.http1.response_head import ResponseHead


class InspectedRequest(ProxiedRequest):
    """The same where responses are looked at before anything of them goes out."""

    __slots__ = ("encoder",)
    reads_responses = True

    def on_response(
        self, request: ForwardedRequest, head: ResponseHead
    ) -> Upstream | Retry | None:
        """Go elsewhere for a status that counts as failed; else change the fields."""
        plan = self._plan
        self.encoder = None
        if (
            head.status in plan.failing
            and request.exchange.head.repeatable
            and request.can_repeat
        ):
            following = self._go_on(sent=True, ok=False, unreachable=False)
            if following is not None:
                return following
        if plan.response.left_out is not None:
            head.kept = plan.response.without(head.kept)
        if plan.compression is not None:
            self.encoder = plan.compression.begin(request.exchange.head, head)
        return None
