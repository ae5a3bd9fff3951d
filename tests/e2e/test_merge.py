"""Branches that changed one checkpoint come together by every way Git has, and what cannot be is a clear conflict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load, save

from tests.e2e.conftest import GitRepo, make_repository
from tests.e2e.support import LAYERS, MODEL, checkpoint, noise, objects, status, track_checkpoints
from tests.e2e.transfer import SKIP, bare, clone, duplicate

STEPS = np.int64(7)


def counted(steps: int, **changed: int) -> bytes:
    """A checkpoint with an integer group besides the usual ones, which no strategy can combine."""
    content: bytes = save(
        {"steps": np.array([steps], np.int64), **{name: noise(name, changed.get(name, 0)) for name in LAYERS}}
    )
    return content


def diverge(repo: GitRepo, base: bytes, ours: bytes, theirs: bytes, name: str = MODEL) -> GitRepo:
    """Branches main and topic with a version each of what they both have from one commit."""
    for branch, content in (("main", base), ("topic", theirs), ("main", ours)):
        repo.git("checkout", "--quiet", *(["-b"] if branch == "topic" else []), branch, code=None)
        repo.write(name, content)
        repo.commit(f"{branch} {len(content)}")
    return repo


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """A repository that tracks checkpoints."""
    return track_checkpoints(make_repository(tmp_path_factory.mktemp("tracking")))


@pytest.fixture
def repo(tracking: GitRepo, tmp_path: Path) -> GitRepo:
    """A copy of it for one test."""
    return duplicate(tracking, tmp_path)


@pytest.fixture(scope="module")
def both_changed(tmp_path_factory: pytest.TempPathFactory, tracking: GitRepo) -> GitRepo:
    """Ours changed a and c, theirs c and e: c on both sides."""
    there = duplicate(tracking, tmp_path_factory.mktemp("both"))
    return diverge(there, checkpoint(), checkpoint(a=1, c=1), checkpoint(c=2, e=2))


@pytest.fixture
def both(both_changed: GitRepo, tmp_path: Path) -> GitRepo:
    """A copy of it for one test."""
    return duplicate(both_changed, tmp_path)


@pytest.fixture(scope="module")
def counters_differ(tmp_path_factory: pytest.TempPathFactory, tracking: GitRepo) -> GitRepo:
    """Both changed the integer group, and a different other one each."""
    there = duplicate(tracking, tmp_path_factory.mktemp("counters"))
    return diverge(there, counted(1), counted(2, a=1), counted(3, e=2))


@pytest.fixture
def conflict(counters_differ: GitRepo, tmp_path: Path) -> GitRepo:
    """In the middle of a merge that left the integer group open."""
    repo = duplicate(counters_differ, tmp_path)
    done = repo.run("git", "merge", "topic", code=1)
    assert b"int64" in done.stderr
    assert f"hint: git theta resolve {MODEL}".encode() in done.stderr
    return repo


def mean(*values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean in float64, rounded once."""
    found: NDArray[np.float32] = np.mean(np.array(values, np.float64), axis=0).astype(np.float32)
    return found


def check_combined(content: bytes, c: NDArray[np.float32]) -> None:
    """Ours' a, theirs' e, c as given, everything else as it was."""
    assert content == save({**load(checkpoint(a=1, e=2)), "c": c})


AVERAGE = mean(noise("c", 1), noise("c", 2))


# what Git does by itself


def test_changes_to_different_groups_come_together_byte_for_byte(repo: GitRepo) -> None:
    diverge(repo, checkpoint(), checkpoint(b=1), checkpoint(e=1))
    stored = objects(repo)
    done = repo.run("git", "merge", "topic")
    assert repo.read(MODEL) == checkpoint(b=1, e=1)
    assert objects(repo) == stored
    assert b"possible conflict" in done.stderr
    assert status(repo) == ""


