"""The words and numbers of a report, the same in every form it is rendered to: lines enter, short texts leave."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from git_theta.diff.finding import Nature, Statistics
from git_theta.diff.records import Change, Comparison, Kind, Value
from git_theta.diff.report import Line, Report, old_names, parameters
from git_theta.errors import Exit, ThetaError

HEADINGS = ("dtype", "shape", "changed", "‖Δ‖/‖W‖", "max |Δ|", "cosine", "stored")
"""What the cells of a line are called, in their order."""

COUNTED = (
    (Kind.ADDED, "added"),
    (Kind.REMOVED, "removed"),
    (Kind.CHANGED, "changed"),
    (Kind.RENAMED, "renamed"),
    (Kind.RESHAPED, "reshaped"),
    (Kind.TIED, "tied otherwise"),
)

_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about a line; a loud one is what people hunt for."""

    text: str
    loud: bool = False


def totals(comparison: Comparison) -> str:
    """The header's sentence: what the checkpoint is, what became of its groups, what the change cost."""
    side = comparison.new or comparison.old
    counts = [f"{count:,} {word}" for kind, word in COUNTED if (count := comparison.count(kind))]
    counts += [f"{comparison.unchanged:,} unchanged"] if comparison.unchanged else []
    counts += [f"{comparison.moved:,} moved"] if comparison.moved else []
    what = "nothing"
    if side:
        what = f"{_counts(comparison, lambda s: s.groups)} group{'' if side.groups == 1 else 's'}"
        what += f", {_counts(comparison, parameters)} parameters, {_counts(comparison, lambda s: s.size, size)}"
        formats = " -> ".join(dict.fromkeys(s.format for s in (comparison.old, comparison.new) if s))
        what += f", {formats}" if "->" in formats else ""
    return f"{what}: {', '.join(counts) or 'no group differs'}{_cost(comparison)}"


def _cost(comparison: Comparison) -> str:
    """What storing the new side took, as far as that is known."""
    old, new = comparison.old, comparison.new
    if comparison.stored is not None:
        return f"; {size(comparison.stored)} to store"
    if old and new and old.objects is None and new.objects is not None:
        return f"; its groups are stored by themselves now, {size(sum(new.objects.values()))} to store"
    return ""


def alarm_of(report: Report) -> str:
    """A sentence for the header on NaN and infinity that came in; empty where none did."""
    loud = [finding for finding in report.findings.values() if finding.loud]
    counts = (
        (sum(f.came.nan + (f.statistics.nan_in if f.statistics else 0) for f in loud), "NaN"),
        (sum(f.came.infinite + (f.statistics.inf_in if f.statistics else 0) for f in loud), "infinite"),
    )
    said = " and ".join(f"{count:,} {what}" for count, what in counts if count)
    return f"{said} values came into {plural(len(loud), 'group')}" if loud else ""


def _counts(comparison: Comparison, count: Callable[..., int], write: Callable[[int], str] = "{:,}".format) -> str:
    """A number of both sides: once where it is the same."""
    found = dict.fromkeys(write(count(side)) for side in (comparison.old, comparison.new) if side)
    return " -> ".join(found)


def cells(line: Line) -> tuple[str, ...]:
    """What the columns of :data:`HEADINGS` hold for one line."""
    first = line.changes[0]
    statistics = line.statistics
    numeric = [s for s in statistics if s.numeric]
    stored = [finding.storage for finding in line.findings if finding.storage]
    kinds = "/".join(dict.fromkeys(storage.kind for storage in stored))
    return (
        _both(first, lambda value: value.group.dtype),
        _both(first, lambda value: shape(value.group.shape)),
        "resized" if _only_resized(line) else span((s.share for s in statistics), percent),
        span((s.relative for s in numeric if s.relative is not None), scientific),
        span((s.largest for s in numeric if s.nan_in + s.inf_in < s.elements), scientific),
        span((s.cosine for s in numeric if s.cosine is not None), _cosine),
        f"{kinds} {size(sum(storage.bytes for storage in stored))}" if stored else "",
    )


