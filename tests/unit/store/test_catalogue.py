"""The catalogue believes only what was verified here, and costs no more than reuse whatever happens to its file."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from git_theta.model import Digest, Oid, Slot
from git_theta.store import Catalogue, Store
from git_theta.store.catalogue import parse_place, render_place

DIGEST = Digest("d" * 64)
OTHER = Digest("e" * 64)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "theta")


@pytest.fixture
def catalogue(store: Store) -> Iterator[Catalogue]:
    catalogue = Catalogue(store)
    yield catalogue
    catalogue.close()


def put(store: Store, payload: bytes) -> Oid:
    draft = store.draft()
    draft.write([payload])
    return draft.put()


def fresh(store: Store, digest: Digest = DIGEST) -> list[tuple[Slot, ...]]:
    """What a new process is told."""
    catalogue = Catalogue(store)
    try:
        return catalogue.places(digest)
    finally:
        catalogue.close()


def file_of(store: Store) -> Path:
    return store.root / "catalogue.sqlite"


def test_places_come_back_as_they_were_recorded(store: Store, catalogue: Catalogue) -> None:
    one, two = put(store, b"one"), put(store, b"two")
    places = [(Slot(one, 0),), (Slot(one, 7), Slot(two, 3))]
    catalogue.record((DIGEST, place) for place in places)
    assert sorted(catalogue.places(DIGEST), key=str) == sorted(places, key=str)
    assert sorted(fresh(store), key=str) == sorted(places, key=str)
    assert catalogue.places(OTHER) == []


def test_recording_twice_is_recording_once(store: Store, catalogue: Catalogue) -> None:
    place = (Slot(put(store, b"one"), 0),)
    catalogue.record([(DIGEST, place), (DIGEST, place)])
    catalogue.record([(DIGEST, place)])
    catalogue.record([])
    assert catalogue.places(DIGEST) == [place]


def test_verified_picks_those_that_are_known(store: Store, catalogue: Catalogue) -> None:
    oid = put(store, b"one")
    known = [(Digest(sha256(b"%d" % i).hexdigest()), (Slot(oid, i),)) for i in range(1000)]
    catalogue.record(known)
    asked = [*known[:900], (OTHER, (Slot(oid, 0),)), (known[0][0], (Slot(oid, 1),)), *known[:3]]
    assert catalogue.verified(asked) == set(known[:900])
    assert catalogue.verified([]) == set()


class TestTrustEndsWhenAnObject:
    def recorded(self, store: Store, catalogue: Catalogue) -> Oid:
        oid = put(store, b"payload")
        catalogue.record([(DIGEST, (Slot(oid, 0),))])
        assert fresh(store)
        store.path(oid).chmod(0o644)
        return oid

    def test_is_touched(self, store: Store, catalogue: Catalogue) -> None:
        os.utime(store.path(self.recorded(store, catalogue)), ns=(1, 1))
        assert fresh(store) == []

    def test_changes_its_size_and_not_its_time(self, store: Store, catalogue: Catalogue) -> None:
        path = store.path(self.recorded(store, catalogue))
        status = path.stat()
        path.write_bytes(b"short")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert fresh(store) == []

    def test_goes(self, store: Store, catalogue: Catalogue) -> None:
        store.path(self.recorded(store, catalogue)).unlink()
        assert fresh(store) == []

    def test_is_one_of_several_and_goes(self, store: Store, catalogue: Catalogue) -> None:
        one, two = put(store, b"one"), put(store, b"two")
        catalogue.record([(DIGEST, (Slot(one, 0), Slot(two, 0)))])
        store.path(two).unlink()
        assert fresh(store) == []

    def test_is_quarantined(self, store: Store, catalogue: Catalogue) -> None:
        store.quarantine(self.recorded(store, catalogue))
        assert fresh(store) == []

    def test_turned_out_wrong(self, store: Store, catalogue: Catalogue) -> None:
        oid = self.recorded(store, catalogue)
        catalogue.distrust(oid)
        assert catalogue.places(DIGEST) == []
        assert fresh(store) == []

    def test_comes_back_as_another_file_until_it_is_verified_anew(self, store: Store, catalogue: Catalogue) -> None:
        """What was known about the old file says nothing about the new one of the same name."""
        path = store.path(self.recorded(store, catalogue))
        os.utime(path, ns=(1, 1))
        catalogue.record([(OTHER, (Slot(Oid(path.name), 1),))])
        assert fresh(store) == []
        assert fresh(store, OTHER) == [(Slot(Oid(path.name), 1),)]

    def test_was_absent_when_it_was_recorded(self, store: Store, catalogue: Catalogue) -> None:
        oid = self.recorded(store, catalogue)
        store.path(oid).unlink()
        catalogue.record([(OTHER, (Slot(oid, 9),))])
        put(store, b"payload")
        catalogue.record([(DIGEST, (Slot(oid, 0),))])
        assert fresh(store, OTHER) == []


class TestItsFile:
    def test_that_is_gone_costs_only_what_it_knew(self, store: Store) -> None:
        catalogue, place = Catalogue(store), (Slot(put(store, b"one"), 0),)
        catalogue.record([(DIGEST, place)])
        catalogue.close()
        file_of(store).unlink()
        assert fresh(store) == []
        catalogue.record([(DIGEST, place)])
        catalogue.close()
        assert fresh(store) == [place]

    @pytest.mark.parametrize("junk", [b"", b"junk", b"junk" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
    def test_that_is_no_database_is_replaced(self, store: Store, junk: bytes) -> None:
        catalogue, place = Catalogue(store), (Slot(put(store, b"one"), 0),)
        file_of(store).write_bytes(junk)
        assert catalogue.places(DIGEST) == []
        catalogue.record([(DIGEST, place)])
        catalogue.close()
        assert fresh(store) == [place]

    def test_with_flipped_bits_gives_what_was_recorded_or_nothing(self, store: Store, catalogue: Catalogue) -> None:
        """Except for a flip inside an oid or an index, which the objects' own indexes then contradict."""
        oid = put(store, b"one")
        catalogue.record((Digest(sha256(b"%d" % i).hexdigest()), (Slot(oid, i),)) for i in range(100))
        catalogue.close()
        whole = file_of(store).read_bytes()
        for at in range(0, len(whole), 211):
            file_of(store).write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
            for i in range(0, 100, 9):
                places = fresh(store, Digest(sha256(b"%d" % i).hexdigest()))
                assert all(isinstance(slot, Slot) and slot.index >= 0 for place in places for slot in place)

    def test_with_rows_that_make_no_sense_is_not_believed(self, store: Store, catalogue: Catalogue) -> None:
        oid = put(store, b"one")
        catalogue.record([(OTHER, (Slot(oid, 0),))])
        catalogue.close()
        db = sqlite3.connect(file_of(store))
        nonsense = ["", "x", f"{oid}", f"{oid}:", f"{oid}:-1", f"{oid}:1+", b"\xff\xfe", 7, f"{oid[:-1]}\xff:0"]
        db.executemany("insert into value values (?, ?)", [(DIGEST, row) for row in nonsense])
        db.execute("insert into value values (?, cast(x'fffe' as text))", (DIGEST,))
        db.commit()
        db.close()
        assert fresh(store) == []
        assert fresh(store, OTHER) == [(Slot(oid, 0),)]

    def test_that_is_locked_by_a_writer_can_be_read_and_stays(self, store: Store) -> None:
        place = (Slot(put(store, b"one"), 0),)
        catalogue = Catalogue(store)
        catalogue.record([(DIGEST, place)])
        catalogue.close()
        db = sqlite3.connect(file_of(store))
        db.execute("begin immediate")
        assert fresh(store) == [place]
        db.rollback()
        db.close()
        assert fresh(store) == [place]

    def test_that_stays_locked_is_left_alone(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("git_theta.store.catalogue.PATIENCE", 0.05)
        place = (Slot(put(store, b"one"), 0),)
        catalogue = Catalogue(store)
        catalogue.record([(DIGEST, place)])
        db = sqlite3.connect(file_of(store))
        db.execute("begin exclusive")
        assert fresh(store) == []
        catalogue.record([(OTHER, place)])
        catalogue.distrust(place[0].oid)
        assert catalogue.places(DIGEST) == []
        db.rollback()
        db.close()
        catalogue.close()
        assert fresh(store) == [place]
        assert fresh(store, OTHER) == []

    def test_that_is_deleted_while_open_costs_only_reuse(self, store: Store, catalogue: Catalogue) -> None:
        place = (Slot(put(store, b"one"), 0),)
        catalogue.record([(DIGEST, place)])
        file_of(store).unlink()
        catalogue.record([(OTHER, place)])
        assert catalogue.places(DIGEST) in ([], [place])
        assert fresh(store) == []

    def test_that_is_a_folder_costs_only_reuse(self, store: Store, catalogue: Catalogue) -> None:
        place = (Slot(put(store, b"one"), 0),)
        file_of(store).mkdir()
        catalogue.record([(DIGEST, place)])
        assert catalogue.places(DIGEST) == []
        assert catalogue.verified([(DIGEST, place)]) == set()

    def test_that_cannot_be_made_costs_only_reuse(self, tmp_path: Path) -> None:
        (tmp_path / "theta").write_bytes(b"in the way")
        catalogue = Catalogue(Store(tmp_path / "theta"))
        catalogue.record([(DIGEST, (Slot(Oid("a" * 64), 0),))])
        catalogue.distrust(Oid("a" * 64))
        assert catalogue.places(DIGEST) == []

    def test_of_another_shape_is_left_alone(self, store: Store, catalogue: Catalogue) -> None:
        store.root.mkdir()
        db = sqlite3.connect(file_of(store))
        db.execute("create table value (something integer)")
        db.commit()
        db.close()
        assert catalogue.places(DIGEST) == []
        assert file_of(store).exists()

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions bind everybody but root")
    def test_in_a_folder_for_reading_can_be_read(self, store: Store, catalogue: Catalogue) -> None:
        place = (Slot(put(store, b"one"), 0),)
        catalogue.record([(DIGEST, place)])
        catalogue.close()
        file_of(store).chmod(0o444)
        store.root.chmod(0o555)
        try:
            assert fresh(store) == [place]
            catalogue.record([(OTHER, place)])
            assert catalogue.places(DIGEST) == [place]
        finally:
            store.root.chmod(0o755)


def test_processes_that_record_at_once_lose_nothing(store: Store) -> None:
    script = """
import sys
from hashlib import sha256
from pathlib import Path
from git_theta.model import Digest, Oid, Slot
from git_theta.store import Catalogue, Store
store = Store(Path(sys.argv[1]))
for i in range(40):
    catalogue = Catalogue(store)
    oid = Oid(sys.argv[3])
    catalogue.record([(Digest(sha256(f"{sys.argv[2]} {i}".encode()).hexdigest()), (Slot(oid, i),))])
    catalogue.close()
"""
    oid = put(store, b"shared")
    processes = [subprocess.Popen([sys.executable, "-c", script, store.root, str(p), oid]) for p in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    for process in range(3):
        for i in range(40):
            assert fresh(store, Digest(sha256(f"{process} {i}".encode()).hexdigest())) == [(Slot(oid, i),)]


def test_places_as_text_and_back() -> None:
    place = (Slot(Oid("a" * 64), 0), Slot(Oid("b" * 64), 123456))
    assert parse_place(render_place(place)) == place


def test_an_object_is_vouched_for_until_its_file_is_touched(store: Store, catalogue: Catalogue) -> None:
    oid = put(store, b"one")
    assert not catalogue.vouches_for(oid)
    catalogue.vouch([oid])
    assert catalogue.vouches_for(oid)
    assert catalogue.places(DIGEST) == []
    os.utime(store.path(oid), ns=(0, 0))
    again = Catalogue(store)
    assert not again.vouches_for(oid)
    again.close()