def test_a_group_that_both_changed_is_averaged_and_said_so(both: GitRepo) -> None:
    said = both.run("git", "merge", "topic").stderr.decode()
    check_combined(both.read(MODEL), AVERAGE)
    assert "combined        1  average: c" in said
    assert "average is the default" in said
    assert status(both) == ""


WAYS: dict[str, Callable[[GitRepo], object]] = {
    "merge": lambda repo: repo.git("merge", "topic"),
    "squash": lambda repo: (repo.git("merge", "--squash", "topic"), repo.commit()),
    "rebase": lambda repo: repo.git("rebase", "topic"),
    "cherry-pick": lambda repo: repo.git("cherry-pick", "topic"),
    "am": lambda repo: repo.git("rebase", "--apply", "topic"),
    "stash pop": lambda repo: (
        repo.git("checkout", "--quiet", "topic"),
        repo.git("checkout", "--quiet", "main~1"),
        repo.write(MODEL, checkpoint(a=1, c=1)),
        repo.git("stash"),
        repo.git("checkout", "--quiet", "topic"),
        repo.git("stash", "pop"),
    ),
}


@pytest.mark.parametrize("way", [way for way in WAYS if way != "am"])
def test_every_way_that_merges(both: GitRepo, way: str) -> None:
    WAYS[way](both)
    check_combined(both.read(MODEL), AVERAGE)


def test_a_revert_takes_back_one_change_and_keeps_the_others(repo: GitRepo) -> None:
    for content in (checkpoint(), checkpoint(a=1), checkpoint(a=1, b=1)):
        repo.write(MODEL, content)
        repo.commit()
    repo.git("revert", "--no-edit", "HEAD~1")
    assert repo.read(MODEL) == checkpoint(b=1)


def test_merge_tree_needs_no_worktree(both: GitRepo) -> None:
    if "--write-tree" not in both.run("git", "merge-tree", "-h", code=129).stdout.decode():
        pytest.skip("this Git has no merge-tree --write-tree")
    tree = both.git("merge-tree", "--write-tree", "main", "topic").splitlines()[0]
    both.git("merge", "topic")
    assert tree == both.git("rev-parse", "HEAD^{tree}")


def test_two_branches_that_both_began_the_file(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "topic")
    repo.write(MODEL, checkpoint(c=2))
    repo.commit("theirs")
    repo.git("checkout", "--quiet", "main")
    repo.write(MODEL, checkpoint(c=1))
    repo.commit("ours")
    repo.git("merge", "topic")
    assert repo.read(MODEL) == save({**load(checkpoint()), "c": AVERAGE})


def test_a_renamed_file_is_merged_under_its_new_name(repo: GitRepo) -> None:
    diverge(repo, checkpoint(), checkpoint(b=1), checkpoint(e=1))
    repo.git("mv", MODEL, "renamed.safetensors")
    repo.commit("rename")
    repo.git("merge", "topic")
    assert repo.read("renamed.safetensors") == checkpoint(b=1, e=1)


def test_a_criss_cross_history(repo: GitRepo) -> None:
    """Both branches merged each other's first commits before they went on."""
    diverge(repo, checkpoint(), checkpoint(a=1), checkpoint(b=1))
    first, second = repo.git("rev-parse", "main"), repo.git("rev-parse", "topic")
    repo.git("merge", "--quiet", "--no-edit", second)
    repo.git("checkout", "--quiet", "topic")
    repo.git("merge", "--quiet", "--no-edit", first)
    repo.write(MODEL, checkpoint(a=1, b=1, d=1))
    repo.commit("theirs")
    repo.git("checkout", "--quiet", "main")
    repo.write(MODEL, checkpoint(a=1, b=1, c=1))
    repo.commit("ours")
    assert len(repo.git("merge-base", "--all", "main", "topic").splitlines()) == 2
    repo.git("merge", "topic")
    assert repo.read(MODEL) == checkpoint(a=1, b=1, c=1, d=1)


