"""Objects as files: put, get, has, and what a crash leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from git_theta.errors import Exit
from git_theta.model import Oid
from git_theta.store import MissingObject, Store

PAYLOAD = b"theta" * 1000
NAME = Oid(sha256(PAYLOAD).hexdigest())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "theta")


def put(store: Store, payload: bytes) -> Oid:
    draft = store.draft()
    draft.write([payload])
    return draft.put()


def get(store: Store, oid: Oid) -> bytes:
    with open(store.open(oid), "rb") as file:
        return file.read()


class TestPut:
    def test_names_an_object_by_its_sha256_in_the_layout_of_git_lfs(self, store: Store) -> None:
        assert put(store, PAYLOAD) == NAME
        assert get(store, NAME) == PAYLOAD
        assert store.path(NAME) == store.root / "objects" / NAME[:2] / NAME[2:4] / NAME
        assert dict(store.oids()) == {NAME: len(PAYLOAD)}

    def test_takes_any_kind_of_buffer_in_any_number_of_pieces(self, store: Store) -> None:
        draft = store.draft()
        written = draft.write([PAYLOAD[:7], b"", bytearray(PAYLOAD[7:100])])
        written += draft.write([memoryview(PAYLOAD)[100:]])
        assert written == draft.size == len(PAYLOAD)
        assert draft.put() == NAME

    def test_an_empty_object_is_an_object(self, store: Store) -> None:
        oid = put(store, b"")
        assert store.has(oid, 0)
        assert get(store, oid) == b""

    def test_objects_are_for_reading(self, store: Store) -> None:
        assert store.path(put(store, PAYLOAD)).stat().st_mode & 0o222 == 0

    def test_twice_leaves_one_object_and_no_scratch(self, store: Store) -> None:
        assert put(store, PAYLOAD) == put(store, PAYLOAD)
        assert dict(store.oids()) == {NAME: len(PAYLOAD)}
        assert list(store.tmp.iterdir()) == []

    @pytest.mark.parametrize("damaged", [b"", PAYLOAD[:-1], b"x" * len(PAYLOAD)], ids=["empty", "short", "flipped"])
    def test_mends_a_damaged_object(self, store: Store, damaged: bytes) -> None:
        store.path(put(store, PAYLOAD)).chmod(0o644)
        store.path(NAME).write_bytes(damaged)
        assert put(store, PAYLOAD) == NAME
        assert get(store, NAME) == PAYLOAD

    def test_leaves_an_open_reader_undisturbed(self, store: Store) -> None:
        put(store, PAYLOAD)
        with open(store.open(NAME), "rb") as reader:
            put(store, PAYLOAD)
            assert reader.read() == PAYLOAD

    def test_by_many_threads_at_once_gives_one_object(self, store: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: put(store, PAYLOAD), range(64))) == {NAME}
        assert get(store, NAME) == PAYLOAD
        assert list(store.tmp.iterdir()) == []

    def test_by_many_processes_at_once_gives_one_object(self, store: Store) -> None:
        script = (
            "import sys; from pathlib import Path; from git_theta.store import Store\n"
            "store = Store(Path(sys.argv[1]))\n"
            "for _ in range(50):\n"
            "    draft = store.draft(); draft.write([b'theta' * 1000]); print(draft.put())\n"
        )
        command = [sys.executable, "-c", script, str(store.root)]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
        answers = [process.communicate(timeout=60)[0].split() for process in processes]
        assert answers == [[NAME.encode()] * 50] * 3
        assert get(store, NAME) == PAYLOAD
        assert list(store.tmp.iterdir()) == []


class TestDiscard:
    def test_leaves_nothing(self, store: Store) -> None:
        draft = store.draft()
        draft.write([PAYLOAD])
        draft.discard()
        draft.discard()
        assert list(store.tmp.iterdir()) == []
        assert list(store.oids()) == []

    def test_after_put_takes_nothing_away(self, store: Store) -> None:
        draft = store.draft()
        draft.write([PAYLOAD])
        draft.put()
        draft.discard()
        assert get(store, NAME) == PAYLOAD

    def test_after_a_put_that_failed_removes_the_file(self, store: Store) -> None:
        draft = store.draft()
        draft.write([PAYLOAD])
        store.objects.write_bytes(b"in the way")
        with pytest.raises(OSError, match=r"exists|directory"):
            draft.put()
        draft.discard()
        assert list(store.tmp.iterdir()) == []


class TestAbsent:
    def test_objects_are_missing_not_wrong(self, store: Store) -> None:
        assert store.stat(NAME) is None
        assert not store.has(NAME, len(PAYLOAD))
        assert list(store.oids()) == []
        with pytest.raises(MissingObject, match=NAME) as missing:
            store.open(NAME)
        assert missing.value.oid == NAME
        assert missing.value.exit_code is Exit.MISSING
        assert missing.value.hint

    def test_asking_makes_no_folder(self, store: Store) -> None:
        store.has(NAME, 1)
        assert not store.root.exists()

    def test_an_object_of_another_size_is_not_the_object(self, store: Store) -> None:
        put(store, PAYLOAD)
        assert store.has(NAME, len(PAYLOAD))
        assert not store.has(NAME, len(PAYLOAD) - 1)

    def test_a_file_where_a_folder_should_be_means_missing(self, store: Store) -> None:
        store.objects.mkdir(parents=True)
        (store.objects / NAME[:2]).write_bytes(b"")
        assert store.stat(NAME) is None
        with pytest.raises(MissingObject):
            store.open(NAME)


class TestLeftovers:
    def test_of_a_crash_are_never_taken_for_objects(self, store: Store) -> None:
        draft = store.draft()
        draft.write([PAYLOAD])  # and here the process dies
        (store.tmp / NAME).write_bytes(PAYLOAD)
        assert not store.has(NAME, len(PAYLOAD))
        assert list(store.oids()) == []
        assert put(store, PAYLOAD) == NAME
        draft.discard()

    def test_foreign_files_beside_objects_are_not_listed(self, store: Store) -> None:
        put(store, PAYLOAD)
        store.path(NAME).with_name("README").write_bytes(b"")
        (store.objects / "stray").mkdir()
        assert dict(store.oids()) == {NAME: len(PAYLOAD)}

    def test_of_a_kill_in_the_middle_of_a_put_are_only_scratch(self, store: Store) -> None:
        script = (
            "import os, sys; from pathlib import Path; from git_theta.store import Store\n"
            "draft = Store(Path(sys.argv[1])).draft(); draft.write([b'half']); os.kill(os.getpid(), 9)\n"
        )
        assert subprocess.run([sys.executable, "-c", script, store.root], check=False).returncode != 0
        assert list(store.oids()) == []
        assert len(list(store.tmp.iterdir())) == 1


class TestQuarantine:
    def test_takes_an_object_out_of_sight_and_keeps_its_bytes(self, store: Store) -> None:
        put(store, PAYLOAD)
        store.quarantine(NAME)
        assert not store.has(NAME, len(PAYLOAD))
        assert (store.root / "corrupt" / NAME).read_bytes() == PAYLOAD

    def test_of_what_is_gone_already_is_harmless(self, store: Store) -> None:
        store.quarantine(NAME)

    def test_makes_room_for_a_good_one_and_for_the_next_bad_one(self, store: Store) -> None:
        for _ in range(2):
            put(store, PAYLOAD)
            store.quarantine(NAME)
        assert put(store, PAYLOAD) == NAME


class TestSpool:
    def test_is_nameless_and_on_the_stores_own_disk(self, store: Store) -> None:
        with store.spool(10) as spool:
            spool.write(PAYLOAD)
            assert not store.tmp.exists() or list(store.tmp.iterdir()) == []
            assert os.fstat(spool.fileno()).st_dev == store.root.stat().st_dev
            spool.seek(3)
            assert spool.read() == PAYLOAD[3:]

    def test_of_a_few_bytes_needs_no_disk(self, tmp_path: Path) -> None:
        (tmp_path / "theta").write_bytes(b"in the way")
        with Store(tmp_path / "theta").spool(100) as spool:
            spool.write(b"few")
            spool.seek(0)
            assert spool.read() == b"few"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions bind everybody but root")
class TestReadOnlyStore:
    def test_refuses_a_draft_and_gives_objects(self, store: Store) -> None:
        put(store, PAYLOAD)
        store.tmp.rmdir()
        store.root.chmod(0o555)
        try:
            with pytest.raises(PermissionError):
                store.draft()
            assert get(store, NAME) == PAYLOAD
            with store.spool(100) as spool:
                spool.write(b"few")
        finally:
            store.root.chmod(0o755)


def test_scratch_is_not_made_in_the_systems_own_folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a small memory disk, and a rename from there would not be atomic."""
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    assert put(store, PAYLOAD) == NAME
