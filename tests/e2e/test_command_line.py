"""The frame every command runs in: help, version, errors and exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
    import sys

    probe = (
        "import sys; from git_theta.cli.main import main; sys.argv[1:] = ['-h']; main();"
        "print([name for name in ('numpy', 'rich', 'git', 'zstandard') if name in sys.modules])"
    )
    assert repo.run(sys.executable, "-c", probe).stdout.decode().endswith("[]\n")


def test_the_filter_imports_nothing_heavy_before_its_handshake(repo: GitRepo) -> None:
    import sys

    probe = (
        "import sys; from git_theta.cli import main, serve;"
        "print([name for name in ('click', 'git', 'numpy', 'rich', 'sqlite3', 'zstandard') if name in sys.modules])"
    )
    assert repo.run(sys.executable, "-c", probe).stdout.decode() == "[]\n"
