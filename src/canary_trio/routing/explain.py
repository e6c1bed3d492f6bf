"""Which arm a described request would get, and why, without sending it. Pure.

The rule that is obeyed here: the decision is made by the `Router` that routes the
traffic, from a head that the engine's own parser has read. What chance or turn decides
cannot be told before; then `certain` is false, and the shares are what there is to say.
No turn is taken and no debt is paid. Chance is the real one, since a key that is minted
here for nobody comes from the same draw as those of users.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from canary_trio.config.model import WHOLE, ServerMode
from canary_trio.routing.decision import Chance, Reason
from canary_trio.routing.request.request_spec import RequestSpec
from canary_trio.routing.router import Router
from canary_trio.routing.weighted_sequence import WeightedSequence


@attrs.frozen
class Explanation:
    """What would become of a request.

    Attributes:
        revision: the configuration that says so.
        arm: that it would get; None where chance or turn decides.
        reason: rule, sticky, hash or ratio.
        rule: the name of the rule, if one decides.
        bucket: of its user, from 0 to 9,999, if it has a key.
        certain: whether the same request always gets this arm.
        shares: of the arms, from 0 to 1, where it is not certain.
        new_user: whether it would be given a cookie.
        servers: of the arm that may serve it.
        server: the one of them that its key leads to, if it has one.
        fallback: the arm that serves if none of them can.
        refused: why it would not pass and reach no arm, such as `denied`; None if it
            would. What only shows as a body comes is not known.
        rate_limits: the limits that it would count against, each with whose requests are
            counted with it; from a proxy that runs also how many are left.
        auth: what it must pass before that, which is not asked here: `basic_auth` by a
            file of users, `forward_auth` by a server.
        trial: the revision that is tried for a share of the users, that share, and whether
            this request tries it: true, false, or null where its turn or a draw decides;
            None where nothing is tried.
    """

    revision: int
    arm: str | None
    reason: str
    rule: str | None = None
    bucket: int | None = None
    certain: bool = True
    shares: Mapping[str, float] | None = None
    new_user: bool = False
    servers: tuple[str, ...] = ()
    server: str | None = None
    fallback: str | None = None
    refused: str | None = None
    rate_limits: tuple[Mapping[str, object], ...] = ()
    auth: tuple[Mapping[str, str], ...] = ()
    trial: Mapping[str, object] | None = None


def explain(
    spec: RequestSpec, router: Router, revision: int, chance: Chance
) -> tuple[Explanation, bytes | None]:
    """Tell which arm a request would get; give also the key for its server, if any.

    Raises:
        BadRequestSpec: it could not be sent so.
    """
    config = router.config
    head = spec.head()
    decision = router.choose(
        head,
        spec.client,
        WeightedSequence(),
        chance,
        secure=spec.secure,
        certificate=spec.certificate,
    )
    shares = {arm: share / WHOLE for arm, share in config.shares.items() if share}
    has_key = decision.key is not None and decision.key in head.raw
    new_user = decision.cookie is not None and not has_key  # or it is signed anew
    certain = decision.reason is not Reason.RATIO or len(shares) == 1
    servers: tuple[str, ...] = ()
    if certain:
        servers = tuple(
            server.url
            for server in config.arms[decision.arm].servers
            if server.mode is ServerMode.READY
        )
    return Explanation(
        revision=revision,
        arm=decision.arm if certain else None,
        reason=decision.reason.value,
        rule=decision.rule,
        bucket=None if new_user else decision.bucket,
        certain=certain,
        shares=None if certain else shares,
        new_user=new_user,
        servers=servers,
        fallback=config.arms[decision.arm].fallback if certain else None,
    ), None if new_user else decision.key
