"""Objects that were truncated, flipped, or forged: the right bytes come out, or an error that names the group."""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from git_theta.codecs import CHUNK, encode
from git_theta.errors import Exit
from git_theta.model import Entry, Group, Manifest, Oid, Skeleton, Slot
from git_theta.store import DamagedObject, SlotRecord, read_index, render_index
from git_theta.store.container import INDEX_LIMIT, MAGIC, TRAILER
from git_theta.tensors import DamagedValue, Reader
from git_theta.tensors.objects import PACK_COUNT
from tests.unit.manifest.samples import digest, inline
from tests.unit.tensors.bench import Bench, File, file, noise, workbench

SMALL = file(
    b"head", ("a", noise(300)), ("ramp", bytes(range(250)) * 9), ("b", b"" * 4), ("c", noise(80, 3)), noise(70, 4)
)
LONG = file(b"head", ("long", bytes(CHUNK) + b"theta" * 30), b"tail")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with workbench(tmp_path / "theta") as bench:
        yield bench


def only_object(bench: Bench) -> Path:
    (oid,) = bench.objects()
    path = bench.store.path(oid)
    path.chmod(0o644)
    return path


def drain(parts: Iterable[memoryview]) -> tuple[bytes, DamagedValue | None]:
    """What came, and the damage that ended it."""
    found = bytearray()
    try:
        for part in parts:
            found += part
    except DamagedValue as error:
        return bytes(found), error
    return bytes(found), None


def outcome(bench: Bench, manifest: Manifest, file: File) -> bool:
    """Whether the file's bytes still come; anything but them and a DamagedValue fails the test."""
    found, damage = drain(Reader(bench.store, 1).stream(manifest))
    if damage is None:
        assert found == file.data
        return True
    assert damage.exit_code is Exit.DAMAGED
    assert damage.hint
    assert set(damage.oids) == set(bench.objects())
    return False