def _only_resized(line: Line) -> bool:
    """Whether elements came or went and those that both sides have are equal: 0% would say that nothing happened."""
    return line.findings[0].nature is Nature.RESIZED and not any(s.changed for s in line.statistics)


def remarks(line: Line) -> list[Remark]:
    """What is to be said about a line besides its numbers."""
    found = [*_values(line), *_natures(line)]
    first = line.changes[0]
    if line.kind is Kind.RENAMED:
        found.append(Remark(f"renamed from {', '.join(map(printable, old_names(line)))}, the same values"))
    if line.kind is Kind.RESHAPED:
        found.append(Remark("the same bytes"))
    if first.tied:
        found.append(Remark(f"shares its bytes now with {', '.join(map(printable, first.tied))}"))
    if first.untied:
        found.append(Remark(f"no longer shares its bytes with {', '.join(map(printable, first.untied))}"))
    problems = dict.fromkeys(_problem(finding.problem) for finding in line.findings if finding.problem)
    done = "looked at" if line.kind is Kind.ADDED else "compared"
    found += [Remark(f"values not {done}: {problem}") for problem in list(problems)[:1]]
    return found


def _problem(error: ThetaError) -> str:
    return "they are not on this machine" if error.exit_code == Exit.MISSING else str(error)


def _values(line: Line) -> list[Remark]:
    statistics = line.statistics
    nan, infinite = sum(s.nan_in for s in statistics), sum(s.inf_in for s in statistics)
    found = []
    came = sum(f.came.nan for f in line.findings), sum(f.came.infinite for f in line.findings)
    for count, what in zip(came, ("NaN", "infinite"), strict=True):
        if count:
            kind = "element" if line.kind is Kind.ADDED else "new element"
            found.append(Remark(f"{plural(count, kind)} {'is' if count == 1 else 'are'} {what}", loud=True))
    if nan:
        found.append(Remark(f"{plural(nan, 'element')} became NaN", loud=True))
    if infinite:
        found.append(Remark(f"{plural(infinite, 'element')} became infinite", loud=True))
    if statistics and all(s.became_zero for s in statistics):
        found.append(Remark("all zero now", loud=True))
    if statistics and all(s.changed and s.changed == s.one_ulp for s in statistics):
        found.append(Remark("every change is by one ulp, to the next representable number"))
    elif statistics and all(_same_value(s) for s in statistics):
        found.append(Remark("only bits changed that compare equal: signs of zero, payloads of NaN"))
    if statistics and line.findings[0].nature is Nature.VALUES and not any(s.changed for s in statistics):
        found.append(Remark("its own elements are equal, others in the same storage changed"))
    if statistics and not any(s.numeric for s in statistics):
        found.append(Remark("compared byte by byte"))
    if ranks := [s.rank for s in statistics if s.rank is not None]:
        found.append(Remark(f"the change has rank {span(ranks, str)}"))
    return found


def _same_value(statistics: Statistics) -> bool:
    """Whether bits changed and no number did."""
    quiet = not (statistics.largest or statistics.nan_in or statistics.inf_in)
    return bool(statistics.numeric and statistics.changed and quiet and not statistics.converted)


def _natures(line: Line) -> list[Remark]:
    change, nature = line.changes[0], line.findings[0].nature
    if nature is Nature.CAST:
        return [Remark(_cast(line.statistics))]
    if nature is Nature.TRANSPOSED:
        return [Remark("transposed, with equal content")]
    if nature is Nature.RESIZED and change.old and change.new:
        return [Remark(_resized(change.old.group.shape, change.new.group.shape, line.statistics))]
    if nature is Nature.INCOMPARABLE:
        return [Remark("the two sides cannot be compared element by element")]
    return []


