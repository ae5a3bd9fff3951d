"""What is stored already is not stored again, and what only looks stored is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from git_theta.codecs import CHUNK
from git_theta.model import Manifest, Oid, Slot
from git_theta.tensors.writer import ContentChanged, Reread
from tests.unit.tensors.bench import Bench, File, file, noise, workbench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with workbench(tmp_path / "theta") as bench:
        yield bench


def reread_from(data: bytes) -> Reread:
    """A second reading that gives what ``data`` has."""

    def reread(offset: int, view: memoryview) -> bool:
        part = data[offset : offset + len(view)]
        view[: len(part)] = part
        return len(part) == len(view)

    return reread


def never(offset: int, view: memoryview) -> bool:
    """A second reading that a test does not expect."""
    raise AssertionError(f"asked to read {len(view)} bytes at {offset} again")


def damage(path: Path, at: int = 40) -> None:
    """Flip a bit of an object, as a disk does, at another time than it was written."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    os.chmod(path, 0o644)
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))


LARGE = noise(2 * CHUNK + 77)
WHOLE = file(b"head", ("small", noise(900)), ("large", LARGE), ("empty", b""), ("tiny", b"abc"), noise(99, 4))


def with_large(data: bytes) -> File:
    return file(b"head", ("small", noise(900)), ("large", data), ("empty", b""), ("tiny", b"abc"), noise(99, 4))


class TestUnchangedContent:
    def test_costs_nothing_and_gives_the_same_manifest(self, bench: Bench) -> None:
        first = bench.write(WHOLE)
        objects = bench.objects()
        for priors in ([], [first.manifest]):
            again = bench.write(WHOLE, priors, reread=never)
            assert again.manifest == first.manifest
            assert again.new_bytes == 0
            assert bench.objects() == objects

    def test_is_known_to_another_process(self, bench: Bench) -> None:
        first = bench.write(WHOLE)
        with workbench(bench.store.root) as other:
            assert other.write(WHOLE).new_bytes == 0
            assert other.write(WHOLE).manifest == first.manifest

    def test_is_encoded_again_without_a_catalogue_and_gives_the_same_objects(self, bench: Bench) -> None:
        first = bench.write(WHOLE)
        objects = bench.objects()
        bench.catalogue.close()
        (bench.store.root / "catalogue.sqlite").unlink()
        with workbench(bench.store.root) as other:
            assert other.write(WHOLE, [first.manifest]).manifest == first.manifest
        assert bench.objects() == objects

    def test_a_value_keeps_the_place_an_earlier_version_names(self, bench: Bench) -> None:
        value = ("w", noise(5000))
        one = bench.write(file(value, ("x", noise(300, 2)))).manifest
        bench.catalogue.close()
        (bench.store.root / "catalogue.sqlite").unlink()
        with workbench(bench.store.root) as other:
            two = other.write(file(value, ("y", noise(300, 3)))).manifest
            for manifest in (one, two):
                other.catalogue.record((e.digest, e.where) for e in manifest.entries if isinstance(e.where, tuple))
            assert one.entries[0].where != two.entries[0].where
            assert other.write(file(value), [one, two]).manifest.entries[0].where == one.entries[0].where
            assert other.write(file(value), [two, one]).manifest.entries[0].where == two.entries[0].where


class TestOneChange:
    def test_stores_that_group_only(self, bench: Bench) -> None:
        first = bench.write(WHOLE).manifest
        before = sum(bench.objects().values())
        changed = file(
            b"head", ("small", noise(900, 8)), ("large", LARGE), ("empty", b""), ("tiny", b"abc"), noise(99, 4)
        )
        second = bench.write(changed, [first], reread=never)
        assert sum(bench.objects().values()) - before == second.new_bytes
        assert second.new_bytes < 900 + 500
        assert [a == b for a, b in zip(first.entries, second.manifest.entries, strict=True)] == [
            False,
            True,
            True,
            True,
        ]
        assert bench.read(second.manifest) == changed.data
        assert bench.read(first) == WHOLE.data


