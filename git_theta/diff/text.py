"""Comparisons and summaries as text, one aligned line per group."""

from __future__ import annotations

import json
from collections.abc import Iterator

from git_theta.diff.records import Change, Comparison, Kind, Summary, Value


def lines(summary: Summary) -> Iterator[str]:
    """One line per group, a pure function of the checkpoint: what ``git log -p`` compares line by line."""
    for value in summary.values:
        yield f"{_name(value.group.name)} {_type(value)} {value.bytes} bytes sha256:{value.digest}"
    yield f"(everything else) sha256:{summary.skeleton}"


def report(comparison: Comparison, old_path: str, new_path: str) -> Iterator[str]:
    """The comparison for people: a header with totals, then a line per changed group."""
    old = f"a/{old_path}" if comparison.old else "/dev/null"
    new = f"b/{new_path}" if comparison.new else "/dev/null"
    yield f"diff --theta {old} {new}"
    yield _totals(comparison)
    width = max((len(_name(change.name)) for change in comparison.changes), default=0)
    for change in comparison.changes:
        yield f"{change.kind.value} {_name(change.name).ljust(width)}  {_what(change)}"
    if comparison.frame_changed:
        yield "~ (everything else: header, metadata, non-tensor values)"


def _totals(comparison: Comparison) -> str:
    side = comparison.new or comparison.old
    groups = len(side.values) if side else 0
    counts = ", ".join(
        f"{comparison.count(kind):,} {word}"
        for kind, word in ((Kind.ADDED, "added"), (Kind.REMOVED, "removed"), (Kind.CHANGED, "changed"))
    )
    sizes = " -> ".join(f"{one.size:,}" for one in (comparison.old, comparison.new) if one)
    if comparison.old and comparison.new and comparison.old.size == comparison.new.size:
        sizes = f"{comparison.new.size:,}"
    cost = ""
    if comparison.old and comparison.new and comparison.old.objects is not None and comparison.new.objects is not None:
        added = comparison.new.objects.items() - comparison.old.objects.items()
        cost = f"; the change took {sum(size for _, size in added):,} bytes to store"
    return f"{groups:,} groups, {sizes} bytes: {counts}, {comparison.unchanged:,} unchanged{cost}"


def _what(change: Change) -> str:
    old, new = change.old, change.new
    if old and new and _type(old) != _type(new):
        return f"{_type(old)} -> {_type(new)}  {old.bytes:,} -> {new.bytes:,} bytes"
    value = new or old
    return f"{_type(value)}  {value.bytes:,} bytes" if value else ""


def _type(value: Value) -> str:
    return f"{value.group.dtype} [{','.join(map(str, value.group.shape))}]"


def _name(name: str) -> str:
    return name if name.isprintable() and name and not name.startswith('"') else json.dumps(name)
