"""What became of each group, decided on digests alone."""

from __future__ import annotations

from git_theta.diff import Kind, Summary, compare, select
from git_theta.diff.records import Value
from git_theta.model import Digest, Group

SKELETON = Digest("0" * 64)


def value(name: str, content: str, shape: tuple[int, ...] = (4,), dtype: str = "float32", ties: str = "") -> Value:
    return Value(Group(name, dtype, shape), 16, Digest(content * 64), tuple(ties))


def side(*values: Value, skeleton: Digest = SKELETON) -> Summary:
    return Summary("safetensors", 100, skeleton, values, None)


def kinds(old: Summary | None, new: Summary | None) -> dict[str, Kind]:
    return {change.name: change.kind for change in compare(old, new).changes}


def test_equal_sides_have_no_changes() -> None:
    one = side(value("a", "1"), value("b", "2"))
    assert compare(one, one).equal
    assert compare(one, one).unchanged == 2


def test_added_removed_and_changed_groups_are_named_in_the_order_of_the_new_file_then_the_old_one() -> None:
    old = side(value("gone", "1"), value("kept", "2"), value("other", "3"))
    new = side(value("new", "4"), value("other", "5"), value("kept", "2"))
    assert list(kinds(old, new).items()) == [("new", Kind.ADDED), ("other", Kind.CHANGED), ("gone", Kind.REMOVED)]
    assert compare(old, new).unchanged == 1


def test_an_absent_side_adds_or_removes_everything() -> None:
    one = side(value("a", "1"))
    assert kinds(None, one) == {"a": Kind.ADDED}
    assert kinds(one, None) == {"a": Kind.REMOVED}
    assert not compare(None, one).equal


def test_the_same_value_under_another_name_is_a_renamed_group() -> None:
    comparison = compare(side(value("a", "1"), value("b", "1")), side(value("x", "1"), value("b", "1")))
    (change,) = comparison.changes
    assert change.kind is Kind.RENAMED
    assert change.old
    assert (change.old.group.name, change.name) == ("a", "x")
    assert comparison.unchanged == 1


def test_several_equal_groups_are_renamed_in_their_order() -> None:
    old = side(*(value(f"old.{i}", "0") for i in range(3)))
    new = side(*(value(f"new.{i}", "0") for i in range(4)))
    pairs = [(c.old.group.name if c.old else None, c.name) for c in compare(old, new).changes]
    assert pairs == [("old.0", "new.0"), ("old.1", "new.1"), ("old.2", "new.2"), (None, "new.3")]


def test_another_shape_of_the_same_bytes_is_reshaped_and_never_a_rename() -> None:
    assert kinds(side(value("a", "1", (4,))), side(value("a", "1", (2, 2)))) == {"a": Kind.RESHAPED}
    assert kinds(side(value("a", "1", (4,))), side(value("b", "1", (2, 2)))) == {"b": Kind.ADDED, "a": Kind.REMOVED}


def test_moving_groups_changes_nothing_and_counts_the_fewest_that_explain_it() -> None:
    old = side(*(value(name, "1") for name in "abcdef"))
    new = side(*(value(name, "1") for name in "fabcde"))
    comparison = compare(old, new)
    assert (comparison.changes, comparison.moved) == ((), 1)
    assert not comparison.equal


def test_an_insertion_moves_nothing() -> None:
    old = side(value("a", "1"), value("b", "2"))
    new = side(value("a", "1"), value("new", "3"), value("b", "2"))
    assert compare(old, new).moved == 0


def test_tying_and_untying_are_told_when_values_stay() -> None:
    apart = side(value("a", "1"), value("b", "1"))
    tied = side(value("a", "1", ties="b"), value("b", "1", ties="a"))
    assert [(c.kind, c.tied, c.untied) for c in compare(apart, tied).changes] == [
        (Kind.TIED, ("b",), ()),
        (Kind.TIED, ("a",), ()),
    ]
    assert [(c.kind, c.tied, c.untied) for c in compare(tied, apart).changes] == [
        (Kind.TIED, (), ("b",)),
        (Kind.TIED, (), ("a",)),
    ]


def test_a_removed_partner_is_told_once() -> None:
    tied = side(value("a", "1", ties="b"), value("b", "1", ties="a"))
    assert kinds(tied, side(value("a", "1"))) == {"b": Kind.REMOVED}


def test_bytes_outside_all_groups_count() -> None:
    comparison = compare(side(), side(skeleton=Digest("f" * 64)))
    assert comparison.frame_changed
    assert not comparison.equal


def test_chosen_groups_are_counted_alone() -> None:
    old = side(value("h.1", "a"), value("h.2", "b"), value("h.3", "c"), value("out", "d"))
    new = side(value("h.1", "e"), value("h.2", "b"), value("g.3", "c"), value("out", "f"), skeleton=Digest("1" * 64))
    found = select(compare(old, new), ["h.{1..3}"])
    assert {change.name: change.kind for change in found.changes} == {"h.1": Kind.CHANGED, "g.3": Kind.RENAMED}
    assert (found.unchanged, found.moved, found.frame_changed, found.stored) == (1, 0, False, None)
    assert found.new
    assert (found.new.groups, found.new.size) == (3, 48)
    assert select(found, ["nowhere"]).equal
