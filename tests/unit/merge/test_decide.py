"""The truth table of a three-way merge, whole, and the order of the result."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.merge.decide import Verdict, decide

ABSENT = None
STATES = (ABSENT, "a", "b", "c")


def expected(base: str | None, ours: str | None, theirs: str | None) -> tuple[Verdict, str | None]:
    """Verdict and value by the textbook, in words of its own."""
    if ours == theirs:
        return (Verdict.UNCHANGED if ours == base else Verdict.SAME), ours
    if theirs == base:
        return Verdict.OURS, ours
    if ours == base:
        return Verdict.THEIRS, theirs
    return Verdict.BOTH, ours


def keyed(value: str | None) -> dict[str, str]:
    return {} if value is None else {"w": value}


@pytest.mark.parametrize(("base", "ours", "theirs"), [s for s in product(STATES, repeat=3) if s[1:] != (None, None)])
def test_every_state_of_a_group_on_three_sides(base: str | None, ours: str | None, theirs: str | None) -> None:
    (decision,) = decide(keyed(base), [keyed(ours), keyed(theirs)])
    assert (decision.verdict, decision.value) == expected(base, ours, theirs)
    assert (decision.base, *decision.versions) == (base, ours, theirs)
    assert decision.changed == tuple(at for at, value in enumerate((ours, theirs)) if value != base)


@pytest.mark.parametrize("base", STATES)
def test_what_both_deleted_needs_no_decision(base: str | None) -> None:
    assert decide(keyed(base), [{}, {}]) == []


@pytest.mark.parametrize(
    ("versions", "verdict", "value"),
    [
        ("aaa", Verdict.UNCHANGED, "a"),
        ("baa", Verdict.OURS, "b"),
        ("aba", Verdict.THEIRS, "b"),
        ("aab", Verdict.THEIRS, "b"),
        ("abb", Verdict.THEIRS, "b"),
        ("bab", Verdict.SAME, "b"),
        ("bbb", Verdict.SAME, "b"),
        ("bca", Verdict.BOTH, "b"),
        ("abc", Verdict.BOTH, "a"),
        ("bcd", Verdict.BOTH, "b"),
    ],
)
def test_three_branches(versions: str, verdict: Verdict, value: str) -> None:
    (decision,) = decide({"w": "a"}, [{"w": letter} for letter in versions])
    assert (decision.verdict, decision.value) == (verdict, value)


def test_additions_stand_behind_what_precedes_them_in_their_own_version() -> None:
    ours = dict.fromkeys(["first", "b", "c", "mine"], 0)
    theirs = dict.fromkeys(["zeroth", "first", "b", "b2", "b3", "c", "last"], 0)
    order = [decision.name for decision in decide({}, [ours, theirs])]
    assert order == ["zeroth", "first", "b", "b2", "b3", "c", "last", "mine"]


NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(NAMES, NAMES, NAMES)
def test_every_key_once_and_ours_in_its_own_order(base: list[str], ours: list[str], theirs: list[str]) -> None:
    versions = [dict.fromkeys(ours, 1), dict.fromkeys(theirs, 2)]
    names = [decision.name for decision in decide(dict.fromkeys(base, 0), versions)]
    assert sorted(names) == sorted({*ours, *theirs})
    assert [name for name in names if name in ours] == ours


@pytest.mark.parametrize(
    ("versions", "shared", "taken"),
    [
        ((0, 5, 7), {(1, 2): 5}, 2),  # the third went on from where the second stands
        ((0, 5, 0), {(1, 2): 5}, 2),  # ... back to what the base has
        ((5, 5, 7), {(0, 1): 5, (0, 2): 5, (1, 2): 5}, 2),
        ((0, 5, 7), {(1, 2): 0}, None),  # both went from the base
        ((0, 5, 7), {}, None),
    ],
)
def test_a_version_that_another_went_on_from_has_nothing_to_say(
    versions: tuple[int, ...], shared: dict[tuple[int, int], int], taken: int | None
) -> None:
    between = {pair: {"w": value} for pair, value in shared.items()}
    (decision,) = decide({"w": 0}, [{"w": value} for value in versions], between)
    assert (decision.taken if decision.verdict is not Verdict.BOTH else None) == taken
