"""`python -m PACKAGE` is the package's command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("package", "command"), [("canary_trio", "canary"), ("kv_trio", "kv-trio")]
)
def test_a_package_runs_as_its_command(package: str, command: str) -> None:
    as_module = _run(sys.executable, "-m", package, "--help")
    as_command = _run(BIN / command, "--help")

    assert as_module.stdout.startswith(f"Usage: python -m {package} ")
    assert _commands(as_module.stdout) == _commands(as_command.stdout) != []


@pytest.mark.parametrize("package", ["canary_trio", "kv_trio"])
def test_its_exit_status_is_the_commands(package: str) -> None:
    wrong = _run(sys.executable, "-m", package, "no-such-verb", status=2)

    assert "No such command" in wrong.stderr


def _run(*words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in words],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == status, done
    return done


def _commands(usage: str) -> list[str]:
    listed = usage.partition("Commands:")[2].splitlines()
    return [line.split()[0] for line in listed if line.strip()]
