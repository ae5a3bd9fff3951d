"""Objects as files: put, get, has, and what a crash leaves behind."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from git_theta.errors import Exit
from git_theta.gitio.config import parse_shared
from git_theta.model import Digest, Oid, Slot
from git_theta.store import Catalogue, DamagedObject, MissingObject, Store, disk
from git_theta.store.removal import remove

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


class TestPermissions:
    """Who may look into the folder above may read objects, whatever the umask of whoever stored them."""

    @pytest.mark.parametrize(
        ("above", "setting", "folder", "file"),
        [
            (0o755, "", 0o755, 0o444),
            (0o700, "", 0o700, 0o400),
            (0o2775, "", 0o2775, 0o444),
            (0o755, "group", 0o2775, 0o444),
            (0o700, "true", 0o2770, 0o440),
            (0o700, "all", 0o2775, 0o444),
            (0o755, "0640", 0o2750, 0o440),
            (0o755, "umask", 0o755, 0o444),
        ],
    )
    def test_follow_the_folder_above_and_core_shared_repository(
        self, tmp_path: Path, above: int, setting: str, folder: int, file: int
    ) -> None:
        tmp_path.chmod(above)
        store = Store(tmp_path / "theta", shared=parse_shared(setting))
        path = store.path(put(store, PAYLOAD))
        assert [stat.S_IMODE(place.stat().st_mode) for place in (store.root, path.parent, path)] == [
            folder,
            folder,
            file,
        ]
        catalogue = Catalogue(store)
        catalogue.record([(Digest("0" * 64), (Slot(NAME, 0),))])
        catalogue.close()
        assert stat.S_IMODE(store.root.joinpath("catalogue.sqlite").stat().st_mode) == folder & 0o666

    def test_below_a_folder_for_everybody_are_the_users_own(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o1777)
        store = Store(tmp_path / "theta")
        put(store, PAYLOAD)
        assert store.root.stat().st_mode & 0o1002 == 0


class TestHardening:
    @pytest.mark.parametrize("hardened", [True, False])
    def test_an_object_waits_for_the_disk_when_that_is_asked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hardened: bool
    ) -> None:
        store = Store(tmp_path / "theta", hardened=hardened)
        named: list[bool] = []

        def watched(fd: int) -> None:
            named.append(store.path(NAME).exists())
            os.fsync(fd)

        monkeypatch.setattr(disk, "_harden", watched)
        put(store, PAYLOAD)
        assert named == [False] * hardened
        store.harden(NAME)
        assert named == [*[False] * hardened, True]


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


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
@pytest.mark.timeout(20)
class TestNoFile:
    """Something else has the name of an object."""

    @pytest.fixture(autouse=True)
    def in_the_way(self, store: Store, make: Callable[[Path], None]) -> None:
        store.make_folder(store.path(NAME).parent)
        make(store.path(NAME))

    def test_is_damaged_and_not_waited_for(self, store: Store) -> None:
        assert not store.has(NAME, store.path(NAME).stat().st_size)
        for look in (store.open, store.sha256):
            with pytest.raises(DamagedObject, match="not a regular file"):
                look(NAME)

    def test_makes_way_for_a_good_object(self, store: Store) -> None:
        assert put(store, PAYLOAD) == NAME
        assert get(store, NAME) == PAYLOAD

    def test_is_set_aside_as_often_as_it_comes(self, store: Store, make: Callable[[Path], None]) -> None:
        store.quarantine(NAME)
        make(store.path(NAME))
        store.quarantine(NAME)
        assert len(list((store.root / "corrupt").iterdir())) == 2

    def test_can_be_removed(self, store: Store) -> None:
        assert remove(store, NAME, time.time() + 1)
        assert store.stat(NAME) is None


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
