"""Manifests that were truncated, edited, merged by a host, or made to hurt: each is refused, for its own reason."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from git_theta.errors import Exit
from git_theta.manifest import DamagedManifest, ManifestFromNewerVersion, parse, render, root
from git_theta.model import Entry, Group, Manifest, Oid, Slot, StoredObject, View
from tests.unit.manifest.samples import digest, entry, every_part, inline, oid, simple

WHOLE = every_part()
TEXT = render(WHOLE)
LINES = TEXT.splitlines(keepends=True)
PACK = oid("pack")[:12].encode()

Edit = Callable[[bytes], bytes]


def swap(old: bytes, new: bytes) -> Edit:
    """Replace the one place where ``old`` stands; the test fails if the sample lost it."""

    def edit(text: bytes) -> bytes:
        assert text.count(old) == 1, old
        return text.replace(old, new)

    return edit


def by_line(change: Callable[[list[bytes]], list[bytes]]) -> Edit:
    return lambda text: b"".join(change(text.splitlines(keepends=True)))


def objects(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line.startswith(b"object ")]


SAME_MEANING: dict[str, Edit] = {
    "a name quoted without need": swap(b"group bias ", b'group "bias" '),
    "a name escaped without need": swap(rb'"a \"name\""', rb'"\u0061 \"name\""'),
    "a slash escaped": swap(b"group bias ", rb'group "b\/ias" '),
    "a leading zero in a size": swap(b"size 948\n", b"size 0948\n"),
    "a leading zero in a shape": swap(b"[30]", b"[030]"),
    "a plus sign": swap(b"size 948\n", b"size +948\n"),
    "an underscore in a number": swap(b"size 948\n", b"size 9_48\n"),
    "a gap of zero": swap(b"[30] 60", b"[30] gap=0 60"),
    "a space too many": swap(b"[30] 60", b"[30]  60"),
    "a space inside a shape": swap(b"[50,4] gap=64", b"[50, 4] gap=64"),
    "a space at the end of a line": swap(b"size 948\n", b"size 948 \n"),
    "a tab for a space": swap(b"size 948\n", b"size\t948\n"),
    "an extra field": swap(b"size 948\n", b"size 948 bytes\n"),
    "fields in another order": swap(b" gap=64 800", b" 800 gap=64"),
    "a digest in capitals": lambda text: text.replace(digest("bias").encode(), digest("bias").upper().encode()),
    "a base64 value with loose bits": swap(b"=AQIDBAUGBwg=", b"=AQIDBAUGBwh="),
    "a base64 value without padding": swap(b"=AQIDBAUGBwg=", b"=AQIDBAUGBwg"),
    "Windows line ends": lambda text: text.replace(b"\n", b"\r\n"),
    "one Windows line end": swap(b"size 948\n", b"size 948\r\n"),
    "an empty line": swap(b"size 948\n", b"size 948\n\n"),
    "no newline at the end": lambda text: text[:-1],
    "a newline after the end": lambda text: text + b"\n",
    "text after the end": lambda text: text + b"signed-off\n",
    "a second manifest after the end": lambda text: text + text,
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "a NUL at the end": lambda text: text + b"\0",
    "no note": by_line(lambda lines: [lines[0], *lines[2:]]),
    "another note": by_line(lambda lines: [lines[0], b"# hello\n", *lines[2:]]),
    "a comment among the groups": swap(b"group bias", b"# comment\ngroup bias"),
    "size before format": by_line(lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]]),
    "root before size": by_line(lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]]),
    "objects before groups": by_line(
        lambda lines: [*lines[:6], *objects(lines), *[n for n in lines[6:] if n not in objects(lines)]]
    ),
    "objects in another order": by_line(lambda lines: [*lines[:-4], *lines[-4:-1][::-1], lines[-1]]),
    "an object listed twice": by_line(lambda lines: [*lines[:-1], lines[-2], lines[-1]]),
    "an object that nobody needs": by_line(lambda lines: [*lines[:-1], b"object " + b"f" * 64 + b" 1\n", lines[-1]]),
    "an object missing": by_line(lambda lines: [line for line in lines if not line.startswith(objects(lines)[0])]),
    "an oid one digit longer": swap(PACK + b":0\n", oid("pack")[:13].encode() + b":0\n"),
    "an oid one digit shorter": swap(PACK + b":0\n", oid("pack")[:11].encode() + b":0\n"),
    "an oid in full": swap(PACK + b":0\n", oid("pack").encode() + b":0\n"),
    "a base in full": lambda text: re.sub(rb"base=\w+", b"base=" + min(oid("base"), oid("pack")).encode(), text),
    "bases in another order": lambda text: re.sub(rb"base=(\w+),(\w+)", rb"base=\2,\1", text),
    "a base twice": lambda text: re.sub(rb"base=(\w+),", rb"base=\1,\1,", text),
    "a base that is not listed": lambda text: re.sub(rb"base=\w+", b"base=" + b"0" * 12, text),
    "an empty list of bases": swap(b" 77\n", b" 77 base=\n"),
    "a plus at the end of a place": swap(b":1+", b":1++"),
    "a place without an index": swap(PACK + b":0\n", PACK + b"\n"),
    "a slot with a leading zero": swap(b":1+", b":01+"),
    "a negative slot": swap(b":1+", b":-1+"),
}  # fmt: skip


@pytest.mark.parametrize("edit", SAME_MEANING.values(), ids=list(SAME_MEANING))
def test_there_is_exactly_one_encoding(edit: Edit) -> None:
    text = edit(TEXT)
    assert text != TEXT
    with pytest.raises(DamagedManifest) as refused:
        parse(text)
    assert refused.value.exit_code is Exit.DAMAGED
    assert refused.value.hint


FIRST = WHOLE.entries[0]
IMPOSSIBLE: dict[str, Manifest] = {
    "a name twice": simple(entry("w"), entry("w")),
    "an alias of the same name": simple(replace(entry("w"), groups=(Group("w", "float32", (100,)),) * 2)),
    "an alias of another group's name": simple(
        entry("v"), replace(entry("w"), groups=(Group("w", "float32", (100,)), Group("v", "float32", (100,))))
    ),
    "a size that does not add up": replace(WHOLE, size=WHOLE.size + 1),
    "gaps longer than the skeleton": replace(WHOLE, entries=(replace(FIRST, gap=78), *WHOLE.entries[1:])),
    "an unknown dtype": simple(replace(entry("w"), groups=(Group("w", "float33", (100,)),))),
    "a shape that does not fill the value": simple(replace(entry("w"), groups=(Group("w", "float32", (99,)),))),
    "an alias that does not fill the value": simple(
        replace(entry("w"), groups=(Group("w", "float32", (100,)), Group("v", "float32", (99,))))
    ),
    "a shape whose product overflows": simple(replace(entry("w"), groups=(Group("w", "float32", (2**62, 4, 0, 100)),))),
    "a shape of 65 sides": simple(replace(entry("w"), groups=(Group("w", "float32", (100, *[1] * 64)),))),
    "a shape of a million sides": simple(replace(entry("w"), groups=(Group("w", "float32", (1,) * 1_000_000),))),
    "a view that looks past the end": simple(
        replace(entry("w"), groups=(Group("w", "float32", (10,), View(91, (1,))),))
    ),
    "a view whose strides overflow": simple(
        replace(entry("w"), groups=(Group("w", "float32", (2**62, 2**62), View(0, (2**62, 2**62))),))
    ),
    "a view with too few strides": simple(replace(entry("w"), groups=(Group("w", "float32", (10, 2), View(0, (1,))),))),
    "a view of half bytes past the end": simple(
        Entry((Group("w", "float4_e2m1fn", (9,), View(0, (1,))),), 0, 4, digest("w"), (Slot(oid("o"), 0),))
    ),
    "an inline value of the wrong length": simple(
        replace(entry("w"), groups=(Group("w", "uint8", (4,)),), length=4, where=inline(b"abc")[2])
    ),
    "an inline value of the wrong digest": simple(
        Entry((Group("w", "uint8", (3,)),), 0, 3, digest("w"), inline(b"abc")[2])
    ),
    "a number of 2^63": simple(replace(entry("w"), groups=(Group("w", "opaque", (2**63,)),), length=2**63)),
    "an object of 2^63 bytes": replace(WHOLE, objects=(replace(WHOLE.objects[0], size=2**63), *WHOLE.objects[1:])),
    "slot 2^63": simple(replace(entry("w"), where=(Slot(oid("pack"), 2**63),))),
    "a number of twenty digits": replace(WHOLE, size=10**19),
}  # fmt: skip


@pytest.mark.parametrize("manifest", IMPOSSIBLE.values(), ids=list(IMPOSSIBLE))
def test_what_cannot_be_is_refused_even_when_the_root_digest_is_right(manifest: Manifest) -> None:
    with pytest.raises(DamagedManifest):
        parse(render(manifest))


def test_an_alias_before_every_group_is_refused() -> None:
    text = TEXT.replace(b"group embed.weight", b"alias tied float32 [200]\ngroup embed.weight")
    with pytest.raises(DamagedManifest, match="alias comes before"):
        parse(text)


@pytest.mark.parametrize("line", range(len(LINES)))
def test_a_manifest_without_one_of_its_lines_is_refused(line: int) -> None:
    with pytest.raises(DamagedManifest):
        parse(b"".join(LINES[:line] + LINES[line + 1 :]))


@pytest.mark.parametrize("line", range(len(LINES)))
def test_a_line_given_twice_is_refused(line: int) -> None:
    with pytest.raises(DamagedManifest):
        parse(b"".join(LINES[: line + 1] + LINES[line:]))


def test_every_truncation_is_refused() -> None:
    for end in range(len(TEXT)):
        with pytest.raises(DamagedManifest):
            parse(TEXT[:end])


def test_two_manifests_joined_anywhere_are_refused() -> None:
    other = render(simple(entry("a"), entry("b", gap=3))).splitlines(keepends=True)
    for head in range(1, len(LINES)):
        for tail in range(1, len(other)):
            joined = b"".join(LINES[:head] + other[tail:])
            if joined in (TEXT, b"".join(other)):  # they begin and end alike
                continue
            with pytest.raises(DamagedManifest):
                parse(joined)


def test_no_single_edit_gives_another_checkpoint() -> None:
    """Bytes replaced, dropped and inserted everywhere: refused, or the same checkpoint.

    Where values are stored is not sealed by the root digest, since it may differ between machines: it is
    checked by the digests when values are read.
    """
    seal, kept = root(WHOLE), 0
    edits = [
        TEXT[:at] + new + TEXT[at + cut :] for at in range(len(TEXT)) for new, cut in ((b"7", 1), (b"", 1), (b"a", 0))
    ]
    for text in edits:
        try:
            manifest = parse(text)
        except (DamagedManifest, ManifestFromNewerVersion):
            continue
        kept += 1
        assert root(manifest) == seal
        assert [(e.groups, e.gap, e.length, e.digest) for e in manifest.entries] == [
            (e.groups, e.gap, e.length, e.digest) for e in WHOLE.entries
        ]
    assert kept < len(edits) // 4


def test_random_bytes_never_escape_as_another_error() -> None:
    rng = random.Random(20260)
    for _ in range(3000):
        text = bytearray(TEXT)
        for _ in range(rng.randint(1, 4)):
            text[rng.randrange(len(text))] = rng.randrange(256)
        with contextlib.suppress(DamagedManifest, ManifestFromNewerVersion):
            assert root(parse(bytes(text))) == root(WHOLE)


OURS, THEIRS, BASE = LINES[6], LINES[6].replace(b"embed", b"embod"), LINES[6].replace(b"embed", b"base")
STYLES = {
    "merge": [b"<<<<<<< HEAD\n", OURS, b"=======\n", THEIRS, b">>>>>>> topic\n"],
    "diff3": [b"<<<<<<< HEAD\n", OURS, b"||||||| 1a2b3c\n", BASE, b"=======\n", THEIRS, b">>>>>>> topic\n"],
    "zdiff3": [b"<<<<<<< ours\n", OURS, b"|||||||\n", b"=======\n", THEIRS, b">>>>>>> theirs\n"],
    "only the last marker left": [b">>>>>>> topic\n"],
    "only the middle left": [b"=======\n"],
}


class TestConflictMarkers:
    @pytest.mark.parametrize("style", STYLES)
    def test_are_named_wherever_they_stand(self, style: str) -> None:
        for at in range(1, len(LINES) + 1):
            with pytest.raises(DamagedManifest, match="conflict markers") as refused:
                parse(b"".join(LINES[:at] + STYLES[style] + LINES[at:]))
            assert "git checkout --ours" in str(refused.value.hint)

    def test_around_the_whole_file_are_named(self) -> None:
        with pytest.raises(DamagedManifest, match="conflict markers"):
            parse(b"<<<<<<< HEAD\n" + TEXT + b"=======\n" + TEXT + b">>>>>>> topic\n")

    def test_of_an_unusual_size_are_refused(self) -> None:
        with pytest.raises(DamagedManifest):
            parse(b"".join([*LINES[:6], b"<<<<<<<<<<<< HEAD\n", *LINES[6:]]))


def test_a_blend_of_two_versions_is_refused() -> None:
    """What a host that knows nothing of us makes of two one-sided changes, if it takes either root line."""
    base = simple(*(entry(f"g{i}") for i in range(9)))
    ours = simple(replace(entry("g0"), digest=digest("ours")), *base.entries[1:])
    theirs = simple(*base.entries[:-1], replace(entry("g8"), digest=digest("theirs")))
    both = simple(ours.entries[0], *base.entries[1:-1], theirs.entries[-1])
    text = render(both)
    assert parse(text) == both
    for version in (base, ours, theirs):
        blend = text.replace(root(both).encode(), root(version).encode())
        with pytest.raises(DamagedManifest, match="root digest"):
            parse(blend)


class TestVersions:
    @pytest.mark.parametrize("version", [b"2", b"10", b"9" * 100_000])
    def test_a_newer_version_asks_for_an_upgrade(self, version: bytes) -> None:
        with pytest.raises(ManifestFromNewerVersion, match="reads version 1") as refused:
            parse(TEXT.replace(b"manifest 1\n", b"manifest " + version + b"\n"))
        assert "upgrade" in str(refused.value.hint)
        assert len(str(refused.value)) < 200

    def test_a_newer_version_may_look_like_anything_after_its_first_line(self) -> None:
        with pytest.raises(ManifestFromNewerVersion):
            parse(b"git-theta manifest 2\nwhatever it is\n")

    @pytest.mark.parametrize("version", [b"", b"0", b"01", b"1.0", b" 1", b"1 ", b"-1", b"one", b"1\r"])
    def test_what_is_no_version_is_damage(self, version: bytes) -> None:
        with pytest.raises(DamagedManifest):
            parse(TEXT.replace(b"manifest 1\n", b"manifest " + version + b"\n"))


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"git-theta manifest 1", b"git-theta manifest 1\n", b"\0" * 100, b"\xff\xfe"]
)
def test_fragments_are_refused(text: bytes) -> None:
    with pytest.raises(DamagedManifest):
        parse(text)


GIANTS: dict[str, bytes] = {
    "a number of a million digits": TEXT.replace(b"size 948", b"size " + b"9" * 1_000_000),
    "a slot of a million digits": TEXT.replace(b":1+", b":" + b"1" * 1_000_000 + b"+"),
    "a shape of a million digits": TEXT.replace(b"[30]", b"[" + b"1" * 1_000_000 + b"]"),
    "a name of brackets": TEXT.replace(b"group bias", b'group "' + b"[" * 1_000_000 + b'"'),
    "a name of backslashes": TEXT.replace(b"group bias", b'group "' + b"\\\\" * 500_000 + b'"'),
    "a name that never ends": TEXT.replace(b"group bias", b'group "' + b"\\" * 1_000_001),
    "quotes that never match": TEXT.replace(b"group bias", b"group " + b'"\\"' * 500_000),
    "spaces only": TEXT.replace(b"group bias", b"group" + b" " * 1_000_000),
    "a place of plus signs": TEXT.replace(b":1+", b":1" + b"+" * 1_000_000),
    "a place of equals signs": TEXT.replace(b"=AQID", b"=" * 1_000_000 + b"AQID"),
    "an inline value of a megabyte": TEXT.replace(b"=AQID", b"=" + b"AQID" * 250_000),
    "commas in a shape": TEXT.replace(b"[30]", b"[" + b"1," * 500_000 + b"]"),
    "a base of commas": TEXT.replace(b"base=", b"base=" + b"a," * 500_000),
    "a view of colons": TEXT.replace(b"view=8:1", b"view=8:" + b"1:" * 500_000),
    "half a million markers almost": TEXT.replace(b"group bias", b"<<<<<<" * 200_000 + b"group bias"),
    "empty lines": TEXT.replace(b"end\n", b"\n" * 1_000_000 + b"end\n"),
}  # fmt: skip


@pytest.mark.parametrize("text", GIANTS.values(), ids=list(GIANTS))
def test_giant_fields_are_refused_in_linear_time(text: bytes) -> None:
    assert len(text) > 900_000
    started = time.process_time()
    with pytest.raises(DamagedManifest) as refused:
        parse(text)
    assert time.process_time() - started < 2
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "name", [rb'"\ud800\u"', rb'"\x41"', rb'"\u12"', rb'"\u{41}"', b'"', b'""x', b"'a'", b'a"b c"']
)
def test_names_that_are_not_json_are_refused(name: bytes) -> None:
    with pytest.raises(DamagedManifest):
        parse(TEXT.replace(b"group bias", b"group " + name))


def test_a_table_of_colliding_oids_takes_linear_time() -> None:
    stored = tuple(StoredObject(Oid("0" * 56 + f"{i:08x}"), 1000) for i in range(20_000))
    manifest = simple(replace(entry(), where=tuple(Slot(o.oid, 0) for o in stored)))
    started = time.process_time()
    assert parse(render(manifest)) == manifest
    assert time.process_time() - started < 4


@pytest.mark.parametrize("length", [1, 2, 20_000])
def test_bases_that_run_in_a_circle_are_refused(length: int) -> None:
    names = sorted(oid(f"base {i}") for i in range(length))
    following = [*names[1:], names[0]]
    stored = tuple(StoredObject(name, 5, (base,)) for name, base in zip(names, following, strict=True))
    circle = replace(simple(entry("w", oid_=names[0])), objects=stored)
    with pytest.raises(DamagedManifest, match="has itself among its bases"):
        parse(render(circle))


def test_a_long_chain_of_bases_is_followed() -> None:
    names = sorted(oid(f"base {i}") for i in range(20_000))
    stored = tuple(StoredObject(name, 5, tuple(names[at : at + 1])) for at, name in enumerate(names, 1))
    chain = replace(simple(entry("w", oid_=names[0])), objects=stored)
    assert parse(render(chain)) == chain


def test_twenty_thousand_bases_take_linear_time() -> None:
    bases = tuple(sorted(oid(f"base {i}") for i in range(20_000)))
    table = {name: StoredObject(name, 7) for name in bases}
    top = oid("top")
    table[top] = StoredObject(top, 9, bases)
    manifest = replace(simple(entry("w", oid_=top)), objects=tuple(table[name] for name in sorted(table)))
    started = time.process_time()
    assert parse(render(manifest)) == manifest
    assert time.process_time() - started < 4
