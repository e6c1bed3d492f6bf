"""Workflows, hooks and the check of a release's tag are what their readers expect."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_workflows_are_workflows() -> None:
    """By GitHub's schema, which check-jsonschema has with it."""
    assert [path.stem for path in WORKFLOWS] == ["ci", "release"]
    schema = ("--builtin-schema", "vendor.github-workflows")
    done = _run(BIN / "check-jsonschema", *schema, *WORKFLOWS)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_there_is_and_has_no_secret(path: Path) -> None:
    text = path.read_text()
    jobs = yaml.safe_load(text)["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    scripts = re.findall(r"\.ci/\S+", "\n".join(commands))
    made = re.findall(r"^make ([a-z]+)", "\n".join(commands), re.MULTILINE)

    assert commands
    assert all((ROOT / script).stat().st_mode & 0o100 for script in scripts), scripts
    assert set(made) <= targets
    assert "secrets." not in text


def test_hooks_are_local_and_their_tools_are_installed() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks: list[dict[str, Any]] = [
        hook for repo in config["repos"] for hook in repo["hooks"]
    ]

    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    for hook in hooks:
        tool = Path(hook["entry"].split()[0])
        assert tool.parent == Path(".venv/bin")
        assert (BIN / tool.name).exists(), tool


def test_a_tag_of_another_version_is_no_release() -> None:
    done = _run(sys.executable, ROOT / ".ci" / "check-tag", f"v{VERSION}.1")

    assert done.returncode == 1
    assert f"the tag is v{VERSION}.1" in done.stderr


def test_a_release_has_a_dated_section_in_the_changelog(tmp_path: Path) -> None:
    script = tmp_path / ".ci" / "check-tag"
    script.parent.mkdir()
    script.write_bytes((ROOT / ".ci" / "check-tag").read_bytes())
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## [Unreleased]\n\n- soon\n")

    undated = _run(sys.executable, script, "v1.2.0")
    with changelog.open("a") as file:
        file.write("\n## [1.2.0] - 2026-12-01\n\n- now\n\n## [1.1.0] - 2026-11-01\n")
    dated = _run(sys.executable, script, "v1.2.0")

    assert (undated.returncode, undated.stdout) == (1, "")
    assert "no section [1.2.0]" in undated.stderr
    assert (dated.returncode, dated.stdout) == (0, "- now\n")


def _run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], check=False, capture_output=True, text=True
    )
