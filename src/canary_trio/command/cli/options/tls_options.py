"""The options of `canary serve` that are about certificates, and what they mean together.

An option may stand in the environment. Where one can be repeated, several values are
parted there by a colon, as in PATH.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

if TYPE_CHECKING:
    from http_trio import Tls

F = TypeVar("F", bound=Callable[..., Any])

_GIVEN = f"{__name__}.given"  # where a command's context keeps the values


def _keep(context: click.Context, option: click.Parameter, value: object) -> None:
    context.meta.setdefault(_GIVEN, {})[option.name] = value


_option = partial(click.option, expose_value=False, callback=_keep)

_FILE = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)

_OPTIONS = (
    _option(
        "--tls-cert",
        "tls_certs",
        multiple=True,
        type=_FILE,
        envvar="CANARY_TLS_CERT",
        show_envvar=True,
        metavar="FILE",
        help="A certificate and its chain, as PEM; read again when it changes. May be"
        " repeated: a client gets the one for the name that it asks for, or the first.",
    ),
    _option(
        "--tls-key",
        "tls_keys",
        multiple=True,
        type=_FILE,
        envvar="CANARY_TLS_KEY",
        show_envvar=True,
        metavar="FILE",
        help="Its private key; repeated, in the order of the certificates."
        "  [default: in the file of the certificate]",
    ),
    _option(
        "--tls-dir",
        type=_DIRECTORY,
        envvar="CANARY_TLS_DIR",
        show_envvar=True,
        metavar="DIR",
        help="A directory of more: NAME.crt or NAME.pem with NAME.key, or"
        " NAME/fullchain.pem with NAME/privkey.pem. It may gain and lose them.",
    ),
    _option(
        "--tls-client-ca",
        type=_FILE,
        envvar="CANARY_TLS_CLIENT_CA",
        show_envvar=True,
        metavar="FILE",
        help="Ask clients for a certificate that one of these authorities (PEM) has"
        " issued; read again when it changes.",
    ),
    _option(
        "--tls-client-auth",
        type=click.Choice(["required", "optional"]),
        envvar="CANARY_TLS_CLIENT_AUTH",
        show_envvar=True,
        help="Whether a client without a certificate is refused; one whose certificate is"
        " not good always is.  [default: required]",
    ),
    _option(
        "--no-http2",
        is_flag=True,
        envvar="CANARY_NO_HTTP2",
        show_envvar=True,
        help="Offer clients with TLS only HTTP/1.1.",
    ),
    _option(
        "--redirect-bind",
        "redirect_binds",
        multiple=True,
        envvar="CANARY_REDIRECT_BIND",
        show_envvar=True,
        metavar="ADDRESS",
        help="HOST:PORT where plain HTTP is answered with the way to the first --tls-bind"
        " (308); may be repeated.",
    ),
    _option(
        "--acme-dir",
        type=_DIRECTORY,
        envvar="CANARY_ACME_DIR",
        show_envvar=True,
        metavar="DIR",
        help="The directory where an ACME client puts its challenges, or its webroot;"
        " they are served on --redirect-bind.",
    ),
)


def tls_options(command: F) -> F:
    """Give a command the options of its certificates; `settle_tls` says what they mean."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@attrs.frozen
class TlsSettings:
    """What the options mean together.

    Attributes:
        tls: the certificates; None where there are none.
        redirect_binds: where plain HTTP is answered with the way to them.
        acme_dir: of the challenges that are served there.
    """

    tls: Tls | None = None
    redirect_binds: tuple[str, ...] = ()
    acme_dir: Path | None = None


def settle_tls() -> TlsSettings:
    """Give what the options of the running command mean together.

    Raises:
        click.UsageError: an option stands without the one that it needs, or there are
            other keys than certificates.
    """
    given = click.get_current_context().meta[_GIVEN]
    tls, acme_dir = _certificates(given), given["acme_dir"]
    binds: tuple[str, ...] = given["redirect_binds"]
    if binds and tls is None:
        raise click.UsageError(
            "--redirect-bind needs a --tls-cert FILE or --tls-dir DIR"
        )
    if acme_dir is not None and not binds:
        raise click.UsageError("--acme-dir needs a --redirect-bind ADDRESS")
    if acme_dir is not None and not acme_dir.is_dir():
        raise click.UsageError(f"--acme-dir: there is no directory {acme_dir}")
    return TlsSettings(tls, binds, acme_dir)


def _certificates(given: Mapping[str, Any]) -> Tls | None:
    certs: Sequence[Path] = given["tls_certs"]
    keys: Sequence[Path] = given["tls_keys"]
    client_ca, client_auth = given["tls_client_ca"], given["tls_client_auth"]
    if client_auth is not None and client_ca is None:
        raise click.UsageError("--tls-client-auth needs a --tls-client-ca FILE")
    if not certs and not keys and given["tls_dir"] is None:
        if client_ca is not None:
            raise click.UsageError(
                "--tls-client-ca needs a --tls-cert FILE or --tls-dir DIR"
            )
        if given["no_http2"]:
            raise click.UsageError(
                "--no-http2 needs a --tls-cert FILE or --tls-dir DIR"
            )
        return None
    if keys and not certs:
        raise click.UsageError("--tls-key needs a --tls-cert FILE")
    if keys and len(keys) != len(certs):
        raise click.UsageError(
            f"found {len(certs)} --tls-cert and {len(keys)} --tls-key; expected a key for"
            " each certificate, in the same order, or none where each key is in the file"
            " of its certificate"
        )
    from http_trio import Tls  # noqa: PLC0415  # keeps --help quick

    pairs = list(zip_longest(certs, keys))
    cert, key = pairs[0] if pairs else (None, None)
    return Tls(
        cert,
        key,
        http2=not given["no_http2"],
        others=pairs[1:],
        directory=given["tls_dir"],
        client_ca=client_ca,
        client_required=client_auth != "optional",
    )
