"""What ``install`` writes into Git's configuration, and how to tell it from what somebody else wrote.

A scope's configuration enters, a plan leaves: which keys to write, which to take back, which are foreign. The
table of keys is here and nowhere else; ``install``, ``uninstall``, ``track`` and ``env`` share it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from git_theta import __version__
from git_theta.errors import ThetaError
from git_theta.gitio import GitFailed, ask_git, find_repository

COMMANDS: dict[str, str] = {
    "filter.theta.process": "filter-process",
    "filter.theta.clean": "clean -- %f",
    "filter.theta.smudge": "smudge -- %f",
    "diff.theta.command": "diff-driver",
    "diff.theta.textconv": "textconv",
    "merge.theta.driver": "merge-driver -- %O %A %B %L %P",
}
"""Keys whose value runs git-theta, with the command line after the program's name."""

VALUES: dict[str, str] = {
    # With required, Git refuses a file the filter fails on, instead of storing it whole, and streams the file.
    "filter.theta.required": "true",
    # Without it `git add -p` and friends would splice manifests line by line.
    "diff.theta.binary": "true",
    "merge.theta.name": "parameter groups of a checkpoint",
    # Virtual ancestors of a criss-cross merge take one side: nobody sees them.
    "merge.theta.recursive": "binary",
}
"""Keys with one fixed value."""

SECTIONS = ("filter.theta", "diff.theta", "merge.theta")
PERCENT_EXPANDS = {"filter.theta.clean", "filter.theta.smudge", "merge.theta.driver"}

Result = TypeVar("Result")


class ForeignDriver(ThetaError):
    """A theta driver in Git's configuration that another program wrote."""


class NoProgram(ThetaError):
    """The installed git-theta program cannot be found."""


SCOPES = {
    "global": "For every repository of this user (default).",
    "local": "For this repository only.",
    "worktree": "For this worktree only (needs extensions.worktreeConfig).",
    "system": "For every user of this machine.",
}


def scope_options(function: Callable[..., Result]) -> Callable[..., Result]:
    """The options ``--global``, ``--local``, ``--worktree`` and ``--system`` as one parameter ``scope``."""

    @wraps(function)
    def with_scope(**options: Any) -> Result:
        chosen = [scope for scope in SCOPES if options.pop(scope)]
        if len(chosen) > 1:
            raise click.UsageError(f"--{chosen[0]} and --{chosen[1]} are two scopes, and one is written.")
        return function(scope=chosen[0] if chosen else "global", **options)

    for scope, meaning in reversed(SCOPES.items()):
        click.option(f"--{scope}", scope, is_flag=True, help=meaning)(with_scope)
    return with_scope


def check_scope(scope: str) -> None:
    """Raise unless configuration of this scope can be written from here."""
    if scope in {"local", "worktree"}:
        repository = find_repository()
        separate = ask_git("config", "--type=bool", "extensions.worktreeConfig", cwd=repository.root, codes=(0, 1))
        if scope == "worktree" and separate.strip() != b"true":
            raise ThetaError(
                "--worktree needs configuration per worktree, which is off in this repository",
                hint="git config extensions.worktreeConfig true\n"
                "(where core.bare is true or core.worktree is set, read `git help worktree` first)",
            )


def program_for_git() -> str:
    """How Git's shell should call us: by name where PATH leads to this version, else by absolute path, quoted."""
    named = shutil.which("git-theta")
    if named and _version_of(named) == f"git-theta {__version__}":
        return "git-theta"
    suffix = ".exe" if os.name == "nt" else ""
    beside_python = Path(sys.executable).with_name(f"git-theta{suffix}")
    started = Path(os.path.abspath(sys.argv[0]))
    for program in (started.with_suffix(suffix), beside_python):
        if program.stem == "git-theta" and program.is_file():
            return shlex.quote(program.as_posix())
    raise NoProgram("the git-theta program is nowhere to be found", hint="python -m pip install git-theta")