CHANGES = {
    "the last byte": LARGE[:-1] + bytes([LARGE[-1] ^ 1]),
    "the first byte of the second chunk": LARGE[:CHUNK] + bytes([LARGE[CHUNK] ^ 1]) + LARGE[CHUNK + 1 :],
    "everything after the first chunk": LARGE[:CHUNK] + noise(CHUNK + 77, 5),
}


class TestAge:
    """Prune leaves young objects alone, so what is about to be named again must be young again."""

    def test_reuse_begins_the_age_anew_and_keeps_the_trust(self, bench: Bench) -> None:
        first = bench.write(WHOLE)
        for oid in bench.objects():
            os.utime(bench.store.path(oid), (1, 1))
        bench.catalogue.record((v.digest, v.where) for _, v in first.manifest.values() if isinstance(v.where, tuple))
        objects = bench.objects()
        for _ in range(2):
            with workbench(bench.store.root) as process:
                assert process.write(WHOLE, [first.manifest], reread=never).manifest == first.manifest
        assert bench.objects() == objects
        assert all(bench.store.youth(oid) > time.time() - 60 for oid in objects)
        assert all(bench.store.path(oid).stat().st_mtime == 1 for oid in objects)

    def test_a_young_object_needs_no_note(self, bench: Bench) -> None:
        first = bench.write(WHOLE).manifest
        bench.write(WHOLE, [first], reread=never)
        assert not bench.store.used.exists()


class TestTrusting:
    """A large value that begins like its earlier version is only hashed, and read again when that misled."""

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_late_change_is_found_and_stored(self, bench: Bench, change: str) -> None:
        first = bench.write(WHOLE).manifest
        changed = with_large(CHANGES[change])
        second = bench.write(changed, [first], reread=reread_from(changed.data)).manifest
        assert bench.read(second) == changed.data
        assert bench.read(first) == WHOLE.data
        assert bench.leftovers() == []

    @pytest.mark.parametrize(
        "reread",
        [
            lambda offset, view: False,
            reread_from(WHOLE.data),
            reread_from(with_large(CHANGES["the last byte"]).data[:-200]),
        ],
        ids=["cannot be had", "is the old one again", "ends early"],
    )
    def test_a_second_reading_that_differs_stops_the_write(self, bench: Bench, reread: Reread) -> None:
        first = bench.write(WHOLE).manifest
        objects = bench.objects()
        with pytest.raises(ContentChanged, match="'large'"):
            bench.write(with_large(CHANGES["the last byte"]), [first], reread=reread)
        assert bench.objects() == objects
        assert bench.leftovers() == []
        assert bench.read(first) == WHOLE.data

    def test_an_error_in_the_second_reading_surfaces(self, bench: Bench) -> None:
        first = bench.write(WHOLE).manifest

        def fails(offset: int, view: memoryview) -> bool:
            raise PermissionError("not yours")

        with pytest.raises(PermissionError):
            bench.write(with_large(CHANGES["the last byte"]), [first], reread=fails)
        assert bench.leftovers() == []

    def test_a_value_of_another_length_is_not_trusted(self, bench: Bench) -> None:
        first = bench.write(WHOLE).manifest
        changed = with_large(LARGE + b"more")
        assert bench.read(bench.write(changed, [first], reread=never).manifest) == changed.data

    def test_a_changed_first_chunk_is_not_trusted(self, bench: Bench) -> None:
        first = bench.write(WHOLE).manifest
        changed = with_large(bytes([LARGE[0] ^ 1]) + LARGE[1:])
        assert bench.read(bench.write(changed, [first], reread=never).manifest) == changed.data

    def test_without_a_second_reading_nothing_is_trusted(self, bench: Bench) -> None:
        first = bench.write(WHOLE).manifest
        changed = with_large(CHANGES["the last byte"])
        assert bench.read(bench.write(changed, [first]).manifest) == changed.data

    def test_two_trusted_values_that_became_equal_are_stored_once(self, bench: Bench) -> None:
        other = LARGE[:CHUNK] + noise(CHUNK + 77, 6)
        first = bench.write(file(("a", LARGE), ("b", other))).manifest
        new = LARGE[:CHUNK] + noise(CHUNK + 77, 7)
        changed = file(("a", new), ("b", new))
        second = bench.write(changed, [first], reread=reread_from(changed.data)).manifest
        assert second.entries[0].where == second.entries[1].where
        assert bench.read(second) == changed.data


