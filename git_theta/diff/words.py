"""The words and numbers of a report, the same in every form it is rendered to: lines enter, short texts leave."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from git_theta.diff.finding import Nature, Statistics
from git_theta.diff.records import Change, Comparison, Kind, Summary, Value
from git_theta.diff.report import Line, Report, old_names, parameters, printable
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
        what = f"{_counted(comparison, lambda s: s.groups, 'group')}, {_counted(comparison, parameters, 'parameter')}"
        what += f", {_on_sides(comparison, lambda s: size(s.size))}"
        formats = _on_sides(comparison, lambda s: "plain bytes" if s.format == "opaque" else s.format)
        what += f", {formats}" if "->" in formats else ", read as plain bytes" if side.format == "opaque" else ""
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
    values = "value" if sum(count for count, _ in counts) == 1 else "values"
    return f"{said} {values} came into {plural(len(loud), 'group')}" if loud else ""


def _on_sides(comparison: Comparison, write: Callable[[Summary], str]) -> str:
    """What is said of both sides: once where it is the same."""
    return " -> ".join(dict.fromkeys(write(side) for side in (comparison.old, comparison.new) if side))


def _counted(comparison: Comparison, count: Callable[[Summary], int], noun: str) -> str:
    """``1 group``, ``0 -> 1 groups``."""
    found = _on_sides(comparison, lambda side: f"{count(side):,}")
    return f"{found} {noun}{'' if found == '1' else 's'}"


def cells(line: Line) -> tuple[str, ...]:
    """What the columns of :data:`HEADINGS` hold for one line."""
    first = line.changes[0]
    statistics = line.statistics
    numeric = [s for s in statistics if s.measured]
    stored = [finding.storage for finding in line.findings if finding.storage]
    kinds = "/".join(dict.fromkeys(storage.kind for storage in stored))
    return (
        _both(first, lambda value: value.group.dtype),
        _both(first, lambda value: shape(value.group.shape)),
        "resized" if _only_resized(line) else span((s.share for s in statistics), percent),
        span((s.relative for s in numeric if s.relative is not None), scientific),
        span((s.largest for s in numeric), scientific),
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
        found.append(Remark(f"renamed from {', '.join(old_names(line))}, the same values"))
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
    found = _not_finite(line)
    if not statistics:
        return found
    if all(s.became_zero for s in statistics):
        found.append(Remark("all zero now", loud=True))
    if all(s.changed and s.changed == s.one_ulp for s in statistics):
        found.append(Remark("every change is by one ulp, to the next representable number"))
    elif all(s.bits_only for s in statistics):
        found.append(Remark("only bits changed that compare equal: signs of zero, payloads of NaN"))
    if line.findings[0].nature is Nature.VALUES and not any(s.changed for s in statistics):
        found.append(Remark(_equal_elements(line.changes[0])))
    if not any(s.numeric for s in statistics):
        found.append(Remark("compared byte by byte"))
    if ranks := [s.rank for s in statistics if s.rank is not None]:
        found.append(Remark(f"the change has rank {span(ranks, str)}"))
    return found


def _not_finite(line: Line) -> list[Remark]:
    """NaN and infinity: what is so of the elements that came, what became so, what is so no longer."""
    came = [finding.came for finding in line.findings]
    nan_in, inf_in, nan_out, inf_out, inf_other = (
        sum(column) for column in zip(*([s.not_finite for s in line.statistics] or [(0,) * 5]), strict=True)
    )
    kind = "element" if line.kind is Kind.ADDED else "new element"
    said = (
        (sum(c.nan for c in came), kind, ("is NaN", "are NaN"), True),
        (sum(c.infinite for c in came), kind, ("is infinite", "are infinite"), True),
        (nan_in, "element", ("became NaN", "became NaN"), True),
        (inf_in, "element", ("became infinite", "became infinite"), True),
        (nan_out, "element", ("is no longer NaN", "are no longer NaN"), False),
        (inf_out, "element", ("is no longer infinite", "are no longer infinite"), False),
        (inf_other, "element", ("went from one infinity to another", "went from one infinity to another"), False),
    )
    return [Remark(f"{plural(n, noun)} {verbs[n != 1]}", loud) for n, noun, verbs, loud in said if n]


def _equal_elements(change: Change) -> str:
    """Why the bytes of a group differ when its elements do not."""
    if change.old and change.new and change.old.group.view != change.new.group.view:
        return "its elements are equal, their layout in the file changed"
    return "its own elements are equal, others in the same storage changed"


def _natures(line: Line) -> list[Remark]:
    change, nature = line.changes[0], line.findings[0].nature
    if nature is Nature.CAST:
        old, new = (side.group.dtype if side else "" for side in (change.old, change.new))
        return [Remark(_cast(line.statistics, cut=_is_integer(new) and not _is_integer(old)))]
    if nature is Nature.TRANSPOSED:
        return [Remark("transposed, with equal content")]
    if nature is Nature.RESIZED and change.old and change.new:
        return [Remark(_resized(change.old.group.shape, change.new.group.shape, line.statistics))]
    if nature is Nature.INCOMPARABLE:
        return [Remark(f"cannot be compared element by element: {line.findings[0].reason}")]
    return []


def _cast(statistics: list[Statistics], cut: bool) -> str:
    if all(s.changed == 0 for s in statistics):
        return "dtype cast, every value is the same number"
    if other := sum(s.elements - s.converted for s in statistics):
        return f"dtype cast, and {plural(other, 'value')} changed besides"
    return f"dtype cast, every value {'cut or rounded to an integer' if cut else 'rounded'}"


def _is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint", "qint", "quint", "bool"))


def _resized(old: tuple[int, ...], new: tuple[int, ...], statistics: list[Statistics]) -> str:
    """Where elements came or went is known when those that both sides have are equal, and not otherwise."""
    same = all(s.changed == 0 for s in statistics)
    nouns = ("row", "column") if len(new) == 2 else ("element",)
    parts = []
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        if before != after:
            count = abs(after - before)
            done = ("appended" if same else "more") if after > before else ("removed" if same else "fewer")
            along = f"{count:,} {done} along axis {axis}"
            parts.append(along if len(new) > 2 else f"{plural(count, nouns[axis])} {done}")
    rest = ", the rest is equal" if same else ", the rest changed too"
    return f"{', '.join(parts)}{rest if any(s.elements for s in statistics) else ''}"


def frame_reason(report: Report) -> str:
    """Why what is around the tensors differs, where no value in it is told; empty where none is known."""
    if report.leaves:
        return ""
    if report.unread:
        return "its values cannot be read here, so whether any differs is not known"
    changes = report.comparison.changes
    structural = any(change.kind not in (Kind.CHANGED, Kind.TIED) or _retyped(change) for change in changes)
    if structural or report.comparison.moved:
        return "it names the groups, their dtypes, shapes and places"
    if report.leaves is None:
        return ""
    return "no value that is told differs: flags of tensors, types of keys, empty lists, or how the file is written"


def _retyped(change: Change) -> bool:
    """Whether a group has another dtype or shape now."""
    old, new = change.old, change.new
    return bool(old and new and (old.group.dtype, old.group.shape) != (new.group.dtype, new.group.shape))


def heading(report: Report) -> str:
    """The first line, as Git's own diffs begin."""
    sides = (("a", report.old_path), ("b", report.new_path))
    old, new = (_sided(side, path) if path is not None else "/dev/null" for side, path in sides)
    return f"diff --theta {readable(old)} {readable(new)}"


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
    """Two digits: ``0``, ``1.2e-3``, ``4.5``; more than float64 can hold as that."""
    if value == 0:
        return "0"
    if math.isinf(value):
        return ">1.8e308"
    if 0.00995 <= abs(value) < 1000:
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


def readable(text: str) -> str:
    """Text that cannot steer a terminal: as it is, or as a JSON string."""
    return text if text.isprintable() else json.dumps(text)


def _both(change: Change, of: Callable[[Value], str]) -> str:
    """A property of both sides: once where it is the same."""
    return " -> ".join(dict.fromkeys(of(value) for value in (change.old, change.new) if value))