def _cast(statistics: list[Statistics]) -> str:
    if all(s.changed == 0 for s in statistics):
        return "dtype cast, every value is the same number"
    other = sum(s.elements - s.converted for s in statistics)
    return (
        "dtype cast, every value rounded" if not other else f"dtype cast, and {plural(other, 'value')} changed besides"
    )


def _resized(old: tuple[int, ...], new: tuple[int, ...], statistics: list[Statistics]) -> str:
    words = ("rows", "columns") if len(new) == 2 else ()
    parts = []
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        if before != after:
            what = words[axis] if words else ("elements" if len(new) == 1 else f"along axis {axis}")
            parts.append(f"{abs(after - before):,} {what} {'appended' if after > before else 'removed'}")
    same = all(s.changed == 0 for s in statistics)
    return f"{', '.join(parts)}, {'the rest is equal' if same else 'the rest changed too'}"


def frame_reason(report: Report) -> str:
    """Why what is around the tensors differs, where no value in it is told; empty where none is known."""
    if report.leaves:
        return ""
    changes = report.comparison.changes
    structural = any(change.kind not in (Kind.CHANGED, Kind.TIED) or _retyped(change) for change in changes)
    if structural or report.comparison.moved:
        return "it names the groups, their dtypes, shapes and places"
    return "" if report.leaves is None else "no value that can be told differs"


def _retyped(change: Change) -> bool:
    """Whether a group has another dtype or shape now."""
    old, new = change.old, change.new
    return bool(old and new and (old.group.dtype, old.group.shape) != (new.group.dtype, new.group.shape))


def heading(report: Report) -> str:
    """The first line, as Git's own diffs begin."""
    sides = (("a", report.old_path), ("b", report.new_path))
    old, new = (_sided(side, path) if path is not None else "/dev/null" for side, path in sides)
    return f"diff --theta {old} {new}"


def _sided(side: str, path: str) -> str:
    """A path in the repository behind the name of its side; one that leads elsewhere as it is."""
    return path if path.startswith("../") else f"{side}/{path.lstrip('/')}"


def shape(sides: tuple[int, ...]) -> str:
    """``[768,2304]``."""
    return f"[{','.join(map(str, sides))}]"


def percent(share: float) -> str:
    """``0%``, ``<0.01%``, ``12.3%``; 100% means all of them."""
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    if share < 1e-4:
        return "<0.01%"
    digits = 2 if share < 0.01 else 1
    return f"{min(share * 100, 99.9):.{digits}f}%"


def scientific(value: float) -> str:
    """Two digits: ``0``, ``1.2e-3``, ``4.5``."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    if 0.01 <= abs(value) < 1000:
        return f"{value:.2g}" if abs(value) < 99.5 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _cosine(value: float) -> str:
    """As many nines as there are, up to eight."""
    return "1" if value == 1 else f"{value:.6f}" if value < 0.9999995 else ">0.999999"


def span(values: Iterable[float], write: Callable[[float], str]) -> str:
    """The least and the greatest, once where they read the same; empty without values."""
    found = sorted(values)
    return "..".join(dict.fromkeys([write(found[0]), write(found[-1])])) if found else ""


def size(count: int) -> str:
    """Bytes in decimal units: ``812 B``, ``2.9 MB``."""
    value, unit = float(count), 0
    while value >= 999.5 and unit + 1 < len(_UNITS):
        value, unit = value / 1000, unit + 1
    return f"{value:.{1 if unit and value < 99.95 else 0}f} {_UNITS[unit]}"


def plural(count: int, noun: str) -> str:
    """``1 element``, ``2,000 elements``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(name: str) -> str:
    """A name as it is, or as a JSON string when a terminal could misread it."""
    return name if name.isprintable() and name and not name.startswith('"') else json.dumps(name)


def _both(change: Change, of: Callable[[Value], str]) -> str:
    """A property of both sides: once where it is the same."""
    return " -> ".join(dict.fromkeys(of(value) for value in (change.old, change.new) if value))
