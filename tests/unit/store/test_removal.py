"""Removing objects from a store that others are using: what is used or stored meanwhile stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from git_theta.model import Oid
from git_theta.store import Store
from git_theta.store.registry import entry, owner, register, registered
from git_theta.store.removal import discard, leftovers, remove, restore_interrupted

OLD = 1_000.0
LIMIT = 2_000.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "theta")


def put(store: Store, payload: bytes = b"payload", stored: float = OLD) -> Oid:
    draft = store.draft()
    draft.write([payload])
    oid = draft.put()
    os.utime(store.path(oid), (stored, stored))
    return oid


def scratch(store: Store) -> list[str]:
    return sorted(os.listdir(store.tmp))


def test_an_old_object_goes_with_its_note_of_use(store: Store) -> None:
    oid = put(store)
    assert store.use(oid)
    os.utime(store.used / oid, (OLD, OLD))
    assert remove(store, oid, LIMIT)
    assert store.stat(oid) is None
    assert scratch(store) == os.listdir(store.used) == []


def test_a_young_object_stays(store: Store) -> None:
    oid = put(store, stored=LIMIT)
    assert not remove(store, oid, LIMIT)
    assert store.path(oid).read_bytes() == b"payload"
    assert scratch(store) == []


def test_an_object_used_lately_stays(store: Store) -> None:
    oid = put(store)
    assert store.use(oid)
    assert not remove(store, oid, LIMIT)
    assert store.path(oid).read_bytes() == b"payload"


def test_what_is_removed_already_is_not_removed_twice(store: Store) -> None:
    oid = put(store)
    assert remove(store, oid, LIMIT)
    assert not remove(store, oid, LIMIT)


def test_use_of_an_object_that_is_being_removed_says_that_it_is_gone_and_brings_it_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object is out of sight when another process wants it: that one stores anew, and nothing is lost."""
    oid = put(store)
    replace = os.replace
    seen: list[bool] = []

    def replace_then_use(source: Path, target: Path) -> None:
        replace(source, target)
        if not seen:
            seen.append(store.use(oid))

    monkeypatch.setattr(os, "replace", replace_then_use)
    assert not remove(store, oid, LIMIT)
    assert seen == [False]
    assert store.path(oid).read_bytes() == b"payload"


def test_an_object_stored_anew_while_the_old_one_is_being_removed_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid = put(store)
    replace = os.replace
    seen: list[bool] = []

    def replace_then_put(source: Path, target: Path) -> None:
        replace(source, target)
        if not seen:
            seen.append(True)
            put(store, stored=time.time())

    monkeypatch.setattr(os, "replace", replace_then_put)
    assert not remove(store, oid, LIMIT)
    assert store.path(oid).read_bytes() == b"payload"
    assert scratch(store) == []


def test_a_removal_that_was_killed_is_taken_back(store: Store) -> None:
    oid = put(store)
    os.replace(store.path(oid), store.tmp / f"pruned-{oid}")
    restore_interrupted(store)
    assert store.path(oid).read_bytes() == b"payload"
    assert scratch(store) == []


def test_leftovers_are_old_scratch_files_damaged_objects_unfinished_downloads_and_notes(store: Store) -> None:
    now = 10_000.0
    for folder, age in (("tmp", 500), ("corrupt", 5_000), ("incomplete", 5_000), ("used", 5_000)):
        (store.root / folder).mkdir(parents=True, exist_ok=True)
        for name, stored in (("old", now - age - 1), ("young", now - age + 1)):
            (store.root / folder / name).write_bytes(b"12345")
            os.utime(store.root / folder / name, (stored, stored))
    nested = store.tmp / "pointers-x"
    nested.mkdir()
    (nested / "one").write_bytes(b"1")
    os.utime(nested, (1, 1))
    found = list(leftovers(store, now - 500, now - 5_000))
    assert [str(one.path.relative_to(store.root)) for one in found] == [
        "tmp/old",
        "tmp/pointers-x",
        "corrupt/old",
        "incomplete/old",
        "used/old",
    ]
    assert sum(one.size for one in found) == 20
    for one in found:
        discard(one)
    assert list(leftovers(store, now - 500, now - 5_000)) == []
    assert sorted(path.name for path in store.root.rglob("*") if path.is_file()) == ["young"] * 4


def test_repositories_register_once_under_any_name(store: Store, tmp_path: Path) -> None:
    strange = tmp_path / "two\nlines \udcff" / ".git"
    for common_dir in (tmp_path / "a" / ".git", strange, strange):
        register(store, common_dir)
    assert sorted(registered(store)) == sorted([tmp_path / "a" / ".git", strange])
    entry(store, strange).unlink()
    assert registered(store) == [tmp_path / "a" / ".git"]


def test_nobody_is_registered_in_a_store_of_ones_own(store: Store) -> None:
    assert registered(store) == []


def test_the_owner_is_the_repository_around_the_store(tmp_path: Path) -> None:
    assert owner(Store(tmp_path / "theta")) is None
    (tmp_path / "HEAD").touch()
    (tmp_path / "objects").mkdir()
    assert owner(Store(tmp_path / "theta")) == tmp_path
    assert owner(Store(tmp_path / "elsewhere")) is None
