"""``git theta demo``: the whole story runs, and every version comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.conftest import GitRepo


def test_the_demo_tells_its_story_to_the_end_and_leaves_nothing_behind(repo: GitRepo) -> None:
    scratch = repo.path.parent / "scratch"
    scratch.mkdir()
    story = repo.at(repo.home, TMPDIR=str(scratch)).theta("demo")
    for command in ("theta track", "commit", "diff", "push", "clone", "theta fsck"):
        assert f"$ git {command}" in story
    assert story.count("the same as saved") >= 3
    assert story.endswith("all good")
    assert list(scratch.iterdir()) == []
    assert "theta" not in (repo.home / ".gitconfig").read_text()
