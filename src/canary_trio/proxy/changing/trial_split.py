"""Which requests try another document: a share of users, or of requests. Pure.

A user is known by the present document, as it tells users apart. His key gives a bucket by a
salt of the trial's own, so who tries the document hangs on nothing that the split of arms
hangs on; and the same user has the same side on every proxy, in each of its lives. A larger
share of the same document has all users of a smaller one, and more.

Who is given a key only now has it drawn here, so that his first request is on the side of
all later ones. Where a cookie of the tried document is all that a user shows, since that one
signs otherwise, its key counts. A request without a key goes by the share alone.
"""

from __future__ import annotations

import hashlib

from canary_trio.routing.buckets import bucket
from canary_trio.routing.decision import Chance
from canary_trio.routing.request.request_view import ClientCertificate
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence
from http_trio.http1.request_head import RequestHead

_TRIED = "tried"


def trial_salt(service: str, document: str) -> bytes:
    """Give the salt of the users of a trial: another document draws others.

    >>> trial_salt("web", "{}") == trial_salt("api", "{}")
    False
    """
    said = f"{service}/trial/{document}".encode("utf-8", "replace")
    return hashlib.blake2b(said, digest_size=32).digest()


class TrialSplit:
    """Which requests try another document.

    Attributes:
        present: the router of the present document.
    """

    def __init__(self, share: int, salt: bytes, present: Router, tried: Router) -> None:
        """Let a share of the users try it, in ten-thousandths."""
        self.present = present
        self._tried = tried
        self._share, self._salt = share, salt
        self._shares = {_TRIED: share}
        self._sequence = WeightedSequence()

    def __repr__(self) -> str:
        return f"<TrialSplit {self._share} of 10000>"

    def key_of(
        self, head: RequestHead, client: str, certificate: ClientCertificate | None
    ) -> bytes | None:
        """Give the key that the side of a request hangs on; None where it has none."""
        key = self.present.user_of(head, client, certificate)
        if key is None and self.present.mints and self._tried.mints:
            key = self._tried.user_of(head, client, certificate)
        return key

    def has(self, key: bytes) -> bool:
        """Tell whether the user of a key tries it."""
        return bucket(key, self._salt) < self._share

    def sure(
        self, head: RequestHead, client: str, certificate: ClientCertificate | None
    ) -> bool | None:
        """Tell whether a request would try it; None where its turn decides, or a draw."""
        key = self.key_of(head, client, certificate)
        return None if key is None else self.has(key)

    def choose(
        self,
        head: RequestHead,
        client: str,
        chance: Chance,
        certificate: ClientCertificate | None = None,
    ) -> tuple[bool, bytes | None]:
        """Tell whether a request that is about to be routed tries the document.

        And give the key that its user is to be given, if he shows none; None if users
        are not given keys.
        """
        key, mints = self.key_of(head, client, certificate), self.present.mints
        if key is None:
            if not mints:
                return self._sequence.next(self._shares) == _TRIED, None
            key = self.present.mint_key(chance)
        return self.has(key), key if mints else None