def test_groups_and_metadata_added_on_both_sides(repo: GitRepo) -> None:
    def version(names: str, **metadata: str) -> bytes:
        content: bytes = save({name: noise(name, 0, 64) for name in names}, metadata or None)
        return content

    diverge(repo, version("ab", by="base"), version("abx", by="base", ours="1"), version("aby", by="theirs"))
    repo.git("merge", "topic")
    assert {name: value.tobytes() for name, value in load(repo.read(MODEL)).items()} == {
        name: noise(name, 0, 64).tobytes() for name in "abxy"
    }
    header = repo.read(MODEL)[8:]
    found = json.loads(header[: int.from_bytes(repo.read(MODEL)[:8], "little")])
    assert found["__metadata__"] == {"by": "theirs", "ours": "1"}


def test_objects_of_the_other_side_are_fetched(both: GitRepo) -> None:
    bare(both)
    both.git("push", "--quiet", "origin", "main", "topic")
    copy = clone(both, "origin.git", "copy", **SKIP)
    assert objects(copy) == []
    copy.git("merge", "--quiet", "origin/topic")
    check_combined(copy.read(MODEL), AVERAGE)


def test_objects_that_cannot_be_had_leave_ours_and_say_so(both: GitRepo) -> None:
    both.git("checkout", "--quiet", "main~1")
    for path in objects(both):
        path.unlink()
    both.git("checkout", "--quiet", "main")
    done = both.run("git", "merge", "topic", code=1)
    assert b"not merged, ours stands" in done.stderr
    both.git("merge", "--abort")
    assert both.git("status", "--porcelain") == ""


# who chooses


def test_environment_before_attribute_before_configuration(both: GitRepo) -> None:
    both.git("config", "theta.merge", "theirs")
    both.git("merge", "--quiet", "topic")
    check_combined(both.read(MODEL), noise("c", 2))
    both.git("reset", "--quiet", "--hard", "HEAD~1")
    both.theta("track", "--merge", "average:weight=0.25", MODEL)
    both.commit("attribute")
    both.git("merge", "--quiet", "topic")
    quarter = (0.75 * noise("c", 1).astype(np.float64) + 0.25 * noise("c", 2).astype(np.float64)).astype(np.float32)
    check_combined(both.read(MODEL), quarter)
    both.git("reset", "--quiet", "--hard", "HEAD~1")
    both.git("-c", "theta.merge=ours", "merge", "--quiet", "topic")
    check_combined(both.read(MODEL), noise("c", 1))
    both.git("reset", "--quiet", "--hard", "HEAD~1")
    both.run("git", "merge", "--quiet", "topic", env={"GIT_THETA_MERGE": "conflict"}, code=1)
    assert both.read(MODEL) == checkpoint(a=1, c=1, e=2)


def test_a_strategy_that_does_not_exist_leaves_ours(both: GitRepo) -> None:
    both.git("config", "theta.merge", "averge")
    done = both.run("git", "merge", "topic", code=1)
    assert b"average" in done.stderr
    assert both.read(MODEL) == checkpoint(a=1, c=1)


def test_patterns_choose_for_groups(both: GitRepo) -> None:
    both.git("-c", "theta.merge=average;[a-c]=theirs", "merge", "--quiet", "topic")
    check_combined(both.read(MODEL), noise("c", 2))


# conflicts


def test_a_conflict_leaves_a_loadable_checkpoint_and_all_stages(conflict: GitRepo) -> None:
    assert conflict.read(MODEL) == counted(2, a=1, e=2)
    assert [line.split()[2] for line in conflict.git("ls-files", "--stage", MODEL).splitlines()] == ["1", "2", "3"]
    conflict.git("merge", "--abort")
    assert conflict.read(MODEL) == counted(2, a=1)
    assert status(conflict) == ""


