"""Reports and summaries as text for people: one aligned line per group or pattern of groups, in a given width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from git_theta.diff.records import Kind, Summary, Value
from git_theta.diff.report import Line, Report, lines, loudest, printable, told
from git_theta.diff.words import (
    HEADINGS,
    alarm_of,
    cells,
    frame_reason,
    heading,
    plural,
    readable,
    remarks,
    shape,
    totals,
)
from git_theta.errors import Exit

_GAP = "  "
_OPTIONAL = (6, 5)
"""Columns that go where the width is short, the first one first: how it is stored, the cosine."""

_WORDS = (1, 0)
"""Columns whose cells can stand on lines of their own: the shape, the dtype."""

_BOLD, _DIM, _LOUD = "1", "2", "1;31"
_COLOURS = {Kind.ADDED: "32", Kind.REMOVED: "31", Kind.CHANGED: "33", Kind.RENAMED: "36"}


@dataclass(frozen=True, slots=True)
class Style:
    """How to write: the width in columns, with colours or not, which lines first and how many at most."""

    width: int = 80
    colours: bool = False
    expand: bool = False
    sort: str = "model"
    top: int | None = None

    def paint(self, text: str, code: str) -> str:
        """``text`` in a colour, where colours are wanted."""
        return f"\x1b[{code}m{text}\x1b[m" if self.colours and text else text


def textconv(summary: Summary) -> Iterator[str]:
    """One line per group, a pure function of the checkpoint: what ``git log -p`` compares line by line."""
    for value in summary.values:
        yield f"{printable(value.group.name)} {_type(value)} {value.bytes} bytes sha256:{value.digest}"
    yield f"(everything else) sha256:{summary.skeleton}"


def render(report: Report, style: Style) -> Iterator[str]:
    """The report for people: a header with totals, a line per changed group or pattern, then everything else."""
    yield style.paint(heading(report), _BOLD)
    yield from map(readable, report.notes)
    yield from _totals(report, style.width)
    if alarm := alarm_of(report):
        yield from (style.paint(text, _LOUD) for text in _wrapped(alarm, style.width))
    found = lines(report, style.expand, style.sort)
    shown = found if style.top is None else loudest(found)[: style.top]
    if shown:
        yield from _table(shown, style)
    if len(shown) < len(found):
        yield style.paint(f"... and {plural(len(found) - len(shown), 'line')} more", _DIM)
    if report.comparison.frame_changed:
        yield from _everything_else(report, style)
    yield from (f"hint: {text}" for text in _remedies(report))


def _remedies(report: Report) -> Iterator[str]:
    """What to type where values could not be had."""
    codes = {finding.problem.exit_code for finding in report.findings.values() if finding.problem}
    if Exit.MISSING in codes or (report.unread and not codes):
        yield "git theta fetch brings the objects of HEAD, git theta fetch COMMIT those of another one"
    if codes - {Exit.MISSING}:
        yield "git theta fsck moves damaged objects away, git theta fetch then brings good ones"


def _totals(report: Report, width: int) -> Iterator[str]:
    """On one line; where that is too long what the checkpoint is and what became of it have their own."""
    sentence = totals(report.comparison)
    if len(sentence) <= width:
        yield sentence
        return
    what, _, became = sentence.partition(": ")
    yield from _wrapped(f"{what}:", width)
    yield from (f"  {text}" for text in _wrapped(became, width - 2))


def _table(shown: Sequence[Line], style: Style) -> Iterator[str]:
    """One line each; where the longest name leaves no room for the numbers, they stand below the names."""
    rows = [cells(line) for line in shown]
    used = [at for at in range(len(HEADINGS)) if any(row[at] for row in rows)]
    widths = {at: max(len(row[at]) for row in [HEADINGS, *rows]) for at in used}
    names = [_name(line) for line in shown]
    longest = max(map(len, ["group", *names]))
    apart = longest + 2 + _taken(widths) > style.width
    left_out = []
    for at in _OPTIONAL if apart else ():
        if at in widths and _taken(widths) + 2 > style.width:
            left_out.append(HEADINGS[at])
            del widths[at]
    for at in _WORDS if apart else ():
        _narrow(widths, at, [row[at] for row in rows], style.width)
    stacked = _stacked(widths, style.width - 2) if apart else [widths]
    if apart:
        yield from (style.paint(_row("    ", HEADINGS, part), _DIM) for part in stacked)
    else:
        yield style.paint(_row(f"  {'group':{longest}}  ", HEADINGS, widths), _DIM)
    for line, name, row in zip(shown, names, rows, strict=True):
        mark = style.paint(line.kind.value, _COLOURS.get(line.kind, "36"))
        if apart:
            yield f"{mark} {name}"
            wide = [at for at in _WORDS if at in widths and len(row[at]) > widths[at]]
            yield from (f"    {row[at]}" for at in wide)
            rest = ["" if at in wide else cell for at, cell in enumerate(row)]
            yield from (text for part in stacked if (text := _row("    ", rest, part)))
        else:
            yield _row(f"{mark} {name:{longest}}  ", row, widths)
        for remark in remarks(line):
            for text in _wrapped(remark.text, style.width - 4):
                yield f"    {style.paint(text, _LOUD if remark.loud else _DIM)}"
    if left_out:
        yield style.paint(f"(no room for: {', '.join(reversed(left_out))})", _DIM)


def _narrow(widths: dict[int, int], at: int, column: Sequence[str], width: int) -> None:
    """Make a column as narrow as ``width`` asks for; cells that it has no room for stand on lines of their own."""
    room = widths.get(at, 0) - max(0, _taken(widths) + 2 - width)
    if at in widths and room < widths[at]:
        widths[at] = max(len(cell) for cell in [HEADINGS[at], *column] if len(cell) <= room or cell is HEADINGS[at])


def _stacked(widths: dict[int, int], width: int) -> list[dict[int, int]]:
    """The columns in as many rows as the width asks for."""
    rows: list[dict[int, int]] = [{}]
    for at, column in widths.items():
        if rows[-1] and _taken(rows[-1]) + column + len(_GAP) > width:
            rows.append({})
        rows[-1][at] = column
    return rows


def _wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of a width; the indent says that it goes on. Names stay whole."""
    return wrap(text, max(width, 20), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _row(start: str, row: Sequence[str], widths: dict[int, int]) -> str:
    """The cells in their widths: words to the left, numbers to the right."""
    aligned = (row[at].ljust(width) if at < 2 or at == 6 else row[at].rjust(width) for at, width in widths.items())
    return f"{start}{_GAP.join(aligned)}".rstrip()


def _taken(widths: dict[int, int]) -> int:
    """How wide the columns are, with the gaps before them."""
    return sum(width + len(_GAP) for width in widths.values())


def _name(line: Line) -> str:
    name = line.title
    return name if len(line.changes) == 1 else f"{name} ({len(line.changes):,})"


def _everything_else(report: Report, style: Style) -> Iterator[str]:
    """Header, metadata and values that are no tensors."""
    mark = style.paint(Kind.CHANGED.value, _COLOURS[Kind.CHANGED])
    first, *more = _wrapped("(everything else: header, metadata, values that are no tensors)", style.width - 2)
    yield f"{mark} {first}"
    yield from (f"  {text}" for text in more)
    for text in _wrapped(frame_reason(report), style.width - 4):
        yield f"    {style.paint(text, _DIM)}"
    shown = told(report, style.expand, style.top)
    for leaf in shown:
        before, after = ("(absent)" if side is None else readable(side) for side in (leaf.old, leaf.new))
        yield f"    {printable(leaf.path)} {before} -> {after}"
    if rest := len(report.leaves or ()) - len(shown):
        for text in _wrapped(f"... and {plural(rest, 'value')} more; --format json has all", style.width - 4):
            yield f"    {style.paint(text, _DIM)}"


def _type(value: Value) -> str:
    return f"{value.group.dtype} {shape(value.group.shape)}"
