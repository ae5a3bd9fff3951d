"""History migrated and migrated back: what matches is converted in every commit, and not a byte else is changed."""

from __future__ import annotations

import json
import os
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.support import MODEL, checkpoint, is_manifest, objects, status

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo

PATTERN = "*.safetensors"
MIGRATED, ORIGINAL = "refs/theta/migrated", "refs/theta/original"
OURS = b"filter=theta diff=theta merge=theta -text"
LFS = b"filter=lfs diff=lfs merge=lfs -text"
FIRST, SECOND, THIRD = checkpoint(), checkpoint(b=1), checkpoint(b=1, e=2)

needs_git_lfs = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


@pytest.fixture
def repo(repo: GitRepo) -> GitRepo:
    repo.git("config", "--global", "user.useConfigOnly", "true")
    return repo


def three_versions(repo: GitRepo) -> list[str]:
    """Notes, then three versions of a checkpoint, the last one a second time elsewhere; returns the commits."""
    repo.write("notes.txt", b"one\r\n")
    commits = [repo.commit("notes")]
    for content in (FIRST, SECOND):
        repo.write(MODEL, content)
        commits.append(repo.commit("model"))
    repo.write(MODEL, THIRD)
    repo.write(f"deep/er/{MODEL}", THIRD)
    return [*commits, repo.commit("third")]


def blob(repo: GitRepo, name: str) -> bytes:
    return repo.run("git", "cat-file", "blob", name).stdout


def raw(repo: GitRepo, name: str) -> bytes:
    return repo.run("git", "cat-file", repo.git("cat-file", "-t", name), name).stdout


def tree(repo: GitRepo, commit: str) -> dict[str, str]:
    """Path to mode, kind and id."""
    lines = repo.git("ls-tree", "-r", "-z", commit).split("\0")[:-1]
    return {path: entry for entry, _, path in (line.partition("\t") for line in lines)}


def smudged(repo: GitRepo, name: str) -> bytes:
    """The file that a manifest of history stands for."""
    return repo.run("git-theta", "smudge", stdin=blob(repo, name)).stdout


def refs(repo: GitRepo) -> str:
    return repo.git("for-each-ref")


def migrate(repo: GitRepo, *words: str | Path, code: int = 0) -> str:
    """Run the command and return all it said."""
    done = repo.run("git", "theta", "migrate", *words, code=code)
    return (done.stdout + done.stderr).decode()


def mapped(repo: GitRepo, *words: str) -> dict[str, str]:
    """Migrate, and return the map that was written."""
    file = repo.path.parent / "map"
    migrate(repo, *words, "--map", file)
    return dict(line.split(" ") for line in file.read_text().splitlines())


def refused(repo: GitRepo, *words: str, code: int = 1) -> str:
    """Migrate what cannot be, check that nothing changed, and return what was said."""
    before = refs(repo), repo.git("rev-parse", "HEAD", code=None), repo.git("status", "--porcelain", code=None)
    said = migrate(repo, *words, code=code)
    assert (
        refs(repo),
        repo.git("rev-parse", "HEAD", code=None),
        repo.git("status", "--porcelain", code=None),
    ) == before
    return said


# -- whole files to manifests ------------------------------------------------------------------------------


def test_every_version_becomes_a_manifest_that_gives_its_bytes_back(repo: GitRepo) -> None:
    old = three_versions(repo)
    new = mapped(repo, "import", "--from-blobs", PATTERN)
    assert list(new) == old[1:]
    for commit, content in zip(old[1:], (FIRST, SECOND, THIRD), strict=True):
        assert smudged(repo, f"{new[commit]}:{MODEL}") == content
    assert tree(repo, new[old[3]])[MODEL] == tree(repo, new[old[3]])[f"deep/er/{MODEL}"]
    assert repo.git("rev-parse", f"{MIGRATED}/heads/main", "main").split() == [new[old[3]], old[3]]
    assert repo.git("fsck", "--strict", "--no-dangling") == ""


def test_versions_share_the_groups_that_did_not_change(repo: GitRepo) -> None:
    old = three_versions(repo)
    new = mapped(repo, "import", "--from-blobs", PATTERN)
    lines = [blob(repo, f"{new[commit]}:{MODEL}").splitlines() for commit in old[1:]]
    changed = [line for line in lines[1] if line.startswith(b"group ") and line not in lines[0]]
    assert [line.split()[1] for line in changed] == [b"b"]


