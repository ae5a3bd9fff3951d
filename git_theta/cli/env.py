"""``git theta env``: effective settings and where each comes from, versions, and what Git is told about us.

The output is meant to be pasted into a bug report: it names files and values, and no secrets are among them.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from git_theta import __version__
from git_theta.cli import drivers
from git_theta.cli.hooks import HOOKS
from git_theta.cli.output import emit_json
from git_theta.errors import Exit
from git_theta.gitio import NotARepository, Repository, Settings, ask_git, find_repository, read_settings
from git_theta.gitio.config import Effective
from git_theta.gitio.hooks import runs_ours

PACKAGES = ("numpy", "zstandard", "ml_dtypes", "safetensors")
NO_LFS = "not found: needed for HTTP and SSH remotes, and where lfs.url names a server"
OTHER_VARIABLES = {"GIT_THETA_TRACE"}

Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """All that is shown, name to value; the JSON document has these fields."""

    versions: dict[str, str]
    repository: dict[str, str | None]
    settings: list[dict[str, str | int | bool | None]]
    unknown: dict[str, str]
    drivers: dict[str, str | None]
    hooks: dict[str, str]


@click.command("env")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(as_json: bool) -> int:
    """Show effective settings and where each comes from, versions, and the state of filters and hooks.

    Example: git theta env
    """
    repository = _repository()
    settings = read_settings(os.environ, tolerant=True)
    report = Report(
        versions=_versions(),
        repository=_places(repository, settings),
        settings=[_setting(one) for one in settings.effective],
        unknown=_unknown(settings),
        drivers=_drivers(),
        hooks=_hooks(repository),
    )
    if as_json:
        emit_json(asdict(report))
    else:
        for title, rows in _sections(report).items():
            _show(title, rows)
    return Exit.OK


def _repository() -> Repository | None:
    try:
        return find_repository()
    except NotARepository:
        return None


def _versions() -> dict[str, str]:
    """The programs and packages that decide what happens."""
    return {
        "git-theta": __version__,
        "git": os.fsdecode(ask_git("version")).strip().removeprefix("git version "),
        "git-lfs": _git_lfs(),
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{name: _package(name) for name in PACKAGES},
    }


def _git_lfs() -> str:
    """The version of git-lfs, without which everything local works."""
    program = shutil.which("git-lfs")
    if program is None:
        return NO_LFS
    answer = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout.strip()
    return answer.removeprefix("git-lfs/") or f"{program} does not answer"


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not found"


def _places(repository: Repository | None, settings: Settings) -> dict[str, str | None]:
    """Where things are; nothing outside a repository."""
    if repository is None:
        return {}
    return {
        "worktree": str(repository.worktree) if repository.worktree else None,
        "git dir": str(repository.git_dir),
        "common dir": str(repository.common_dir),
        "store": str(settings.store(repository.common_dir)),
    }


def _plain(value: bool | int | str | Path) -> bool | int | str:
    return str(value) if isinstance(value, Path) else value


def _setting(one: Effective[Any]) -> dict[str, str | int | bool | None]:
    problem = f"{one.problem}; {one.problem.hint}" if one.problem else None
    return {"name": one.setting.name, "value": _plain(one.value), "origin": one.origin, "problem": problem}


def _unknown(settings: Settings) -> dict[str, str]:
    """Keys and variables that look like ours and mean nothing: probably misspelt."""
    variables = {one.setting.variable for one in settings.effective} | OTHER_VARIABLES
    strangers = {name for name in os.environ if name.startswith("GIT_THETA_")} - variables
    return {
        **{one.key: one.origin for one in settings.unknown},
        **dict.fromkeys(sorted(strangers), "environment variable"),
    }


def _drivers() -> dict[str, str | None]:
    """The drivers in force; None where nothing is configured."""
    found = drivers.configured()
    return {key: found.get(key) for key in (*drivers.COMMANDS, *drivers.VALUES)}


def _hooks(repository: Repository | None) -> dict[str, str]:
    """For each hook that matters, whether there is one, and whether it calls git-theta."""
    if repository is None:
        return {}
    answer = ask_git("rev-parse", "--path-format=absolute", "--git-path", "hooks")
    folder = Path(os.fsdecode(answer.removesuffix(b"\n")))
    return {name: _hook(folder / name) for name in HOOKS}


def _hook(path: Path) -> str:
    if not path.is_file():
        return "absent"
    return "calls git-theta" if runs_ours(path) else "present, does not call git-theta"


def _sections(report: Report) -> dict[str, list[Row]]:
    """The report as titled rows of name, value and remark."""
    missing = "not configured; to configure: git theta install"
    return {
        "versions": [(name, value, "") for name, value in report.versions.items()],
        "repository": [(name, value or "none", "") for name, value in report.repository.items()] or [("none", "", "")],
        "settings": [
            (str(one["name"]), _words(one["value"]), f"BAD: {one['problem']}" if one["problem"] else str(one["origin"]))
            for one in report.settings
        ],
        "unknown settings (misspelt?)": [(name, origin, "") for name, origin in report.unknown.items()],
        "drivers": [(key, missing if value is None else value, "") for key, value in report.drivers.items()],
        "hooks": [(name, state, "") for name, state in report.hooks.items()],
    }


def _words(value: bool | int | str | None) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else str(value)


def _show(title: str, rows: list[Row]) -> None:
    """One titled table, left out when it has no rows."""
    if not rows:
        return
    name_width, value_width = (max(len(row[column]) for row in rows) for column in (0, 1))
    click.echo(f"{title}:")
    for name, value, remark in rows:
        click.echo(os.fsencode(f"  {name:<{name_width}}  {value:<{value_width}}  {remark}".rstrip()))
