"""Repeated layers fold into patterns that stand for exactly their names."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from git_theta.diff.fold import fold


def patterns(names: list[str]) -> list[str]:
    return [pattern for pattern, _ in fold(names, lambda name: name, lambda _: None)]


def expand(pattern: str) -> list[str]:
    """The names a pattern stands for."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices: list[list[str]] = []
    for at, part in enumerate(parts):
        if at % 2 == 0:
            choices.append([part])
            continue
        numbers: list[str] = []
        for run in part.split(","):
            first, _, last = run.partition("..")
            numbers += [f"{n:0{len(first)}}" for n in range(int(first), int(last or first) + 1)]
        choices.append(numbers)
    return ["".join(choice) for choice in itertools.product(*choices)]


def test_layers_fold_to_one_line_with_the_range_of_their_numbers() -> None:
    assert patterns([f"h.{i}.attn.c_proj.weight" for i in range(12)]) == ["h.{0..11}.attn.c_proj.weight"]


def test_gaps_are_told() -> None:
    assert patterns([f"h.{i}.w" for i in (0, 3, 5, 6, 7)]) == ["h.{0,3,5..7}.w"]


def test_every_combination_of_two_numbers_is_one_line_and_any_other_set_is_not() -> None:
    full = [f"l.{i}.e.{j}.w" for i in range(2) for j in range(3)]
    assert patterns(full) == ["l.{0,1}.e.{0..2}.w".replace("{0,1}", "{0..1}")]
    assert patterns(full[:-1]) == ["l.0.e.{0..2}.w", "l.1.e.{0..1}.w"]


def test_numbers_may_follow_letters_and_letters_may_not_follow_numbers() -> None:
    assert patterns([f"layers.7.block{i}.w" for i in range(20)]) == ["layers.7.block{0..19}.w"]
    assert patterns(["w2v.w", "w3v.w"]) == ["w2v.w", "w3v.w"]


def test_names_that_could_be_taken_for_patterns_or_signs_of_them_stand_alone() -> None:
    names = ["h.#.w", "h.{0..1}.w", "h.0.w", "h.1.w", "h.{2..3}.w"]
    assert patterns(names) == ["h.#.w", "h.{0..1}.w", "h.{0..1}.w", "h.{2..3}.w"]


def test_only_what_is_alike_shares_a_line() -> None:
    folded = fold(["h.0", "h.1", "h.2"], lambda name: name, lambda name: name == "h.1")
    assert [pattern for pattern, _ in folded] == ["h.{0,2}", "h.1"]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.sampled_from("ab")), unique=True))
def test_patterns_stand_for_exactly_the_names(numbers: list[tuple[int, int, str]]) -> None:
    names = [f"h.{i}.x.{j}.{letter}" for i, j, letter in numbers]
    assert sorted(name for pattern in patterns(names) for name in expand(pattern)) == sorted(names)


@given(st.lists(st.integers(0, 120), unique=True))
def test_leading_zeros_stay(numbers: list[int]) -> None:
    names = [f"h.{i:03}" for i in numbers]
    assert sorted(name for pattern in patterns(names) for name in expand(pattern)) == sorted(names)