def test_the_attributes_line_is_in_every_commit_from_the_first_match_on(repo: GitRepo) -> None:
    old = three_versions(repo)
    repo.git("rm", "--quiet", "-r", MODEL, "deep")
    old.append(repo.commit("gone"))
    new = mapped(repo, "import", "--from-blobs", PATTERN)
    assert ".gitattributes" not in tree(repo, old[0])
    for commit in old[1:]:
        assert blob(repo, f"{new[commit]}:.gitattributes") == PATTERN.encode() + b" " + OURS + b"\n"


def test_other_lines_of_the_attributes_stay_as_they_are(repo: GitRepo) -> None:
    before = b"# mine\r\n*.txt  text\r\n*.safetensors  binary\r\n*.x foo"
    repo.write(".gitattributes", before)
    repo.write(MODEL, FIRST)
    old = repo.commit("first")
    after = blob(repo, mapped(repo, "import", "--from-blobs", PATTERN)[old] + ":.gitattributes")
    assert after == before.replace(b"  binary", b" binary " + OURS)


def test_only_what_the_pattern_matches_in_the_refs_named_is_touched(repo: GitRepo) -> None:
    repo.write(MODEL, FIRST)
    repo.write(f"models/{MODEL}", SECOND)
    repo.commit("both")
    repo.git("branch", "other")
    repo.git("tag", "v1")
    migrate(repo, "import", "--from-blobs", "/models/*.safetensors", "main", "v1")
    assert refs(repo).count(MIGRATED) == 2
    assert blob(repo, f"{MIGRATED}/tags/v1:{MODEL}") == FIRST
    assert is_manifest(blob(repo, f"{MIGRATED}/heads/main:models/{MODEL}"))


def test_several_patterns_each_get_their_line_when_their_first_file_comes(repo: GitRepo) -> None:
    repo.write(MODEL, FIRST)
    old = [repo.commit("one")]
    repo.write("model.pt", b"anything")
    old.append(repo.commit("two"))
    new = mapped(repo, "import", "--from-blobs", "*.pt", PATTERN)
    assert [blob(repo, f"{new[commit]}:.gitattributes").count(b"theta diff") for commit in old] == [1, 2]
    assert smudged(repo, f"{new[old[1]]}:model.pt") == b"anything"


def test_what_is_a_manifest_already_stays_and_a_second_run_finds_nothing_to_do(repo: GitRepo) -> None:
    three_versions(repo)
    migrate(repo, "import", "--from-blobs", PATTERN, "--in-place")
    before = refs(repo)
    assert migrate(repo, "import", "--from-blobs", PATTERN, "main").startswith(
        "rewrote 0 of 4 commits: 0 file versions"
    )
    assert refs(repo) == before


def test_links_submodules_and_modes_stay(repo: GitRepo) -> None:
    three_versions(repo)
    (repo.path / "link.safetensors").symlink_to(MODEL)
    repo.write("run.safetensors", FIRST).chmod(0o755)
    repo.git("add", "--all")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub.safetensors")
    repo.git("commit", "--quiet", "-m", "odd")
    migrate(repo, "import", "--from-blobs", PATTERN)
    before, after = tree(repo, "main"), tree(repo, f"{MIGRATED}/heads/main")
    for path in ("link.safetensors", "sub.safetensors", "notes.txt"):
        assert after[path] == before[path]
    assert after["run.safetensors"].startswith("100755 blob")
    assert smudged(repo, f"{MIGRATED}/heads/main:run.safetensors") == FIRST


def test_names_that_are_no_text_are_only_bytes(repo: GitRepo) -> None:
    name = b"d\xe9j\xe0/m\n\xff.safetensors"
    path = os.path.join(os.fsencode(repo.path), name)
    os.makedirs(os.path.dirname(path))
    Path(os.fsdecode(path)).write_bytes(FIRST)
    repo.commit("odd name")
    migrate(repo, "import", "--from-blobs", PATTERN)
    listed = repo.run("git", "ls-tree", "-r", "-z", f"{MIGRATED}/heads/main").stdout.split(b"\0")
    oid = next(line.split()[2] for line in listed if line.endswith(b"\t" + name))
    assert smudged(repo, oid.decode()) == FIRST


