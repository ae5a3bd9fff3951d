"""Reports for programs: one JSON value per file, in a schema with a version (``docs/diff-json.md``).

What always holds: fields keep their meaning within a version; new ones may come; every group stands for itself,
nothing is folded or rounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from git_theta.diff.finding import Finding, Statistics
from git_theta.diff.records import Change, Kind, Summary, Value
from git_theta.diff.report import Line, Report, lines, loudest, parameters

SCHEMA = 1

_KINDS = {kind: kind.name.lower() for kind in Kind}


def document(reports: Sequence[Report], sort: str = "model", top: int | None = None) -> dict[str, Any]:
    """All files as one document."""
    return {
        "schema": SCHEMA,
        "files": [_file(report, _shown(report, sort, top)) for report in reports],
    }


def _shown(report: Report, sort: str, top: int | None) -> Sequence[Line]:
    found = lines(report, expand=True, sort=sort)
    return found if top is None else loudest(found)[:top]


def _file(report: Report, shown: Sequence[Line]) -> dict[str, Any]:
    comparison = report.comparison
    return {
        "paths": [None if path is None else _valid(path) for path in (report.old_path, report.new_path)],
        "old": _side(report.old_path, comparison.old),
        "new": _side(report.new_path, comparison.new),
        "counts": {
            **{name: comparison.count(kind) for kind, name in _KINDS.items()},
            "unchanged": comparison.unchanged,
            "moved": comparison.moved,
        },
        "stored_bytes": comparison.stored,
        "everything_else_changed": comparison.frame_changed,
        "values_unread": report.unread,
        "values": [{"path": _valid(leaf.path), "old": leaf.old, "new": leaf.new} for leaf in report.leaves or ()],
        "notes": [_valid(note) for note in report.notes],
        "groups": [_group(line.changes[0], line.findings[0]) for line in shown],
    }


def _side(path: str | None, summary: Summary | None) -> dict[str, Any] | None:
    if summary is None:
        return None
    return {
        "path": None if path is None else _valid(path),
        "format": summary.format,
        "bytes": summary.size,
        "groups": summary.groups,
        "parameters": parameters(summary),
    }


def _group(change: Change, finding: Finding) -> dict[str, Any]:
    storage, problem = finding.storage, finding.problem
    return {
        "name": _valid(change.name),
        "change": _KINDS[change.kind],
        "old": _value(change.old),
        "new": _value(change.new),
        "tied": [_valid(name) for name in change.tied],
        "untied": [_valid(name) for name in change.untied],
        "nature": finding.nature.value if finding.statistics or finding.nature.value != "values" else None,
        "reason": finding.reason or None,
        "statistics": _statistics(finding.statistics) if finding.statistics else None,
        "came": {"nan": finding.came.nan, "inf": finding.came.infinite},
        "stored": {"update": storage.kind, "bytes": storage.bytes} if storage else None,
        "problem": str(problem) if problem else None,
    }


def _value(value: Value | None) -> dict[str, Any] | None:
    if value is None:
        return None
    group = value.group
    return {
        "name": _valid(group.name),
        "dtype": group.dtype,
        "shape": list(group.shape),
        "bytes": value.bytes,
        "digest": value.digest,
    }


def _statistics(found: Statistics) -> dict[str, Any]:
    counts = {"elements": found.elements, "changed": found.changed, "numeric": found.numeric}
    if not found.numeric:
        return counts
    return {
        **counts,
        "finite": found.finite,
        "one_ulp": found.one_ulp,
        "bits_only": found.bits_only,
        "converted": found.converted,
        "old_norm": _finite(found.old_norm),
        "new_norm": _finite(found.new_norm),
        "delta_norm": _finite(found.delta_norm),
        "relative": _finite(found.relative),
        "largest": _finite(found.largest),
        "cosine": _finite(found.cosine),
        "nan_in": found.nan_in,
        "nan_out": found.nan_out,
        "inf_in": found.inf_in,
        "inf_out": found.inf_out,
        "inf_other": found.inf_other,
        "became_zero": found.became_zero,
        "rank": found.rank,
    }


def _valid(text: str) -> str:
    """Text that is Unicode: a byte of a file name that is none becomes four characters, as in ``\\xff``."""
    if text.isascii():
        return text
    escaped = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8")


def _finite(value: float | None) -> float | None:
    """JSON has no infinity; what float64 cannot hold is null."""
    return value if value is not None and abs(value) < float("inf") else None
