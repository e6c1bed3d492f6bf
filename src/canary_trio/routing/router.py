"""Which arm a request gets, and why. Compiled once per revision, pure.

    rules, the first that holds   ->  its arm                      rule
    a user's key (sticky)         ->  the arm of the key's bucket  sticky
    a key (style `hash`)          ->  the arm of the key's bucket  hash
    neither                       ->  the style's draw             ratio

A `Router` is a configuration made ready: everything that does not depend on the
request is computed here. What outlives it (the sequence's debts) is handed in. A user
without a key cookie is given one, and the arm of its bucket; the reason is the ratio.

Decisions are values, and those about one key are equal, so the latest are kept and handed
out again: the same for each input, only sooner. And most requests are of no rule's concern
and of a user who is known, which a few looks at their cookies and target tell.

One file, since each step of a choice adds to the decision of the step before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from canary_trio.config.model import Balance, Config, Sticky, Style
from canary_trio.config.parts.checks import default_cookie
from canary_trio.config.rules import Source
from canary_trio.routing.buckets import BucketRanges, bucket, salt_of
from canary_trio.routing.decision import UNITS, Chance, Decision, Reason
from canary_trio.routing.request.asked_keys import asked_keys
from canary_trio.routing.request.request_view import (
    ClientCertificate,
    GetKey,
    RequestReader,
    RequestView,
    key_getter,
)
from canary_trio.routing.rules.rule_matcher import RuleMatcher
from canary_trio.routing.sticky_cookie import CookieSigner, set_cookie
from canary_trio.routing.weighted_sequence import WeightedSequence, random_arm
from http_trio.http1.heads.shared_fields import SharedFields
from http_trio.http1.request_head import RequestHead

SAME_NAMED = 16
"""Cookies of our name that are looked at: browsers send those of parent domains too."""

_KEPT = 4096  # decisions by key; then all are forgotten, which costs a key 2 us once
_KEPT_SIZE = 128  # bytes of a key; longer ones are computed each time


class Router:
    """The routing of one revision.

    Attributes:
        config: that it was made of.
        is_blind: whether nothing of a request matters, so that `draw` is enough.
        asks_certificate: whether a rule looks at clients' certificates.
        salt: of the users' buckets.
    """

    def __init__(
        self, config: Config, *, service: str, secrets: Sequence[bytes]
    ) -> None:
        """Compile a configuration.

        Args:
            config: what to route by.
            service: whose; its name is part of what buckets are computed from.
            secrets: that verify cookies; the first of them signs.
        """
        self.config = config = with_cookie_named(config, service)
        sticky = config.sticky_sessions
        epoch = sticky.epoch if sticky else 0
        self._service, self._epoch = service, epoch
        self.salt = salt_of(service, epoch)
        self._ranges = BucketRanges.of(config.ratio)
        self._shares = config.ratio
        self._is_random = config.style is Style.RANDOM
        self._rules = RuleMatcher(config.rules, self.salt) if config.rules else None
        self._by_rule = [Decision(r.arm, Reason.RULE, r.name) for r in config.rules]
        self._by_ratio = {arm: Decision(arm, Reason.RATIO) for arm in config.arms}
        self._get_user: GetKey | None = None
        self._get_hashed: GetKey | None = None
        self._cookie: bytes | None = None
        self._server_keys: Mapping[str, GetKey] = {}
        self._is_server_sticky = sticky is not None and sticky.server
        self._known: dict[bytes, Decision] = {}
        self._hashed: dict[bytes, Decision] = {}
        if sticky is not None:
            if sticky.key.source is Source.COOKIE:
                self._cookie = sticky.key.name.encode()
                self._begins = self._cookie + b"="
                self._set_cookie = set_cookie(sticky, secure=False)
                self._set_secure = set_cookie(sticky, secure=True)
            else:
                self._get_user = key_getter(sticky.key)
        if config.style is Style.HASH:
            self._get_hashed = key_getter(config.hash_by)
        if not self._is_server_sticky:
            self._server_keys = {
                name: key_getter(arm.hash_by)
                for name, arm in config.arms.items()
                if arm.balance is Balance.HASH
            }
        keys = asked_keys(config)
        self._read = RequestReader(keys).read
        self.is_blind = not keys and self._rules is None
        self.asks_certificate = any(k.source is Source.CLIENT_CERT for k in keys)
        self._filter = None if self._rules is None else self._rules.filter()
        self._is_quick = not (
            (self._rules is not None and self._filter is None)
            or (self._get_user or self._get_hashed or self._server_keys)
        )
        self._secrets: tuple[bytes, ...] = ()
        self.use_secrets(secrets)

    def __repr__(self) -> str:
        return f"<Router {dict(self._shares)} {self._rules or 'no rules'}>"

    @property
    def hidden_cookie(self) -> str | None:
        """The name of our cookie if servers are not to see it."""
        sticky = self.config.sticky_sessions
        if sticky is None or sticky.forward or self._cookie is None:
            return None
        return sticky.key.name

    def use_secrets(self, secrets: Sequence[bytes]) -> None:
        """Sign and verify cookies with others from now on; who has a key keeps it.

        Args:
            secrets: that verify; the first of them signs.
        """
        if self._secrets == tuple(secrets):
            return
        self._secrets = tuple(secrets)
        signers = [CookieSigner(secret, self._epoch) for secret in secrets]
        self._signer, self._older = signers[0], signers[1:]
        self._known.clear()

    def of_another(self, config: Config) -> Router:
        """Give the router of another configuration of the same service."""
        return Router(config, service=self._service, secrets=self._secrets)

    @property
    def mints(self) -> bool:
        """Whether users without a key are given one."""
        return self._cookie is not None

    def mint_key(self, chance: Chance) -> bytes:
        """Draw a key for a user who has none; `choose` gives it to him."""
        return self._signer.mint(chance.bytes)[0]

    def user_of(
        self,
        head: RequestHead,
        client: str,
        certificate: ClientCertificate | None = None,
    ) -> bytes | None:
        """Give the key of the user who asks; None where he has none. It mints none."""
        view = self._read(head, client)
        view.certificate = certificate
        if self._cookie is None:
            key = self._get_user(view) if self._get_user is not None else None
            if key is None and self._get_hashed is not None:
                key = self._get_hashed(view)
            return key
        values = view.cookies_named(self._cookie)[:SAME_NAMED]
        for signer in (self._signer, *self._older):
            for value in values:
                key = signer.verify(value)
                if key is not None:
                    return key
        return None

    def cookie_of(self, user: bytes) -> bytes:
        """Give the cookie that shows who a user is; empty where no cookie does.

        Args:
            user: his key, in the form of those that are minted.
        """
        if self._cookie is None:
            return b""
        return b"%b=%b" % (self._cookie, self._signer.value_of(user))

    def choose(
        self,
        head: RequestHead,
        client: str,
        sequence: WeightedSequence,
        chance: Chance,
        *,
        secure: bool,
        certificate: ClientCertificate | None = None,
        new_key: bytes | None = None,
    ) -> Decision:
        """Choose an arm.

        Args:
            head: the request's.
            client: its address as text; what is none has no network.
            sequence: the exact split, which outlives this revision.
            chance: for style `random`, and for new users' keys.
            secure: whether the client came over TLS.
            certificate: the client's, verified; asked for only by `asks_certificate`.
            new_key: what a user is given who has no key; None to draw one.
        """
        shared = head.shared
        if self._is_quick and shared is not None:
            decision = self._choose_at_once(head, shared, sequence, chance)
            if decision is not None:
                return decision
        view = self._read(head, client)
        view.certificate = certificate
        return self._choose_closely(
            view, sequence, chance, secure=secure, new_key=new_key
        )

    def _choose_at_once(
        self,
        head: RequestHead,
        shared: SharedFields,
        sequence: WeightedSequence,
        chance: Chance,
    ) -> Decision | None:
        """Choose where it is plain that no rule holds, and who asks is known; or give None."""
        rules = self._filter
        if rules is not None and not rules.rules_out(head, shared):
            return None
        if self._cookie is None:
            return self.draw(sequence, chance)
        cookies, begins = head.cookie, self._begins
        at = cookies.find(begins)
        if at < 0 or (at and cookies[at - 2 : at] != b"; "):  # else a browser wrote it
            return None
        end = cookies.find(b";", at)
        return self._known.get(cookies[at + len(begins) : end if end >= 0 else None])

    def _choose_closely(
        self,
        view: RequestView,
        sequence: WeightedSequence,
        chance: Chance,
        *,
        secure: bool,
        new_key: bytes | None,
    ) -> Decision:
        """Choose by all that is asked of a request; the arguments are as of `choose`."""
        decision: Decision | None = None
        if self._rules is not None:
            place = self._rules.first(view)
            if place is not None:
                decision = self._by_rule[place]
                if self._is_server_sticky:
                    decision = self._with_user(
                        decision, view, chance, secure=secure, new_key=new_key
                    )
        if decision is None:
            decision = self._of_user(view, chance, secure=secure, new_key=new_key)
        if decision is None and self._get_hashed is not None:
            key = self._get_hashed(view)
            if key is not None:
                decision = self._of_key(key, Reason.HASH, self._hashed)
        if decision is None:
            decision = self.draw(sequence, chance)
        if self._server_keys:
            get_key = self._server_keys.get(decision.arm)
            if get_key is not None:
                arm, reason, rule = decision.arm, decision.reason, decision.rule
                key, cookie = get_key(view), decision.cookie
                user = decision.key or b""
                place, unit = decision.bucket, decision.unit
                return Decision(arm, reason, rule, cookie, key, place, user, unit)
        return decision

    def draw(self, sequence: WeightedSequence, chance: Chance) -> Decision:
        """Choose an arm for whom nothing else decides; the arguments are as of `choose`."""
        shares = self._shares
        if self._is_random:
            return self._by_ratio[random_arm(shares, chance.uniform())]
        return self._by_ratio[sequence.next(shares)]

    def _of_user(
        self,
        view: RequestView,
        chance: Chance,
        *,
        secure: bool,
        new_key: bytes | None,
    ) -> Decision | None:
        """Decide by the user's key; None where users have none."""
        cookie = self._cookie
        if cookie is not None:
            value = view.found[1].get(cookie)
            if value is not None:
                decision = self._of_cookie(value)
                if decision is not None:
                    return decision
                values = view.cookies_named(cookie)[:SAME_NAMED]
                for other in values[1:]:
                    decision = self._of_cookie(other)
                    if decision is not None:
                        return decision
                if self._older:
                    decision = self._of_older(values, secure=secure)
                    if decision is not None:
                        return decision
            return self._mint(chance, secure=secure, new_key=new_key)
        if self._get_user is not None:
            key = self._get_user(view)
            if key is not None:
                return self._of_key(key, Reason.STICKY, self._known)
        return None

    def _of_cookie(self, value: bytes) -> Decision | None:
        """Decide by the value of our cookie; None where we did not sign it."""
        decision = self._known.get(value)
        if decision is None:
            key = self._signer.verify(value)
            if key is not None:
                by_key = self._by_key(key, Reason.STICKY)
                return self._keep(value, by_key, self._known)
        return decision

    def _of_older(self, values: Sequence[bytes], *, secure: bool) -> Decision | None:
        """Decide by a cookie that an older secret signed, and sign its key anew."""
        for value in values:
            for signer in self._older:
                key = signer.verify(value)
                if key is not None:
                    form = self._set_secure if secure else self._set_cookie
                    return attrs.evolve(
                        self._by_key(key, Reason.STICKY),
                        cookie=form % self._signer.value_of(key),
                    )
        return None

    def _with_user(
        self,
        decision: Decision,
        view: RequestView,
        chance: Chance,
        *,
        secure: bool,
        new_key: bytes | None,
    ) -> Decision:
        """Add the user to a rule's decision, so that the server can be kept."""
        user = self._of_user(view, chance, secure=secure, new_key=new_key)
        if user is None:
            return decision
        return attrs.evolve(
            decision, cookie=user.cookie, key=user.key, bucket=user.bucket
        )

    def _of_key(
        self, key: bytes, reason: Reason, kept: dict[bytes, Decision]
    ) -> Decision:
        decision = kept.get(key)
        if decision is not None:
            return decision
        return self._keep(key, self._by_key(key, reason), kept)

    def _by_key(self, key: bytes, reason: Reason) -> Decision:
        place = bucket(key, self.salt)
        arm, unit = self._ranges.arm_of(place), hash(key) % UNITS
        return Decision(arm, reason, key=key, bucket=place, unit=unit)

    def _keep(
        self, of: bytes, decision: Decision, kept: dict[bytes, Decision]
    ) -> Decision:
        if len(of) <= _KEPT_SIZE:
            if len(kept) >= _KEPT:
                kept.clear()
            kept[of] = decision
        return decision

    def _mint(self, chance: Chance, *, secure: bool, new_key: bytes | None) -> Decision:
        if new_key is None:
            key, value = self._signer.mint(chance.bytes)
        else:
            key, value = new_key, self._signer.value_of(new_key)
        place = bucket(key, self.salt)
        cookie = (self._set_secure if secure else self._set_cookie) % value
        return Decision(
            self._ranges.arm_of(place), Reason.RATIO, None, cookie, key, place
        )


def with_cookie_named(config: Config, service: str) -> Config:
    """Give the key cookie a name where the document does not."""
    sticky = config.sticky_sessions
    if sticky is None or sticky.key != Sticky().key:
        return config
    named = attrs.evolve(sticky.key, name=default_cookie(service))
    return attrs.evolve(config, sticky_sessions=attrs.evolve(sticky, key=named))
