"""Reports as Markdown, for a comment on a pull request: totals to read at once, tables to open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from git_theta.diff.report import Line, Report, lines, loudest
from git_theta.diff.words import HEADINGS, cells, frame_reason, plural, remarks, totals

OPEN_ROWS = 10
"""A longer table starts closed."""
_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>|~#"} | {"\n": " ", "\r": " "})


def render(report: Report, expand: bool = False, sort: str = "model", top: int | None = None) -> Iterator[str]:
    """The report's lines."""
    path = report.new_path if report.new_path is not None else report.old_path
    yield f"### {_code(path or '')}"
    yield ""
    yield f"{_plain(totals(report.comparison))}"
    for note in report.notes:
        yield f"\n{_plain(note)}"
    found = lines(report, expand, sort)
    shown = found if top is None else loudest(found)[:top]
    loud = [f"**{_code(line.name)}: {_plain(r.text)}**" for line in found for r in remarks(line) if r.loud]
    yield from (f"\n⚠️ {sentence}" for sentence in loud)
    if shown:
        yield from _table(shown, len(found))
    if report.comparison.frame_changed:
        yield from _everything_else(report)


def _table(shown: Sequence[Line], found: int) -> Iterator[str]:
    rows = [cells(line) for line in shown]
    used = [at for at in range(len(HEADINGS)) if any(row[at] for row in rows)]
    yield ""
    yield f"<details{' open' if len(shown) <= OPEN_ROWS else ''}><summary>{plural(len(shown), 'line')}</summary>"
    yield ""
    yield _row(["", "group", *(_plain(HEADINGS[at]) for at in used)])
    yield _row(["---", "---", *("---:" if at >= 2 else "---" for at in used)])
    for line, row in zip(shown, rows, strict=True):
        count = f" ({len(line.changes):,})" if len(line.changes) > 1 else ""
        said = "".join(f"<br>{_plain(remark.text)}" for remark in remarks(line))
        mark = f"`{line.kind.value}`"
        yield _row([mark, f"{_code(line.name)}{count}{said}", *(_plain(row[at]) for at in used)])
    if len(shown) < found:
        yield f"\n... and {plural(found - len(shown), 'line')} more"
    yield ""
    yield "</details>"


def _everything_else(report: Report) -> Iterator[str]:
    yield ""
    reason = frame_reason(report)
    end = ":" if report.leaves else f": {reason}." if reason else "."
    yield f"Header, metadata or values that are no tensors changed{end}"
    if report.leaves:
        yield ""
        yield _row(["value", "old", "new"])
        yield _row(["---"] * 3)
    for leaf in report.leaves or ():
        yield _row([_code(text) if text is not None else "(absent)" for text in (leaf.path, leaf.old, leaf.new)])


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
