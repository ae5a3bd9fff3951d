"""The index after :func:`remember`: Git believes the files unchanged without reading them, and finds nothing wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from git_theta.gitio.index import Written, remember

PATHS = ["model", "a/deep/er/model.bin", "a/deep/other.bin", "ünï cödé", "x" * 200, "y", "yy", "yyy", "yyyyyyyy"]
"""Lengths around every multiple of eight, shared beginnings, bytes above 127."""


class Repo:
    """A repository whose filter writes down that it ran."""

    def __init__(self, root: Path, *init: str) -> None:
        self.root = root / "repo"
        self.log = root / "filter-ran"
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
            "HOME": str(root),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(root / "gitconfig"),
            "LC_ALL": "C",
        }
        subprocess.run(["git", "init", "-q", *init, str(self.root)], env=self.env, check=True)
        self.git("config", "filter.log.clean", f"echo ran >> '{self.log}' && cat")
        self.git("config", "user.name", "A")
        self.git("config", "user.email", "a@example.org")
        (self.root / ".git/info/attributes").write_text("* filter=log\n")
        for path in PATHS:
            self.write(path, age=1000)
        self.git("add", ".")
        self.git("commit", "-qm", "one")
        self.settle()

    @property
    def index(self) -> Path:
        return self.root / ".git/index"

    def git(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.root, env=self.env, capture_output=True, check=False)
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode()

    def write(self, path: str, age: int = 10) -> os.stat_result:
        """Write a file anew, with the content it always has, some seconds ago."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_bytes(path.encode() * 5)
        moment = place.stat().st_mtime_ns - age * 10**9
        os.utime(place, ns=(moment, moment))
        return place.lstat()

    def settle(self) -> None:
        """Let Git look at every file, and forget that it did."""
        self.git("status")
        self.log.unlink(missing_ok=True)

    def rewrite(self, *paths: str) -> dict[bytes, Written]:
        """Write files anew, as a checkout of ours does."""
        return {
            os.fsencode(path): Written(self.git("rev-parse", f":{path}").strip(), self.write(path)) for path in paths
        }

    def assert_believed(self, clean: bool = True) -> None:
        """Git thinks the worktree clean without having run the filter, and the index sound."""
        assert (self.git("status", "--porcelain") == "") == clean
        assert not self.log.exists()
        self.git("fsck", "--strict")
        self.git("read-tree", "HEAD", "--index-output=.git/elsewhere")
        self.git("update-index", "--refresh", code=0 if clean else 1)
        assert not self.log.exists()


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path)


def version(repo: Repo) -> int:
    return int.from_bytes(repo.index.read_bytes()[4:8], "big")


def test_without_it_git_reads_every_file_again(repo: Repo) -> None:
    """The reason it exists, and the proof that the other tests can fail."""
    repo.rewrite(*PATHS)
    repo.git("status")
    assert len(repo.log.read_text().split()) == len(PATHS)


@pytest.mark.parametrize("number", [2, 4])
def test_every_path_is_believed(repo: Repo, number: int) -> None:
    repo.git("update-index", "--index-version", str(number))
    assert version(repo) == number
    files = repo.rewrite(*PATHS)
    before = repo.git("ls-files", "--stage", "-v")
    assert remember(repo.index, files) == set(files)
    assert repo.git("ls-files", "--stage", "-v") == before
    repo.assert_believed()


@pytest.mark.parametrize("path", PATHS)
def test_one_path_is_believed_and_the_others_keep_their_status(repo: Repo, path: str) -> None:
    before = repo.git("ls-files", "--debug").split(path)
    files = repo.rewrite(path)
    assert remember(repo.index, files) == set(files)
    assert len(repo.git("ls-files", "--debug").split(path)) == len(before)
    repo.assert_believed()


@pytest.mark.parametrize("number", [2, 4])
def test_sha256_repositories_are_understood(tmp_path: Path, number: int) -> None:
    repo = Repo(tmp_path, "--object-format=sha256")
    repo.git("update-index", "--index-version", str(number))
    files = repo.rewrite(*PATHS)
    assert remember(repo.index, files) == set(files)
    repo.assert_believed()


@pytest.mark.parametrize("number", [3, 4])
def test_extended_entries_are_understood(repo: Repo, number: int) -> None:
    """Intent to add and skip-worktree are flags that make an entry two bytes longer."""
    repo.write("a/new")
    repo.git("add", "-N", "a/new")
    repo.git("update-index", "--skip-worktree", "a/deep/other.bin", "yy")
    if number == 4:
        repo.git("update-index", "--index-version", "4")
    repo.settle()
    assert version(repo) == number
    files = repo.rewrite(*(path for path in PATHS if path not in ("a/deep/other.bin", "yy")))
    flags = repo.git("ls-files", "--stage", "-v")
    assert remember(repo.index, files) == set(files)
    assert repo.git("ls-files", "--stage", "-v") == flags
    repo.assert_believed(clean=False)  # the new file


EXTENSIONS: dict[str, Callable[[Repo], object]] = {
    "a cache of trees": lambda repo: repo.git("write-tree"),
    "an untracked cache": lambda repo: repo.git("update-index", "--untracked-cache"),
    "offsets for threads": lambda repo: (repo.git("config", "index.threads", "2"), repo.git("reset", "-q")),
    "a sparse index": lambda repo: repo.git("sparse-checkout", "set", "--cone", "--sparse-index", "a/deep"),
}


@pytest.mark.parametrize("extension", EXTENSIONS.values(), ids=list(EXTENSIONS))
def test_an_index_with_extensions_is_understood(repo: Repo, extension: Callable[[Repo], object]) -> None:
    extension(repo)
    repo.settle()
    files = repo.rewrite("a/deep/er/model.bin", "model", "yyy")
    assert remember(repo.index, files) == set(files)
    repo.assert_believed()