class TestDamage:
    def test_every_truncation_is_noticed(self, bench: Bench) -> None:
        manifest = bench.write(SMALL).manifest
        path = only_object(bench)
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            assert not outcome(bench, manifest, SMALL)
        assert [error.group for error in Reader(bench.store, 1).check(manifest)] == ["(skeleton)", "a", "ramp", "c"]

    @pytest.mark.parametrize("mask", [1, 0x80])
    def test_every_flipped_byte_is_noticed_or_harmless(self, bench: Bench, mask: int) -> None:
        manifest = bench.write(SMALL).manifest
        path = only_object(bench)
        whole = path.read_bytes()
        harmless = 0
        for at in range(len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
            harmless += outcome(bench, manifest, SMALL)
        # The magic in front is for people; the spec of zstd has a bit or two that nobody reads.
        assert len(MAGIC) <= harmless < 20

    def test_flipped_bits_in_a_value_of_several_chunks_are_noticed_or_harmless(self, bench: Bench) -> None:
        manifest = bench.write(LONG).manifest
        path = only_object(bench)
        whole = path.read_bytes()
        rng = random.Random(20261)
        for _ in range(100):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(MAGIC), len(whole))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            outcome(bench, manifest, LONG)

    def test_bytes_shuffled_overwritten_and_doubled_are_noticed(self, bench: Bench) -> None:
        manifest = bench.write(SMALL).manifest
        path = only_object(bench)
        whole = path.read_bytes()
        rng = random.Random(20262)
        for _ in range(300):
            start, end = sorted(rng.sample(range(8, len(whole)), 2))
            new = rng.choice([b"", bytes(end - start), rng.randbytes(end - start), whole[start:end] * 2])
            path.write_bytes(whole[:start] + new + whole[end:])
            outcome(bench, manifest, SMALL)

    @pytest.mark.parametrize(
        "other", [b"", b"\0", MAGIC, MAGIC * 3, b"\0" * 5000, noise(5000), b"version https://git-lfs"]
    )
    def test_another_file_in_its_place_is_noticed(self, bench: Bench, other: bytes) -> None:
        manifest = bench.write(SMALL).manifest
        only_object(bench).write_bytes(other)
        assert not outcome(bench, manifest, SMALL)

    def test_another_object_in_its_place_is_noticed(self, bench: Bench) -> None:
        manifest = bench.write(SMALL).manifest
        path = only_object(bench)
        with workbench(bench.store.root.with_name("elsewhere")) as elsewhere:
            elsewhere.write(
                file(b"HEAD", ("a", noise(300, 9)), ("ramp", noise(2250)), ("c", noise(80, 5)), noise(70, 6))
            )
            path.write_bytes(only_object(elsewhere).read_bytes())
        assert not outcome(bench, manifest, SMALL)

    def test_a_missing_object_is_named_with_its_group(self, bench: Bench) -> None:
        manifest = bench.write(SMALL).manifest
        only_object(bench).unlink()
        with pytest.raises(DamagedValue, match=r"\(skeleton\).*not in the local store") as missing:
            bench.read(manifest)
        assert missing.value.oids == (manifest.objects[0].oid,)

    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
    @pytest.mark.timeout(20)
    def test_an_object_that_is_no_file_is_named_with_its_group_and_never_waited_for(
        self, bench: Bench, make: Callable[[Path], None]
    ) -> None:
        manifest = bench.write(SMALL).manifest
        path = only_object(bench)
        path.unlink()
        make(path)
        with pytest.raises(DamagedValue, match="not a regular file"):
            bench.read(manifest)

    def test_a_damaged_group_does_not_hide_the_others(self, bench: Bench) -> None:
        manifest = bench.write(SMALL).manifest
        path = only_object(bench)
        whole = path.read_bytes()
        at = whole.index(noise(300)[:50])
        path.write_bytes(whole[:at] + b"x" + whole[at + 1 :])
        assert [error.group for error in Reader(bench.store, 2).check(manifest)] == ["a"]

    def test_the_end_of_a_stream_is_never_reached_with_a_wrong_byte(self, bench: Bench) -> None:
        """The value's digest is checked after its last byte went, so the error comes late, but it comes."""
        long = file(("long", noise(3 * CHUNK)), b"tail")
        manifest = bench.write(long).manifest
        path = max((bench.store.path(oid) for oid in bench.objects()), key=lambda path: path.stat().st_size)
        path.chmod(0o644)
        whole = path.read_bytes()
        path.write_bytes(whole[:-5000] + b"x" + whole[-4999:])
        found, damaged = drain(bench.reader.stream(manifest))
        assert "'long'" in str(damaged)
        assert "sha256" in str(damaged)
        assert long.data.startswith(found[: 2 * CHUNK])
        assert len(found) < len(long.data)


class TestManifestsThatLie:
    """A manifest whose grammar is right may still say anything about its objects."""

    @pytest.fixture
    def manifest(self, bench: Bench) -> Manifest:
        return bench.write(
            file(b"head", ("a", noise(300)), ("b", noise(300, 2)), ("long", noise(CHUNK + 300)))
        ).manifest

    def lie(self, bench: Bench, manifest: Manifest, entry: Entry | Skeleton) -> None:
        assert drain(bench.reader.value("lie", entry))[1]
        if isinstance(entry, Entry):
            size = entry.length + manifest.skeleton.length
            whole = replace(manifest, entries=(replace(entry, gap=0),), size=size)
            assert drain(bench.reader.stream(whole))[1]

    def test_about_slots(self, bench: Bench, manifest: Manifest) -> None:
        a, b, long = manifest.entries
        assert isinstance(a.where, tuple)
        assert isinstance(b.where, tuple)
        assert isinstance(long.where, tuple)
        oid = a.where[0].oid
        places = [
            b.where,
            long.where,
            (Slot(oid, 99),),
            (Slot(oid, 2**63 - 1),),
            (Slot(Oid("0" * 64), 0),),
            (*a.where, *a.where),
            (*a.where, *b.where),
        ]
        for where in places:
            self.lie(bench, manifest, replace(a, where=where))
        self.lie(bench, manifest, replace(long, where=(*long.where, *long.where)))

    def test_about_lengths(self, bench: Bench, manifest: Manifest) -> None:
        a, _, long = manifest.entries
        for entry, lengths in (
            (a, (299, 301, 0x7FFFFFFF, CHUNK + 300)),
            (long, (300, CHUNK, CHUNK + 299, CHUNK + 301)),
        ):
            for length in lengths:
                group = Group("lie", "opaque", (length,))
                self.lie(bench, manifest, replace(entry, groups=(group,), length=length))

    def test_about_digests(self, bench: Bench, manifest: Manifest) -> None:
        for entry in manifest.entries:
            self.lie(bench, manifest, replace(entry, digest=digest("lie")))
        self.lie(bench, manifest, Skeleton(300, digest("lie"), manifest.entries[0].where))