# -- commits, tags and notes -------------------------------------------------------------------------------


def put(repo: GitRepo, kind: str, content: bytes) -> str:
    return repo.git("hash-object", "-t", kind, "-w", "--stdin", "--literally", stdin=content)


def test_commits_change_in_their_tree_and_parents_only(repo: GitRepo) -> None:
    root, first, second, third = three_versions(repo)
    trees = {commit: repo.git("rev-parse", f"{commit}^{{tree}}") for commit in (first, second, third)}
    person = b"Jos\xe9 <j@x> 1234567890 -1217"
    people = b"author " + person + b"\ncommitter A U Thor <> 0 +0000\n"
    latin = put(
        repo,
        "commit",
        f"tree {trees[second]}\nparent {first}\n".encode() + people + b"encoding ISO-8859-1\n\ncaf\xe9, no newline",
    )
    empty = put(repo, "commit", f"tree {trees[second]}\nparent {latin}\n".encode() + people + b"\n")
    signed = put(
        repo,
        "commit",
        f"tree {trees[third]}\nparent {empty}\n".encode()
        + people
        + b"gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\nx-more kept\n\nsigned\n",
    )
    merge = put(
        repo,
        "commit",
        f"tree {trees[third]}\nparent {signed}\nparent {root}\nparent {third}\n".encode()
        + people
        + b"mergetag object "
        + third.encode()
        + b"\n type commit\n tag x\n \n gpgsig\n\noctopus\n\n",
    )
    repo.git("update-ref", "refs/heads/main", merge)
    new = mapped(repo, "import", "--from-blobs", PATTERN)
    for old in (latin, empty, signed, merge):
        expected = raw(repo, old)
        if old == signed:
            expected = re.sub(rb"gpgsig .*END PGP SIGNATURE-----\n", b"", expected, flags=re.DOTALL)
        expected = expected.replace(
            repo.git("rev-parse", f"{old}^{{tree}}").encode(), repo.git("rev-parse", f"{new[old]}^{{tree}}").encode(), 1
        )
        for parent in repo.git("rev-parse", f"{old}^@").split():
            expected = expected.replace(b"parent " + parent.encode(), b"parent " + new.get(parent, parent).encode(), 1)
        assert raw(repo, new[old]) == expected
    assert root not in new


def test_a_dropped_signature_is_told_and_an_untouched_commit_keeps_its_own(repo: GitRepo) -> None:
    root, *_ = three_versions(repo)
    signed = raw(repo, root).replace(b"\n\n", b"\ngpgsig abc\n def\n\n", 1)
    new_root = put(repo, "commit", signed)
    child = put(
        repo,
        "commit",
        raw(repo, "main").replace(b"parent " + raw(repo, "main").split()[3], b"parent " + new_root.encode()),
    )
    also = put(repo, "commit", raw(repo, child).replace(b"\n\n", b"\ngpgsig abc\n\n", 1))
    repo.git("update-ref", "refs/heads/main", also)
    assert "1 signature was dropped" in migrate(repo, "import", "--from-blobs", PATTERN)
    assert raw(repo, f"{MIGRATED}/heads/main^") == signed
    assert b"gpgsig" not in raw(repo, f"{MIGRATED}/heads/main")


def test_annotated_tags_follow_with_their_words_and_without_their_signature(repo: GitRepo) -> None:
    old = three_versions(repo)
    repo.git("tag", "light")
    repo.git("tag", "-a", "-m", "words\n\nmore", "plain")
    repo.git("tag", "-a", "-m", "about a tag", "nested", "plain")
    repo.git("tag", "-a", "-m", "a tree", "of-tree", "main^{tree}")
    text = raw(repo, "plain").replace(b"tag plain", b"tag signed")
    repo.git(
        "tag", "signed", put(repo, "tag", text + b"-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n")
    )
    file = repo.path.parent / "map"
    said = migrate(repo, "import", "--from-blobs", PATTERN, "--map", file)
    new = dict(line.split() for line in file.read_text().splitlines())[old[3]].encode()
    assert "1 signature was dropped" in said
    for name in ("plain", "signed"):
        plain = raw(repo, "plain").replace(old[3].encode(), new)
        assert raw(repo, f"{MIGRATED}/tags/{name}") == plain.replace(b"tag plain", b"tag " + name.encode())
    assert (
        repo.git("rev-parse", f"{MIGRATED}/tags/light", f"{MIGRATED}/tags/nested^{{commit}}").split()
        == [new.decode()] * 2
    )
    assert f"{MIGRATED}/tags/of-tree" not in refs(repo)


