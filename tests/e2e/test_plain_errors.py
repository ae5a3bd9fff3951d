"""What a slip of the keyboard says: one line that names it, and what to type instead; never Git's raw words."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import GitRepo, make_repository
from tests.e2e.support import MODEL, checkpoint, track_checkpoints

NO_REMOTE = "there is no remote 'orign'\nhint: did you mean origin? remotes: backup, origin"
NO_REVISION = "there is no revision nope\nhint: git log --oneline --all shows revisions"
SLIPS = {
    "fetch --remote orign": (2, NO_REMOTE),
    "pull --remote orign": (2, NO_REMOTE),
    "push orign": (2, NO_REMOTE),
    "fsck --remote orign": (2, NO_REMOTE),
    "fetch --group zzz*": (1, "no parameter group is called 'zzz*'\nhint: git theta show PATH lists the groups"),
    "fetch nope": (1, NO_REVISION),
    "fetch HEAD nope": (1, NO_REVISION),
    "push origin nope": (1, NO_REVISION),
    "ls-files --rev nope": (1, NO_REVISION),
    "diff nope": (1, NO_REVISION),
    f"blame {MODEL} nope": (1, NO_REVISION),
    "pull nope": (
        1,
        "no tracked checkpoint matches nope\n"
        "hint: git theta ls-files lists them; a file that is not in the index comes with git checkout",
    ),
    "track *.dat": (
        1,
        "*.dat already goes through filter=lfs\nhint: to take it over: git theta track --replace '*.dat'",
    ),
}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """One checkpoint, two remotes that do not matter, and a pattern of Git LFS."""
    repo = track_checkpoints(make_repository(tmp_path_factory.mktemp("slips")))
    attributes = repo.read(".gitattributes")
    repo.write(".gitattributes", attributes + b"*.dat filter=lfs diff=lfs merge=lfs -text\n")
    repo.write(MODEL, checkpoint("a"))
    repo.commit("one")
    repo.git("remote", "add", "origin", "../origin.git")
    repo.git("remote", "add", "backup", "../backup.git")
    return repo


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_named_in_one_line_with_what_to_type(repo: GitRepo, slip: str) -> None:
    code, said = SLIPS[slip]
    assert repo.run("git", "theta", *slip.split(), code=code).stderr.decode() == f"git-theta: {said}\n"


def test_an_empty_pattern_is_no_pattern(repo: GitRepo) -> None:
    assert b"an empty pattern matches nothing" in repo.run("git", "theta", "track", "", code=2).stderr


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_two_scopes_are_a_usage_error(repo: GitRepo, command: str) -> None:
    said = repo.run("git", "theta", command, "--global", "--local", code=2).stderr.decode()
    assert "--global and --local are two scopes" in said


@pytest.mark.parametrize("command", ["fsck", "fetch", "prune", "track *.new"])
def test_a_file_where_the_store_should_be_is_named_with_the_way_out(repo: GitRepo, command: str) -> None:
    here = repo.at(repo.path, GIT_THETA_STORAGE=str(repo.path / MODEL))
    assert here.run("git", "theta", *command.split(), code=2).stderr.decode() == (
        f"git-theta: {repo.path / MODEL} is not a folder, so it cannot hold objects\n"
        "hint: move it away, or name a folder: git config theta.storage FOLDER\n"
    )


def test_a_size_in_bytes_is_said_once(repo: GitRepo) -> None:
    repo.write("tiny.bin", b"x" * 17)
    assert repo.theta("show", "tiny.bin").endswith("0 parameters, 17 bytes, 0 of them skeleton; format opaque")
