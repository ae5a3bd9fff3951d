"""What is done about each group: decisions and a policy enter, actions leave, still without reading a tensor.

What always holds: one-sided changes are taken whatever the policy says; a strategy is chosen only where it can work,
and where none can there is a conflict that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from git_theta.errors import Exit, ThetaError
from git_theta.globs import matches
from git_theta.merge.decide import OURS, Decision, Held, Verdict
from git_theta.merge.leaves import Fingerprint
from git_theta.merge.registry import STOP, Choice, parse
from git_theta.model import Inline
from git_theta.tensors.elements import elements, numbers

BASE = -1
"""The place of the base among the versions, for whoever takes it back."""

ASK = "ask"
"""The word, in a policy's place, for asking at the terminal."""

BOTH_CHANGED = "both sides changed it"
"""Why there is a conflict where nothing more is to be said."""

COUNTER = "num_batches_tracked"
"""The buffer in which batch normalisation counts: of two counts the larger is closer to the truth."""


@dataclass(frozen=True, slots=True)
class Take:
    """The value of the version at this place, or of the :data:`BASE`; it may be absent there.

    ``chosen`` by which strategy; ``remembered`` where somebody chose it before.
    """

    place: int
    chosen: Choice | None = None
    remembered: bool = False


@dataclass(frozen=True, slots=True)
class Combine:
    """What ``choice`` makes of the versions at ``places``, and of the base where ``with_base`` says there is one.

    ``fisher`` are the diagonals of their Fisher matrices, if every one has one of the group's shape.
    """

    choice: Choice
    places: tuple[int, ...]
    with_base: bool
    fisher: tuple[Held, ...] = ()
    remembered: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A conflict, and why; ours stands for now. ``lacks_fisher`` where files with Fisher diagonals would decide it."""

    why: str
    lacks_fisher: bool = False


Action = Take | Combine | Stop
Remembered = Callable[[Decision[Held]], "Choice | None"]
"""What somebody chose for this very decision before."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A strategy for all groups, None for conflicts, and others for the groups that match a pattern; the last counts.

    Written ``average;*.bias=ours;head.*=ties:density=0.3``.
    """

    default: Choice | None
    overrides: tuple[tuple[str, Choice | None], ...] = ()

    def choice(self, name: str) -> Choice | None:
        """The strategy for one group."""
        for pattern, choice in reversed(self.overrides):
            if matches(name, pattern):
                return choice
        return self.default

    @property
    def text(self) -> str:
        """As :func:`parse_policy` reads it."""
        return ";".join([_spell(self.default), *(f"{pattern}={_spell(choice)}" for pattern, choice in self.overrides)])


class BadPolicy(ThetaError):
    """A text that says no policy."""

    exit_code = Exit.USAGE


def parse_policy(text: str, default: Choice | None = None) -> Policy:
    """The policy in ``text``; ``default`` where it has only patterns. Raises :class:`ThetaError` with the reason."""
    overrides: list[tuple[str, Choice | None]] = []
    for part in map(str.strip, text.split(";")):
        pattern, equals, strategy = map(str.strip, part.partition("="))
        if equals and ":" not in pattern:
            if not pattern or not strategy:
                raise BadPolicy(f"{part!r} is no PATTERN=STRATEGY", hint="for example *.bias=ours")
            overrides.append((pattern, parse_choice(strategy)))
        elif part or not text.strip():
            default = parse_choice(part)
    return Policy(default, tuple(overrides))


def parse_choice(text: str) -> Choice | None:
    """A strategy with its parameters; None for ``conflict``."""
    if text == ASK:
        raise BadPolicy(f"{ASK} stands alone, not for some groups", hint="git config theta.merge ask")
    return None if text == STOP else parse(text)


def _spell(choice: Choice | None) -> str:
    return choice.text if choice else STOP


def plan(
    decisions: Sequence[Decision[Held]],
    policy: Policy,
    remembered: Remembered = lambda _: None,
    fisher: Sequence[Mapping[str, Held]] = (),
) -> Iterator[Action]:
    """What is done about each decision, in their order. ``fisher`` are the versions' diagonals, if files gave them.

    What is remembered decides conflicts, and overrules no strategy.
    """
    for decision in decisions:
        if decision.verdict is not Verdict.BOTH:
            yield Take(decision.taken)
            continue
        action = decide_by(decision, policy.choice(decision.name), fisher)
        if isinstance(action, Stop) and (before := remembered(decision)):
            again = decide_by(decision, before, fisher)
            action = action if isinstance(again, Stop) else replace(again, remembered=True)
        yield action


def decide_by(decision: Decision[Held], choice: Choice | None, fisher: Sequence[Mapping[str, Held]] = ()) -> Action:
    """What ``choice`` makes of a group that both sides changed."""
    if choice is not None and (place := side(choice.strategy.name, len(decision.versions))) is not None:
        return Take(place, choice)
    obstacle = _obstacle(decision)
    if obstacle:
        return Stop(obstacle)
    counter = _larger(decision)
    if counter is not None:
        return Take(counter)
    return Stop(BOTH_CHANGED) if choice is None else _fitting(decision, choice, fisher)


def plan_leaves(decisions: Sequence[Decision[Fingerprint]], policy: Policy) -> Iterator[Action]:
    """The same for values besides tensors: a side can be taken whole, or there is a conflict."""
    for decision in decisions:
        choice = policy.choice(decision.name)
        place = side(choice.strategy.name, len(decision.versions)) if choice else None
        if decision.verdict is not Verdict.BOTH:
            yield Take(decision.taken)
        else:
            yield Stop(BOTH_CHANGED) if place is None else Take(place, choice)


def side(strategy: str, versions: int) -> int | None:
    """The place that a strategy takes whole, if it is one of those that do."""
    places = {"ours": OURS, "base": BASE, **({"theirs": 1} if versions == 2 else {})}
    return places.get(strategy)


def _obstacle(decision: Decision[Held]) -> str | None:
    """Why the changed versions cannot be combined number by number, by any strategy."""
    present = [held for at in decision.changed if (held := decision.versions[at]) is not None]
    if len(present) < len(decision.changed):
        gone = decision.versions[OURS] is None
        return "ours deleted it, theirs changed it" if gone else "theirs deleted it, ours changed it"
    first = present[0]
    for held in present:
        if held.group.shape != first.group.shape:
            return f"ours has shape {list(first.group.shape)}, theirs {list(held.group.shape)}"
        if held.group.dtype != first.group.dtype:
            return f"ours is {first.group.dtype}, theirs {held.group.dtype}"
        if held.ties != first.ties:
            return "it shares its bytes with other groups on one side than on the other"
        if not held.fits(first):
            return "its numbers lie in another order in the two files"
    return None


def _larger(decision: Decision[Held]) -> int | None:
    """The place of the larger count, for the counters of batch normalisation."""
    if decision.name.rpartition(".")[2] != COUNTER:
        return None
    counts = []
    for at in decision.changed:
        held = decision.versions[at]
        if held is None or held.group.dtype != "int64" or not isinstance(held.entry.where, Inline):
            return None
        counts.append((int.from_bytes(held.entry.where.data, "little", signed=True), -at))
    return -max(counts)[1]


def _fitting(decision: Decision[Held], choice: Choice, fisher: Sequence[Mapping[str, Held]]) -> Action:
    """The strategy at work, or why it cannot work here."""
    first = decision.versions[decision.changed[0]]
    if first is None:
        raise AssertionError(f"{decision.name!r} has no value to combine")
    group, strategy, several = first.group, choice.strategy, len(decision.changed)
    if any(other.dtype != group.dtype for other in first.entry.groups):
        return Stop("groups of other dtypes share its bytes")
    if not elements(group.dtype).writable:
        return Stop(f"{strategy.name} has no meaning for {group.dtype}")
    with_base = first.fits(decision.base)
    if strategy.needs_base and not with_base:
        return Stop(f"{strategy.name} needs the common ancestor's value, and it has none of this shape")
    fewest, most = strategy.models
    if several < fewest or (most is not None and several > most):
        return Stop(f"{strategy.name} does not combine {several} models")
    for value in choice.params.values():
        if isinstance(value, tuple) and len(value) not in {1, several}:
            return Stop(f"{choice.text} has {len(value)} weights, and {several} versions changed it")
    diagonals = _diagonals(decision, first, fisher)
    if strategy.needs_fisher and not diagonals:
        return Stop(f"no files have its Fisher diagonals, which {strategy.name} needs", lacks_fisher=True)
    return Combine(choice, decision.changed, with_base, diagonals)


def _diagonals(decision: Decision[Held], first: Held, fisher: Sequence[Mapping[str, Held]]) -> tuple[Held, ...]:
    """The diagonal for each version that changed the group; none unless all have it, number for number."""
    found = [fisher[at].get(decision.name) for at in decision.changed] if fisher else []
    count = numbers(first.entry)
    fitting = tuple(
        held for held in found if held and held.group.shape == first.group.shape and numbers(held.entry) == count
    )
    return fitting if len(fitting) == len(found) else ()
