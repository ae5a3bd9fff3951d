"""The frame every command runs in: help, version, errors and exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from git_theta.cli.commands import COMMANDS, EXIT_CODES
from git_theta.errors import Exit

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_shows_every_section_and_the_exit_codes(repo: GitRepo, flag: str) -> None:
    shown = repo.run("git-theta", flag).stdout.decode()
    for heading in ("Set up:", "Look:", "Work:", "Called by Git:", "Exit codes:"):
        assert heading in shown
    assert "130  interrupted" in shown


def test_version_is_the_package_version(repo: GitRepo) -> None:
    from git_theta import __version__

    assert repo.theta("--version") == f"git-theta {__version__}"


def test_an_unknown_command_names_the_nearest_one(repo: GitRepo) -> None:
    done = repo.run("git", "theta", "trak", code=2)
    assert b"Did you mean 'track'?" in done.stderr


def test_an_unknown_option_is_a_usage_error(repo: GitRepo) -> None:
    assert b"No such option" in repo.run("git", "theta", "--frobnicate", code=2).stderr


def test_help_imports_neither_numpy_nor_rich_nor_gitpython(repo: GitRepo) -> None:
    probe = (
        "import sys; from git_theta.cli.main import main; sys.argv[1:] = ['-h']; main();"
        "print([name for name in ('numpy', 'rich', 'git', 'zstandard') if name in sys.modules])"
    )
    assert repo.run(sys.executable, "-c", probe).stdout.decode().endswith("[]\n")


def test_the_filter_imports_nothing_heavy_before_its_handshake(repo: GitRepo) -> None:
    probe = (
        "import sys; from git_theta.cli import main, serve;"
        "print([name for name in ('click', 'git', 'numpy', 'rich', 'sqlite3', 'zstandard') if name in sys.modules])"
    )
    assert repo.run(sys.executable, "-c", probe).stdout.decode() == "[]\n"


def test_a_reader_that_left_is_not_an_error_to_shout_about(repo: GitRepo) -> None:
    done = repo.run("bash", "-c", "git-theta -h | true; exit ${PIPESTATUS[0]}", code=None)
    assert done.returncode in (0, 1)
    assert done.stderr == b""


def test_an_unforeseen_exception_is_one_line_and_says_how_to_see_more(repo: GitRepo) -> None:
    broken = (
        "import sys; from git_theta.cli import commands; from git_theta.cli.main import main;"
        "commands.COMMANDS['env'] = commands.Command('git_theta.no_such_module:command', '');"
        "sys.argv[1:] = ['env']; sys.exit(main())"
    )
    said = repo.run(sys.executable, "-c", broken, code=1).stderr.decode()
    assert said.startswith("git-theta: unexpected ModuleNotFoundError: ")
    assert "GIT_THETA_TRACE=1" in said
    assert "Traceback" not in said
    traced = repo.run(sys.executable, "-c", broken, code=1, env={"GIT_THETA_TRACE": "1"}).stderr.decode()
    assert traced.startswith("Traceback")


def test_an_error_has_a_message_a_hint_and_its_own_exit_code(repo: GitRepo) -> None:
    said = repo.at(repo.home).run("git-theta", "track", "*.pt", code=3).stderr.decode()
    message, hint = said.splitlines()
    assert message.startswith("git-theta: ")
    assert hint.startswith("hint: ")


def test_ctrl_c_is_one_line_and_130(repo: GitRepo) -> None:
    command = ["git-theta", "filter-process"]
    with subprocess.Popen(command, env=repo.env, cwd=repo.path, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"0016git-filter-client\n000eversion=2\n0000" + b"0015capability=clean\n0000")
        process.stdin.flush()
        greeting = b"0016git-filter-server\n000eversion=2\n0000" + b"0015capability=clean\n0000"
        assert process.stdout.read(len(greeting)) == greeting
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said == b"git-theta: interrupted\n"


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_explains_itself_with_an_example(repo: GitRepo, name: str) -> None:
    shown = repo.run("git-theta", name, "-h").stdout.decode()
    assert shown.startswith(f"Usage: git theta {name} ")
    assert "Example: " in shown


def test_every_exit_code_is_documented() -> None:
    assert set(EXIT_CODES) == set(Exit)