def _version_of(program: str) -> str:
    try:
        return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def wanted(program: str) -> dict[str, str]:
    """Every key that ``install`` writes, with its value."""
    commands = {}
    for key, arguments in COMMANDS.items():
        # Git expands %f and its like in some of these values, so a % in the program's path is doubled there.
        escaped = program.replace("%", "%%") if key in PERCENT_EXPANDS else program
        commands[key] = f"{escaped} {arguments}"
    return {**commands, **VALUES}


def configured(*scope: str) -> dict[str, str]:
    """The theta drivers' keys in one scope (``--global``), or in force (no argument); the last value counts."""
    answer = ask_git("config", *scope, "--null", "--get-regexp", r"^(filter|diff|merge)\.theta\.", codes=(0, 1))
    pairs = (pair.partition("\n") for pair in os.fsdecode(answer).split("\0")[:-1])
    return {key: value if newline else "true" for key, newline, value in pairs}


def is_ours(key: str, value: str) -> bool:
    """Whether ``install``, of this or another folder, wrote this value."""
    if key in VALUES:
        return value == VALUES[key]
    try:
        words = shlex.split(value)
    except ValueError:
        return False
    return len(words) > 1 and Path(words[0]).stem == "git-theta" and words[1] == COMMANDS[key].split()[0]


def program_of(value: str) -> str:
    """The program that a value written by :func:`write` runs."""
    return shlex.split(value)[0]


def foreign(found: dict[str, str]) -> dict[str, str]:
    """Those of the keys in ``found`` that run something else than git-theta."""
    return {key: value for key, value in found.items() if key in COMMANDS and not is_ours(key, value)}


def write(scope: str, force: bool = False) -> list[str]:
    """Make the scope's configuration what it should be and return the keys that were changed.

    Raises :class:`ForeignDriver` before anything is written, unless ``force`` says to replace it.
    """
    found = configured(f"--{scope}")
    strangers = foreign(found)
    if strangers and not force:
        key, value = next(iter(strangers.items()))
        raise ForeignDriver(
            f"{key} is {value!r} in {scope} configuration, which another program wrote",
            hint=f"to replace it: git theta install --{scope} --force",
        )
    program = _working_program(found) or program_for_git()
    changed = [(key, value) for key, value in wanted(program).items() if found.get(key) != value]
    for key, value in changed:
        ask_git("config", f"--{scope}", "--replace-all", key, value)
    return [key for key, _ in changed]


def _working_program(found: dict[str, str]) -> str | None:
    """The absolute path that is configured already, quoted, if this very version is there.

    A path works where PATH differs, in an editor or a cron job; a name does not replace it.
    """
    key = "filter.theta.process"
    if key not in found or not is_ours(key, found[key]):
        return None
    program = program_of(found[key])
    if not os.path.isabs(program) or _version_of(program) != f"git-theta {__version__}":
        return None
    return shlex.quote(program)


def take_back(scope: str) -> tuple[list[str], dict[str, str]]:
    """Remove from the scope what ``install`` wrote; return the removed keys and the foreign ones left in place."""
    found = configured(f"--{scope}")
    strangers = foreign(found)
    kept_sections = {key.rpartition(".")[0] for key in strangers}
    removed = [
        key
        for key in (*COMMANDS, *VALUES)
        if key in found and is_ours(key, found[key]) and key.rpartition(".")[0] not in kept_sections
    ]
    for key in removed:
        ask_git("config", f"--{scope}", "--unset-all", key)
    return removed, strangers


def file_of(scope: str) -> str:
    """The configuration file that holds this scope's drivers, as Git names it."""
    try:
        answer = ask_git("config", f"--{scope}", "--null", "--show-origin", "--get", "filter.theta.process")
    except GitFailed:
        return f"{scope} configuration"
    return os.fsdecode(answer.split(b"\0")[0]).removeprefix("file:")
