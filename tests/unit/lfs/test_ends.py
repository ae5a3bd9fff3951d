"""A store on a path as the other end of a push."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from git_theta.lfs.ends import LocalEnd
from git_theta.model import Oid, StoredObject
from git_theta.store import Store

PAYLOAD = b"theta" * 1000
OBJECT = StoredObject(Oid(sha256(PAYLOAD).hexdigest()), len(PAYLOAD))


def holding(root: Path, content: bytes) -> Store:
    """A store with ``content`` under the object's name."""
    store = Store(root)
    path = store.path(OBJECT.oid)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return store


@pytest.mark.parametrize("thorough", [False, True])
def test_what_is_damaged_there_is_replaced_by_a_thorough_push_only(tmp_path: Path, thorough: bool) -> None:
    here, there = holding(tmp_path / "here", PAYLOAD), holding(tmp_path / "there", bytes(len(PAYLOAD)))
    LocalEnd("origin", there).send(here, [OBJECT], thorough=thorough)
    assert (there.path(OBJECT.oid).read_bytes() == PAYLOAD) is thorough
