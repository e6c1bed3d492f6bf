"""The command `canary explain`: which arm a request would get, without sending it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from canary_trio.command.cli.changes.documents import read_valid
from canary_trio.command.cli.options import store_options


@click.command()
@click.argument("service")
@click.argument("url", default="/", metavar="[URL]")
@store_options.config_server
@click.option("-X", "--request", "method", default="GET", show_default=True)
@click.option("-H", "--header", "fields", multiple=True, metavar="'NAME: VALUE'")
@click.option("--host", help="The host that is asked for, in place of the URL's.")
@click.option("-b", "--cookie", "cookies", multiple=True, metavar="NAME=VALUE")
@click.option(
    "--client",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Where the request comes from.",
)
@click.option(
    "--client-subject",
    "subject",
    metavar="SUBJECT",
    help="The subject of the client's verified certificate, such as CN=web,O=Example.",
)
@click.option(
    "--client-san",
    "names",
    multiple=True,
    metavar="NAME",
    help="An alternative name of that certificate; may be repeated.",
)
@click.option(
    "--document",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Ask this file instead of what is in the store.",
)
@store_options.as_json
def explain(
    service: str,
    url: str,
    config_server: str,
    *,
    method: str,
    fields: tuple[str, ...],
    host: str | None,
    cookies: tuple[str, ...],
    client: str,
    subject: str | None,
    names: tuple[str, ...],
    document: Path | None,
    as_json: bool,
) -> None:
    """Tell which arm of SERVICE a request to URL would get, and why, without sending it.

    Of a gateway, such as @edge, it tells first which route the request would take.

    It is computed here, from the document in the store and the fleet's secret, by the
    code that routes the traffic:

        canary explain web -H 'X-Beta: yes' -b session=1 http://example.org/cart
    """
    import attrs  # noqa: PLC0415

    from canary_trio.routing.request.request_spec import (  # noqa: PLC0415
        BadRequestSpec,
        CertificateSpec,
        RequestSpec,
    )

    headers = [_field(field) for field in fields]
    if host is not None:
        headers.append(("Host", host))
    if cookies:
        headers.append(("Cookie", "; ".join(cookies)))
    secure = url.startswith("https:")
    certificate = None
    if subject is not None or names:
        certificate = CertificateSpec(subject or "", names)
    spec = RequestSpec(
        method, url, tuple(headers), client, secure=secure, certificate=certificate
    )
    try:
        spec.head()  # before the store is asked
    except BadRequestSpec as exc:
        store_options.fail(*map(str, exc.problems))
    text = None if document is None else read_valid(document, service)
    from canary_trio.admin.asking.explaining import (  # noqa: PLC0415
        explain_request,
        explained_lines,
    )

    routed, found = store_options.ask(
        config_server, lambda store: explain_request(store, service, spec, text)
    )
    if as_json:
        shown = routed if found is None else {**routed, **attrs.asdict(found)}
        click.echo(json.dumps(shown))
        return
    for line in explained_lines(routed, found):
        click.echo(line)


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise click.BadParameter(f"found {text!r}, expected 'NAME: VALUE'")
    return name.strip(), value.strip()
