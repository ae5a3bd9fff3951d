"""For any manifest at all: its text is its only encoding, and reading it gives the manifest back."""

from __future__ import annotations

from hashlib import sha256

import hypothesis.strategies as st
from hypothesis import assume, given, settings

from git_theta.manifest import DamagedManifest, ManifestFromNewerVersion, parse, render
from git_theta.model import Digest, Entry, Group, Inline, Manifest, Oid, Skeleton, Slot, StoredObject, View

NAMES = st.text(st.characters(codec=None, exclude_categories=()), max_size=20) | st.from_regex(r"[a-z.0-9]{1,20}")
FORMATS = st.sampled_from(["safetensors", "pytorch-zip", "gguf", "opaque"])
WIDTHS = {"float32": 4, "bfloat16": 2, "int64": 8, "bool": 1, "opaque": 1, "complex128": 16}
DIGESTS = st.binary(max_size=4).map(lambda seed: Digest(sha256(seed).hexdigest()))


def padded(head: str, tail: int) -> Oid:
    return Oid(head + f"{tail:0{64 - len(head)}x}")


@st.composite
def tables(draw: st.DrawFn) -> tuple[StoredObject, ...]:
    """A few objects whose names share long beginnings, each based on some that come before it."""
    heads = st.sampled_from(["", "0" * 12, "a" * 20, "b" * 62])
    oids = sorted(set(draw(st.lists(st.builds(padded, heads, st.integers(0, 255)), min_size=1, max_size=5))))
    return tuple(
        StoredObject(oid, draw(st.integers(0, 2**63 - 1)), tuple(sorted(draw(st.sets(st.sampled_from(oids[:at]))))))
        if at
        else StoredObject(oid, draw(st.integers(0, 2**63 - 1)))
        for at, oid in enumerate(oids)
    )


@st.composite
def views(draw: st.DrawFn, name: str, dtype: str, length: int) -> Group:
    """A group that looks at one row of a span; the whole span where it is empty."""
    elements = length // WIDTHS[dtype]
    if not elements:
        return Group(name, dtype, (0,))
    offset = draw(st.integers(0, elements - 1))
    return Group(name, dtype, (elements - offset, 1), View(offset, (1, draw(st.integers(0, 2**63 - 1)))))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A manifest that could be: its sums are right, its table is closed, its names are unique."""
    table = draw(tables())
    names = iter(draw(st.lists(NAMES, min_size=12, max_size=12, unique=True)))
    used: set[Oid] = set()

    def value() -> tuple[int, Digest, Inline | tuple[Slot, ...]]:
        if draw(st.booleans()):
            data = draw(st.integers(0, 6).flatmap(lambda n: st.binary(min_size=8 * n, max_size=8 * n)))
            return len(data), Digest(sha256(data).hexdigest()), Inline(data)
        slots = st.builds(Slot, st.sampled_from([stored.oid for stored in table]), st.integers(0, 2**63 - 1))
        where = tuple(draw(st.lists(slots, min_size=1, max_size=3)))
        used.update(slot.oid for slot in where)
        return 16 * draw(st.integers(0, 2**55)), draw(DIGESTS), where

    def entry() -> Entry:
        length, digest, where = value()
        dtype = draw(st.sampled_from([name for name, width in WIDTHS.items() if length % width == 0]))
        groups = [Group(next(names), dtype, (length // WIDTHS[dtype],))]
        groups += [draw(views(next(names), dtype, length)) for _ in range(draw(st.integers(0, 2)))]
        return Entry(tuple(groups), draw(st.integers(0, 9)), length, digest, where)

    entries = tuple(entry() for _ in range(draw(st.integers(0, 4))))
    skeleton = Skeleton(*value())
    assume(sum(entry.gap for entry in entries) <= skeleton.length)
    size = skeleton.length + sum(entry.length for entry in entries)
    return Manifest(draw(FORMATS), size, skeleton, entries, closed(table, used))


def closed(table: tuple[StoredObject, ...], used: set[Oid]) -> tuple[StoredObject, ...]:
    """The objects that are used, and their bases; bases always come earlier in the table."""
    needed = set(used)
    for stored in reversed(table):
        if stored.oid in needed:
            needed.update(stored.bases)
    return tuple(stored for stored in table if stored.oid in needed)


@settings(max_examples=100, deadline=None)
@given(manifests())
def test_parse_undoes_render(manifest: Manifest) -> None:
    assert parse(render(manifest)) == manifest


@settings(max_examples=100, deadline=None)
@given(manifests(), st.data())
def test_any_text_that_parses_is_what_render_writes(manifest: Manifest, data: st.DataObject) -> None:
    text = bytearray(render(manifest))
    at = data.draw(st.integers(0, len(text) - 1))
    cut = data.draw(st.integers(0, 3))
    text[at : at + cut] = data.draw(
        st.binary(max_size=3) | st.text("0123456789abcdef ,:+=\n", max_size=3).map(str.encode)
    )
    try:
        found = parse(bytes(text))
    except (DamagedManifest, ManifestFromNewerVersion):
        return
    assert render(found) == text
