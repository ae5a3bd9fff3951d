"""Compare two checkpoints group by group: manifests and values enter, reports leave, as text or for programs."""

from git_theta.diff.records import Change, Comparison, Kind, Summary, compare, compare_texts, of_layout, of_manifest
from git_theta.diff.report import Report, matching, select, with_values
from git_theta.diff.text import Style, render, textconv
from git_theta.diff.values import FileValues, StoredValues, Values

__all__ = [
    "Change",
    "Comparison",
    "FileValues",
    "Kind",
    "Report",
    "StoredValues",
    "Style",
    "Summary",
    "Values",
    "compare",
    "compare_texts",
    "matching",
    "of_layout",
    "of_manifest",
    "render",
    "select",
    "textconv",
    "with_values",
]
