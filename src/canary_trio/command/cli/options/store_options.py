"""How commands ask the store: their options, and what they say when it goes wrong."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from canary_trio.control.sources.source import DocumentSource

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

CLIENT_OPTIONS = "canary_trio.client_options"
"""Of the context: how the client of the store is made."""
INTERRUPTED = 130
"""The status after Ctrl-C, as a shell has it."""


def _keep(context: click.Context, option: click.Parameter, value: str | None) -> None:
    context.meta.setdefault(CLIENT_OPTIONS, {})[option.name] = value


def config_server(command: F) -> F:
    """Give a command the options that say where the store is, and who asks."""
    url = click.option(
        "--config-server",
        "--url",
        envvar="CANARY_CONFIG_SERVER",
        show_envvar=True,
        default="http://127.0.0.1:8500",
        show_default=True,
        metavar="URL",
        help="Where documents are: http(s):// for a kv-trio or a Consul, etcd(s)://HOST,... for an"
        " etcd; only read: file:///PATH, http(s)+poll://HOST/PATH.",
    )
    token = click.option(
        "--token",
        envvar=["CANARY_TOKEN", "CONSUL_HTTP_TOKEN"],
        show_envvar=True,
        expose_value=False,
        callback=_keep,
        help="The secret of the store's token, NAME:PASSWORD for an etcd; better in the"
        " environment.",
    )
    token_file = click.option(
        "--token-file",
        envvar="CANARY_TOKEN_FILE",
        show_envvar=True,
        expose_value=False,
        callback=_keep,
        metavar="FILE",
        help="The file that holds that secret, in place of --token; `serve` reads it again at"
        " SIGHUP.",
    )
    ca_file = click.option(
        "--ca-file",
        envvar=["CANARY_CA_FILE", "CONSUL_CACERT"],
        show_envvar=True,
        expose_value=False,
        callback=_keep,
        metavar="FILE",
        help="The authorities that an https:// store is verified by, as PEM."
        "  [default: the system's]",
    )
    cert_file = click.option(
        "--cert-file",
        envvar="CANARY_CERT_FILE",
        show_envvar=True,
        expose_value=False,
        callback=_keep,
        metavar="FILE",
        help="The certificate that the store is shown, as PEM with its private key in the same"
        " file, where it asks for one.",
    )
    return url(token(token_file(ca_file(cert_file(command)))))


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def ask(url: str, question: Callable[[DocumentSource], Awaitable[T]]) -> T:
    """Ask the store; turn what goes wrong into one line and an exit status."""
    import trio  # noqa: PLC0415

    from canary_trio.control.sources.opening import open_source  # noqa: PLC0415
    from canary_trio.control.sources.store_tokens import read_token  # noqa: PLC0415
    from canary_trio.errors import BadSource, CanaryError, InvalidConfig  # noqa: PLC0415
    from http_trio import HttpError  # noqa: PLC0415
    from kv_trio import KvError, StoreUnreachable  # noqa: PLC0415

    options = dict(click.get_current_context().meta[CLIENT_OPTIONS])
    token_file = options.pop("token_file")

    async def connected() -> T:
        if token_file is not None:
            options["token"] = read_token(token_file)
        async with open_source(url, **options) as client:
            return await question(client)

    def answer() -> T:
        try:
            return trio.run(connected)
        except BaseExceptionGroup as group:
            raise _said_by(group) from None

    try:
        return answer()
    except InvalidConfig as exc:
        fail(*map(str, exc.problems))
    except BadSource as exc:
        raise click.UsageError(str(exc)) from exc
    except StoreUnreachable as exc:
        fail(f"{exc}; is the store running there?  (--config-server URL)")
    except (CanaryError, HttpError, KvError) as exc:
        fail(str(exc))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _said_by(group: BaseExceptionGroup) -> BaseException:
    """Give why a command ends, of which its tasks made a group.

    It is Ctrl-C before all else: it says nothing of the store, and goes with whatever was
    asked at that time.
    """
    if group.subgroup(KeyboardInterrupt) is not None:
        return KeyboardInterrupt()
    first, *others = _leaves(group)
    return group if others else first


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def fail(*reasons: str) -> NoReturn:
    for reason in reasons:
        click.echo(f"canary: {reason}", err=True)
    sys.exit(1)
