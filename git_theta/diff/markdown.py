"""Reports as Markdown, for a comment on a pull request: totals to read at once, tables to open."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from git_theta.diff.report import Line, Report, lines, loudest, printable, told
from git_theta.diff.words import HEADINGS, cells, frame_reason, plural, readable, remarks, totals

OPEN_ROWS = 10
"""A longer table starts closed."""
ROOM = 65_000
"""Characters of a report: GitHub takes comments of less than 65,536."""
_FRAME = 1_000
"""Characters that a table takes besides its rows."""
_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>|~#"} | {"\n": " ", "\r": " "})


def render(
    report: Report, expand: bool = False, sort: str = "model", top: int | None = None, room: int = ROOM
) -> Iterator[str]:
    """The report's lines, of at most ``room`` characters."""
    path = report.new_path if report.new_path is not None else report.old_path
    found = lines(report, expand, sort)
    shown = found if top is None else loudest(found)[:top]
    head = [f"### {_code(printable(path) if path else '')}", "", _plain(totals(report.comparison))]
    head += [f"\n{_plain(readable(note))}" for note in report.notes]
    loud = [f"\n⚠️ **{_code(line.title)}: {_plain(r.text)}**" for line in found for r in remarks(line) if r.loud]
    head += _cut(loud, room // 4, "\n... and {} more")
    rest = list(_everything_else(report, expand, top, room // 4)) if report.comparison.frame_changed else []
    yield from head
    if shown:
        yield from _table(shown, len(found), room - sum(len(text) + 1 for text in [*head, *rest]) - _FRAME)
    yield from rest


def _cut(texts: Sequence[str], room: int, more: str) -> list[str]:
    """As many as there is room for, and how many lines did not fit."""
    ends = list(accumulate(len(text) + 1 for text in texts))
    fitting = bisect_right(ends, room)
    left = len(texts) - fitting
    return [*texts[:fitting], *([more.format(plural(left, "line"))] if left else [])]


def _table(shown: Sequence[Line], found: int, room: int) -> Iterator[str]:
    rows = [cells(line) for line in shown]
    used = [at for at in range(len(HEADINGS)) if any(row[at] for row in rows)]
    yield ""
    yield f"<details{' open' if len(shown) <= OPEN_ROWS else ''}><summary>{plural(len(shown), 'line')}</summary>"
    yield ""
    yield _row(["", "group", *(_plain(HEADINGS[at]) for at in used)])
    yield _row(["---", "---", *("---:" if at >= 2 else "---" for at in used)])
    body = []
    for line, row in zip(shown, rows, strict=True):
        count = f" ({len(line.changes):,})" if len(line.changes) > 1 else ""
        said = "".join(f"<br>{_plain(remark.text)}" for remark in remarks(line))
        name = f"{_code(line.title)}{count}{said}"
        body.append(_row([f"`{line.kind.value}`", name, *(_plain(row[at]) for at in used)]))
    yield from _cut(body, room, "\n... and {} that a comment has no room for")
    if len(shown) < found:
        yield f"\n... and {plural(found - len(shown), 'line')} more"
    yield ""
    yield "</details>"


def _everything_else(report: Report, expand: bool, top: int | None, room: int) -> Iterator[str]:
    shown = told(report, expand, top)
    yield ""
    reason = frame_reason(report)
    end = ":" if shown else f": {reason}." if reason else "."
    yield f"Header, metadata or values that are no tensors changed{end}"
    if shown:
        yield ""
        yield _row(["value", "old", "new"])
        yield _row(["---"] * 3)
    sides = ((printable(leaf.path), leaf.old, leaf.new) for leaf in shown)
    rows = [_row([_code(text) if text is not None else "(absent)" for text in row]) for row in sides]
    yield from _cut(rows, room, "\n... and {} that a comment has no room for")
    if rest := len(report.leaves or ()) - len(shown):
        yield f"\n... and {plural(rest, 'value')} more; `--format json` has all"


def _row(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"


def _plain(text: str) -> str:
    """Text that stays text in Markdown and in HTML."""
    return text.translate(_SPECIAL)


def _code(text: str) -> str:
    """Text in monospace, whatever it holds."""
    shown = "".join(char if char.isprintable() else "�" for char in text).replace("|", "&#124;")
    escaped = shown.replace("&", "&amp;").replace("&amp;#124;", "&#124;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<code>{escaped}</code>"
