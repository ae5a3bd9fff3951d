"""Which ends there are to ask."""

from __future__ import annotations

import subprocess
from pathlib import Path

from git_theta.gitio.repository import Repository
from git_theta.lfs.remotes import nearby_ends, push_targets


def test_a_repository_to_borrow_from_that_is_gone_is_no_end(tmp_path: Path) -> None:
    alternates = tmp_path / "objects" / "info" / "alternates"
    alternates.parent.mkdir(parents=True)
    alternates.write_text(f"{tmp_path}/deleted/.git/objects\n")
    assert nearby_ends(Repository(None, tmp_path, tmp_path, tmp_path / "hooks")) == []


def test_a_remote_with_two_addresses_to_push_to_is_two_targets(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)

    git("init", "-q")
    git("remote", "add", "origin", "https://one.invalid/x")
    assert [target.url for target in push_targets(tmp_path, "origin")] == ["https://one.invalid/x"]
    for name in ("two", "three"):
        git("remote", "set-url", "--push", "--add", "origin", f"https://{name}.invalid/x")
    targets = push_targets(tmp_path, "origin")
    assert [(target.name, target.url) for target in targets] == [
        ("origin", "https://two.invalid/x"),
        ("origin", "https://three.invalid/x"),
    ]
    address = "https://four.invalid/x"
    assert [target.url for target in push_targets(tmp_path, address)] == [address]
