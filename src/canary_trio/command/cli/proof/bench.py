"""The command `canary bench`: two versions of a service under the same load.

One file, since most of it is options, each of which is read in one place beside the others.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from canary_health.durations import Duration
from canary_health.finite import Finite
from canary_trio.command.cli.options import judge_options, store_options

if TYPE_CHECKING:
    from canary_trio.bench.comparison import Measurement
    from canary_trio.bench.conditions import Condition
    from canary_trio.bench.plan import BenchRequest, BenchTarget, LoadPlan
    from canary_trio.bench.run import BenchOptions

HOLDS, UNKNOWN = 1, 3
"""Exit statuses: a condition of --fail-if holds; nothing can be said."""


@click.command()
@click.argument("urls", nargs=-1, required=True, metavar="URL_A [URL_B]")
@click.option(
    "--rate",
    type=Finite(min=0.1, max=1_000_000),
    metavar="N",
    help="Requests a second to each URL, sent when they are due whatever became of those"
    " before (open loop).  [default: 100]",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="In place of --rate: requests under way at each URL, of which each response lets the"
    " next one go (closed loop: a stall shows less).",
)
@click.option(
    "--seconds",
    type=Duration(min_open=True, max=86_400),
    metavar="TIME",
    help="How long it is measured.  [default: 10s, or as long as --requests take]",
)
@click.option(
    "--requests",
    type=click.IntRange(1, 1_000_000_000),
    metavar="N",
    help="How many requests each URL gets.",
)
@click.option(
    "--warm-up",
    "warm_up_s",
    type=Duration(max=3600),
    default="1s",
    show_default=True,
    metavar="TIME",
    help="How long the same is asked before, and left out.",
)
@click.option("-X", "--request", "method", help="[default: GET, or POST with a body]")
@click.option("-H", "--header", "fields", multiple=True, metavar="'NAME: VALUE'")
@click.option(
    "--body",
    metavar="TEXT|@FILE",
    help="Sent with each request: the text, or what is in the file.",
)
@click.option("--http2", is_flag=True, help="Speak HTTP/2, without TLS too.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Duration(min_open=True, max=3600),
    default="10s",
    show_default=True,
    metavar="TIME",
    help="How long a request may take, from when it was due.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 50_000),
    default=1000,
    show_default=True,
    metavar="N",
    help="Requests under way at each URL, at most; others wait, and that counts.",
)
@click.option(
    "--ca-file",
    metavar="FILE",
    help="The authorities that https:// is verified by, as PEM.  [default: the system's]",
)
@click.option("--insecure", is_flag=True, help="Trust any certificate.")
@click.option(
    "--fail-if",
    "conditions",
    multiple=True,
    metavar="CONDITION",
    help="Exit status 1 if it holds, such as p99>1.2x (of B, times A's), p50>20ms, errors>1%;"
    " may be repeated.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Exit status 3, not 0, if it cannot be told yet whether one holds.",
)
@judge_options.alpha("How likely each of the bounds may be wrong, whenever one looks.")
@judge_options.seed("By which it is drawn whether A or B comes first.")
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the report to a file.",
)
@click.option(
    "--svg",
    "svg_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw it into a file.",
)
@store_options.as_json
def bench(urls: tuple[str, ...], *, as_json: bool, **given: Any) -> None:
    """Ask URL_A and URL_B at the same time, and tell how they differ.

    The requests of both alternate, so that what drifts meets both. Each is sent when it is due,
    and its latency counts from then: what a server that stalls keeps waiting is in the figures.
    With one URL it is measured alone. Ctrl-C ends it sooner, and it tells what it has: the
    bounds hold whenever one looks.

        canary bench http://127.0.0.1:9001/ http://127.0.0.1:9002/ --fail-if 'p99>1.2x'

    Exit status: 0 measured, and no condition is known to hold; 1 one holds; 2 wrong usage;
    3 nothing can be said: a URL gives no response, or there are conditions, none holds, and the
    generator was the limit, or with --strict it cannot be told yet of one; 130 interrupted.
    """
    import trio  # noqa: PLC0415

    from canary_trio.bench.run import NotMeasured, measure  # noqa: PLC0415
    from http_trio import BadCertificate  # noqa: PLC0415

    targets, conditions = _targets(urls), _conditions(given["conditions"], len(urls))
    request, plan, options = _request(given), _plan(given), _options(given)
    try:
        for target in targets:
            request.render(target)
        found = trio.run(
            lambda: measure(targets, request, plan, options, conditions=conditions)
        )
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    except BadCertificate as exc:
        raise click.UsageError(str(exc)) from exc
    except NotMeasured as exc:
        _nothing(str(exc))
    except KeyboardInterrupt:
        sys.exit(store_options.INTERRUPTED)
    _show(found, as_json=as_json)
    _write(found, given["markdown_file"], given["svg_file"])
    sys.exit(_status(found, strict=given["strict"]))


def _targets(urls: tuple[str, ...]) -> list[BenchTarget]:
    from canary_trio.bench.plan import read_target  # noqa: PLC0415

    if len(urls) > 2:
        raise click.UsageError(f"found {len(urls)} URLs, expected one or two")
    try:
        return [read_target(url) for url in urls]
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc


def _conditions(texts: tuple[str, ...], urls: int) -> list[Condition]:
    from canary_trio.bench.conditions import read_condition  # noqa: PLC0415

    try:
        found = [read_condition(text) for text in texts]
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--fail-if") from exc
    for one in found:
        if one.relative and urls < 2:
            raise click.BadParameter(
                f"found {one.text!r}, which compares B with A, and one URL; expected two, or"
                " a limit such as p99>200ms or errors>1%",
                param_hint="--fail-if",
            )
    return found


def _request(given: dict[str, Any]) -> BenchRequest:
    from canary_trio.bench.plan import (  # noqa: PLC0415
        BODY_BYTES,
        BenchRequest,
        read_headers,
    )
    from http_trio import read_file  # noqa: PLC0415

    body: bytes | None = None
    if given["body"] is not None:
        text: str = given["body"]
        try:
            body = text.encode()
            if text.startswith("@"):
                body = read_file(text[1:], BODY_BYTES)
        except (OSError, ValueError) as exc:
            raise click.BadParameter(
                f"cannot read {text[1:]}: {exc}", param_hint="--body"
            ) from exc
    try:
        headers = read_headers(given["fields"])
    except ValueError as exc:
        raise click.BadParameter(str(exc), param_hint="--header") from exc
    method = given["method"] or ("GET" if body is None else "POST")
    return BenchRequest(method, headers, body)


def _plan(given: dict[str, Any]) -> LoadPlan:
    from canary_trio.bench.plan import RATE, SECONDS, LoadPlan  # noqa: PLC0415

    rate, concurrency = given["rate"], given["concurrency"]
    if rate is not None and concurrency is not None:
        raise click.UsageError("found --rate and --concurrency, expected one of them")
    if concurrency is None:
        rate = rate or RATE
    requests, seconds = given["requests"], given["seconds"]
    if requests is not None and rate is not None:
        needed = (requests + 1) / rate  # it ends with the last of them
        seconds = min(needed, seconds or needed)
    elif requests is not None:
        seconds = seconds or 86_400.0
    return LoadPlan(
        rate=rate,
        concurrency=concurrency or 1,
        seconds=seconds or SECONDS,
        requests=requests,
        warm_up_s=given["warm_up_s"],
        seed=given["seed"],
    )


def _options(given: dict[str, Any]) -> BenchOptions:
    from canary_trio.bench.run import BenchOptions  # noqa: PLC0415

    return BenchOptions(
        http2=given["http2"],
        connections=given["connections"],
        timeout_s=given["timeout_s"],
        verify=not given["insecure"],
        ca_file=given["ca_file"],
        alpha=given["alpha"],
    )


def _show(found: Measurement, *, as_json: bool) -> None:
    from canary_trio.bench import report  # noqa: PLC0415

    if as_json:
        click.echo(json.dumps(report.as_json(found)))
        return
    for line in report.lines(found):
        click.echo(line)


def _write(
    found: Measurement, markdown_file: Path | None, svg_file: Path | None
) -> None:
    from canary_trio.bench import picture, report  # noqa: PLC0415

    for file, text in ((markdown_file, report.markdown), (svg_file, picture.svg)):
        if file is None:
            continue
        try:
            file.write_text(text(found), encoding="utf-8")
        except OSError as exc:
            _nothing(f"cannot write {file}: {exc.strerror}")


def _status(found: Measurement, *, strict: bool) -> int:
    if found.cost.interrupted:
        return store_options.INTERRUPTED
    if not any(one.statuses for one in found.results):
        return UNKNOWN
    if found.holds:
        return HOLDS
    is_unsure = found.limited or (strict and found.undecided)
    return UNKNOWN if found.decided and is_unsure else 0


def _nothing(why: str) -> NoReturn:
    click.echo(f"canary: {why}", err=True)
    sys.exit(UNKNOWN)
