"""Everything that is to be said about one checkpoint that differs: what every renderer gets.

A report is made from manifests alone, or with values too: then each changed group has a finding. Lines are its
groups as people read them: folded where layers repeat, with ranges of the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

from git_theta.diff.finding import Finding, Statistics
from git_theta.diff.fold import fold, is_plain
from git_theta.diff.records import Change, Comparison, Kind, Summary, of_changes
from git_theta.globs import matches

if TYPE_CHECKING:
    from git_theta.diff.leaves import LeafChange
    from git_theta.diff.values import Values

_VALUES = 20
"""A comment or a terminal full of values hides the groups; JSON has all."""


@dataclass(frozen=True, slots=True)
class Report:
    """One file's comparison. A path is None on the side that does not have the file.

    ``findings`` are by group name, and empty for a report of manifests alone. ``leaves`` are the values besides
    tensors that differ, None where nobody looked, ``unread`` where looking failed. ``notes`` are sentences about the
    file: its mode, why values are not known.
    """

    old_path: str | None
    new_path: str | None
    comparison: Comparison
    findings: dict[str, Finding] = field(default_factory=dict)
    leaves: tuple[LeafChange, ...] | None = None
    unread: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """Changes that are told as one: ``name`` is a group's name or a pattern of several."""

    name: str
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]

    @property
    def title(self) -> str:
        """How the name is shown: quoted where it could be misread."""
        return self.name if len(self.changes) > 1 else printable(self.name)

    @property
    def kind(self) -> Kind:
        """What happened to all of them."""
        return self.changes[0].kind

    @property
    def statistics(self) -> list[Statistics]:
        """Of those that have some."""
        return [finding.statistics for finding in self.findings if finding.statistics]

    @property
    def weight(self) -> float:
        """What to sort by: the largest relative change; groups that are no numbers count by their share."""
        sizes = [s.relative if s.relative is not None else s.share for s in self.statistics]
        if any(finding.loud for finding in self.findings):
            return float("inf")
        return max(sizes, default=1.0 if self.kind in (Kind.ADDED, Kind.REMOVED) else 0.0)


def select(comparison: Comparison, globs: Sequence[str]) -> Comparison:
    """The comparison of only those groups whose old or new name matches one of ``globs``; of all without any.

    Nothing but groups is compared then, sizes are those of the groups, and what storing them cost is not known.
    """
    if not globs:
        return comparison
    pairs = [(change, [side.group.name for side in (change.old, change.new) if side]) for change in comparison.changes]
    changes = tuple(change for change, names in pairs if any(matching(name, globs) for name in names))
    old, new = (_part(side, globs, changes) for side in (comparison.old, comparison.new))
    return of_changes(old, new, changes)


def _part(side: Summary | None, globs: Sequence[str], changes: Sequence[Change]) -> Summary | None:
    """The side with the groups that match, and those that changes are about."""
    if side is None:
        return None
    meant = {value for change in changes for value in (change.old, change.new) if value}
    values = tuple(value for value in side.values if value in meant or matching(value.group.name, globs))
    once = {min([value.group.name, *value.ties]): value.bytes for value in values}
    return replace(side, values=values, size=sum(once.values()), objects=None)


def matching(name: str, globs: Sequence[str]) -> bool:
    """Whether a name matches one of ``globs``, or there are none."""
    return not globs or any(matches(name, glob) for glob in globs)


def with_values(
    report: Report,
    old: Values | None,
    new: Values | None,
    threads: int,
    histogram: bool = False,
) -> Report:
    """The report with what the values tell. A side is None where its values cannot be had at all."""
    from git_theta.diff.findings import find_all  # NumPy is for those who read values

    comparison = report.comparison
    findings = find_all(comparison.changes, old, new, threads, histogram)
    leaves: tuple[LeafChange, ...] | None = None
    unread = False
    if comparison.frame_changed:
        from git_theta.diff.leaves import leaf_changes  # few reports read what is no tensor

        sides = [
            (summary.format, values) if summary and values else None
            for summary, values in ((comparison.old, old), (comparison.new, new))
        ]
        leaves = leaf_changes(*sides) if all(sides) else None
        unread = leaves is None
    return replace(report, findings=findings, leaves=leaves, unread=unread)


def lines(report: Report, expand: bool = False, sort: str = "model") -> list[Line]:
    """The report's groups as lines, in model order or by largest change; ``expand`` gives each group its own."""
    nothing = Finding()

    def finding(change: Change) -> Finding:
        return report.findings.get(change.name, nothing)

    def line(name: str, members: list[Change]) -> Line:
        return Line(name, tuple(members), tuple(map(finding, members)))

    changes = report.comparison.changes
    if expand:
        found = [line(change.name, [change]) for change in changes]
    else:
        folded = fold(changes, lambda change: change.name, lambda change: _alike(change, finding(change)))
        found = [one for name, members in folded for one in _renamed_alike(line(name, members), line)]
    if sort == "change":
        found.sort(key=lambda line: line.weight, reverse=True)
    elif sort == "name":
        found.sort(key=lambda line: line.name)
    return found


def loudest(lines: Sequence[Line]) -> list[Line]:
    """The lines with those first to which NaN or infinity came."""
    return sorted(lines, key=lambda line: not any(finding.loud for finding in line.findings))


def old_names(line: Line) -> list[str]:
    """The names that the groups of a line had before, as patterns."""
    before = [change.old.group.name for change in line.changes if change.old]
    folded = fold(before, lambda name: name, lambda _: None)
    return [pattern if len(names) > 1 else printable(pattern) for pattern, names in folded]


def printable(name: str) -> str:
    """A name as it is, or as a JSON string when a terminal or a reader could take it for something else."""
    return name if is_plain(name) else json.dumps(name)


def told(report: Report, expand: bool, top: int | None) -> Sequence[LeafChange]:
    """The values besides tensors that a report for people lists: the first ``top``, or 20; with ``expand`` all."""
    return (report.leaves or ())[: top if top is not None else None if expand else _VALUES]


def _renamed_alike(line: Line, make: Callable[[str, list[Change]], Line]) -> list[Line]:
    """The line, or one per group where renamed groups had names that make no single pattern."""
    if line.kind is not Kind.RENAMED or len(old_names(line)) == 1:
        return [line]
    return [make(change.name, [change]) for change in line.changes]


def parameters(summary: Summary) -> int:
    """Elements of all groups, those of tied ones once; bytes of opaque groups are no parameters."""
    counted = summary.alike.parameters
    seen: set[str] = set()
    for value in summary.values:
        if not seen.intersection(value.ties) and value.group.dtype != "opaque":
            counted += prod(value.group.shape)
        seen.update([value.group.name] if value.ties else [])
    return counted


def _alike(change: Change, finding: Finding) -> Hashable:
    """Changes that may share a line: the same thing happened to groups of the same dtype and shape."""
    sides = tuple((v.group.dtype, v.group.shape) if v else None for v in (change.old, change.new))
    statistics = finding.statistics
    marks = (
        statistics is None,
        statistics and (statistics.became_zero, statistics.numeric, statistics.measured, statistics.bits_only),
        statistics and tuple(map(bool, statistics.not_finite)),
        statistics and (not statistics.changed, statistics.changed == statistics.one_ulp),
        statistics and statistics.rank,
        (bool(finding.came.nan), bool(finding.came.infinite)),
    )
    views = bool(change.old and change.new and change.old.group.view != change.new.group.view)
    told = finding.nature, finding.reason, finding.problem is None
    return change.kind, sides, views, told, marks, change.tied, change.untied
