"""setup_hooks.sh as far as it goes without a network; .ci/run goes the whole way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

SCRIPT = Path(__file__).parents[2] / "setup_hooks.sh"
CI = SCRIPT.parent / ".ci" / "run"


@pytest.mark.parametrize("script", [SCRIPT, CI], ids=["setup_hooks.sh", ".ci/run"])
def test_scripts_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert script.read_bytes().startswith(b"#!")


def test_scripts_have_no_syntax_errors(repo: GitRepo) -> None:
    repo.run("sh", "-n", SCRIPT)
    repo.run("bash", "-n", CI)


def test_help_names_every_option_and_changes_nothing(repo: GitRepo) -> None:
    before = sorted(repo.home.rglob("*"))
    shown = repo.run(SCRIPT, "--help").stdout.decode()
    assert all(option in shown for option in ("--demo", "--test", "--help"))
    assert sorted(repo.home.rglob("*")) == before


def test_an_unknown_option_is_refused_before_anything_happens(repo: GitRepo) -> None:
    before = sorted(repo.home.rglob("*"))
    assert b"Usage: ./setup_hooks.sh" in repo.run(SCRIPT, "--tset", code=2).stderr
    assert sorted(repo.home.rglob("*")) == before


def test_a_python_that_is_too_old_is_named(repo: GitRepo, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("python3", *(f"python3.{minor}" for minor in range(10, 15))):
        (tools / name).write_text("#!/bin/sh\nexit 1\n")
        (tools / name).chmod(0o755)
    poor = repo.at(repo.path, PATH=os.pathsep.join([str(tools), repo.env["PATH"]]))
    assert b"no Python 3.10 or newer found" in poor.run(SCRIPT, code=1).stderr
