"""Compare two checkpoints group by group: manifests enter, records and text leave."""

from git_theta.diff.records import Change, Comparison, Kind, Summary, compare, of_layout, of_manifest
from git_theta.diff.text import lines, report

__all__ = ["Change", "Comparison", "Kind", "Summary", "compare", "lines", "of_layout", "of_manifest", "report"]
