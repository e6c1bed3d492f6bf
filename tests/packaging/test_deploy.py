"""What is in `deploy/` says what the commands understand, and is as hardened as it claims."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from canary_trio.command.cli.main import main as canary
from kv_trio.cli.main import main as kv_trio

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
SERVICES = sorted((DEPLOY / "systemd").glob("*.service"))
SOCKETS = sorted((DEPLOY / "systemd").glob("*.socket"))
COMMANDS: Mapping[str, click.Group] = {"canary": canary, "kv-trio": kv_trio}
ANALYZE = shutil.which("systemd-analyze")
MOST_EXPOSED = 20  # tenths of `systemd-analyze security`: 2.0 of 10 is "OK"


def parse(words: list[str]) -> dict[str, Any]:
    """Read a command line as the command does; give the options that it takes."""
    group = COMMANDS[Path(words[0]).name]
    command = group.get_command(click.Context(group), words[1])
    assert command is not None, words
    with command.make_context(words[1], list(words[2:])) as context:
        return context.params


# === systemd ===


def unit(path: Path) -> dict[str, list[str]]:
    """Give the settings of a unit, of all its sections."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, mark, value = line.partition("=")
        if mark and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_service_understands_its_options_and_has_time_to_end(path: Path) -> None:
    settings = unit(path)
    words = shlex.split(settings["ExecStart"][0])
    given = [
        "web" if word == "$CANARY_SERVICE" else re.sub(r"%[a-zA-Z]", "/x", word)
        for word in words
        if not word.endswith("_OPTIONS")
    ]
    params = parse(given)

    stop_s = seconds(settings["TimeoutStopSec"][0])
    assert stop_s > params["lame_duck_s"] + params["drain_s"]
    assert settings["Type"] == ["notify"]
    assert float(settings["WatchdogSec"][0]) > 0
    assert "-HUP" in settings["ExecReload"][0]
    assert settings["DynamicUser"] == ["yes"]
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["CapabilityBoundingSet"] == [""]
    assert settings["LoadCredential"]
    assert params.get("token_file") or "CANARY_TOKEN_FILE=%d/token" in str(settings)


@pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    units = []
    for path in (*SERVICES, *SOCKETS):
        units.append(tmp_path / path.name)
        text = path.read_text().replace("/opt/canary-trio/bin", str(BIN))
        units[-1].write_text(text)
    done = _run(ANALYZE, "verify", "--man=no", *units)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for one in units[: len(SERVICES)]:
        limit = f"--threshold={MOST_EXPOSED}"
        done = _run(ANALYZE, "security", "--offline=true", "--no-pager", limit, one)
        if "unrecognized option" in done.stderr:
            pytest.skip("this systemd-analyze judges no files")
        assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("path", SOCKETS, ids=lambda path: path.name)
def test_a_socket_is_for_what_the_service_knows(path: Path) -> None:
    settings = unit(path)
    service = settings.get("Service", [f"{path.stem}.service"])[0]
    assert (path.parent / service).exists()
    assert settings["FileDescriptorName"][0] in ("http", "https")
    assert settings["ListenStream"]


# === containers ===


def instructions() -> dict[str, str]:
    """Give the last of each instruction of the container file."""
    text = (DEPLOY / "container" / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split(None, 1) for line in lines)


def test_the_image_runs_as_nobody_and_asks_itself_how_it_is() -> None:
    found = instructions()
    user = found["USER"].partition(":")[0]
    assert user.isdecimal()
    assert int(user) > 0
    check = yaml.safe_load(found["HEALTHCHECK"].partition("CMD")[2])
    parse(check)
    command = yaml.safe_load(found["ENTRYPOINT"]) + yaml.safe_load(found["CMD"])
    params = parse(command)
    ports = found["EXPOSE"].split()
    assert {params["binds"][0].split(":")[1], params["admin"].split(":")[1]} < {*ports}


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(
        (DEPLOY / "container" / "compose.yaml").read_text()
    )
    return document


@pytest.mark.parametrize("name", ["canary", "kv-trio"])
def test_a_composed_service_is_confined_and_has_time_to_end(name: str) -> None:
    service = compose()["services"][name]
    params = parse([*service.get("entrypoint", ["canary"]), *service["command"]])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    parse(service["healthcheck"]["test"][1:])
    grace_s = seconds(service["stop_grace_period"])
    assert grace_s > params["lame_duck_s"] + params["drain_s"]
    assert {*service["secrets"]} <= {*compose()["secrets"]}
    assert {one.split(":")[0] for one in service["volumes"]} <= {*compose()["volumes"]}


# === Kubernetes ===


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


WORKLOADS = [one for one in manifests() if one["kind"] in ("Deployment", "StatefulSet")]


@pytest.mark.parametrize("one", WORKLOADS, ids=lambda one: one["metadata"]["name"])
def test_a_workload_is_what_the_command_understands(one: dict[str, Any]) -> None:
    pod = one["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    args = [re.sub(r"\$\(\w+\)", "pod-1", word) for word in container["args"]]
    params = parse([*container.get("command", ["canary"]), *args])

    grace_s = pod["terminationGracePeriodSeconds"]
    assert grace_s > params["lame_duck_s"] + params["drain_s"]
    served = {bind.rpartition(":")[2] for bind in params["binds"]}
    served |= {params["admin"].rpartition(":")[2]} if "admin" in params else set()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert {str(number) for number in ports.values()} == served
    probes = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("readiness", "liveness")
    }
    assert {name: get["path"] for name, get in probes.items()} == {
        "readiness": "/ready",
        "liveness": "/live",
    }
    assert {get["port"] for get in probes.values()} <= ports.keys()
    environ = {variable["name"] for variable in container.get("env", ())}
    assert set(re.findall(r"\$\((\w+)\)", " ".join(container["args"]))) == environ


@pytest.mark.parametrize("one", WORKLOADS, ids=lambda one: one["metadata"]["name"])
def test_a_workload_is_confined_and_has_what_it_mounts(one: dict[str, Any]) -> None:
    template = one["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    claims = one["spec"].get("volumeClaimTemplates", ())
    volumes = {volume["name"] for volume in pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in claims}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    labels = template["metadata"]["labels"]
    assert one["spec"]["selector"]["matchLabels"] == labels
    services = [other for other in manifests() if other["kind"] == "Service"]
    (service,) = [s for s in services if s["spec"]["selector"] == labels]
    names = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], check=False, capture_output=True, text=True
    )
