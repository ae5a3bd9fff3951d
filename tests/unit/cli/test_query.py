"""The words of ``git log`` that ``git theta log --group`` understands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest

from git_theta.cli.query import Query, parse_query

WHO = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One commit, and a file."""
    path = tmp_path_factory.mktemp("repo")
    subprocess.run(["git", "init", "--quiet", "."], cwd=path, check=True)
    subprocess.run(["git", *WHO, "commit", "--quiet", "--allow-empty", "-m", "x"], cwd=path, check=True)
    (path / "model.pt").write_bytes(b"")
    return path


def test_words_are_revisions_options_or_files(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=True, text=True).stdout.strip()
    assert parse_query([]) == Query(("HEAD",))
    assert parse_query(["HEAD", "model.pt"]) == Query((head,), paths=("model.pt",))
    assert parse_query(["HEAD..HEAD"]).revisions == (head, f"^{head}")
    assert parse_query(["--all", "--author=Ada", "--oneline"]) == Query((), ("--all",), ("--author=Ada",), oneline=True)
    assert parse_query([], ["gone.pt"]).paths == ("gone.pt",)
    assert [parse_query(words).most for words in (["-n", "3"], ["-n3"], ["-3"], ["--max-count=3"])] == [3] * 4


@pytest.mark.parametrize("words", [["-p"], ["--graph"], ["nosuch"], ["-n"], ["-n", "many"], ["--author", "Ada"]])
def test_a_word_that_is_not_understood_is_refused(
    repo: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(repo)
    with pytest.raises(click.UsageError):
        parse_query(words)
