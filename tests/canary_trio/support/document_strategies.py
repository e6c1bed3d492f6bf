"""Valid documents of all kinds, as strategies: what JSON would give."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]

ARMS = ["stable", "canary", "baseline"]
NAMES = st.sampled_from(["X-User", "uid", "a", "x_y-1"])
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8)
STEPS = st.integers(0, 10_000)
SHARES = STEPS.map(lambda share: share / 10_000)
BITS = st.fixed_dictionaries(
    {}, optional={"v4": st.integers(1, 32), "v6": st.integers(1, 128)}
)


def table(
    required: dict[str, Strategy] | None = None, **optional: Strategy
) -> Strategy:
    return st.fixed_dictionaries(required or {}, optional=optional)


def seconds(low: float, high: float) -> Strategy:
    return st.floats(low, high) | st.integers(max(1, int(low)), int(high))


ADDRESS = st.just(True) | BITS
KEY = st.one_of(
    st.just("address"),
    st.fixed_dictionaries({"address": ADDRESS}),
    st.fixed_dictionaries({"header": NAMES}),
    st.fixed_dictionaries({"cookie": NAMES}),
    st.fixed_dictionaries({"query": NAMES}),
)
CODES = st.lists(
    st.integers(100, 599)
    | st.tuples(st.integers(100, 599), st.integers(100, 599)).map(
        lambda pair: "{}-{}".format(*sorted(pair))
    ),
    min_size=1,
    max_size=3,
)
FIELD_NAMES = st.sampled_from(["X-Arm", "X-Version", "Server", "Cache-Control"])
VALUES = TEXT.map(str.strip).filter(lambda v: v == v.strip(" \t") and "\x7f" not in v)
FIELDS = st.dictionaries(FIELD_NAMES, VALUES, max_size=3)
HEADERS = table(
    add=FIELDS, set=FIELDS, remove=st.lists(FIELD_NAMES, max_size=2, unique=True)
)
HOSTS = st.sampled_from(["example.org", "*.example.org", "10.0.0.1", "[::1]", "A.b"])
URLS = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https", "h2c"]),
    st.sampled_from(["a", "10.0.0.1", "[::1]", "b.example.org"]),
    st.just("") | st.integers(1, 65535).map(":{}".format),
    st.sampled_from(["", "/", "/base", "/a/b/"]),
) | st.sampled_from(["unix:/run/a.sock", "unix:/run/b"])
SERVERS = st.lists(
    URLS
    | table(
        {"url": URLS},
        weight=st.integers(1, 1000),
        mode=st.sampled_from(["ready", "drain", "maintenance"]),
        proxy_protocol=st.sampled_from(["v1", "v2", None]),
    ).filter(
        lambda one: not (one.get("proxy_protocol") and one["url"].startswith("h2c:"))
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda one: (one if isinstance(one, str) else one["url"]).rstrip("/"),
)
PATHS = st.sampled_from(["/", "/api", "/api/", "/%2e?x"])
EJECTION = st.just(False) | table(
    failures=st.integers(0, 100), time=seconds(0.1, 100), longest=seconds(100, 86400)
)
HEALTH = st.booleans() | table(
    path=PATHS,
    interval=seconds(0.1, 3600),
    timeout=seconds(0.01, 600),
    rise=st.integers(1, 100),
    fall=st.integers(1, 100),
    status=CODES,
    jitter=st.floats(0, 1),
    host=st.sampled_from(["", "a:80", "[::1]"]),
)
RETRIES = table(
    tries=st.integers(0, 5),
    budget=st.floats(0, 1),
    per_second=st.floats(0, 100),
    backoff=st.floats(0, 0.2),
    longest_backoff=st.floats(0.2, 60),
    status=CODES,
)
TIMEOUTS = seconds(0.01, 86400)
COMPRESS = st.booleans() | table(
    types=st.lists(
        st.sampled_from(["text/*", "text/event-stream", "application/*+json"]),
        min_size=1,
        max_size=3,
    ),
    codings=st.permutations(["gzip", "zstd"]).map(lambda both: both[:1]),
    least=st.integers(0, 2**30),
    level=st.integers(1, 9),
)


def arm(name: str) -> Strategy:
    others = st.sampled_from([other for other in ARMS if other != name])
    return table(
        {"servers": SERVERS},
        balance=st.sampled_from(["round_robin", "random", "least_requests", "hash"]),
        hash_by=KEY,
        health=HEALTH,
        ejection=EJECTION,
        panic_threshold=st.floats(0, 1),
        slow_start=st.floats(0, 3600),
        fallback=st.none() | others,
        timeouts=table(
            connect=TIMEOUTS,
            response=TIMEOUTS,
            idle=TIMEOUTS,
            tunnel=TIMEOUTS,
            request=st.none() | TIMEOUTS,
        ),
        retries=RETRIES,
        limits=table(
            in_flight=st.integers(1, 1_000_000),
            pending=st.integers(0, 1_000_000),
            wait=st.floats(0, 600),
            client_share=st.floats(0, 1),
        ),
        request_headers=HEADERS,
        response_headers=HEADERS,
        compress=COMPRESS,
        tls=table(
            verify=st.booleans(),
            ca=st.none() | st.just("/etc/ca.pem"),
            server_name=st.none() | st.just("a.example.org"),
            client_cert=st.none() | st.just("/etc/client.pem"),
        ),
    )


# === rules ===


def _with(source: Strategy, test: Strategy) -> Strategy:
    return st.tuples(source, test).map(lambda pair: {**pair[0], **pair[1]})


def one_of(**fields: Strategy) -> Strategy:
    return st.one_of(*(st.fixed_dictionaries({n: s}) for n, s in fields.items()))


PERCENT = st.fixed_dictionaries({"percent": STEPS.map(lambda share: share / 100)})
VALUE_IS = _with(
    one_of(header=NAMES, cookie=NAMES, query=NAMES),
    one_of(
        equals=TEXT,
        prefix=TEXT,
        regex=st.sampled_from(["^a+$", "(a|b)*c", "ü", "."]),
        present=st.booleans(),
    )
    | PERCENT,
) | _with(st.fixed_dictionaries({"address": ADDRESS}), PERCENT)
VALUE_IS |= _with(
    one_of(client_cert=st.sampled_from(["subject", "common_name", "san"])),
    one_of(equals=TEXT, prefix=TEXT, regex=st.just("^CN="), present=st.booleans()),
)


def _or_list(members: Strategy) -> Strategy:
    return members | st.lists(members, min_size=1, max_size=3)


OTHER_CONDITIONS = table(
    path_prefix=PATHS,
    host=_or_list(HOSTS),
    method=_or_list(st.sampled_from(["GET", "POST"])),
    network=_or_list(st.sampled_from(["10.0.0.0/8", "10.1.2.3", "2001:db8::/32"])),
)
CONDITIONS = _with(VALUE_IS | st.just({}), OTHER_CONDITIONS)
NEEDS_ONE = CONDITIONS.filter(bool)
ALL = st.fixed_dictionaries({"all": st.lists(NEEDS_ONE, min_size=1, max_size=3)})
INGRESS = st.one_of(
    table({"canary-by-header": NAMES}, **{"canary-by-cookie": NAMES}),
    table({"canary-by-cookie": NAMES}),
    table({"canary-by-header": NAMES, "canary-by-header-value": TEXT}),
    table({"canary-by-header": NAMES, "canary-by-header-pattern": st.just("^b")}),
)
ARM = st.fixed_dictionaries({"arm": st.sampled_from(ARMS)})
RULE = _with(NEEDS_ONE | _with(CONDITIONS, ALL), ARM) | _with(
    INGRESS, _with(CONDITIONS, ARM | st.just({}))
)


def _named(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": f"the {place}", **rule} if place % 2 else rule
        for place, rule in enumerate(rules)
    ]


RULES = st.lists(RULE, max_size=5).map(_named)

STICKY = st.booleans() | st.one_of(
    table(
        cookie=NAMES.map("own-{}".format),  # a rule may ask for the others
        epoch=st.integers(0, 9),
        server=st.booleans(),
        forward=st.booleans(),
        max_age=st.none() | st.integers(1, 100),
        domain=st.none() | st.just("example.org"),
        same_site=st.sampled_from(["lax", "strict", "none"]),
    ),
    table({"header": NAMES}, epoch=st.integers(0, 9), server=st.booleans()),
    table({"address": ADDRESS}, epoch=st.integers(0, 9), server=st.booleans()),
)

NETWORKS = st.lists(
    st.sampled_from(["10.0.0.0/8", "10.1.2.3/32", "2001:db8::/32"]), max_size=3
)
BASIC_AUTH = table(
    {"file": st.sampled_from(["staff", "a.b", "X-1"])},
    realm=st.sampled_from(["a", "Back office, 2nd"]),
    user_header=st.none() | FIELD_NAMES,
    keep_authorization=st.booleans(),
)
FORWARD_AUTH = table(
    {"url": URLS},
    path=st.sampled_from(["", "/verify", "/v?a=b%20c"]),
    request_headers=st.lists(FIELD_NAMES, max_size=2, unique=True),
    copy_headers=st.lists(FIELD_NAMES, max_size=2, unique=True),
    set_cookies=st.booleans(),
    user_header=st.none() | FIELD_NAMES,
    timeout=seconds(0.01, 600),
    on_failure=st.sampled_from(["deny", "allow"]),
    cache=st.none()
    | table(
        {"time": seconds(0, 600)},
        by=st.none() | st.lists(FIELD_NAMES, max_size=2, unique=True),
        refusals=seconds(0, 600),
        entries=st.integers(1, 1000),
    ),
    tls=table(verify=st.booleans()),
)
RATE_LIMIT = table(
    {
        "name": st.sampled_from(["per-client", "all", "a.b_c"]),
        "requests": st.integers(1, 1000),
    },
    per=seconds(0.01, 86400),
    burst=st.none() | st.integers(1, 300),
    by=st.just("service") | KEY,
    dry_run=st.booleans(),
    **{"except": NETWORKS},
)

GATE = st.one_of(
    table(
        {"url": st.sampled_from(["http://a/ok", "https://b:8443/x?y=z"])},
        method=st.sampled_from(["GET", "POST"]),
        headers=st.just("token"),
        status=CODES,
        json=table(
            {"path": st.just("a.0.b"), "value": st.none() | st.booleans() | TEXT}
        ),
        timeout=seconds(0.1, 60),
        interval=seconds(1, 3600),
        tries=st.none() | st.integers(1, 10_000),
    ),
    table(
        {
            "prometheus": st.just("http://prom:9090"),
            "query": st.just("up"),
            "min": st.integers(0, 5),
        },
        max=st.integers(6, 10),
    ),
    table(
        {
            "window": table(
                {"from": st.just("09:00")},
                days=st.lists(st.sampled_from(["mon", "sun"]), min_size=1, max_size=2),
                to=st.sampled_from(["17:00", "24:00"]),
                zone=st.sampled_from(["UTC", "Europe/Berlin"]),
            )
        }
    ),
    st.just({"approval": True}),
)
ROLLOUT_STATE = table(
    {
        "phase": st.sampled_from(
            ["running", "paused", "waiting", "aborting", "aborted", "done"]
        )
    },
    step=st.integers(0, 2),
    ratio=SHARES,
    since=st.integers(0, 2**53),
    by=VALUES,
    reason=VALUES,
    passed=st.just(["approval"]),
    verdict=st.none()
    | table({"finding": VALUES}, requests=st.just([5, 6]), e_value=st.floats(0, 1e9)),
)


def _with_mirror(rollout: dict[str, Any]) -> dict[str, Any]:
    """Give a rollout whose judge compares copies the step that it needs."""
    judge = rollout.get("judge")
    if not isinstance(judge, dict) or not isinstance(judge.get("mirror"), dict):
        return rollout
    return {**rollout, "steps": [0, *rollout["steps"]]}


ROLLOUT = table(
    {
        "id": st.sampled_from(["v1", "v4.2-rc1"]),
        "against": st.just("baseline"),
        "steps": st.lists(st.integers(1, 10_000), min_size=1, max_size=3, unique=True)
        .map(sorted)
        .map(lambda found: [share / 10_000 for share in found]),
    },
    judge=st.none()
    | st.booleans()
    | table(
        errors=table(
            tolerance=st.floats(1, 1000), unit=st.sampled_from(["users", "requests"])
        ),
        latency=st.none() | table(quantiles=st.just([0.5, 0.99])),
        alpha=st.floats(1e-9, 0.5),
        mirror=st.none()
        | st.just(value=False)
        | table(
            share=st.sampled_from([0, 0.5, 1]),
            rate=st.floats(0.01, 10_000),
            headers=st.just(["Location"]),
            body=st.booleans(),
            ignore=st.just(["time", "items.*.id"]),
            requests=st.integers(0, 10**9),
        ),
        requests=st.integers(0, 10**9),
        then=st.sampled_from(["abort", "pause", "say"]),
    ),
    gates=st.lists(GATE, max_size=3),
    deadline=st.none() | seconds(1, 86400),
    when=st.sampled_from(["abort", "pause"]),
    slope=st.floats(0.0001, 1),
    hook=st.none() | table({"url": st.just("http://a")}, key=st.none() | st.just("k")),
    state=st.none() | ROLLOUT_STATE,
).map(_with_mirror)

DOCUMENTS = table(
    {"arms": st.fixed_dictionaries({name: arm(name) for name in ARMS})},
    style=st.sampled_from(["round_robin", "random", "hash"]),
    hash_by=KEY,
    ratio=SHARES
    | st.tuples(SHARES, SHARES).map(
        lambda two: {"canary": two[0], "baseline": round((1 - two[0]) * two[1], 4)}
    ),
    sticky_sessions=STICKY,
    rules=RULES,
    mirror=st.none()
    | table(
        {"arm": st.sampled_from(ARMS)},
        share=SHARES,
        body=st.integers(0, 1000),
        concurrency=st.integers(1, 100),
        timeout=seconds(0.01, 600),
    ),
    connections=st.sampled_from(["keep", "drain", "recall"])
    | table(change=st.sampled_from(["keep", "drain", "recall"]), time=seconds(0, 100)),
    request_id=st.none() | FIELD_NAMES,
    start_traces=st.none() | st.floats(0, 1),
    decision_header=st.none() | FIELD_NAMES,
    history=table(revisions=st.integers(1, 1000), days=st.floats(0.01, 3650)),
    forwarded=st.sampled_from(["append", "replace", None]),
    client_cert_header=st.none()
    | st.sampled_from(["Client-Cert", "X-Forwarded-Client-Cert"]),
    strict_transport_security=st.none()
    | st.sampled_from(["max-age=0", 'Max-Age = "60" ; includeSubDomains'])
    | table(
        {
            "max_age": st.integers(31_536_000, 10**9),
            "include_subdomains": st.just(True),
        },
        preload=st.booleans(),
    ),
    access=table(
        allow=NETWORKS,
        deny=NETWORKS,
        body=st.none() | st.integers(0, 2**40),
        rate_limits=st.lists(
            RATE_LIMIT, max_size=3, unique_by=lambda limit: limit["name"]
        ),
        basic_auth=st.none() | BASIC_AUTH,
        forward_auth=st.none() | FORWARD_AUTH,
    ),
    rollout=st.none() | ROLLOUT,
    config_server=st.none() | st.just("http://127.0.0.1:8500"),
    update_rate=seconds(0.1, 600),
)
"""Every one of these loads."""
