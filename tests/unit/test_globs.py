"""Patterns for group names: those of a shell, and those that reports print."""

from __future__ import annotations

import pytest

from git_theta.diff.fold import fold
from git_theta.globs import escape, matches
from git_theta.merge.plan import parse_policy


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("h.*.w", ["h.1.w", "h.1.2.w"], ["h.1.W", "h.w"]),
        ("h.{0..11}.w", ["h.0.w", "h.11.w"], ["h.12.w", "h.00.w", "h.1.w.b"]),
        ("h.{0,3,5..7}.*", ["h.3.a", "h.6.b"], ["h.4.a"]),
        ("h.{08..11}", ["h.08", "h.10"], ["h.8", "h.12"]),
        ("{*.bias,head.[!a]*}", ["x.bias", "head.b"], ["head.a"]),
        ("*{10..12}", ["x10", "1112"], ["x13"]),
        ("{a}.{}.{5..1}", ["{a}.{}.{5..1}"], ["a..5"]),
        ("w[0].{1,2}", ["w0.2", "w[0].{1,2}"], ["w1.1"]),
        ("{0..99999999}", ["{0..99999999}"], ["7"]),
    ],
)
def test_a_pattern_matches_whole_names(pattern: str, names: list[str], others: list[str]) -> None:
    assert [name for name in names if not matches(name, pattern)] == []
    assert [name for name in others if matches(name, pattern)] == []


def test_what_a_report_prints_matches_what_it_stands_for() -> None:
    names = [f"h.{layer}.{part}.w" for layer in (0, 1, 2, 5, 10) for part in ("08", "09", "10")]
    for pattern, members in fold(names, lambda name: name, lambda _: None):
        assert [name for name in names if matches(name, pattern)] == members


@pytest.mark.parametrize("name", ["a*", "h.{0..2}.w", "lr[0]", "{a,b}"])
def test_an_escaped_name_matches_itself_alone(name: str) -> None:
    assert matches(name, escape(name))
    assert not any(matches(other, escape(name)) for other in ("ab", "h.1.w", "lr0", "a"))


def test_a_merge_policy_takes_the_same_patterns() -> None:
    policy = parse_policy("average;h.{0..2}.*=ours")
    assert [str(choice and choice.text) for choice in map(policy.choice, ("h.1.w", "h.3.w"))] == ["ours", "average"]