@pytest.mark.parametrize(
    ("option", "steps"), [("--ours", 2), ("--theirs", 3), ("--base", 1), ("--group=ste*=theirs", 3)]
)
def test_resolve_finishes(conflict: GitRepo, option: str, steps: int) -> None:
    conflict.theta("resolve", option)
    assert conflict.read(MODEL) == counted(steps, a=1, e=2)
    assert conflict.git("diff", "--name-only") == ""
    conflict.git("commit", "--no-edit")
    assert status(conflict) == ""


def test_resolve_writes_nothing_while_something_is_open(conflict: GitRepo) -> None:
    done = conflict.run("git", "theta", "resolve", "--strategy", "average", code=1)
    assert b"it was not written" in done.stderr
    assert len(conflict.git("ls-files", "--unmerged", MODEL).splitlines()) == 3


def test_adding_an_open_conflict_warns(conflict: GitRepo) -> None:
    assert b"git theta resolve" in conflict.run("git", "add", MODEL).stderr
    assert b"git theta resolve" not in conflict.run("git", "status").stderr


def test_either_side_can_be_taken_whole(conflict: GitRepo) -> None:
    conflict.git("checkout", "--theirs", "--", MODEL)
    assert conflict.read(MODEL) == counted(3, e=2)
    assert conflict.run("git", "add", MODEL).stderr == b""


def test_what_was_chosen_is_remembered(conflict: GitRepo) -> None:
    conflict.theta("resolve", "--theirs")
    conflict.git("merge", "--abort")
    conflict.git("merge", "--quiet", "topic")
    assert conflict.read(MODEL) == counted(3, a=1, e=2)


def test_memory_overrules_nobody_and_can_be_told_to_forget(both: GitRepo) -> None:
    """It answers where a setting that stays leaves a conflict, and says so; never what somebody wants just now."""
    ours = both.git("rev-parse", "HEAD")
    both.git("config", "theta.merge", "conflict")
    both.git("merge", "topic", code=1)
    both.theta("resolve", "--theirs")

    def merge_again(code: int, strategy: str = "") -> str:
        both.git("reset", "--hard", "--quiet", ours)
        env = {"GIT_THETA_MERGE": strategy} if strategy else {}
        return both.run("git", "merge", "--quiet", "topic", env=env, code=code).stderr.decode()

    said = merge_again(0)
    assert "taken from theirs, remembered: c" in said
    assert "git theta resolve --forget" in said
    merge_again(1, "conflict")
    merge_again(0, "average")
    check_combined(both.read(MODEL), AVERAGE)
    assert "forgot 1 choice" in both.theta("resolve", "--forget", MODEL)
    merge_again(1)


def test_a_choice_is_remembered_for_its_own_file_and_once_it_is_written(both: GitRepo) -> None:
    both.git("-c", "theta.merge=conflict", "merge", "topic", code=1)
    both.write(".git/index.lock", b"")
    both.run("git", "theta", "resolve", "--ours", code=None)
    both.path.joinpath(".git/index.lock").unlink()
    assert "forgot 0 choices" in both.theta("resolve", "--forget")
    both.theta("resolve", "--theirs")
    assert "forgot 0 choices" in both.theta("resolve", "--forget", "other.safetensors")
    assert "forgot 1 choice" in both.theta("resolve", "--forget")


def test_what_was_added_undecided_can_still_be_resolved_by_name(conflict: GitRepo) -> None:
    conflict.git("add", MODEL)
    conflict.run("git", "theta", "resolve", "--theirs", code=1)
    conflict.theta("resolve", MODEL, "--theirs")
    assert conflict.read(MODEL) == counted(3, a=1, e=2)
    assert status(conflict) == f"M  {MODEL}"


