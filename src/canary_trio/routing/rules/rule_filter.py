"""Most requests are of no rule's concern, and a few looks tell. Pure.

What a request has in common with those before it on its connection (`SharedFields`) is
looked at once for all of them. What is left are its target and its cookies: where none
of the words is in them that a rule asks for, no rule holds.

The rule that it obeys: whoever is ruled out here is led to no rule by the `RuleMatcher`
either. The other way round it may err, and does: a word in a wrong place costs a closer look.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from http_trio.http1.heads.shared_fields import SharedFields
from http_trio.http1.request_head import RequestHead

MOST_WORDS = 8
"""Names, or beginnings of paths, of one kind; where there are more, no filter is of use."""

_PERCENT, _SEMICOLON, _BACKSLASH, _PLUS, _DOT = b"%;\\+."


class RuleFilter:
    """Tells of most requests that no rule holds.

    Args:
        leads: whether fields other than Cookie lead to a rule.
        methods: that lead to one.
        cookies: names of cookies that do.
        parameters: names of parameters that do.
        stems: beginnings of paths that do, as `plain_path` gives them.
    """

    # fmt: off
    __slots__ = (
        "_asks_target", "_cookies", "_leads", "_mark", "_methods", "_stems", "_words",
    )
    # fmt: on

    def __init__(
        self,
        leads: Callable[[SharedFields], bool],
        methods: Collection[bytes],
        cookies: Collection[bytes],
        parameters: Collection[bytes],
        stems: Collection[bytes],
    ) -> None:
        self._leads = leads
        self._mark = (
            object()
        )  # by which fields know it, and do not keep old rules alive
        self._methods = frozenset(methods)
        self._cookies = tuple(cookies)
        self._words = tuple(parameters)
        self._stems = tuple(stems)
        self._asks_target = bool(parameters or stems)

    def __repr__(self) -> str:
        return f"<RuleFilter {self._cookies} {self._words} {self._stems}>"

    def rules_out(self, head: RequestHead, shared: SharedFields) -> bool:
        """Tell whether it is plain that no rule holds for a head of these fields."""
        leads = shared.found.get(self._mark)
        if leads is None:
            leads = self._leads(shared)
            shared.keep(self._mark, leads)
        if leads or head.method in self._methods:
            return False
        cookie = head.cookie
        for name in self._cookies:
            if name in cookie:
                return False
        if not self._asks_target:
            return True
        target = head.target
        if (  # it may be spelled otherwise than it is compared
            _PERCENT in target
            or _PLUS in target
            or _SEMICOLON in target
            or _BACKSLASH in target
            or target.find(b"//") >= 0
            or (_DOT in target and target.find(b"/.") >= 0)
        ):
            return False
        for name in self._words:
            if name in target:
                return False
        return not target.startswith(self._stems)
