"""The manifest grammar: what render writes, what it seals, how stable its lines are."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from git_theta.manifest import INLINE_LIMIT, DamagedManifest, looks_like_manifest, parse, render, root, where_token
from git_theta.model import Entry, Group, Inline, Manifest, Oid, Slot, StoredObject, View
from tests.unit.manifest.samples import digest, entry, every_part, inline, oid, simple


def lines(manifest: Manifest) -> list[str]:
    return render(manifest).decode().split("\n")


def changed_lines(old: Manifest, new: Manifest) -> set[str]:
    """The first word of every line that a diff between the two would show."""
    return {line.split(" ")[0] for line in set(lines(old)) ^ set(lines(new))}


def test_every_part_of_the_grammar_comes_back() -> None:
    manifest = every_part()
    assert parse(render(manifest)) == manifest


def test_the_text_is_ascii_with_one_record_per_line() -> None:
    text = render(every_part())
    assert text.isascii()
    assert text.endswith(b"\nend\n")
    assert [line.split(" ")[0] for line in text.decode().splitlines()] == [
        *("git-theta", "#", "format", "size", "root", "skeleton"),
        *("group", "alias", "alias", "group", "group"),
        *("object", "object", "object"),
        "end",
    ]


def test_an_empty_file_has_a_manifest() -> None:
    manifest = simple()
    assert manifest.size == 0
    assert parse(render(manifest)) == manifest


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "#comment",
        '"',
        '"quoted"',
        "back\\slash",
        "trailing\\",
        "new\nline",
        "carriage\rreturn",
        "nul\0",
        "tab\t",
        "\x7f",
        "ünïcode",
        "\u2028",
        "\U0001f9e0",
        "\ud800 alone",
        "\udcff",
        "../../etc/passwd",
        "end",
        "<<<<<<< HEAD",
        "a\n=======\nb",
        "x" * 100_000,
    ],
)
def test_any_name_comes_back_on_one_line(name: str) -> None:
    manifest = simple(entry(name), entry("after"))
    assert parse(render(manifest)) == manifest
    assert len(lines(manifest)) == len(lines(simple(entry("a"), entry("b"))))


def test_a_plain_name_is_not_quoted() -> None:
    assert (
        "group model.layers.0/weight:0~2 float32 [100]" in render(simple(entry("model.layers.0/weight:0~2"))).decode()
    )


def test_values_up_to_the_inline_limit_come_back() -> None:
    for length in (0, 1, 2, 3, INLINE_LIMIT):
        data = bytes(range(length))
        manifest = simple(Entry((Group("v", "uint8", (length,)),), 0, *inline(data)))
        assert parse(render(manifest)) == manifest


def test_a_longer_inline_value_is_refused() -> None:
    data = bytes(INLINE_LIMIT + 1)
    text = render(simple(Entry((Group("v", "uint8", (len(data),)),), 0, *inline(data))))
    with pytest.raises(DamagedManifest, match="inline"):
        parse(text)


def test_short_oids_grow_only_as_far_as_they_must() -> None:
    one, two = Oid("a" * 14 + "0" * 50), Oid("a" * 14 + "1" * 50)
    manifest = simple(entry("x", oid_=one), entry("y", oid_=two))
    assert f" {one[:16]}:0\n" in render(manifest).decode()
    assert parse(render(manifest)) == manifest


def test_oids_that_differ_in_the_last_digit_are_written_whole() -> None:
    one, two = Oid("a" * 63 + "0"), Oid("a" * 63 + "1")
    manifest = simple(entry("x", oid_=one), entry("y", oid_=two))
    assert parse(render(manifest)) == manifest


def test_the_place_of_a_value_reads_the_same_in_any_manifest() -> None:
    place = (Slot(oid("a"), 3), Slot(oid("b"), 0))
    assert where_token(place) == f"{oid('a')}:3+{oid('b')}:0"
    assert where_token(Inline(b"\0")) == "=AA=="


WHOLE = every_part()
FIRST = WHOLE.entries[0]


def with_first(first: Entry) -> Manifest:
    return replace(WHOLE, entries=(first, *WHOLE.entries[1:]))


class TestRoot:
    def test_ignores_where_values_are_stored(self) -> None:
        manifest = every_part()
        moved = (Slot(oid("elsewhere"), 9),)
        entries = tuple(replace(e, where=moved) for e in manifest.entries)
        skeleton = replace(manifest.skeleton, where=moved)
        objects = (StoredObject(oid("elsewhere"), 5),)
        assert root(replace(manifest, entries=entries, skeleton=skeleton, objects=objects)) == root(manifest)

    @pytest.mark.parametrize(
        "changed",
        [
            replace(WHOLE, format="npz"),
            replace(WHOLE, size=5),
            replace(WHOLE, skeleton=replace(WHOLE.skeleton, length=81)),
            replace(WHOLE, skeleton=replace(WHOLE.skeleton, digest=digest("other"))),
            replace(WHOLE, entries=()),
            replace(WHOLE, entries=WHOLE.entries[::-1]),
            with_first(replace(FIRST, gap=65)),
            with_first(replace(FIRST, length=801)),
            with_first(replace(FIRST, digest=digest("other"))),
            with_first(replace(FIRST, groups=FIRST.groups[:2])),
            with_first(replace(FIRST, groups=(replace(FIRST.groups[0], name="renamed"), *FIRST.groups[1:]))),
            with_first(replace(FIRST, groups=(replace(FIRST.groups[0], dtype="int32"), *FIRST.groups[1:]))),
            with_first(replace(FIRST, groups=(replace(FIRST.groups[0], shape=(4, 50)), *FIRST.groups[1:]))),
            with_first(replace(FIRST, groups=(*FIRST.groups[:2], replace(FIRST.groups[2], view=View(4, (1,)))))),
            with_first(replace(FIRST, groups=(*FIRST.groups[:2], replace(FIRST.groups[2], view=View(8, (2,)))))),
            with_first(replace(FIRST, groups=(*FIRST.groups[:2], replace(FIRST.groups[2], view=None)))),
        ],
    )
    def test_depends_on_everything_else(self, changed: Manifest) -> None:
        assert root(changed) != root(WHOLE)


class TestLineStability:
    """A change to one group changes its line, the root digest and the object table, and nothing else."""

    def test_a_new_value_in_a_new_object(self) -> None:
        old = simple(entry("a"), entry("b", gap=3), entry("c"))
        new = simple(old.entries[0], replace(entry("b", gap=3, oid_=oid("new")), digest=digest("B")), old.entries[2])
        assert changed_lines(old, new) == {"root", "group", "object"}
        assert sum(line.startswith("group ") for line in set(lines(old)) - set(lines(new))) == 1

    def test_a_new_inline_value_changes_two_lines(self) -> None:
        def step(count: int) -> Manifest:
            return simple(entry("a"), Entry((Group("step", "int64", ()),), 0, *inline(count.to_bytes(8, "little"))))

        assert len(set(lines(step(2))) - set(lines(step(1)))) == 2
        assert changed_lines(step(1), step(2)) == {"root", "group"}

    def test_a_group_in_the_middle_moves_no_other_line(self) -> None:
        old = simple(entry("a"), entry("c"))
        new = simple(entry("a"), entry("b"), entry("c"))
        assert [line for line in lines(new) if line in lines(old)] == [
            line for line in lines(old) if not line.startswith(("size", "root"))
        ]


class TestLooksLikeManifest:
    def test_content_that_starts_like_one(self) -> None:
        assert looks_like_manifest(render(every_part()))
        assert looks_like_manifest(b"git-theta manifest ")

    def test_conflict_markers_before_the_first_line(self) -> None:
        text = render(every_part())
        assert looks_like_manifest(b"<<<<<<< HEAD\n" + text + b"=======\n" + text + b">>>>>>> other\n")

    @pytest.mark.parametrize("head", [b"", b"git-theta", b"\x80\x02", b"<<<<<<< HEAD\nsome text\n", b"PK\x03\x04"])
    def test_anything_else_is_a_checkpoint(self, head: bytes) -> None:
        assert not looks_like_manifest(head)


class TestSize:
    """Big manifests take time in proportion. The limits are generous: they tell linear from quadratic."""

    def test_twenty_thousand_groups_are_fine(self) -> None:
        manifest = simple(*(entry(f"layer.{i}.weight") for i in range(20_000)))
        started = time.process_time()
        assert parse(render(manifest)) == manifest
        assert time.process_time() - started < 5

    def test_a_hundred_thousand_names_for_one_value_are_fine(self) -> None:
        groups = tuple(Group(f"tied.{i}", "float32", (100,)) for i in range(100_000))
        manifest = simple(replace(entry(), groups=groups))
        started = time.process_time()
        assert parse(render(manifest)) == manifest
        assert time.process_time() - started < 8

    def test_a_value_in_ten_thousand_parts_is_fine(self) -> None:
        where = tuple(Slot(oid(str(i)), 0) for i in range(10_000))
        manifest = simple(replace(entry(), where=where))
        assert parse(render(manifest)) == manifest
