"""What the second cleaning in one ``git diff`` takes over from the first, and when it does not."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from git_theta.cli.sighting import ChangedWhileDiffed, Sighting
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.gitio.process import ask_git

MODEL, MANIFEST = "model.npy", b"a manifest"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A repository in which ``git diff`` has just cleaned a file of 100 bytes."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    ask_git("init", "--quiet", cwd=tmp_path)
    (tmp_path / MODEL).write_bytes(bytes(100))
    opened = open_workspace(tmp_path)
    opened.__dict__["caller"] = "diff"  # as /proc would say
    Sighting(opened, MODEL).leave(MANIFEST)
    yield opened
    opened.close()


def test_an_unchanged_file_is_not_cleaned_twice(workspace: Workspace) -> None:
    content = io.BytesIO(bytes(100))
    assert Sighting(workspace, MODEL).again(content) == MANIFEST
    assert content.tell() == 100


def test_a_file_of_another_status_is_cleaned_anew(workspace: Workspace, tmp_path: Path) -> None:
    os.utime(tmp_path / MODEL, (1, 1))
    content = io.BytesIO(bytes(100))
    assert Sighting(workspace, MODEL).again(content) is None
    assert content.tell() == 0


def test_what_git_could_note_in_its_index_is_found_anew(workspace: Workspace, tmp_path: Path) -> None:
    text = b"git-theta manifest 1\n"
    blob = ask_git("hash-object", "-w", "--stdin", cwd=tmp_path, stdin=text).decode().strip()
    ask_git("update-index", "--add", "--cacheinfo", f"100644,{blob},{MODEL}", cwd=tmp_path)
    Sighting(workspace, MODEL).leave(text)
    assert Sighting(workspace, MODEL).again(io.BytesIO(bytes(100))) is None


def test_no_other_command_takes_anything_over(workspace: Workspace) -> None:
    workspace.__dict__["caller"] = "add"
    assert Sighting(workspace, MODEL).again(io.BytesIO(bytes(100))) is None


def test_content_of_another_length_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ChangedWhileDiffed, match="changed while"):
        Sighting(workspace, MODEL).again(io.BytesIO(bytes(99)))