def test_notes_stay_and_the_map_brings_them_along(repo: GitRepo) -> None:
    old = three_versions(repo)
    repo.git("notes", "add", "-m", "remember", old[3])
    before = repo.git("rev-parse", "refs/notes/commits")
    file = repo.path.parent / "map"
    migrate(repo, "import", "--from-blobs", PATTERN, "--map", file)
    assert repo.git("rev-parse", "refs/notes/commits") == before
    repo.git("notes", "copy", "--stdin", stdin=file.read_bytes())
    assert repo.git("notes", "show", f"{MIGRATED}/heads/main") == "remember"


def test_replaced_objects_are_migrated_as_they_are(repo: GitRepo) -> None:
    old = three_versions(repo)
    repo.git("replace", old[3], old[1])
    new = mapped(repo, "import", "--from-blobs", PATTERN)
    assert len(new) == 3
    assert repo.git("--no-replace-objects", "log", "-1", "--format=%s", new[old[3]]) == "third"


# -- there and back ----------------------------------------------------------------------------------------


def test_import_and_export_of_whole_files_gives_the_very_same_commits(repo: GitRepo) -> None:
    three_versions(repo)
    repo.git("tag", "-a", "-m", "one", "v1")
    before = refs(repo)
    migrate(repo, "import", "--from-blobs", PATTERN, "--in-place")
    assert refs(repo) != before
    drop(repo)
    migrate(repo, "export", "--to-blobs", PATTERN, "--in-place")
    drop(repo)
    assert refs(repo) == before
    assert (repo.read(MODEL), status(repo)) == (THIRD, "")


def drop(repo: GitRepo) -> None:
    """Forget what an earlier migration kept, as its hint says."""
    repo.run("sh", "-c", f"git for-each-ref --format='delete %(refname)' {ORIGINAL} | git update-ref --stdin")


def lfs_history(repo: GitRepo) -> list[str]:
    """Two versions of a checkpoint under Git LFS."""
    repo.git("lfs", "install", "--skip-smudge")
    repo.git("lfs", "install", "--force")
    repo.git("lfs", "track", PATTERN)
    commits = []
    for content in (FIRST, SECOND):
        repo.write(MODEL, content)
        commits.append(repo.commit("model"))
    assert blob(repo, f"HEAD:{MODEL}").startswith(b"version https://git-lfs")
    return commits


def pointer(content: bytes) -> bytes:
    """What git-lfs commits in the place of ``content``."""
    oid = sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()


def media(repo: GitRepo, content: bytes) -> Path:
    oid = sha256(content).hexdigest()
    return repo.path / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid


@needs_git_lfs
def test_import_and_export_of_lfs_gives_the_very_same_commits(repo: GitRepo) -> None:
    old = lfs_history(repo)
    before = refs(repo)
    migrate(repo, "import", "--from-lfs", PATTERN, "--in-place")
    assert smudged(repo, f"main~1:{MODEL}") == FIRST
    assert blob(repo, "main:.gitattributes") == PATTERN.encode() + b" " + OURS + b"\n"
    assert (repo.read(MODEL), status(repo)) == (SECOND, "")
    assert repo.git("rev-parse", f"{ORIGINAL}/heads/main") == old[1]
    drop(repo)
    shutil.rmtree(repo.path / ".git" / "lfs")
    migrate(repo, "export", "--to-lfs", PATTERN, "--in-place")
    drop(repo)
    assert refs(repo) == before
    assert (media(repo, FIRST).read_bytes(), media(repo, SECOND).read_bytes()) == (FIRST, SECOND)
    assert (repo.read(MODEL), status(repo)) == (SECOND, "")
    repo.git("lfs", "fsck")


