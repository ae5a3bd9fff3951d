"""What plain Git and ``git theta diff`` say about checkpoints that differ, in every place they are asked."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.e2e.support import MODEL, checkpoint, objects, track_checkpoints

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

HEADER = f"diff --theta a/{MODEL} b/{MODEL}"


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    """Two commits of a model; the second changed group c."""
    track_checkpoints(repo)
    repo.write(MODEL, checkpoint())
    repo.commit("first")
    repo.write(MODEL, checkpoint(c=1))
    repo.commit("second")
    return repo


def changed(said: str) -> list[str]:
    """Marks and names of the lines in a report."""
    return [line[:3] for line in said.splitlines() if line[:2] in ("~ ", "+ ", "- ", "> ")]


def in_json(repo: GitRepo, *args: str) -> list[dict[str, Any]]:
    document = json.loads(repo.theta("diff", "--format", "json", *args))
    files: list[dict[str, Any]] = document["files"]
    return files


def statistics(repo: GitRepo, *args: str) -> dict[str, Any]:
    ((group,),) = (file["groups"] for file in in_json(repo, *args))
    found: dict[str, Any] = group["statistics"]
    return found


@pytest.mark.parametrize("command", ["git", "theta"])
def test_commits_ranges_index_and_worktree_all_get_the_full_report(repo: GitRepo, command: str) -> None:
    ask = repo.git if command == "git" else repo.theta
    for between in (["HEAD~1", "HEAD"], ["HEAD~1..HEAD"], ["HEAD~1"], ["HEAD~1", "--", MODEL]):
        said = ask("diff", *between)
        assert said.splitlines()[0] == HEADER
        assert "1 changed, 5 unchanged" in said
        assert changed(said) == ["~ c"]
        assert "dense" in said
    repo.write(MODEL, checkpoint(c=1, e=1))
    assert changed(ask("diff")) == ["~ e"]
    assert changed(ask("diff", "HEAD~1")) == ["~ c", "~ e"]
    repo.git("add", MODEL)
    assert ask("diff") == ""
    assert changed(ask("diff", "--cached")) == ["~ e"]
    assert changed(ask("diff", "--staged", "HEAD~1")) == ["~ c", "~ e"]


def test_the_numbers_are_those_of_numpy(repo: GitRepo) -> None:
    from safetensors.numpy import load

    old, new = load(checkpoint())["c"].astype("f8"), load(checkpoint(c=1))["c"].astype("f8")
    found = statistics(repo, "HEAD~1", "HEAD")
    assert found["relative"] == pytest.approx(np.linalg.norm(new - old) / np.linalg.norm(old), rel=1e-6)
    assert found["largest"] == pytest.approx(np.abs(new - old).max(), rel=1e-6)
    assert (found["elements"], found["changed"]) == (old.size, int((old != new).sum()))


def test_a_diff_of_commits_starts_no_smudge_of_whole_files(repo: GitRepo) -> None:
    """Objects of groups that did not change are not needed."""
    for path in objects(repo):
        if path.stat().st_size > 40_000:  # the pack of the first commit, without group c of the second
            path.chmod(0o644)
            path.unlink()
    said = repo.git("diff", "HEAD~1", "HEAD")
    assert changed(said) == ["~ c"]
    assert "values not compared" in said
    assert "git theta fetch" in said
    assert "1 changed, 5 unchanged" in repo.theta("diff", "--stat", "HEAD~1", "HEAD")


def test_added_deleted_renamed_and_executable_files_are_told_as_git_tells_them(repo: GitRepo) -> None:
    first = repo.git("diff", "HEAD~2", "HEAD~1", "--", MODEL).splitlines()
    assert first[:2] == [f"diff --theta /dev/null b/{MODEL}", "new file mode 100644"]
    assert "6 added" in first[2]
    gone = repo.git("diff", "-R", "HEAD~2", "HEAD~1", "--", MODEL)
    assert gone.splitlines()[:2] == [f"diff --theta a/{MODEL} /dev/null", "deleted file mode 100644"]
    repo.git("mv", MODEL, "other.safetensors")
    renamed = repo.theta("diff", "--cached")
    assert f"rename from {MODEL}\nrename to other.safetensors" in renamed
    assert "rename to other.safetensors" in repo.git("diff", "--cached", "-M")
    repo.git("mv", "other.safetensors", MODEL)
    (repo.path / MODEL).chmod(0o755)
    for said in (repo.git("diff"), repo.theta("diff")):
        assert "old mode 100644\nnew mode 100755" in said


def test_the_sides_of_a_conflict_can_be_compared(repo: GitRepo) -> None:
    repo.git("checkout", "--quiet", "-b", "topic", "HEAD~1")
    repo.write(MODEL, checkpoint(c=2))
    repo.commit("theirs")
    repo.git("-c", "merge.theta.driver=false", "merge", "main", code=1)
    assert repo.git("diff").startswith(f"diff --cc {MODEL}")
    assert f"Unmerged path {MODEL}: ours compared with the worktree" in repo.theta("diff")
    assert changed(repo.theta("diff", "--theirs")) == ["~ c"]
    assert changed(repo.theta("diff", f":2:{MODEL}", f":3:{MODEL}")) == ["~ c"]
    assert changed(repo.theta("diff", f":1:{MODEL}", f":1:{MODEL}")) == []


def test_a_checkpoint_that_git_itself_held_before_is_compared_with_the_tracked_one(repo: GitRepo) -> None:
    repo.write("old.weights", checkpoint())
    repo.commit("plain")
    repo.theta("track", "*.weights")
    repo.git("rm", "--quiet", "--cached", "old.weights")
    repo.write("old.weights", checkpoint(b=1))
    repo.commit("tracked")
    assert changed(repo.theta("diff", "HEAD~1", "HEAD", "--", "old.weights")) == ["~ b"]
    assert changed(repo.git("diff", "HEAD~1", "HEAD", "--", "old.weights")) == ["~ b"]


def test_placeholders_are_compared_as_what_they_stand_for(repo: GitRepo) -> None:
    manifest = repo.run("git", "cat-file", "blob", f"HEAD~1:{MODEL}").stdout
    repo.write(MODEL, manifest)
    for said in (repo.git("diff"), repo.theta("diff")):
        assert changed(said) == ["~ c"]


def test_two_files_are_compared_outside_any_repository(repo: GitRepo) -> None:
    outside = repo.home / "outside"
    outside.mkdir()
    (outside / "a.safetensors").write_bytes(checkpoint())
    (outside / "b.safetensors").write_bytes(checkpoint(d=1))
    away = repo.at(outside)
    done = away.run("git-theta", "diff", "a.safetensors", "b.safetensors")
    assert changed(done.stdout.decode()) == ["~ d"]
    away.run("git-theta", "diff", "--exit-code", "a.safetensors", "b.safetensors", code=1)
    away.run("git-theta", "diff", "--exit-code", "a.safetensors", "a.safetensors")
    refused = away.run("git-theta", "diff", "HEAD", code=3)
    assert b"not in a Git repository" in refused.stderr
    assert changed(repo.theta("diff", "--no-index", str(outside / "a.safetensors"), MODEL)) == ["~ c"]
    assert repo.theta("diff", MODEL, os.devnull).startswith(f"diff --theta a/{MODEL} /dev/null\n")
    assert b"no file gone.pt" in repo.run("git", "theta", "diff", "--no-index", MODEL, "gone.pt", code=1).stderr
    shutil.copy(repo.path / MODEL, repo.path / "twin.safetensors")
    assert b"--no-index" in repo.run("git", "theta", "diff", MODEL, "twin.safetensors").stderr


def test_options_choose_groups_order_names_and_exit_code(repo: GitRepo) -> None:
    repo.write(MODEL, checkpoint(a=1, b=1, c=1))
    assert changed(repo.theta("diff", "--group", "[ab]")) == ["~ a", "~ b"]
    assert changed(repo.theta("diff", "--top", "1")) == ["~ a"]
    assert repo.theta("diff", "--name-only") == f"{MODEL}\ta\n{MODEL}\tb"
    repo.theta("diff", "--exit-code", code=1)
    repo.theta("diff", "--exit-code", "HEAD", "HEAD")
    assert "| group |" in repo.theta("diff", "--format", "markdown")
    repo.theta("diff", "--format", "json", "--output", "report.json")
    assert json.loads(repo.read("report.json"))["schema"] == 1


def test_wrong_revisions_are_refused_by_name(repo: GitRepo) -> None:
    done = repo.run("git", "theta", "diff", "nowhere", code=1)
    assert b"nowhere" in done.stderr
    assert b"unexpected" not in done.stderr


def test_log_and_show_give_one_line_per_group_and_the_report_with_ext_diff(repo: GitRepo) -> None:
    shown = repo.git("show", "--format=", "HEAD", "--", MODEL)
    assert [line.split()[0] for line in shown.splitlines() if line[:2] in ("-c", "+c")] == ["-c", "+c"]
    assert changed(repo.git("log", "-p", "--ext-diff", "--format=", "-1")) == ["~ c"]


def test_theta_asks_git_for_the_report_on_commits_and_stashes(repo: GitRepo) -> None:
    for words in (["show", "--format="], ["show", "--format=", "HEAD"], ["log", "-p", "-1", "--format="]):
        assert changed(repo.theta(*words)) == ["~ c"], words
    assert repo.theta("show", "--stat", "HEAD") == repo.git("show", "--stat", "HEAD")
    repo.write(MODEL, checkpoint(c=1, e=1))
    repo.git("stash")
    assert changed(repo.theta("stash", "show")) == ["~ e"]
    assert changed(repo.theta("stash", "show", "-p", "stash@{0}")) == ["~ e"]
    assert changed(repo.theta("stash", "show", "--stat")) == []


def test_a_checkpoint_comes_before_a_commit_of_its_name(repo: GitRepo) -> None:
    table = repo.theta("show", MODEL)
    assert repo.theta("show", f"HEAD:{MODEL}") == repo.theta("show", f"{MODEL}@HEAD") == table
    repo.git("tag", MODEL)
    assert repo.theta("show", MODEL) == table
    assert changed(repo.theta("show", "--format=", MODEL, "--")) == ["~ c"]
    done = repo.run("git", "theta", "show", "--json", "HEAD", code=2)
    assert b"--json is for one checkpoint" in done.stderr


def test_colours_follow_git_and_no_color(repo: GitRepo) -> None:
    assert "\x1b[" not in repo.git("diff", "HEAD~1")
    repo.git("config", "color.ui", "always")
    colourful = repo.at(repo.path, NO_COLOR="")
    assert "\x1b[" in colourful.git("diff", "HEAD~1")
    assert "\x1b[" in colourful.theta("diff", "HEAD~1")
    quiet = repo.at(repo.path, NO_COLOR="1")
    assert "\x1b[" not in quiet.theta("diff", "HEAD~1")


def test_a_diff_in_a_folder_below_finds_its_files(repo: GitRepo) -> None:
    (repo.path / "sub").mkdir()
    shutil.copy(repo.path / MODEL, repo.path / "sub" / MODEL)
    repo.commit("below")
    (repo.path / "sub" / MODEL).write_bytes(checkpoint(c=1, f=1))
    assert changed(repo.theta("diff", cwd="sub")) == ["~ f"]
    assert changed(repo.theta("diff", "--", MODEL, cwd="sub")) == ["~ f"]
    assert changed(repo.git("diff", cwd="sub")) == ["~ f"]


def test_a_program_of_the_users_gets_real_checkpoints(repo: GitRepo) -> None:
    """Git prefers the driver of an attribute to GIT_EXTERNAL_DIFF, which is also how difftool works."""
    program = repo.write("show.sh", b'#!/bin/sh\nfor file; do if [ -f "$file" ]; then wc -c <"$file"; fi; done\n')
    program.chmod(0o755)
    size = str(len(checkpoint()))
    said = repo.git("difftool", "--no-prompt", "--extcmd", str(program), "HEAD~1", "HEAD")
    assert said.split() == [size, size]
    said = repo.at(repo.path, GIT_EXTERNAL_DIFF=str(program)).git("diff", "HEAD~1", "HEAD")
    assert said.split().count(size) >= 2
    assert "diff --theta" not in said


def test_a_difftool_that_fails_is_told_to_git(repo: GitRepo) -> None:
    repo.git("difftool", "--no-prompt", "--trust-exit-code", "--extcmd", "false", "HEAD~1", "HEAD", code=128)


def test_difftool_compares_whole_folders_of_real_checkpoints(repo: GitRepo) -> None:
    program = repo.write("show.sh", b'#!/bin/sh\nfind "$@" -name "*.safetensors" -exec wc -c {} +\n')
    program.chmod(0o755)
    said = repo.git("difftool", "--dir-diff", "--extcmd", str(program), "HEAD~1", "HEAD")
    assert said.split().count(str(len(checkpoint()))) == 2


def scratch(repo: GitRepo) -> list[str]:
    """What lies in the store's folder for unfinished work."""
    folder = repo.path / ".git" / "theta" / "tmp"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_dirty_file_is_reported_as_it_is_now_whatever_its_time_says(repo: GitRepo) -> None:
    repo.write(MODEL, checkpoint(c=1, a=2))
    before = (repo.path / MODEL).stat()
    assert changed(repo.git("diff")) == ["~ a"]
    repo.write(MODEL, checkpoint(c=1, b=2))
    os.utime(repo.path / MODEL, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changed(repo.git("diff")) == ["~ b"]
    assert scratch(repo) == []


def test_a_dirty_file_is_read_by_clean_alone(repo: GitRepo) -> None:
    """Driver and command take what clean has found: it says how values are stored, which only a manifest tells."""
    repo.write(MODEL, checkpoint(c=1, a=2))
    assert "dense" in repo.git("diff")
    assert "dense" in repo.theta("diff")
    os.utime(repo.path / MODEL, (1, 1))
    repo.git("add", MODEL)
    os.utime(repo.path / MODEL, (2, 2))
    assert repo.git("diff") == repo.theta("diff") == ""
    assert scratch(repo) == []


@pytest.mark.parametrize("left", ["", "{}", "[1,2]", "\\377"])
def test_a_damaged_sighting_costs_a_reading_and_nothing_else(repo: GitRepo, left: str) -> None:
    repo.write(MODEL, checkpoint(c=1, a=2))
    script = f"#!/bin/sh\nfor file in .git/theta/tmp/sighting-*; do printf '{left}' >\"$file\"; done\n"
    wrapper = repo.write("wrapper.sh", f'{script}exec git-theta diff-driver "$@"\n'.encode())
    wrapper.chmod(0o755)
    repo.git("config", "diff.theta.command", str(wrapper))
    said = repo.git("diff")
    assert changed(said) == ["~ a"]
    assert "dense" not in said
