"""`/v1/status`, `/v1/agent`, `/v1/catalog`: the cluster, which here has one server."""

from __future__ import annotations

import uuid
from typing import Any

from http_trio import Response
from kv_trio.consul.encode import JSON, dump_json, index_headers, json_response
from kv_trio.consul.parameters import DATACENTER
from kv_trio.errors import BadQuery

SPEAKS = "1.8.7"
"""The version of Consul whose API this is; its clients look at it."""


def render_cluster(path: bytes, *, node: str, address: str) -> Response:
    """Render the response to a read about the cluster.

    Raises:
        BadQuery: there is no such endpoint.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        host, port = "127.0.0.1", "0"  # a Unix socket
    member = {"Name": node, "Addr": host.strip("[]"), "Port": int(port), "Status": 1}
    catalog: dict[bytes, object] = {
        b"/v1/catalog/nodes": [_node(node, host.strip("[]"))],
        b"/v1/catalog/services": {"consul": []},
    }
    if path in catalog:
        headers = index_headers(1)  # it never changes
        return Response(200, dump_json(catalog[path]), JSON, headers)
    return json_response(_describe(path, node, address, member))


def _describe(path: bytes, node: str, address: str, member: dict[str, Any]) -> object:
    match path:
        case b"/v1/status/leader":
            return address
        case b"/v1/status/peers":
            return [address]
        case b"/v1/catalog/datacenters":
            return [DATACENTER]
        case b"/v1/agent/checks" | b"/v1/agent/services":
            return {}
        case b"/v1/agent/members":
            return [_member(member)]
        case b"/v1/agent/self":
            return _self(node, address, member)
        case _:
            raise BadQuery(404, "")


def _member(member: dict[str, Any]) -> dict[str, Any]:
    tags = {"role": "consul", "dc": DATACENTER, "build": SPEAKS}
    return {**member, "Tags": tags}


def _node(name: str, address: str) -> dict[str, Any]:
    """Give this server as one of the nodes; its id comes of its name, so it stays."""
    return {
        "ID": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
        "Node": name,
        "Address": address,
        "Datacenter": DATACENTER,
        "TaggedAddresses": {"lan": address, "wan": address},
        "Meta": {},
        "CreateIndex": 1,
        "ModifyIndex": 1,
    }


def _self(node: str, address: str, member: dict[str, Any]) -> dict[str, Any]:
    return {
        "Config": {
            "Datacenter": DATACENTER,
            "NodeName": node,
            "Server": True,
            "Version": SPEAKS,
        },
        "Member": _member(member),
        "Stats": {"consul": {"leader": "true", "leader_addr": address}},
    }
