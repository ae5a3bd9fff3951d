"""What is done about a group that both sides changed, by policy, and why nothing can be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from git_theta.errors import ThetaError
from git_theta.merge.decide import Held, decide
from git_theta.merge.plan import Action, Combine, Stop, Take, parse_policy, plan
from git_theta.model import Digest, Entry, Group, Inline, View


def held(value: int, dtype: str = "float32", shape: tuple[int, ...] = (2,), name: str = "w", **more: object) -> Held:
    """A group whose bytes are told by ``value``."""
    group = Group(name, dtype, shape, more.get("view"))  # type: ignore[arg-type]
    data = value.to_bytes(8, "little", signed=True)
    ties = more.get("ties", ())
    return Held(group, Digest(f"{value:064x}"), ties, Entry((group,), 0, 8, Digest(f"{value:064x}"), Inline(data)))  # type: ignore[arg-type]


def settled(policy: str, base: Held | None, *versions: Held | None) -> Action:
    """The action for one group."""
    name = next(v for v in versions if v).group.name
    sides: Sequence[dict[str, Held]] = [{name: version} if version else {} for version in versions]
    (action,) = plan(decide({name: base} if base else {}, sides), parse_policy(policy))
    return action


def why(policy: str, base: Held | None, *versions: Held | None) -> str:
    action = settled(policy, base, *versions)
    assert isinstance(action, Stop)
    return action.why


@pytest.mark.parametrize("policy", ["average", "conflict", "ties:density=0.5", "theirs"])
def test_one_sided_changes_are_taken_whatever_the_policy(policy: str) -> None:
    assert settled(policy, held(1), held(1), held(2)) == Take(1)
    assert settled(policy, held(1), held(1), held(2, shape=(1, 2))) == Take(1)
    assert settled(policy, held(1), held(1), held(1, dtype="int32")) == Take(1)
    assert settled(policy, held(1), held(1), None) == Take(1)
    assert settled(policy, None, None, held(2)) == Take(1)
    assert settled(policy, held(1), held(2), held(2)) == Take(0)


def test_both_sided_changes_are_combined() -> None:
    action = settled("ties:density=0.5", held(1), held(2), held(3))
    assert isinstance(action, Combine)
    assert (action.choice.text, action.places, action.with_base) == ("ties:density=0.5", (0, 1), True)


def test_only_versions_that_changed_are_combined() -> None:
    action = settled("average", held(1), held(2), held(1), held(3))
    assert isinstance(action, Combine)
    assert action.places == (0, 2)


@pytest.mark.parametrize(("policy", "place"), [("ours", 0), ("theirs", 1), ("base", -1)])
@pytest.mark.parametrize("theirs", [held(3), held(3, shape=(9,)), held(3, dtype="int8"), None])
def test_a_side_can_be_taken_whatever_it_is(policy: str, place: int, theirs: Held | None) -> None:
    action = settled(policy, held(1), held(2), theirs)
    assert isinstance(action, Take)
    assert action.place == place


CONFLICTS = {
    "theirs deleted it, ours changed it": (held(1), held(2), None),
    "ours deleted it, theirs changed it": (held(1), None, held(2)),
    "ours has shape [2], theirs [3]": (held(1), held(2), held(3, shape=(3,))),
    "ours is float32, theirs float16": (held(1), held(2), held(3, dtype="float16")),
    "it shares its bytes with other groups on one side than on the other": (held(1), held(2), held(3, ties=("v", "w"))),
    "average has no meaning for int64": tuple(held(n, dtype="int64") for n in (1, 2, 3)),
    "average has no meaning for bool": tuple(held(n, dtype="bool") for n in (1, 2, 3)),
    "average has no meaning for gguf_q4_0": tuple(held(n, dtype="gguf_q4_0") for n in (1, 2, 3)),
    "average has no meaning for opaque": tuple(held(n, dtype="opaque") for n in (1, 2, 3)),
}


@pytest.mark.parametrize("reason", CONFLICTS)
def test_what_cannot_be_combined_says_why(reason: str) -> None:
    assert why("average", *CONFLICTS[reason]) == reason


def test_a_strategy_that_needs_the_ancestor_says_when_there_is_none() -> None:
    assert "common ancestor" in why("ties", None, held(2), held(3))
    assert "common ancestor" in why("ties", held(1, shape=(9,)), held(2), held(3))
    assert isinstance(settled("average", held(1, shape=(9,)), held(2), held(3)), Combine)


@pytest.mark.parametrize(
    ("text", "versions", "combined"),
    [
        ("average:weight=0.3", 3, True),
        ("average:weight=1/2/3", 3, True),
        ("average:weight=1/2", 3, False),
        ("slerp", 3, False),
    ],
)
def test_a_strategy_that_does_not_fit_the_versions_makes_a_conflict(text: str, versions: int, combined: bool) -> None:
    action = settled(text, held(0), *(held(1 + at) for at in range(versions)))
    assert isinstance(action, Combine if combined else Stop)


def test_fisher_is_a_conflict_wherever_a_diagonal_is_missing() -> None:
    decisions = decide({"w": held(1)}, [{"w": held(2)}, {"w": held(3)}])
    for diagonals in ([], [{"w": held(4)}, {}], [{"w": held(4)}, {"w": held(5, shape=(1, 2))}]):
        (action,) = plan(decisions, parse_policy("fisher"), fisher=diagonals)
        assert isinstance(action, Stop)
        assert action.lacks_fisher
    (action,) = plan(decisions, parse_policy("fisher"), fisher=[{"w": held(4)}, {"w": held(5)}])
    assert isinstance(action, Combine)
    assert [diagonal.digest for diagonal in action.fisher] == [f"{at:064x}" for at in (4, 5)]


def test_views_are_combined_only_when_they_look_the_same_way() -> None:
    view = View(1, (1,))
    assert isinstance(settled("average", held(1, view=view), held(2, view=view), held(3, view=view)), Combine)
    assert "in another order" in why("average", held(1), held(2, view=view), held(3, view=View(0, (1,))))


@pytest.mark.parametrize(("ours", "theirs", "place"), [(5, 9, 1), (9, 5, 0), (-1, -2, 0)])
def test_of_two_counts_the_larger_stands(ours: int, theirs: int, place: int) -> None:
    name = "bn.num_batches_tracked"
    versions = [held(value, "int64", (), name) for value in (3, ours)]
    third = held(theirs, "int64", (), name)
    assert settled("conflict", *versions, third) == Take(place)


def test_the_last_pattern_that_matches_counts() -> None:
    policy = parse_policy("average;*.bias=ours;head.*=ties:density=0.5;head.bias=conflict")
    texts = [
        choice.text if (choice := policy.choice(name)) else None for name in ("w", "a.bias", "head.w", "head.bias")
    ]
    assert texts == ["average", "ours", "ties:density=0.5", None]
    assert parse_policy(policy.text) == policy


@pytest.mark.parametrize("text", ["nothing-such", "ties:density=2", "average;=ours", "average;x=", "", "ties:foo=1"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ThetaError):
        parse_policy(text)
