"""What every test of pushes, clones and faults begins with; the commit is made once for all tests of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import GitRepo, make_repository
from tests.e2e.lfs_server import Host
from tests.e2e.transfer import duplicate, start


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> GitRepo:
    """One commit of one checkpoint."""
    return start(make_repository(tmp_path_factory.mktemp("first")))


@pytest.fixture
def repo(first: GitRepo, tmp_path: Path) -> GitRepo:
    """A repository with one commit of one checkpoint."""
    return duplicate(first, tmp_path)


@pytest.fixture
def remote(repo: GitRepo, host: Host) -> str:
    """``repo`` with one commit, and an empty repository on a host as its origin."""
    url = host.create(repo)
    repo.git("remote", "add", "origin", url)
    return url
