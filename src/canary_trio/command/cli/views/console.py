"""The command `canary console`: where the console is, and a login that holds once.

Any proxy of a service shows all of it, so the first that responds is named. Nothing is
opened: whoever is at this terminal may sit elsewhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from canary_trio.command.cli.options import admin_options, store_options

if TYPE_CHECKING:
    from canary_trio.admin.asking.client import AdminCredentials
    from canary_trio.control.fleet.report import Fleet, Report
    from canary_trio.control.sources.source import KeyStore


@click.command()
@click.argument("service")
@click.option(
    "--proxy", "proxy_id", metavar="NAME", help="On this proxy.  [default: any]"
)
@store_options.config_server
@admin_options.asker_options
@store_options.as_json
def console(
    service: str, proxy_id: str | None, config_server: str, *, as_json: bool
) -> None:
    """Print where the console of SERVICE is, and a login for it that holds once.

    The login is worth what the token of --admin-token-file is worth, holds for two minutes,
    and is pasted where the page asks for a token. Without a token there is none: what the
    page shows to whoever reaches it is shown, and nothing can be changed.
    """
    credentials = admin_options.credentials()

    async def read(client: KeyStore) -> Fleet:
        from canary_trio.admin.asking.overview import read_overview  # noqa: PLC0415

        return (await read_overview(client, service, gateways=False)).fleet

    async def find(client: KeyStore) -> dict[str, Any]:
        fleet = await read(client)
        return await _find(service, fleet.reports, proxy_id, credentials)

    found = store_options.ask(config_server, find)
    if not found["url"]:
        store_options.fail(*(found["silent"] or [f"no proxy of {service} is live"]))
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(found["url"])
    if found["login"]:
        click.echo(f"login, holds once and for 2 min: {found['login']}")
    for note in _notes(found["url"], found["login"], credentials.token is not None):
        click.echo(note, err=True)
    for line in found["silent"]:
        click.echo(f"canary: {line}", err=True)


async def _find(
    service: str,
    reports: tuple[Report, ...],
    proxy_id: str | None,
    credentials: AdminCredentials,
) -> dict[str, Any]:
    """Ask one proxy after the other for a login, until one responds."""
    import trio  # noqa: PLC0415

    from canary_trio.admin.asking.client import AdminUnreachable, ask_login  # noqa: PLC0415
    from canary_trio.admin.asking.overview import ADMIN_S  # noqa: PLC0415
    from canary_trio.errors import printable  # noqa: PLC0415

    silent: list[str] = []
    for report in reports:
        if proxy_id not in (None, report.id, report.id.rpartition(".")[0]):
            continue
        where, why = report.admin, "it has no admin listener (--no-admin)"
        if where:
            why = f"no response within {ADMIN_S:g} s"
            with trio.move_on_after(ADMIN_S):
                try:
                    login = await ask_login(where, credentials)
                except AdminUnreachable as exc:
                    why = str(exc)
                else:
                    url = _page(where, service)
                    return {"url": url, "login": login, "silent": silent}
        silent.append(printable(f"{report.id}: {why}"))
    return {"url": "", "login": "", "silent": silent}


def _notes(url: str, login: str, has_token: bool) -> list[str]:  # noqa: FBT001
    """Say what is missing until something can be seen, and changed.

    >>> _notes("http://10.0.0.1:8081/console/#/web", "x", True)
    []
    >>> _notes("http://10.0.0.1:8081/console/#/web", "", True)
    ['no login: a token is shown by TLS to whom --admin-ca verifies, and to an --admin-at']
    >>> _notes("unix:/a.sock/console/#/web", "x", True)[0].rpartition(" ")[2]
    'http://localhost:8081/console/#/web'
    """
    notes = []
    if not login and not has_token:
        notes.append(
            "to change something, give an --admin-token-file with the role write"
        )
    elif not login:
        notes.append(
            "no login: a token is shown by TLS to whom --admin-ca verifies, and to an"
            " --admin-at"
        )
    if url.startswith("unix:"):
        page = url.partition("/console/")[2]
        notes.append(
            "no browser opens a Unix socket: lead a port there (ssh -L 8081:PATH HOST), and"
            f" open http://localhost:8081/console/{page}"
        )
    return notes


def _page(address: str, service: str) -> str:
    """Give the address of the page.

    >>> _page("10.0.0.1:8081", "web"), _page("https://a:8081", "@edge")
    ('http://10.0.0.1:8081/console/#/web', 'https://a:8081/console/#/@edge')
    """
    scheme = "" if address.startswith(("https://", "unix:")) else "http://"
    return f"{scheme}{address}/console/#/{service}"