# -- Git LFS -----------------------------------------------------------------------------------------------


@needs_git_lfs
def test_pointers_whose_files_are_not_here_are_fetched_in_one_go(repo: GitRepo) -> None:
    lfs_history(repo)
    there = repo.path.parent / "there.git"
    repo.git("clone", "--quiet", "--bare", repo.path, there)
    repo.git("remote", "add", "origin", there)
    repo.git("lfs", "push", "--all", "origin")
    shutil.rmtree(repo.path / ".git" / "lfs" / "objects")
    migrate(repo, "import", "--from-lfs", PATTERN)
    assert smudged(repo, f"{MIGRATED}/heads/main~1:{MODEL}") == FIRST


@needs_git_lfs
def test_a_pointer_whose_file_is_nowhere_stops_before_anything_changed(repo: GitRepo) -> None:
    old = lfs_history(repo)
    (repo.path / MODEL).unlink()  # git status would put its bytes back
    media(repo, SECOND).unlink()
    said = refused(repo, "import", "--from-lfs", PATTERN, code=5)
    assert f"{old[1][:12]}:{MODEL}: object {sha256(SECOND).hexdigest()} cannot be had" in said
    assert "nothing was changed" in said


@needs_git_lfs
def test_a_damaged_lfs_file_stops_before_anything_changed(repo: GitRepo) -> None:
    old = lfs_history(repo)
    place = media(repo, FIRST)
    place.chmod(0o644)
    place.write_bytes(FIRST[:-1] + b"?")
    said = refused(repo, "import", "--from-lfs", PATTERN, "--in-place", code=4)
    assert f"{old[0][:12]}:{MODEL}: the file git-lfs keeps" in said


@needs_git_lfs
def test_a_clone_of_an_exported_history_needs_git_lfs_only(repo: GitRepo) -> None:
    three_versions(repo)
    migrate(repo, "import", "--from-blobs", PATTERN, "--in-place")
    drop(repo)
    migrate(repo, "export", "--to-lfs", PATTERN, "--in-place")
    repo.git("lfs", "install", "--skip-repo")
    there = repo.path.parent / "there.git"
    repo.git("init", "--quiet", "--bare", there)
    repo.git("remote", "add", "origin", there)
    repo.git("lfs", "push", "--all", "origin")
    repo.git("push", "--quiet", "origin", "main")
    repo.run("git", "clone", "--quiet", there, "clone", cwd="..")
    copy = repo.at(repo.path.parent / "clone")
    assert (copy.read(MODEL), copy.read(f"deep/er/{MODEL}")) == (THIRD, THIRD)


def test_what_is_no_pointer_is_left_and_told_with_the_option_that_takes_it(repo: GitRepo) -> None:
    old = three_versions(repo)
    said = refused(repo, "import", "--from-lfs", PATTERN, code=0)
    assert (
        f"3 matching file versions left as they are, being something else; the first is {old[1][:12]}:{MODEL}" in said
    )
    assert "hint: to convert them too: --from-blobs" in said


@needs_git_lfs
def test_pointers_and_whole_files_are_converted_together_when_both_are_asked_for(repo: GitRepo) -> None:
    old = three_versions(repo)
    lfs = lfs_history(repo)
    new = mapped(repo, "import", "--from-lfs", "--from-blobs", PATTERN)
    assert smudged(repo, f"{new[old[3]]}:{MODEL}") == THIRD
    assert smudged(repo, f"{new[lfs[1]]}:{MODEL}") == SECOND


def test_a_pointer_is_never_taken_for_a_whole_file(repo: GitRepo) -> None:
    repo.write(MODEL, pointer(b"12345"))
    repo.commit("pointer")
    said = refused(repo, "import", "--from-blobs", PATTERN, code=0)
    assert "hint: to convert them too: --from-lfs" in said
    extended = pointer(b"12345").replace(b"oid", b"ext-0-x sha256:" + b"b" * 64 + b"\noid", 1)
    repo.write(MODEL, extended)
    commit = repo.commit("extended")
    assert f"{commit[:12]}:{MODEL}: a pointer of a git-lfs extension" in refused(repo, "import", "--from-lfs", PATTERN)