def test_a_name_that_looks_like_an_option_or_a_pattern_is_merged_and_resolved(repo: GitRepo) -> None:
    names = ["-d.safetensors", ":colon.safetensors", "[x]*.safetensors"]
    for branch, steps in (("main", 1), ("topic", 3), ("main", 2)):
        repo.git("checkout", "--quiet", *(["-b"] if branch == "topic" else []), branch, code=None)
        for name in names:
            repo.write(name, counted(steps))
        repo.commit(str(steps))
    said = repo.run("git", "merge", "topic", code=1).stderr.decode()
    assert "git theta resolve ./-d.safetensors" in said
    done = repo.run(
        "git", "theta", "resolve", "--theirs", "nothing.safetensors", *(f"./{name}" for name in names), code=1
    )
    assert b"nothing.safetensors: is no unmerged checkpoint" in done.stderr
    repo.theta("resolve", "--theirs", *(f"./{name}" for name in names))
    assert {repo.read(name) for name in names} == {counted(3)}


def test_a_side_that_deleted_the_file_keeps_nothing_else_from_being_resolved(repo: GitRepo) -> None:
    repo.write("other.safetensors", counted(1))
    diverge(repo, counted(1), counted(2), counted(3))
    repo.git("checkout", "--quiet", "topic")
    repo.write("other.safetensors", counted(3))
    repo.commit("other")
    repo.git("checkout", "--quiet", "main")
    repo.git("rm", "--quiet", "other.safetensors")
    repo.commit("gone")
    repo.git("merge", "topic", code=1)
    done = repo.run("git", "theta", "resolve", "--ours", code=1)
    assert b"other.safetensors: our side deleted it" in done.stderr
    assert repo.read(MODEL) == counted(2)
    repo.theta("resolve", "--theirs", "other.safetensors")
    assert repo.read("other.safetensors") == counted(3)
    assert repo.git("ls-files", "--unmerged") == ""


def test_files_of_different_formats_can_only_be_taken_whole(repo: GitRepo, tmp_path: Path) -> None:
    arrays = tmp_path / "arrays.npz"
    np.savez(arrays, a=noise("a", 2))
    diverge(repo, checkpoint(), checkpoint(a=1), arrays.read_bytes())
    assert b"different formats" in repo.run("git", "merge", "topic", code=1).stderr
    repo.run("git", "theta", "resolve", "--strategy", "average", code=1)
    repo.theta("resolve", "--theirs")
    assert repo.read(MODEL) == arrays.read_bytes()


def test_a_rebase_asks_about_a_group_once(counters_differ: GitRepo, tmp_path: Path) -> None:
    repo = duplicate(counters_differ, tmp_path)
    for steps in range(4, 9):
        repo.write(MODEL, counted(steps, a=1))
        repo.commit(f"step {steps}")
    repo.git("rebase", "topic", code=1)
    repo.theta("resolve", "--theirs")
    repo.git("rebase", "--continue")
    assert repo.read(MODEL) == counted(8, a=1, e=2)


def test_the_three_versions_beside_the_file(both: GitRepo) -> None:
    both.run("git", "merge", "topic", env={"GIT_THETA_MANUAL_MERGE": "1"}, code=1)
    found = [both.read(f"model.{word}.safetensors") for word in ("base", "ours", "theirs")]
    assert found == [checkpoint(), checkpoint(a=1, c=1), checkpoint(c=2, e=2)]
    assert both.read(MODEL) == checkpoint(a=1, c=1)


def test_a_driver_that_is_killed_loses_nothing(both: GitRepo) -> None:
    both.git("config", "merge.theta.driver", "git-theta merge-driver -- %O %A %B %L %P & kill -9 $!; kill -9 $$")
    both.git("merge", "topic", code=None)
    both.git("merge", "--abort", code=None)
    both.git("reset", "--hard", "--quiet")
    assert both.read(MODEL) == checkpoint(a=1, c=1)
    both.git("config", "--unset", "merge.theta.driver")
    both.git("merge", "--quiet", "topic")
    check_combined(both.read(MODEL), AVERAGE)
