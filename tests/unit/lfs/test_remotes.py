"""Which ends there are to ask."""

from __future__ import annotations

from pathlib import Path

from git_theta.gitio.repository import Repository
from git_theta.lfs.remotes import nearby_ends


def test_a_repository_to_borrow_from_that_is_gone_is_no_end(tmp_path: Path) -> None:
    alternates = tmp_path / "objects" / "info" / "alternates"
    alternates.parent.mkdir(parents=True)
    alternates.write_text(f"{tmp_path}/deleted/.git/objects\n")
    assert nearby_ends(Repository(None, tmp_path, tmp_path, tmp_path / "hooks")) == []
