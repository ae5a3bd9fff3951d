"""History rewritten: commits of files as they are, or of Git LFS pointers, become commits of manifests, and back.

Commits, trees and tags enter as Git's raw bytes, and leave with nothing changed but the files that match, the
attributes line of their pattern, and the ids that follow from these. No ref moves before everything is written.
"""

from git_theta.migrate.conversions import Export, Import, to_blob, to_pointer
from git_theta.migrate.refs import (
    Target,
    check_originals,
    find_targets,
    full_name,
    history,
    move_refs,
    remote_branches_without,
)
from git_theta.migrate.rewrite import Rewriter, Rewritten
from git_theta.migrate.survey import Conversion, Place, Source, Survey
from git_theta.migrate.tips import filters_at

__all__ = [
    "Conversion",
    "Export",
    "Import",
    "Place",
    "Rewriter",
    "Rewritten",
    "Source",
    "Survey",
    "Target",
    "check_originals",
    "filters_at",
    "find_targets",
    "full_name",
    "history",
    "move_refs",
    "remote_branches_without",
    "to_blob",
    "to_pointer",
]