class TestForgedPlaces:
    """No entry a user has not verified here may stand in for bytes the user has."""

    def forged(self, manifest: Manifest, where: tuple[Slot, ...]) -> Manifest:
        entries = tuple(replace(entry, where=where) for entry in manifest.entries)
        return replace(manifest, entries=entries)

    def test_a_manifest_that_names_absent_objects_is_not_believed(self, bench: Bench) -> None:
        with workbench(bench.store.root.with_name("elsewhere")) as elsewhere:
            forged = elsewhere.write(WHOLE).manifest
        manifest = bench.write(WHOLE, [forged], reread=never).manifest
        assert bench.read(manifest) == WHOLE.data

    def test_a_manifest_that_names_another_object_is_not_believed(self, bench: Bench) -> None:
        other = bench.write(file(("x", noise(5000, 9)))).manifest
        where = other.entries[0].where
        assert isinstance(where, tuple)
        with workbench(bench.store.root.with_name("elsewhere")) as elsewhere:
            forged = self.forged(elsewhere.write(WHOLE).manifest, where)
        assert bench.read(bench.write(WHOLE, [forged]).manifest) == WHOLE.data

    @pytest.mark.parametrize("slot", [0, 1, 2, 99])
    def test_a_catalogue_with_a_wrong_row_is_not_believed(self, bench: Bench, slot: int) -> None:
        """A flipped bit in its file: nothing else protects it."""
        packed = bench.write(file(("x", noise(5000, 8)), ("y", noise(5000, 9)))).manifest
        oid = packed.objects[0].oid
        with workbench(bench.store.root.with_name("elsewhere")) as elsewhere:
            digests = [entry.digest for entry in elsewhere.write(WHOLE).manifest.entries]
        bench.catalogue.record((digest, (Slot(oid, slot),)) for digest in digests)
        assert bench.read(bench.write(WHOLE).manifest) == WHOLE.data

    def test_an_object_touched_since_is_written_again(self, bench: Bench) -> None:
        """So adding a checkpoint again mends a damaged store."""
        manifest = bench.write(WHOLE).manifest
        for stored in manifest.objects:
            damage(bench.store.path(stored.oid))
        with workbench(bench.store.root) as other:
            assert other.reader.check(manifest)
            again = other.write(WHOLE, [manifest], reread=never).manifest
            assert again == manifest
            assert other.reader.check(manifest) == []
            assert other.read(manifest) == WHOLE.data

    def test_a_lost_catalogue_changes_no_manifest(self, bench: Bench) -> None:
        """The small value came first, alone; now it would share an object with the skeleton."""
        bench.write(file(("small", noise(900))))
        manifest = bench.write(WHOLE).manifest
        bench.catalogue.close()
        (bench.store.root / "catalogue.sqlite").unlink()
        with workbench(bench.store.root) as other:
            assert other.write(WHOLE, [manifest], reread=never).manifest == manifest
            assert other.write(WHOLE, [manifest], reread=never).new_bytes == 0

    def test_an_object_that_went_is_written_again(self, bench: Bench) -> None:
        manifest = bench.write(WHOLE).manifest
        for stored in manifest.objects:
            bench.store.path(stored.oid).unlink()
        with workbench(bench.store.root) as other:
            assert other.write(WHOLE, [manifest], reread=never).manifest == manifest
            assert other.read(manifest) == WHOLE.data


def test_indexes_answer_where_a_value_is(bench: Bench) -> None:
    manifest = bench.write(WHOLE).manifest
    small, large = manifest.entries[:2]

    lists = bench.reader.lists
    assert lists(small.where, small.length, small.digest)
    assert lists(large.where, large.length, large.digest)
    assert not lists(small.where, small.length + 1, small.digest)
    assert not lists(small.where, small.length, large.digest)
    assert not lists(large.where, small.length, small.digest)
    assert not lists((Slot(Oid("0" * 64), 0),), small.length, small.digest)