def forged(bench: Bench, chunks: bytes, index: bytes) -> Oid:
    """An object of any bytes and any index, under a name of its own."""
    oid = Oid("f" * 64)
    path = bench.store.path(oid)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MAGIC + chunks + index)
    return oid


def raw_index(text: bytes) -> bytes:
    frame = zstandard.ZstdCompressor().compress(text)
    return frame + TRAILER.pack(len(frame), MAGIC)


DATA = noise(200)
PAYLOAD = b"".join(encode(DATA, "opaque"))
RECORD = {
    "kind": "dense",
    "dtype": "opaque",
    "digest": inline(DATA)[1],
    "at": 0,
    "length": 200,
    "chunks": [len(PAYLOAD)],
}
TRUTH = {"slots": [RECORD]}


def records(**changes: Any) -> dict[str, Any]:
    return {"slots": [{**RECORD, **changes}]}


def without(field: str) -> dict[str, Any]:
    return {"slots": [{key: value for key, value in RECORD.items() if key != field}]}


NUMBERS: list[Any] = [-1, 2**63, 2**64, 10**40, 1.5, True, None, "0", [], float("nan")]
CHUNKS: list[Any] = [
    None,
    7,
    "201",
    [],
    [[]],
    {},
    [None],
    [True],
    ["1"],
    [-1],
    [0],
    [1],
    [200],
    [202],
    [CHUNK],
    [CHUNK + 2],
]
CHUNKS += [[2**62], [2**63], [1e300]]
LIES: dict[str, Any] = {
    "nothing": None,
    "a number": 7,
    "text": "slots",
    "a list": [RECORD],
    "no slots": {},
    "slots that are a number": {"slots": 7},
    "slots that are text": {"slots": "x"},
    "slots that are an object": {"slots": RECORD},
    "a slot that is a list": {"slots": [[1, 2]]},
    "a slot that is nothing": {"slots": [None]},
    **{f"no {field}": without(field) for field in RECORD},
    **{f"{field} that is {n!r}": records(**{field: n}) for field in ("at", "length") for n in NUMBERS},
    **{f"chunks that are {chunks!r}": records(chunks=chunks) for chunks in CHUNKS},
    "chunks that add up another way": records(chunks=[100, 101]),
    "a negative chunk that makes the sum right": records(chunks=[-1, 202], length=CHUNK + 1),
    **{f"{field} that is a number": records(**{field: 7}) for field in ("kind", "dtype", "digest")},
    "an unknown kind": records(kind="from the future"),
    "another offset": records(at=CHUNK),
    "another digest": records(digest="0" * 64),
    "another length": records(length=199),
    "a length of two chunks": records(length=CHUNK + 1),
    "a length of 2^62 and no chunks": records(length=2**62, chunks=[]),
    "two slots over one chunk": {"slots": [RECORD, RECORD]},
}


