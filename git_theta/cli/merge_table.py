"""What a merge did, or would do, as a table: settled groups and values enter, lines for people leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from git_theta.cli.text import plural, printable
from git_theta.diff.fold import fold
from git_theta.merge.decide import Decision, Held, Verdict
from git_theta.merge.leaves import Fingerprint
from git_theta.merge.merger import Merged, Versions
from git_theta.merge.plan import BASE, Action, Combine, Stop, Take

_SHOWN = 8
"""Names, or patterns of names, that a table lists for one thing that happened."""

_WIDTH = 80
"""Columns within which those names stand on one line; others have a line each."""

_WORD = 10


@dataclass(frozen=True, slots=True)
class Table:
    """The table of one file. ``every`` lists the names of everything that changed; ``merged`` says that it is done."""

    path: str
    versions: Versions
    groups: Sequence[tuple[Decision[Held], Action]]
    leaves: Sequence[tuple[Decision[Fingerprint], Action]] = ()
    every: bool = False
    missing: int = 0
    by_default: bool = False

    @classmethod
    def of(cls, path: str, versions: Versions, merged: Merged, by_default: bool) -> Table:
        """Of a merge that was done; ``by_default`` says that nobody chose the strategy."""
        return cls(path, versions, merged.groups, merged.leaves, missing=len(merged.missing), by_default=by_default)

    def lines(self) -> Iterator[str]:
        """How many groups came from where, and by name those that were made or are open."""
        done = "would merge" if self.every else "merged"
        yield f"{printable(self.path)}: {done} {plural(len(self.groups), 'group')}"
        yield from self._rows(self.groups)
        yield from self.undecided()
        yield from self._values()
        if self.missing:
            what = "it" if self.missing == 1 else "them"
            yield f"  {plural(self.missing, 'object')} of the result did not come: git theta pull brings {what}"
        yield f"  {self.verdict()}"
        actions = [action for _, action in self.groups]
        if any(isinstance(action, Take | Combine) and action.remembered for action in actions):
            yield "  remembered: chosen before for this conflict; git theta resolve --forget forgets it"
        if self.by_default and any(isinstance(action, Combine) and not action.remembered for action in actions):
            yield "  average is the default; git theta track --merge STRATEGY PATTERN chooses another for everybody"

    def undecided(self) -> Iterator[str]:
        """The conflicts, by reason."""
        yield from self._by_way(
            ("conflict", action.why, decision.name) for decision, action in self.groups if isinstance(action, Stop)
        )
        yield from self._by_way(
            ("conflict", f"{action.why} (values)", decision.name)
            for decision, action in self.leaves
            if isinstance(action, Stop)
        )

    def verdict(self) -> str:
        """MGit's three classes (arXiv 2307.07507): conflict, possible conflict, no conflict."""
        settled = [*self.groups, *self.leaves]
        if any(isinstance(action, Stop) for _, action in settled):
            return "conflict: ours stands for what is not decided"
        one_sided = {Verdict.OURS, Verdict.THEIRS}
        who = {decision.taken for decision, _ in self.groups if decision.verdict in one_sided}
        if len(who) > 1 or any(decision.verdict is Verdict.BOTH for decision, _ in self.groups):
            return "possible conflict: both sides changed this model; test the result"
        return "no conflict"

    def _rows(self, groups: Sequence[tuple[Decision[Held], Action]]) -> Iterator[str]:
        unchanged = sum(decision.verdict is Verdict.UNCHANGED for decision, _ in groups)
        if unchanged:
            yield self._row("unchanged", unchanged)
        origins = ["same", *self.versions.names]
        one_sided: dict[str, list[str]] = {origin: [] for origin in origins}
        for decision, _ in groups:
            if decision.verdict is Verdict.SAME:
                one_sided["same"].append(decision.name)
            elif decision.verdict not in (Verdict.UNCHANGED, Verdict.BOTH):
                one_sided[self.versions.names[decision.taken]].append(decision.name)
        for origin in [*self.versions.names, "same"]:
            if one_sided[origin]:
                yield self._row(origin, len(one_sided[origin]), names=one_sided[origin] if self.every else ())
        yield from self._by_way(
            ("combined", self._way(action), decision.name)
            for decision, action in groups
            if decision.verdict is Verdict.BOTH and not isinstance(action, Stop)
        )

    def _way(self, action: Take | Combine) -> str:
        """How a group that both sides changed was settled."""
        weights = self.versions.weights
        if isinstance(action, Combine):
            way = action.choice.text
            if weights and action.choice.strategy.weighs:
                way += f", weights {'/'.join(f'{weights[at]:g}' for at in action.places)}"
        else:
            way = f"taken from {action.chosen.text}" if action.chosen else "the larger count"
        return f"{way}, remembered" if action.remembered else way

    def _values(self) -> Iterator[str]:
        """Values besides tensors that changed and are decided."""
        yield from self._by_way(
            ("values", self._origin(decision, action), decision.name)
            for decision, action in self.leaves
            if decision.verdict is not Verdict.UNCHANGED and isinstance(action, Take)
        )

    def _origin(self, decision: Decision[Fingerprint], action: Take) -> str:
        if decision.verdict is Verdict.SAME:
            return "the same on all sides that changed them"
        return f"taken from {'base' if action.place == BASE else self.versions.names[action.place]}"

    def _by_way(self, told: Iterator[tuple[str, str, str]]) -> Iterator[str]:
        """A row for each word and way, with the names that it happened to."""
        ways: dict[tuple[str, str], list[str]] = {}
        for word, way, name in told:
            ways.setdefault((word, way), []).append(name)
        for (word, way), names in ways.items():
            yield self._row(word, len(names), way, names)

    def _row(self, word: str, count: int, how: str = "", names: Sequence[str] = ()) -> str:
        width = max(_WORD, *(len(name) for name in self.versions.names))
        text = f"  {word:<{width}} {count:>6,}"
        patterns = [printable(pattern) for pattern, _ in fold(names, lambda name: name, lambda _: None)]
        shown = patterns if self.every else patterns[:_SHOWN]
        if len(patterns) > len(shown):
            shown = [*shown, f"... and {len(patterns) - len(shown)} more"]
        if not shown:
            return f"{text}  {how}".rstrip()
        head = f"{text}  {how}:" if how else f"{text} "
        line = f"{head} {', '.join(shown)}"
        return line if len(line) <= _WIDTH else "\n".join([head.rstrip(), *(f"      {part}" for part in shown)])