def test_attributes_of_deeper_folders_follow_where_the_pattern_is_theirs(repo: GitRepo) -> None:
    repo.write(f"models/{MODEL}", pointer(b""))
    repo.write("models/.gitattributes", PATTERN.encode() + b" " + LFS + b" theta-format=opaque\n")
    repo.commit("lfs")
    assert "filter=" not in migrate(repo, "import", "--from-lfs", PATTERN)
    new = f"{MIGRATED}/heads/main"
    assert blob(repo, f"{new}:models/.gitattributes") == PATTERN.encode() + b" theta-format=opaque " + OURS + b"\n"
    assert smudged(repo, f"{new}:models/{MODEL}") == b""


def test_a_line_that_overrides_ours_is_told(repo: GitRepo) -> None:
    repo.write(f"models/{MODEL}", FIRST)
    repo.write("models/.gitattributes", b"model.* -filter\n")
    repo.commit("one")
    said = migrate(repo, "import", "--from-blobs", PATTERN)
    assert f"{MIGRATED}/heads/main: models/{MODEL} still has filter=unset" in said


def test_an_empty_file_is_its_own_manifest_and_its_own_pointer(repo: GitRepo) -> None:
    repo.write(MODEL, b"")
    before = repo.commit("empty")
    for direction, form in (("import", "--from-blobs"), ("export", "--to-lfs"), ("import", "--from-lfs")):
        migrate(repo, direction, form, PATTERN, "--in-place")
        assert (blob(repo, f"main:{MODEL}"), repo.read(MODEL), status(repo)) == (b"", b"", "")
        drop(repo)
    migrate(repo, "export", "--to-blobs", PATTERN, "--in-place")
    assert repo.git("rev-parse", "main") == before


# -- in place ----------------------------------------------------------------------------------------------


def test_in_place_moves_refs_keeps_the_old_ones_and_leaves_the_worktree_clean(repo: GitRepo) -> None:
    old = three_versions(repo)
    repo.git("branch", "old", old[1])
    repo.git("tag", "v1", old[2])
    repo.git("worktree", "add", "--quiet", "../linked", "old")
    migrate(repo, "import", "--from-blobs", PATTERN, "--in-place")
    kept = repo.git("for-each-ref", "--format=%(objectname) %(refname)", ORIGINAL).splitlines()
    assert kept == [f"{old[3]} {ORIGINAL}/heads/main", f"{old[1]} {ORIGINAL}/heads/old", f"{old[2]} {ORIGINAL}/tags/v1"]
    for place, content in ((repo, THIRD), (repo.at(repo.path.parent / "linked"), FIRST)):
        assert (place.read(MODEL), status(place)) == (content, "")
        assert is_manifest(blob(place, f"HEAD:{MODEL}"))
    assert repo.read("notes.txt") == b"one\r\n"
    assert repo.git("config", "filter.theta.process")
    assert "git theta migrate" in repo.git("reflog", "-1", "main")


def test_in_place_is_refused_while_anything_is_uncommitted_anywhere(repo: GitRepo) -> None:
    three_versions(repo)
    repo.git("worktree", "add", "--quiet", "--detach", "../linked")
    linked = repo.at(repo.path.parent / "linked")
    command = ("import", "--from-blobs", PATTERN, "--in-place")
    repo.write("notes.txt", b"changed")
    assert f"{repo.path}: notes.txt has uncommitted changes" in refused(repo, *command)
    repo.git("add", "notes.txt")
    assert "notes.txt has uncommitted changes" in refused(repo, *command)
    repo.git("reset", "--hard")
    linked.write(MODEL, FIRST)
    assert f"{linked.path}: {MODEL} has uncommitted changes" in refused(repo, *command)
    linked.git("reset", "--hard")
    repo.write(".gitattributes", b"mine")
    assert ".gitattributes is not tracked" in refused(repo, *command)
    (repo.path / ".gitattributes").unlink()
    linked.git("bisect", "start")
    assert "a bisection is under way" in refused(repo, *command)
    linked.git("bisect", "reset")
    migrate(repo, *command)


