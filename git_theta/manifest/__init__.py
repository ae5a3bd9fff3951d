"""The text Git tracks for a checkpoint: :class:`~git_theta.model.Manifest` to bytes and back.

The grammar is normative in ``docs/manifest-spec.md``. What always holds: there is exactly one valid encoding
of a manifest, and :func:`parse` accepts no other.
"""

from git_theta.manifest.glance import Glance, glance
from git_theta.manifest.text import (
    INLINE_LIMIT,
    DamagedManifest,
    ManifestFromNewerVersion,
    looks_like_manifest,
    parse,
    parse_span,
    render,
    root,
    undo_line_ends,
    where_token,
)

__all__ = [
    "INLINE_LIMIT",
    "DamagedManifest",
    "Glance",
    "ManifestFromNewerVersion",
    "glance",
    "looks_like_manifest",
    "parse",
    "parse_span",
    "render",
    "root",
    "undo_line_ends",
    "where_token",
]
