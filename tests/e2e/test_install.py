"""install and uninstall: what they write where, that twice is once, and that nobody else's drivers are touched."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from git_theta.cli.drivers import COMMANDS, VALUES

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

EXPECTED = {
    "filter.theta.process": "git-theta filter-process",
    "filter.theta.clean": "git-theta clean -- %f",
    "filter.theta.smudge": "git-theta smudge -- %f",
    "filter.theta.required": "true",
    "diff.theta.command": "git-theta diff-driver",
    "diff.theta.textconv": "git-theta textconv",
    "diff.theta.binary": "true",
    "merge.theta.name": "parameter groups of a checkpoint",
    "merge.theta.driver": "git-theta merge-driver -- %O %A %B %L %P",
    "merge.theta.recursive": "binary",
}


def drivers(repo: GitRepo, *scope: str) -> dict[str, str]:
    listed = repo.git("config", *scope, "--null", "--get-regexp", r"\.theta\.", code=None)
    return dict(pair.split("\n", 1) for pair in listed.split("\0") if pair)


def test_install_writes_every_driver_to_the_global_configuration(repo: GitRepo) -> None:
    said = repo.theta("install")
    assert drivers(repo, "--global") == EXPECTED
    assert drivers(repo, "--local") == {}
    assert said == f"wrote the theta filter, diff and merge drivers to {repo.home / '.gitconfig'} (global)"


def test_installing_twice_changes_no_byte(repo: GitRepo) -> None:
    repo.theta("install")
    before = (repo.home / ".gitconfig").read_bytes()
    assert repo.theta("install").startswith("already installed in ")
    assert (repo.home / ".gitconfig").read_bytes() == before


def test_install_local_writes_to_this_repository_only(repo: GitRepo) -> None:
    repo.theta("install", "--local")
    assert drivers(repo, "--local") == EXPECTED
    assert drivers(repo, "--global") == {}


def test_install_system_writes_to_the_system_file(repo: GitRepo, tmp_path: Path) -> None:
    admin = repo.at(repo.path, GIT_CONFIG_NOSYSTEM="0", GIT_CONFIG_SYSTEM=str(tmp_path / "system"))
    admin.theta("install", "--system")
    assert "[filter" in (tmp_path / "system").read_text()
    assert drivers(admin) == EXPECTED
    assert drivers(repo) == {}


def test_install_worktree_says_what_to_type_when_worktrees_share_configuration(repo: GitRepo) -> None:
    done = repo.run("git", "theta", "install", "--worktree", code=1)
    assert b"hint: git config extensions.worktreeConfig true" in done.stderr


def test_install_worktree_reaches_one_worktree_only(repo: GitRepo, tmp_path: Path) -> None:
    repo.write("x", b"x")
    repo.commit("first")
    repo.git("worktree", "add", "-q", tmp_path / "other")
    repo.git("config", "extensions.worktreeConfig", "true")
    other = repo.at(tmp_path / "other")
    other.theta("install", "--worktree")
    assert drivers(other) == EXPECTED
    assert drivers(repo) == {}


def test_install_local_outside_a_repository_is_an_error(repo: GitRepo) -> None:
    done = repo.at(repo.home).run("git", "theta", "install", "--local", code=3)
    assert b"not a git repository" in done.stderr


def test_install_global_needs_no_repository(repo: GitRepo) -> None:
    repo.at(repo.home).theta("install")
    assert drivers(repo, "--global") == EXPECTED


def test_install_refuses_another_programs_theta_driver_and_force_replaces_it(repo: GitRepo) -> None:
    repo.git("config", "--global", "filter.theta.clean", "git-theta-filter clean %f")
    done = repo.run("git", "theta", "install", code=1)
    assert b"filter.theta.clean is 'git-theta-filter clean %f' in global configuration" in done.stderr
    assert b"hint: to replace it: git theta install --global --force" in done.stderr
    assert drivers(repo, "--global") == {"filter.theta.clean": "git-theta-filter clean %f"}
    repo.theta("install", "--force")
    assert drivers(repo, "--global") == EXPECTED


def test_install_brings_damaged_values_back(repo: GitRepo) -> None:
    repo.theta("install")
    repo.git("config", "--global", "filter.theta.required", "false")
    repo.git("config", "--global", "--add", "filter.theta.process", "git-theta filter-process --old")
    repo.theta("install")
    assert drivers(repo, "--global") == EXPECTED
    assert repo.git("config", "--global", "--get-all", "filter.theta.process") == "git-theta filter-process"


def test_install_warns_when_a_stronger_scope_overrides_it(repo: GitRepo) -> None:
    repo.git("config", "--local", "filter.theta.required", "false")
    done = repo.run("git", "theta", "install")
    assert b"a stronger scope overrides filter.theta.required" in done.stderr


def test_install_json_names_scope_file_and_changes(repo: GitRepo) -> None:
    report = json.loads(repo.theta("install", "--local", "--json"))
    assert report["scope"] == "local"
    assert report["file"].endswith(".git/config")
    assert report["changed"] == [*COMMANDS, *VALUES]
    assert report["overridden"] == []
    assert json.loads(repo.theta("install", "--local", "--json"))["changed"] == []


def test_install_writes_an_absolute_quoted_path_when_git_theta_is_not_on_path(repo: GitRepo, tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    program = shutil.copy(Path(sys.executable).with_name("git-theta"), folder / "git-theta")
    stranger = repo.at(repo.path, PATH=path_without_git_theta(tmp_path))
    done = stranger.run(program, "install", "--local")
    assert b"git-theta is not on PATH" in done.stderr
    assert f'export PATH="{folder}:$PATH"'.encode() in done.stderr
    process = stranger.git("config", "filter.theta.process")
    assert stranger.run("sh", "-c", f"{process} --help").stdout.startswith(b"Usage: ")
    assert stranger.run(program, "install", "--local").stdout.startswith(b"already installed")
    assert stranger.run(program, "uninstall", "--local").stdout.startswith(b"removed the theta drivers")


def path_without_git_theta(tmp_path: Path) -> str:
    """A PATH with git and the shell's tools, and nothing of ours."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in ("git", "sh"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return str(folder)


