"""Manifests made by hand: one that uses every part of the grammar, and the pieces to vary it."""

from __future__ import annotations

from hashlib import sha256

from git_theta.model import (
    Digest,
    Entry,
    Group,
    Inline,
    Manifest,
    Oid,
    Skeleton,
    Slot,
    StoredObject,
    View,
)


def digest(text: str) -> Digest:
    """A digest of nothing in particular."""
    return Digest(sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


def oid(text: str) -> Oid:
    """The name of an object that exists nowhere."""
    return Oid(sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


def inline(data: bytes) -> tuple[int, Digest, Inline]:
    """Length, digest and place of a value the manifest itself holds."""
    return len(data), Digest(sha256(data).hexdigest()), Inline(data)


def entry(name: str = "w", elements: int = 100, gap: int = 0, oid_: Oid | None = None) -> Entry:
    """A float32 vector in slot 0 of an object."""
    group = Group(name, "float32", (elements,))
    return Entry((group,), gap, 4 * elements, digest(name), (Slot(oid_ or oid("pack"), 0),))


def every_part() -> Manifest:
    """Groups inline and in objects of one and more slots, aliases, views, gaps, quoted names, bases."""
    embedding = Entry(
        (
            Group("embed.weight", "float32", (50, 4)),
            Group("lm_head.weight", "float32", (50, 4)),
            Group("embed.first", "float32", (4,), View(8, (1,))),
        ),
        64,
        800,
        digest("embedding"),
        (Slot(oid("pack"), 1), Slot(oid("huge"), 0)),
    )
    scalar = Entry((Group('a "name"', "int64", ()),), 3, *inline(b"\1\2\3\4\5\6\7\x08"))
    bias = Entry((Group("bias", "bfloat16", (30,)),), 0, 60, digest("bias"), (Slot(oid("pack"), 0),))
    objects = (
        StoredObject(oid("pack"), 900),
        StoredObject(oid("huge"), 1 << 20, tuple(sorted([oid("base"), oid("pack")]))),
        StoredObject(oid("base"), 77),
    )
    skeleton = Skeleton(80, digest("skeleton"), (Slot(oid("pack"), 2),))
    by_oid = tuple(sorted(objects, key=lambda stored: stored.oid))
    return Manifest("pytorch-zip", 80 + 800 + 8 + 60, skeleton, (embedding, scalar, bias), by_oid)


def simple(*entries: Entry) -> Manifest:
    """The manifest of some entries and an inline skeleton that fills the gaps."""
    gaps = sum(entry.gap for entry in entries)
    oids = {slot.oid for entry in entries if isinstance(entry.where, tuple) for slot in entry.where}
    objects = tuple(StoredObject(oid, 1000) for oid in sorted(oids))
    skeleton = Skeleton(*inline(bytes(gaps)))
    size = gaps + sum(entry.length for entry in entries)
    return Manifest("safetensors", size, skeleton, entries, objects)