class TestForgedIndexes:
    def read(self, bench: Bench, oid: Oid) -> bytes:
        entry = Entry((Group("w", "opaque", (200,)),), 0, *inline(DATA)[:2], (Slot(oid, 0),))
        return b"".join(bytes(part) for part in Reader(bench.store, 1).value("w", entry))

    def test_the_truth_is_read(self, bench: Bench) -> None:
        assert self.read(bench, forged(bench, PAYLOAD, raw_index(json.dumps(TRUTH).encode()))) == DATA

    @pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
    def test_lies_are_refused(self, bench: Bench, lie: Any) -> None:
        oid = forged(bench, PAYLOAD, raw_index(json.dumps(lie).encode()))
        with pytest.raises(DamagedValue, match="'w'") as refused:
            self.read(bench, oid)
        assert refused.value.oids == (oid,)

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"{",
            b"\xff\xfe",
            b"\0" * 100,
            b'{"slots": [' + b"9" * 10_000 + b"]}",
            b"[" * 100_000,
            b'{"slots":' * 50_000,
            b'{"slots": ["\\ud800"]}',
        ],
        ids=["empty", "cut", "not UTF-8", "NULs", "a long number", "deep lists", "deep objects", "a lone surrogate"],
    )
    def test_what_is_no_json_is_refused(self, bench: Bench, text: bytes) -> None:
        with pytest.raises(DamagedValue):
            self.read(bench, forged(bench, PAYLOAD, raw_index(text)))

    @pytest.mark.parametrize("length", [0, 1, 15, 10**6, 2**31, 2**63, 2**64 - 1])
    def test_lengths_of_the_index_that_cannot_be_are_refused(self, bench: Bench, length: int) -> None:
        frame = zstandard.ZstdCompressor().compress(json.dumps(TRUTH).encode())
        oid = forged(bench, PAYLOAD, frame + TRAILER.pack(length, MAGIC))
        with pytest.raises(DamagedValue):
            self.read(bench, oid)

    def test_a_frame_without_a_size_is_refused(self, bench: Bench) -> None:
        frame = zstandard.ZstdCompressor(write_content_size=False).compress(json.dumps(TRUTH).encode())
        with pytest.raises(DamagedValue, match="impossible size"):
            self.read(bench, forged(bench, PAYLOAD, frame + TRAILER.pack(len(frame), MAGIC)))


def lists_of(element: bytes) -> bytes:
    """Slots as many as fit below the limit."""
    return b'{"slots":[' + element + (b"," + element) * ((INDEX_LIMIT - 12) // (len(element) + 1) - 1) + b"]}"


def empty_chunks() -> bytes:
    """One value of very many chunks of no bytes."""
    count = INDEX_LIMIT // 2 - 200
    text = json.dumps(records(length=CHUNK * count, chunks=[]))
    return text.replace("[]", "[0" + ",0" * (count - 1) + "]").encode()


BOMBS: dict[str, Callable[[], bytes]] = {
    "a gigabyte of zeros": lambda: bytes(1 << 30),
    "just above the limit": lambda: bytes(INDEX_LIMIT + 1),
    "empty lists": lambda: lists_of(b"[]"),
    "empty objects": lambda: lists_of(b"{}"),
    "empty chunks": empty_chunks,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=list(BOMBS))
def test_index_bombs_stay_below_the_memory_promise(bomb: Callable[[], bytes]) -> None:
    frame = zstandard.ZstdCompressor().compress(bomb())
    assert len(frame) < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(DamagedObject):
            read_index(Oid("f" * 64), frame, len(MAGIC) + len(PAYLOAD) + len(frame) + TRAILER.size, CHUNK)
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


def test_the_longest_honest_index_is_below_the_limit() -> None:
    """With room to spare for the fields that other update kinds will bring."""
    slot = SlotRecord("quantized-with-a-long-name", "float8_e4m3fnuz", digest("x"), 2**50, 1 << 20, (1 << 20,))
    text = zstandard.ZstdDecompressor().decompress(render_index([slot] * PACK_COUNT)[: -TRAILER.size])
    assert len(text) < INDEX_LIMIT // 2


def test_an_index_says_where_every_slot_begins() -> None:
    slots = [
        SlotRecord("dense", "opaque", digest("a"), 0, CHUNK + 5, (100, 7)),
        SlotRecord("dense", "float32", digest("b"), 0, 400, (33,)),
    ]
    frame = render_index(slots)[: -TRAILER.size]
    index = read_index(Oid("f" * 64), frame, len(MAGIC) + 140 + len(frame) + TRAILER.size, CHUNK)
    assert index.slots == tuple(slots)
    assert index.starts == (8, 115)