def test_a_second_migration_in_place_does_not_lose_what_the_first_kept(repo: GitRepo) -> None:
    three_versions(repo)
    migrate(repo, "import", "--from-blobs", PATTERN, "--in-place")
    said = refused(repo, "export", "--to-blobs", PATTERN, "--in-place")
    assert f"{ORIGINAL}/heads/main is kept from an earlier migration" in said


def test_a_worktree_that_cannot_follow_is_named_with_the_command_that_brings_it_along(repo: GitRepo) -> None:
    three_versions(repo)
    migrate(repo, "import", "--from-blobs", PATTERN, "--in-place")
    drop(repo)
    for key, value in (("smudge", "false"), ("required", "true")):
        repo.git("config", f"filter.lfs.{key}", value)
    said = migrate(repo, "export", "--to-lfs", PATTERN, "--in-place", code=1)
    assert f"the history is migrated; {repo.path} is not yet at its branch" in said
    assert f"hint: mend that, then in {repo.path}: git reset --hard" in said
    repo.git("config", "filter.lfs.smudge", "cat")
    repo.git("reset", "--hard")
    assert repo.read(MODEL) == pointer(THIRD)


def test_a_dirty_worktree_does_not_matter_to_new_refs(repo: GitRepo) -> None:
    three_versions(repo)
    repo.write("notes.txt", b"changed")
    migrate(repo, "import", "--from-blobs", PATTERN)
    assert repo.read("notes.txt") == b"changed"


def test_the_new_history_can_be_adopted_as_the_hint_says(repo: GitRepo) -> None:
    three_versions(repo)
    said = migrate(repo, "import", "--from-blobs", PATTERN)
    found = re.search("next: (git switch .*), and so on", said)
    assert found
    repo.run("sh", "-c", found[1])
    assert (repo.read(MODEL), status(repo)) == (THIRD, "")


def test_tags_and_branches_that_only_a_remote_has_are_spoken_of(repo: GitRepo) -> None:
    commits = three_versions(repo)
    repo.git("tag", "v1")
    repo.git("update-ref", "refs/remotes/origin/main", commits[1])
    said = repo.run("git", "theta", "migrate", "import", "--from-blobs", PATTERN, "--dry-run").stderr
    assert b"not migrated" not in said
    repo.git("update-ref", "refs/remotes/origin/side", repo.git("commit-tree", "-m", "side", "main^{tree}"))
    done = repo.run("git", "theta", "migrate", "import", "--from-blobs", PATTERN)
    assert f"git update-ref refs/tags/v1 {MIGRATED}/tags/v1" in done.stdout.decode()
    assert b"1 remote branch not migrated, such as origin/side" in done.stderr
    assert b"hint: git branch side origin/side" in done.stderr


# -- places, refusals, reports -----------------------------------------------------------------------------


def test_a_dry_run_counts_and_writes_nothing(repo: GitRepo) -> None:
    three_versions(repo)
    before = refs(repo), repo.git("count-objects", "-v"), sorted(repo.path.rglob("*"))
    said = migrate(repo, "import", "--from-blobs", PATTERN, "--dry-run", "--map", repo.path / "map")
    assert said.startswith(
        f"would rewrite 3 of 4 commits: 3 file versions ({len(FIRST) * 3 / 1000:.0f} kB) as manifests"
    )
    assert (refs(repo), repo.git("count-objects", "-v"), sorted(repo.path.rglob("*"))) == before


def test_json_says_what_was_done(repo: GitRepo) -> None:
    old = three_versions(repo)
    told = json.loads(repo.theta("migrate", "import", "--from-blobs", PATTERN, "--json"))
    new = repo.git("rev-parse", f"{MIGRATED}/heads/main")
    assert told == {
        "commits": 4,
        "rewritten": 3,
        "files": 3,
        "bytes": 3 * len(FIRST),
        "left": 0,
        "signatures_dropped": 0,
        "refs": [{"name": "refs/heads/main", "at": f"{MIGRATED}/heads/main", "old": old[3], "new": new}],
        "map": None,
        "dry_run": False,
    }