def test_a_split_index_is_left_to_git_or_right(repo: Repo) -> None:
    repo.git("update-index", "--split-index")
    repo.settle()
    files = repo.rewrite(*PATHS)
    done = remember(repo.index, files)
    assert repo.git("status", "--porcelain") == ""
    ran = len(repo.log.read_text().split()) if repo.log.exists() else 0
    assert ran == len(PATHS) - len(done)
    repo.git("fsck", "--strict")


class TestLeavesAlone:
    def unchanged(self, repo: Repo, files: dict[bytes, Written]) -> None:
        before = repo.index.read_bytes()
        assert remember(repo.index, files) == set()
        assert repo.index.read_bytes() == before
        assert not repo.index.with_name("index.lock").exists()

    def test_an_entry_of_another_blob(self, repo: Repo) -> None:
        status = repo.write("model")
        self.unchanged(repo, {b"model": Written("0" * 40, status)})

    def test_a_path_that_is_not_there(self, repo: Repo) -> None:
        (written,) = repo.rewrite("model").values()
        self.unchanged(repo, {b"mode": written, b"model/": written, b"": written})

    def test_nothing_at_all(self, repo: Repo) -> None:
        self.unchanged(repo, {})

    def test_entries_of_a_conflict(self, repo: Repo) -> None:
        blob = repo.git("rev-parse", ":model").strip()
        stages = "".join(f"100644 {blob} {stage}\tmodel\n" for stage in (1, 2, 3))
        subprocess.run(
            ["git", "update-index", "--index-info"],
            cwd=repo.root, env=repo.env, check=True, input=f"0 {'0' * 40}\tmodel\n{stages}".encode(),
        )  # fmt: skip
        self.unchanged(repo, {b"model": Written(blob, repo.write("model"))})

    @pytest.mark.parametrize("keep", [0, 4, 11, 12, 100, -20, -1])
    def test_an_index_that_is_cut(self, repo: Repo, keep: int) -> None:
        files = repo.rewrite("model")
        repo.index.write_bytes(repo.index.read_bytes()[:keep])
        self.unchanged(repo, files)

    def test_an_index_with_any_flipped_bit(self, repo: Repo) -> None:
        files = repo.rewrite("model")
        whole = repo.index.read_bytes()
        for at in range(0, len(whole), 17):
            repo.index.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
            self.unchanged(repo, files)

    @pytest.mark.parametrize("data", [b"", b"DIRC", bytes(12), bytes(20), bytes(32), bytes(1000), b"DIRC" + bytes(996)])
    def test_what_is_no_index(self, repo: Repo, data: bytes) -> None:
        files = repo.rewrite("model")
        repo.index.write_bytes(data)
        self.unchanged(repo, files)

    def test_an_index_that_is_locked(self, repo: Repo) -> None:
        files = repo.rewrite("model")
        lock = repo.index.with_name("index.lock")
        lock.write_bytes(b"another process's")
        before = repo.index.read_bytes()
        assert remember(repo.index, files) == set()
        assert repo.index.read_bytes() == before
        assert lock.read_bytes() == b"another process's"

    def test_an_index_that_is_not_there(self, repo: Repo) -> None:
        files = repo.rewrite("model")
        repo.index.unlink()
        assert remember(repo.index, files) == set()
        assert not repo.index.exists()
        assert not repo.index.with_name("index.lock").exists()


def test_a_checksum_that_is_switched_off_stays_off(repo: Repo) -> None:
    """index.skipHash of newer versions of Git: twenty zero bytes."""
    repo.index.write_bytes(repo.index.read_bytes()[:-20] + bytes(20))
    files = repo.rewrite("model")
    assert remember(repo.index, files) == set(files)
    assert repo.index.read_bytes().endswith(bytes(20))


def test_the_mode_of_the_index_is_kept(repo: Repo) -> None:
    repo.index.chmod(0o640)
    assert remember(repo.index, repo.rewrite("model"))
    assert repo.index.stat().st_mode & 0o777 == 0o640


def test_a_change_after_it_is_seen(repo: Repo) -> None:
    files = repo.rewrite("model")
    assert remember(repo.index, files)
    (repo.root / "model").write_bytes(b"MODEL" * 5)  # the same size, another time
    assert repo.git("status", "--porcelain") == " M model\n"


def test_a_file_about_to_be_written_is_read_again(repo: Repo) -> None:
    """Should we die in between, Git must not take the half-known file for the one it remembers."""
    (path, written), = repo.rewrite("model").items()  # fmt: skip
    assert remember(repo.index, {path: written}) == {path}
    assert remember(repo.index, {path: Written(written.blob, None)}) == {path}
    assert repo.git("status", "--porcelain") == ""
    assert repo.log.exists()


def test_a_worktree_s_own_index_is_understood(repo: Repo) -> None:
    repo.git("worktree", "add", "-q", "../other")
    other = repo.root.parent / "other"
    index = Path(repo.git("-C", str(other), "rev-parse", "--path-format=absolute", "--git-path", "index").strip())
    repo.git("-C", str(other), "status")
    blob = repo.git("rev-parse", ":model").strip()
    (other / "model").unlink()
    (other / "model").write_bytes(b"model" * 5)
    os.utime(other / "model", ns=(10**18, 10**18))
    repo.log.unlink(missing_ok=True)
    assert remember(index, {b"model": Written(blob, (other / "model").lstat())}) == {b"model"}
    assert repo.git("-C", str(other), "diff-files") == ""
