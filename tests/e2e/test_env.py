"""env: every setting with its origin, misspellings, versions, and what Git is told about us."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from git_theta.gitio import SETTINGS

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(name))


def test_env_names_the_origin_of_every_setting(repo: GitRepo) -> None:
    repo.git("config", "--global", "theta.smudgeLimit", "512m")
    repo.git("config", "--local", "theta.missing", "fail")
    shown = repo.at(repo.path, GIT_THETA_THREADS="3").theta("env")
    assert row(shown, "theta.smudgeLimit").split()[1:] == ["536,870,912", f"file:{repo.home}/.gitconfig", "(global)"]
    assert row(shown, "theta.missing").split()[1:] == ["fail", "file:.git/config", "(local)"]
    assert row(shown, "theta.threads").split()[1:] == ["3", "environment", "variable", "GIT_THETA_THREADS"]
    assert row(shown, "theta.skipSmudge").split()[1:] == ["false", "default"]


def test_env_reports_misspelt_keys_and_variables(repo: GitRepo) -> None:
    repo.git("config", "theta.smudgLimit", "1g")
    shown = repo.at(repo.path, GIT_THETA_THREDS="3").theta("env")
    assert "unknown settings (misspelt?):" in shown
    assert row(shown, "theta.smudglimit").endswith("file:.git/config (local)")
    assert row(shown, "GIT_THETA_THREDS").endswith("environment variable")


def test_env_says_where_the_store_is(repo: GitRepo, tmp_path: Path) -> None:
    assert row(repo.theta("env"), "store").split()[1] == str(repo.path.resolve() / ".git" / "theta")
    repo.git("config", "theta.storage", tmp_path / "shared")
    assert row(repo.theta("env"), "store").split()[1] == str(tmp_path / "shared")


def test_env_tells_whether_drivers_are_configured(repo: GitRepo) -> None:
    assert "not configured; to configure: git theta install" in row(repo.theta("env"), "filter.theta.process")
    repo.theta("install")
    assert row(repo.theta("env"), "filter.theta.process").endswith("git-theta filter-process")


def test_env_finds_hooks_where_git_looks_for_them(repo: GitRepo) -> None:
    repo.git("config", "core.hooksPath", "my hooks")
    repo.write("my hooks/pre-push", b"#!/bin/sh\ngit-theta pre-push\n")
    (repo.path / "my hooks" / "pre-push").chmod(0o755)
    repo.write("my hooks/post-merge", b"#!/bin/sh\ngit lfs post-merge\n")
    shown = repo.theta("env")
    assert row(shown, "pre-push").endswith("calls git-theta")
    assert row(shown, "post-merge").endswith("present, does not call git-theta")
    assert row(shown, "post-checkout").endswith("absent")


def test_env_works_outside_a_repository(repo: GitRepo) -> None:
    shown = repo.at(repo.home).theta("env")
    assert "repository:\n  none\n" in shown
    assert "theta.missing" in shown


def test_env_does_not_need_git_lfs(repo: GitRepo, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for program in (shutil.which("git"), Path(sys.executable).with_name("git-theta")):
        assert program
        (tools / Path(program).name).symlink_to(program)
    shown = repo.at(repo.path, PATH=str(tools)).run("git-theta", "env").stdout.decode()
    missing = "not found: needed for HTTP and SSH remotes, and where lfs.url names a server"
    assert row(shown, "git-lfs").endswith(missing)


def test_env_json_has_every_setting(repo: GitRepo) -> None:
    report = json.loads(repo.theta("env", "--json"))
    assert set(report) == {"versions", "repository", "settings", "unknown", "drivers", "hooks"}
    assert [one["name"] for one in report["settings"]] == [setting.name for setting in SETTINGS]
    assert report["settings"][2] == {
        "name": "theta.missing",
        "value": "placeholder",
        "origin": "default",
        "problem": None,
    }


def test_a_bad_value_stops_every_command_but_env_which_says_how_to_take_it_back(repo: GitRepo) -> None:
    repo.git("config", "theta.threads", "many")
    problem = "theta.threads is 'many' (file:.git/config (local)), expected a whole number from 1 to 9999"
    remedy = "git config --local --unset-all theta.threads"
    assert repo.run("git", "theta", "status", code=2).stderr.decode() == f"git-theta: {problem}\nhint: {remedy}\n"
    assert row(repo.theta("env"), "theta.threads").endswith(f"  BAD: {problem}; {remedy}")
    repo.run(*remedy.split())
    assert row(repo.theta("env"), "theta.threads").endswith("default")
