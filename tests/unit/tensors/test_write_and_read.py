"""Files of every shape into a store and out again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from git_theta.codecs import CHUNK
from git_theta.manifest import INLINE_LIMIT, render
from git_theta.model import EMPTY_DIGEST, Group, Inline, Layout, Span, View
from git_theta.tensors import objects as objects_module
from git_theta.tensors import reader as reader_module
from git_theta.tensors.objects import PACK_VALUE
from tests.unit.tensors.bench import MIB, Bench, Content, File, file, noise, workbench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with workbench(tmp_path / "theta") as bench:
        yield bench


LAYOUTS: dict[str, list[bytes | tuple[str, bytes]]] = {
    "an empty file": [],
    "one skeleton byte": [b"x"],
    "a skeleton that fits the manifest": [noise(INLINE_LIMIT)],
    "a skeleton that does not": [noise(INLINE_LIMIT + 1)],
    "a skeleton of one chunk": [noise(CHUNK)],
    "a skeleton of one chunk and a byte": [noise(CHUNK + 1)],
    "a skeleton of three chunks": [noise(3 * CHUNK)],
    "one value of one byte": [("w", b"x")],
    "one empty value": [("w", b"")],
    "empty values only": [("a", b""), ("b", b""), ("c", b"")],
    "an empty value between skeletons": [b"head", ("w", b""), b"tail"],
    "an empty value before and after a large one": [("a", b""), ("b", noise(CHUNK + 5)), ("c", b"")],
    "values and gaps": [b"head", ("a", noise(500)), b"--", ("b", noise(700, 2)), ("c", noise(9, 3)), b"tail"],
    "four MiB exactly": [("w", noise(CHUNK))],
    "four MiB less a byte": [("w", noise(CHUNK - 1))],
    "four MiB and a byte": [("w", noise(CHUNK + 1))],
    "four MiB twice": [("a", noise(CHUNK)), ("b", noise(CHUNK, 2))],
    "eight MiB exactly": [("w", noise(2 * CHUNK))],
    "eight MiB less a byte, behind a header": [b"head", ("w", noise(2 * CHUNK - 1)), b"tail"],
    "one MiB exactly": [("w", noise(PACK_VALUE))],
    "one MiB and a byte": [("w", noise(PACK_VALUE + 1))],
    "sizes around every limit": [
        (f"{length}", noise(length, length))
        for length in (1, INLINE_LIMIT, INLINE_LIMIT + 1, PACK_VALUE - 1, PACK_VALUE + 1, CHUNK - 1, CHUNK, CHUNK + 1)
    ],
    "a slab filled by a gap": [("a", noise(CHUNK - 10)), noise(10), ("b", noise(11)), b"tail"],
    "a gap over several slabs": [("a", noise(11)), noise(2 * CHUNK + 7, 5), ("b", noise(12))],
    "many tiny values": [part for i in range(3000) for part in (b"%d" % i, (f"w{i}", noise(i % 90, i)))],
    "values that compress": [("zeros", bytes(CHUNK + 100)), ("ramp", bytes(range(256)) * 5000), bytes(100_000)],
}


@pytest.mark.parametrize("parts", LAYOUTS.values(), ids=list(LAYOUTS))
def test_every_file_comes_back(bench: Bench, parts: list[bytes | tuple[str, bytes]]) -> None:
    written = file(*parts)
    result = bench.write(written)
    assert result.length == len(written.data)
    assert result.manifest.size == len(written.data)
    assert bench.read(result.manifest) == written.data
    assert bench.reader.check(result.manifest) == []
    assert bench.leftovers() == []


def test_every_value_comes_back_alone(bench: Bench) -> None:
    values = [("a", noise(100)), ("b", b""), ("c", noise(3 * MIB, 2)), ("d", noise(CHUNK + 3, 3)), ("e", b"tiny")]
    manifest = bench.write(file(b"head", *values)).manifest
    for entry, (name, data) in zip(manifest.entries, values, strict=True):
        assert b"".join(bytes(part) for part in bench.reader.value(name, entry)) == data


def test_typed_values_come_back(bench: Bench) -> None:
    rng = np.random.default_rng(7)
    arrays: dict[str, NDArray[Any]] = {
        "float32": rng.standard_normal((700, 300)).astype(np.float32),
        "float16": rng.standard_normal((3, 100)).astype(np.float16),
        "int64": rng.integers(-5, 5, 1000),
        "bool": rng.integers(0, 2, 333).astype(bool),
        "float64": np.array([0.0, -0.0, np.nan, np.inf] * 20),
    }
    data, spans = b"", []
    for dtype, array in arrays.items():
        spans.append(Span(len(data) + 3, array.nbytes, (Group(dtype, dtype, array.shape),)))
        data += b"pad" + array.tobytes()
    manifest = bench.write(File(data, Layout("safetensors", len(data), tuple(spans)))).manifest
    assert bench.read(manifest) == data
    assert sum(bench.objects().values()) < len(data)


def test_tied_weights_and_views_are_one_value(bench: Bench) -> None:
    groups = (
        Group("a", "float32", (25,)),
        Group("b", "float32", (5, 5)),
        Group("row", "float32", (5,), View(5, (1,))),
    )
    layout = Layout("pytorch-zip", 104, (Span(4, 100, groups),))
    manifest = bench.write(File(b"head" + noise(100), layout)).manifest
    assert [group.name for group in manifest.entries[0].groups] == ["a", "b", "row"]
    assert bench.read(manifest) == b"head" + noise(100)


class TestPlacement:
    def test_tiny_values_live_in_the_manifest(self, bench: Bench) -> None:
        manifest = bench.write(file(("a", b"x" * INLINE_LIMIT), ("b", b""))).manifest
        assert [entry.where for entry in manifest.entries] == [Inline(b"x" * INLINE_LIMIT), Inline(b"")]
        assert manifest.entries[1].digest == EMPTY_DIGEST
        assert bench.objects() == {}

    def test_small_values_share_an_object(self, bench: Bench) -> None:
        manifest = bench.write(file(*((f"w{i}", noise(1000, i)) for i in range(50)))).manifest
        assert len(bench.objects()) == 1
        assert [entry.where[0].index for entry in manifest.entries if isinstance(entry.where, tuple)] == list(range(50))

    def test_a_full_pack_makes_room_for_the_next(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(objects_module, "PACK_SIZE", 10_000)
        written = file(*((f"w{i}", noise(3000, i)) for i in range(10)))
        manifest = bench.write(written).manifest
        assert len(bench.objects()) == 3
        assert bench.read(manifest) == written.data

    def test_a_pack_holds_a_limited_number_of_values(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(objects_module, "PACK_COUNT", 4)
        written = file(*((f"w{i}", noise(60, i)) for i in range(10)))
        manifest = bench.write(written).manifest
        assert len(bench.objects()) == 3
        assert bench.read(manifest) == written.data

    def test_a_value_above_the_pack_limit_has_its_own_object(self, bench: Bench) -> None:
        bench.write(file(("a", noise(PACK_VALUE + 1)), ("b", noise(PACK_VALUE + 1, 2)), ("c", noise(100))))
        assert len(bench.objects()) == 3

    @pytest.mark.parametrize("length", [2 * CHUNK, 2 * CHUNK + 1, 4 * CHUNK, 5 * CHUNK - 1])
    def test_a_huge_value_is_spread_over_objects(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, length: int
    ) -> None:
        monkeypatch.setattr(objects_module, "PART", 2 * CHUNK)
        written = file(b"head", ("w", noise(length)), b"tail")
        manifest = bench.write(written).manifest
        parts = -(-length // (2 * CHUNK))
        assert isinstance(manifest.entries[0].where, tuple)
        assert len(manifest.entries[0].where) == parts
        assert max(bench.objects().values()) < 2 * CHUNK + 1000
        assert bench.read(manifest) == written.data

    def test_identical_values_in_one_file_are_stored_once(self, bench: Bench) -> None:
        small, large = noise(1000), noise(CHUNK + 5)
        written = file(("a", small), ("b", large), ("c", small), ("d", large), small)
        manifest = bench.write(written).manifest
        assert manifest.entries[0].where == manifest.entries[2].where == manifest.skeleton.where
        assert manifest.entries[1].where == manifest.entries[3].where
        assert len(bench.objects()) == 2
        assert bench.read(manifest) == written.data

    def test_the_object_table_lists_sizes_on_disk(self, bench: Bench) -> None:
        manifest = bench.write(file(("a", noise(1000)), ("b", noise(CHUNK + 1)))).manifest
        assert {stored.oid: stored.size for stored in manifest.objects} == bench.objects()


def test_a_long_skeleton_is_read_from_a_scratch_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "SKELETON_IN_MEMORY", 1000)
    written = file(noise(9000), ("a", noise(100)), noise(500, 2), ("b", noise(CHUNK + 9)), noise(20_000, 3))
    manifest = bench.write(written).manifest
    assert bench.read(manifest) == written.data
    assert bench.leftovers() == []


def test_a_skeleton_above_the_real_limit_comes_back(bench: Bench) -> None:
    skeleton = noise(MIB) * 33
    written = file(skeleton, ("w", noise(1000)), b"tail")
    assert bench.read(bench.write(written).manifest) == written.data


def test_the_manifest_is_the_same_whatever_the_number_of_threads(tmp_path: Path) -> None:
    parts = [(f"w{i}", noise(i * 7000 % (2 * MIB), i)) for i in range(60)]
    written = file(b"head", *parts, ("large", noise(3 * CHUNK + 1)), noise(CHUNK * 2, 9))
    texts = set()
    for threads in (1, 2, 3, 8):
        with workbench(tmp_path / str(threads), threads) as bench:
            manifest = bench.write(written).manifest
            assert bench.read(manifest) == written.data
            texts.add(render(manifest))
    assert len(texts) == 1


def test_content_that_ends_early_is_filled_with_zeros(bench: Bench) -> None:
    written = file(b"head", ("a", noise(CHUNK + 9)), ("b", noise(500)))
    result = bench.writer.write(written.layout, Content(written.data[:1000]))
    assert result.length == 1000
    assert bench.read(result.manifest) == written.data[:1000] + bytes(len(written.data) - 1000)


def test_content_beyond_the_layout_stays_unread(bench: Bench) -> None:
    written = file(("a", noise(500)))
    content = Content(written.data + b"more")
    assert bench.writer.write(written.layout, content).length == 500
    assert content.at == 500


def test_progress_adds_up(bench: Bench) -> None:
    written = file(b"head", ("a", noise(2 * CHUNK + 9)), b"tail")
    told: list[int] = []
    bench.writer.write(written.layout, Content(written.data), progress=told.append)
    assert sum(told) == len(written.data)


def test_a_store_that_cannot_be_written_can_be_read(bench: Bench, tmp_path: Path) -> None:
    """As root everything can be written, so a file stands where the scratch folder would be."""
    written = file(b"head", ("a", noise(500)))
    manifest = bench.write(written).manifest
    bench.store.tmp.rmdir()
    bench.store.tmp.write_bytes(b"")
    assert bench.read(manifest) == written.data
