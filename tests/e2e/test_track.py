"""track and untrack: what lands in .gitattributes, what it means to Git, and whose lines are left alone."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

OURS = "filter=theta diff=theta merge=theta -text"


def filter_of(repo: GitRepo, path: str) -> str:
    return repo.git("check-attr", "-z", "filter", "--", path).split("\0")[2]


def attributes(repo: GitRepo, folder: str = ".") -> str:
    return (repo.path / folder / ".gitattributes").read_text()


def refusal(repo: GitRepo, *args: str, code: int = 1, cwd: str = ".") -> str:
    return repo.run("git", "theta", *args, code=code, cwd=cwd).stderr.decode()


def test_track_writes_the_pattern_and_names_the_next_command(repo: GitRepo) -> None:
    said = repo.theta("track", "*.pt")
    assert attributes(repo) == f"*.pt {OURS}\n"
    assert "*.pt: tracked in .gitattributes (0 files)" in said
    assert "next: git add .gitattributes" in said


def test_tracking_twice_says_so_and_changes_nothing(repo: GitRepo) -> None:
    repo.theta("track", "*.pt")
    before = attributes(repo)
    assert "*.pt: already tracked in .gitattributes" in repo.theta("track", "*.pt")
    assert attributes(repo) == before


def test_track_installs_the_drivers_locally_where_none_are_in_force(repo: GitRepo) -> None:
    assert "wrote the theta filter, diff and merge drivers to .git/config (local)" in repo.theta("track", "*.pt")
    assert repo.git("config", "--local", "filter.theta.process") == "git-theta filter-process"


def test_track_leaves_configuration_alone_where_drivers_are_in_force(repo: GitRepo) -> None:
    repo.theta("install")
    assert "drivers" not in repo.theta("track", "*.pt")
    assert repo.git("config", "--local", "filter.theta.process", code=1) == ""


def test_a_name_with_spaces_is_quoted_as_git_reads_it(repo: GitRepo) -> None:
    repo.write("models/my model.pt", b"x")
    said = repo.theta("track", "models/my model.pt")
    assert attributes(repo) == f'"models/my model.pt" {OURS}\n'
    assert filter_of(repo, "models/my model.pt") == "theta"
    assert "next: git add .gitattributes 'models/my model.pt'" in said


def test_track_in_a_subfolder_writes_there(repo: GitRepo) -> None:
    repo.write("sub/deep/my model.pt", b"x")
    said = repo.theta("track", "deep/my model.pt", cwd="sub")
    assert attributes(repo, "sub") == f'"deep/my model.pt" {OURS}\n'
    assert not (repo.path / ".gitattributes").exists()
    assert filter_of(repo, "sub/deep/my model.pt") == "theta"
    assert "tracked in sub/.gitattributes (1 file)" in said
    assert "next: git add .gitattributes 'deep/my model.pt'" in said


def test_existing_files_with_wildcards_in_their_name_are_matched_exactly(repo: GitRepo) -> None:
    repo.write("shard[1].pt", b"x")
    repo.write("shard1.pt", b"x")
    repo.theta("track", "shard[1].pt")
    assert filter_of(repo, "shard[1].pt") == "theta"
    assert filter_of(repo, "shard1.pt") == "unspecified"


def test_filename_takes_wildcards_literally_before_the_file_exists(repo: GitRepo) -> None:
    repo.theta("track", "--filename", "best*.pt")
    assert filter_of(repo, "best*.pt") == "theta"
    assert filter_of(repo, "best1.pt") == "unspecified"


@pytest.mark.parametrize("typed", ["models", "models/", "./models", "other/../models/"])
def test_a_folder_means_every_file_below_it(repo: GitRepo, typed: str) -> None:
    repo.write("models/deep/a.pt", b"x")
    repo.write("other/b.pt", b"x")
    repo.theta("track", typed)
    assert attributes(repo) == f"models/** {OURS}\n"
    assert filter_of(repo, "models/deep/a.pt") == "theta"


def test_an_absolute_path_below_the_folder_becomes_relative(repo: GitRepo) -> None:
    path = repo.write("models/a.pt", b"x")
    repo.theta("track", str(path))
    assert attributes(repo) == f"models/a.pt {OURS}\n"


def test_a_leading_slash_stays_gits_sign_for_this_folder(repo: GitRepo) -> None:
    repo.theta("track", "/a.pt", "/no-such-folder/*.pt")
    assert attributes(repo) == f"/a.pt {OURS}\n/no-such-folder/*.pt {OURS}\n"


def test_a_path_outside_the_worktree_is_refused(repo: GitRepo) -> None:
    (repo.path.parent / "outside.pt").write_bytes(b"x")
    for typed in ("../outside.pt", str(repo.path.parent / "outside.pt")):
        assert "is outside the worktree" in refusal(repo, "track", typed, code=2)
    assert not (repo.path / ".gitattributes").exists()


def test_a_path_above_the_folder_names_the_command_that_works(repo: GitRepo) -> None:
    repo.write("sub/x", b"x")
    said = refusal(repo, "track", "../my model.pt", code=2, cwd="sub")
    assert f"hint: cd {repo.path.resolve()} && git theta track 'my model.pt'" in said


@pytest.mark.parametrize("typed", ["!*.pt", "", "[attr]x"])
def test_patterns_that_git_does_not_have_are_refused(repo: GitRepo, typed: str) -> None:
    assert refusal(repo, "track", "--", typed, code=2).startswith("git-theta: ")
    assert not (repo.path / ".gitattributes").exists()


@pytest.mark.parametrize("typed", ["*", "**", ".", ".git*"])
def test_a_pattern_that_takes_gits_own_files_is_refused(repo: GitRepo, typed: str) -> None:
    assert "matches .gitattributes, which Git must be able to read" in refusal(repo, "track", typed, code=2)


def test_track_needs_a_repository_and_a_worktree(repo: GitRepo, tmp_path: Path) -> None:
    assert "not a git repository" in refusal(repo.at(repo.home), "track", "*.pt", code=3)
    repo.git("init", "-q", "--bare", tmp_path / "bare.git")
    assert "has no worktree" in refusal(repo.at(tmp_path / "bare.git"), "track", "*.pt", code=3)


def test_every_other_line_and_attribute_stays(repo: GitRepo) -> None:
    repo.write(".gitattributes", b"# mine\r\n*.pt lockable export-ignore\r\n*.txt text")
    repo.theta("track", "*.pt", "*.bin")
    assert repo.read(".gitattributes") == (
        f"# mine\r\n*.pt lockable export-ignore {OURS}\r\n*.txt text\r\n*.bin {OURS}\r\n".encode()
    )


def test_the_mode_of_the_attributes_file_stays(repo: GitRepo) -> None:
    repo.write(".gitattributes", b"# mine\n").chmod(0o600)
    repo.theta("track", "*.pt")
    assert stat.S_IMODE((repo.path / ".gitattributes").stat().st_mode) == 0o600
    assert sorted(os.listdir(repo.path)) == [".git", ".gitattributes"]


def test_a_pattern_of_another_filter_is_refused_and_replace_converts_its_line(repo: GitRepo) -> None:
    repo.write(".gitattributes", b"*.pt filter=lfs diff=lfs merge=lfs -text lockable\n")
    said = refusal(repo, "track", "*.pt")
    assert "already goes through filter=lfs" in said
    assert "hint: to take it over: git theta track --replace '*.pt'" in said
    assert attributes(repo) == "*.pt filter=lfs diff=lfs merge=lfs -text lockable\n"
    assert "*.pt: replaced in .gitattributes" in repo.theta("track", "--replace", "*.pt")
    assert attributes(repo) == f"*.pt lockable {OURS}\n"


def test_a_file_that_another_pattern_gives_to_lfs_is_refused(repo: GitRepo) -> None:
    repo.write(".gitattributes", b"*.pt filter=lfs diff=lfs merge=lfs -text\n")
    repo.write("models/a.pt", b"x")
    assert "models/a.pt already goes through filter=lfs" in refusal(repo, "track", "models/*")
    assert "models/new.pt already goes through filter=lfs" in refusal(repo, "track", "models/new.pt")
    assert "models/sub/*.pt already goes through filter=lfs" in refusal(repo, "track", "models/sub/*.pt")
    repo.theta("track", "--replace", "models/*")
    assert filter_of(repo, "models/a.pt") == "theta"
    assert filter_of(repo, "b.pt") == "lfs"


def test_a_refused_pattern_leaves_the_others_of_the_command_unwritten(repo: GitRepo) -> None:
    repo.write(".gitattributes", b"*.pt filter=lfs\n")
    refusal(repo, "track", "*.bin", "*.pt")
    assert attributes(repo) == "*.pt filter=lfs\n"


def test_a_deeper_line_that_wins_is_named(repo: GitRepo) -> None:
    repo.write("sub/.gitattributes", b"*.pt filter=other\n")
    repo.write("sub/a.pt", b"x")
    said = repo.run("git", "theta", "track", "--replace", "*.pt").stderr.decode()
    assert "sub/a.pt: filter is still other, because another line wins" in said


def test_another_line_that_takes_minus_text_back_is_named_by_track_and_status(repo: GitRepo) -> None:
    repo.write("sub/.gitattributes", b"* text=auto eol=crlf\n")
    repo.write("sub/a.pt", b"x")
    said = repo.run("git", "theta", "track", "*.pt").stderr.decode()
    assert "sub/a.pt: text is still auto, because another line wins" in said
    repo.git("add", ".")
    assert "sub/a.pt: another line of attributes takes -text back" in repo.theta("status")
    assert json.loads(repo.theta("status", "--json"))["converted"] == ["sub/a.pt"]
    repo.write("sub/.gitattributes", b"*.txt text=auto eol=crlf\n")
    assert repo.run("git", "theta", "track", "*.pt").stderr == b""
    assert "-text" not in repo.theta("status")


def test_files_already_in_the_index_need_renormalize(repo: GitRepo) -> None:
    repo.write("a.pt", b"x")
    repo.commit("plain")
    repo.write("b.pt", b"x")
    done = repo.run("git", "theta", "track", "*.pt")
    assert b"1 matching file in the index as before" in done.stderr
    assert b"next: git add .gitattributes b.pt\n      git add --renormalize -- a.pt\n" in done.stdout


def test_dry_run_writes_nothing(repo: GitRepo) -> None:
    assert "*.pt: would be tracked in .gitattributes" in repo.theta("track", "--dry-run", "*.pt")
    assert not (repo.path / ".gitattributes").exists()
    assert repo.git("config", "filter.theta.process", code=1) == ""


def test_track_json_is_complete(repo: GitRepo) -> None:
    repo.write("a.pt", b"x")
    report = json.loads(repo.theta("track", "--json", "*.pt"))
    assert report == {
        "file": ".gitattributes",
        "patterns": [{"pattern": "*.pt", "status": "tracked", "files": ["a.pt"], "renormalize": []}],
        "installed": ".git/config",
        "next": ["git add .gitattributes a.pt"],
        "dry_run": False,
    }


def test_without_patterns_track_lists_them_with_their_files(repo: GitRepo) -> None:
    assert repo.theta("track").startswith("no patterns are tracked")
    repo.theta("track", "*.pt")
    repo.write("sub/.gitattributes", f'"my model.bin" {OURS}\n*.txt text\n'.encode())
    repo.write(".git/info/attributes", f"*.gguf {OURS}\n".encode())
    assert repo.theta("track", cwd="sub") == (
        "Tracked patterns\n"
        "    *.pt (.gitattributes)\n"
        "    my model.bin (sub/.gitattributes)\n"
        "    *.gguf (.git/info/attributes)"
    )
    listed = json.loads(repo.theta("track", "--json"))
    assert listed["patterns"][1] == {"pattern": "my model.bin", "source": "sub/.gitattributes", "merge": None}


@pytest.mark.parametrize("typed", [["--merge", "ours"], ["--replace"], ["--filename"]])
def test_options_without_a_pattern_are_an_error_that_says_what_to_type(repo: GitRepo, typed: list[str]) -> None:
    said = refusal(repo, "track", *typed, code=2)
    assert f"git theta track {' '.join(typed)} '*.safetensors'" in said


def test_a_merge_policy_is_written_as_git_reads_it_and_listed(repo: GitRepo) -> None:
    repo.theta("track", "--merge", " average; *.bias = ours ;head.*=ties: density=0.3, lambda=2", "*.pt")
    policy = "average;*.bias=ours;head.*=ties:density=0.3,lambda=2"
    assert attributes(repo) == f"*.pt {OURS} theta-merge={policy}\n"
    assert repo.git("check-attr", "theta-merge", "--", "a.pt") == f"a.pt: theta-merge: {policy}"
    assert repo.theta("track") == f"Tracked patterns\n    *.pt (.gitattributes), merged by {policy}"
    assert json.loads(repo.theta("track", "--json"))["patterns"][0]["merge"] == policy


@pytest.mark.parametrize("policy", ["average;my group=ours", "average;'*.bias'=ours", 'average;a"b=ours', "a\tb=ours"])
def test_a_merge_policy_that_no_line_can_hold_is_refused(repo: GitRepo, policy: str) -> None:
    assert "a line of .gitattributes cannot hold" in refusal(repo, "track", "--merge", policy, "*.pt", code=2)
    assert not (repo.path / ".gitattributes").exists()


def test_another_line_that_overrides_the_merge_policy_is_named(repo: GitRepo) -> None:
    repo.write("sub/.gitattributes", b"*.pt theta-merge=ours\n")
    repo.write("sub/a.pt", b"x")
    said = repo.run("git", "theta", "track", "--merge", "slerp", "*.pt").stderr.decode()
    assert "sub/a.pt: theta-merge is still ours, because another line wins" in said


def test_a_line_that_git_ignores_is_no_tracked_pattern_and_does_not_win(repo: GitRepo) -> None:
    repo.write(".gitattributes", f"*.pt {OURS} theta-merge=average; *.bias=ours\n".encode())
    repo.write("a.pt", b"x")
    assert "no patterns are tracked" in repo.theta("track")
    assert "another line wins" not in repo.run("git", "theta", "track", "*.pt").stderr.decode()
    assert filter_of(repo, "a.pt") == "theta"


def test_names_that_are_no_text_are_tracked_and_listed(repo: GitRepo) -> None:
    name = os.fsdecode(b"caf\xe9.pt")
    assert b"caf\xe9.pt: tracked" in repo.run("git", "theta", "track", "--filename", name).stdout
    assert repo.read(".gitattributes") == b"caf\xe9.pt " + OURS.encode() + b"\n"
    assert b"caf\xe9.pt (.gitattributes)" in repo.run("git", "theta", "track").stdout


def test_untrack_takes_only_our_attributes_away(repo: GitRepo) -> None:
    repo.write(".gitattributes", f"# mine\n*.pt lockable {OURS}\n*.bin {OURS}\n".encode())
    said = repo.theta("untrack", "*.pt", "*.bin")
    assert attributes(repo) == "# mine\n*.pt lockable\n"
    assert "*.pt: untracked in .gitattributes" in said
    assert "next: git add .gitattributes" in said


def test_untrack_finds_a_pattern_typed_as_it_stands_or_as_the_file_it_names(repo: GitRepo) -> None:
    repo.write("a[1].pt", b"x")
    for typed in ("a[1].pt", "a\\[1].pt", "./a[1].pt"):
        repo.theta("track", "a[1].pt")
        repo.theta("untrack", typed)
        assert attributes(repo) == ""


def test_untrack_of_a_pattern_that_is_elsewhere_says_where(repo: GitRepo) -> None:
    repo.write("sub/.gitattributes", f"*.pt {OURS}\n".encode())
    assert "hint: it is in sub/.gitattributes" in refusal(repo, "untrack", "*.pt")
    assert "hint: to list: git theta track" in refusal(repo, "untrack", "*.bin")


def test_untrack_says_that_files_will_be_stored_whole(repo: GitRepo) -> None:
    repo.write("a.pt", b"x")
    repo.commit("plain")
    repo.theta("track", "*.pt")
    said = repo.theta("untrack", "*.pt")
    assert "git add --renormalize .\n      (the second stores 1 checkpoint whole in Git)" in said


def test_untrack_dry_run_and_json_report_without_writing(repo: GitRepo) -> None:
    repo.theta("track", "*.pt")
    before = attributes(repo)
    assert "*.pt: would be untracked" in repo.theta("untrack", "--dry-run", "*.pt")
    assert json.loads(repo.theta("untrack", "--dry-run", "--json", "*.pt"))["patterns"] == ["*.pt"]
    assert attributes(repo) == before


def test_a_symlinked_attributes_file_is_refused(repo: GitRepo) -> None:
    repo.write("elsewhere", b"# mine\n")
    (repo.path / ".gitattributes").symlink_to("elsewhere")
    assert "is a symbolic link, which Git does not follow" in refusal(repo, "track", "*.pt")
    assert repo.read("elsewhere") == b"# mine\n"
