"""The least rights as each store is told them: a policy, a role, a token. Pure.

What is printed is what an operator hands to the store: the rules of a Consul's policy, the
commands that make an etcd's role, the command that makes a kv-trio's token.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

import attrs

from canary_trio.control.store_keys import ROOT, check_service
from canary_trio.routing.edge.names import is_gateway
from kv_trio import Right, operator_rights, proxy_rights, role_name


@attrs.frozen
class Role:
    """What a store is told.

    Attributes:
        name: of the policy, role or token.
        rights: that it has.
        has_session: whether it begins sessions.
    """

    name: str
    rights: tuple[Right, ...]
    has_session: bool


def policy(
    store: str,
    name: str,
    services: Sequence[str] = (),
    *,
    is_operator: bool = False,
    drives: bool = True,
) -> str:
    """Give the least rights of a proxy, or of an operator, as a store is told them.

    Args:
        store: one of `STORES`.
        name: of the service, or of a gateway.
        services: of a gateway.
        is_operator: whether it is for who changes documents.
        drives: whether a proxy may change documents by itself.

    Raises:
        BadName: one of the names is none.
    """
    for one in (name, *services):
        check_service(one)
    if is_operator:
        role = Role(
            role_name("operator", name), operator_rights(name), has_session=False
        )
        return STORES[store](role)
    rights = proxy_rights(name, services, drives=drives)
    if store == "etcd" and is_gateway(name):
        # An etcd lets nobody watch a range of which some key is kept from him.
        rights = (Right(False, ROOT, is_prefix=True), *rights)
    return STORES[store](Role(role_name("proxy", name), rights, has_session=True))


def _consul(role: Role) -> str:
    name = role.name
    lines = [
        f"# consul acl policy create -name {name} -rules @{name}.hcl",
        f"# consul acl token create -description {name} -policy-name {name}",
    ]
    for right in role.rights:
        kind = "key_prefix" if right.is_prefix else "key"
        may = "write" if right.writes else "read"
        lines.append(f'{kind} "{right.key}" {{ policy = "{may}" }}')
    if role.has_session:
        lines.append('session_prefix "" { policy = "write" }')
    return "\n".join(lines) + "\n"


def _etcd(role: Role) -> str:
    name = role.name
    lines = [f"etcdctl role add {name}"]
    for right in role.rights:
        may = "readwrite" if right.writes else "read     "
        prefix = " --prefix" if right.is_prefix else ""
        lines.append(f"etcdctl role grant-permission {name} {may} {right.key}{prefix}")
    lines += [f"etcdctl user add {name}", f"etcdctl user grant-role {name} {name}"]
    return "\n".join(lines) + "\n"


def _kv_trio(role: Role) -> str:
    words = [f"kv-trio token {role.name}"]
    for right in role.rights:
        option = "--write" if right.writes else "--read"
        words.append(f"{option} {shlex.quote(right.key)}")
    return " \\\n  ".join(words) + " \\\n  >> tokens.toml\n"


STORES: dict[str, Callable[[Role], str]] = {
    "kv-trio": _kv_trio,
    "consul": _consul,
    "etcd": _etcd,
}
"""How each store is told of rights."""
