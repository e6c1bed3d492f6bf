"""The options of `canary serve` that are about certificates, and what they mean together.

An option may stand in the environment. Where one can be repeated, several values are
parted there by a colon, as in PATH.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
)


def tls_options(command: F) -> F:
    """Give a command the options of its certificates; `settle_tls` says what they mean."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def settle_tls() -> Tls | None:
    """Give what the options of the running command mean together; None without any.

    Raises:
        click.UsageError: an option stands without the one that it needs, or there are
            other keys than certificates.
    """
    given = click.get_current_context().meta[_GIVEN]
    certs: Sequence[Path] = given["tls_certs"]
    keys: Sequence[Path] = given["tls_keys"]
    if not certs and not keys and given["tls_dir"] is None:
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
    return Tls(cert, key, others=pairs[1:], directory=given["tls_dir"])