@pytest.mark.parametrize("options", [("--bare",), ("--bare", "--object-format=sha256")], ids=["sha1", "sha256"])
def test_a_bare_repository_of_either_hash_is_migrated(repo: GitRepo, options: tuple[str, ...]) -> None:
    bare = repo.at(repo.path.parent / "bare.git")
    repo.git("init", "--quiet", *options, bare.path)
    stream = [b"commit refs/heads/main\ncommitter A <a@b> 1 +0000\ndata 1\nx\n"]
    stream.append(b"M 100644 inline m.safetensors\ndata %d\n%s\n" % (len(FIRST), FIRST))
    bare.git("fast-import", "--quiet", stdin=b"".join(stream))
    before = bare.git("rev-parse", "main")
    migrate(bare, "import", "--from-blobs", PATTERN, "--in-place")
    assert smudged(bare, "main:m.safetensors") == FIRST
    drop(bare)
    migrate(bare, "export", "--to-blobs", PATTERN, "--in-place")
    assert bare.git("rev-parse", "main") == before
    assert bare.git("fsck", "--no-dangling") == ""


def test_a_checkpoint_whose_objects_are_gone_stops_the_export(repo: GitRepo) -> None:
    three_versions(repo)
    migrate(repo, "import", "--from-blobs", PATTERN, "--in-place")
    drop(repo)
    for path in objects(repo):
        path.unlink()
    said = refused(repo, "export", "--to-blobs", PATTERN, code=5)
    assert f"{repo.git('rev-parse', 'main~2')[:12]}:{MODEL}: object " in said


def test_a_damaged_object_stops_the_export_in_the_middle_and_changes_nothing(repo: GitRepo) -> None:
    three_versions(repo)
    migrate(repo, "import", "--from-blobs", PATTERN, "--in-place")
    drop(repo)
    for path in objects(repo):
        path.chmod(0o644)
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        path.write_bytes(content)
    said = refused(repo, "export", "--to-blobs", PATTERN, "--in-place", code=4)
    assert f"{repo.git('rev-parse', 'main~2')[:12]}:{MODEL}: group " in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("import", PATTERN), 2, "import needs --from-lfs or --from-blobs"),
        (("import", "--to-lfs", PATTERN), 2, "import needs --from-lfs or --from-blobs"),
        (("export", "--to-lfs", "--to-blobs", PATTERN), 2, "export needs --to-lfs or --to-blobs"),
        (("import", "--from-blobs"), 2, "Missing argument"),
        (("import", "--from-blobs", "*.pt"), 1, "no file of any commit matches '*.pt'"),
        (("import", "--from-blobs", PATTERN, "mian"), 1, "no file of any commit matches 'mian'"),
        (("import", "--from-blobs", "!x"), 2, "'!x' is not a pattern"),
        (("import", "--from-blobs", "*"), 2, "* matches .gitattributes"),
        (("import", "--from-blobs", PATTERN, "v1"), 1, "no commit to migrate"),
        (("import", "--from-blobs", PATTERN, "origin/main", "--in-place"), 2, "refs/remotes/origin/main is neither"),
    ],
)
def test_what_makes_no_sense_is_refused(repo: GitRepo, words: tuple[str, ...], code: int, said: str) -> None:
    three_versions(repo)
    repo.git("tag", "v1", "main^{tree}")
    repo.git("update-ref", "refs/remotes/origin/main", "main")
    assert said in refused(repo, *words, code=code)


def test_a_detached_head_is_no_ref(repo: GitRepo) -> None:
    three_versions(repo)
    repo.git("checkout", "--quiet", "--detach")
    assert "HEAD is neither a branch nor a tag" in refused(repo, "import", "--from-blobs", PATTERN, "HEAD", code=2)


def test_a_shallow_clone_is_refused(repo: GitRepo) -> None:
    three_versions(repo)
    repo.run("git", "clone", "--quiet", "--depth=1", f"file://{repo.path}", "shallow", cwd="..")
    shallow = repo.at(repo.path.parent / "shallow")
    assert "git fetch --unshallow" in refused(shallow, "import", "--from-blobs", PATTERN)


def test_attributes_that_are_a_link_stop_the_migration(repo: GitRepo) -> None:
    (repo.path / ".gitattributes").symlink_to("elsewhere")
    repo.write(MODEL, FIRST)
    commit = repo.commit("link")
    assert f"{commit[:12]}:.gitattributes: it is not a regular file" in refused(repo, "import", "--from-blobs", PATTERN)