@pytest.mark.parametrize("scope", ["--global", "--local"])
def test_uninstall_removes_exactly_what_install_wrote(repo: GitRepo, scope: str) -> None:
    file = repo.home / ".gitconfig" if scope == "--global" else repo.path / ".git" / "config"
    before = file.read_bytes()
    repo.theta("install", scope)
    repo.theta("uninstall", scope)
    assert file.read_bytes() == before


def test_uninstall_without_install_says_so_and_succeeds(repo: GitRepo) -> None:
    assert repo.theta("uninstall") == "nothing of git-theta in global configuration"


def test_uninstall_leaves_other_keys_and_foreign_drivers(repo: GitRepo) -> None:
    repo.theta("install")
    repo.git("config", "--global", "merge.theta.driver", "other-tool %A")
    repo.git("config", "--global", "filter.lfs.required", "true")
    done = repo.run("git", "theta", "uninstall")
    assert b"merge.theta.driver is 'other-tool %A', which another program wrote; it stays" in done.stderr
    assert set(drivers(repo, "--global")) == {"merge.theta.driver", "merge.theta.name", "merge.theta.recursive"}
    assert repo.git("config", "--global", "filter.lfs.required") == "true"


def test_uninstall_json_names_what_went(repo: GitRepo) -> None:
    repo.theta("install")
    report = json.loads(repo.theta("uninstall", "--json"))
    assert report["removed"] == [*COMMANDS, *VALUES]
    assert report["foreign"] == {}


def test_uninstall_warns_about_tracked_files(repo: GitRepo) -> None:
    repo.write("model.pt", b"weights")
    repo.commit("plain")
    repo.theta("install")
    repo.write(".gitattributes", b"*.pt filter=theta\n")
    done = repo.run("git", "theta", "uninstall")
    assert b"1 tracked checkpoint in this repository" in done.stderr
    assert b"hint: to go on with git-theta: git theta install --local" in done.stderr


def test_a_merge_driver_without_its_files_leaves_ours_and_says_which_command_takes_a_side(repo: GitRepo) -> None:
    ours = repo.write("ours", b"manifest")
    done = repo.run("git-theta", "merge-driver", "base", ours, "theirs", "7", "my model.pt", code=1)
    assert ours.read_bytes() == b"manifest"
    assert b"my model.pt: not merged, ours stands: No such file" in done.stderr
    assert b"git theta resolve 'my model.pt'" in done.stderr
    assert b"git checkout --ours -- 'my model.pt', or --theirs" in done.stderr
