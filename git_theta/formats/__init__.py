"""Find the parameter groups of a checkpoint: bytes of a file enter, a :class:`~git_theta.model.Layout` leaves.

A format plug-in says where the tensors are and nothing else; the core stores spans and skeleton and glues
them back. So the round trip is exact for any plug-in, needs no framework, and runs no code from the file.
What always holds: a returned layout tiles the file (:func:`check_layout`), and a file no plug-in understands
is one opaque group, never refused.
"""

from git_theta.formats.registry import FORMATS, Scan, check_layout, opaque, scan
from git_theta.formats.source import BytesSource, FileSource, MalformedCheckpoint, Source

__all__ = [
    "FORMATS",
    "BytesSource",
    "FileSource",
    "MalformedCheckpoint",
    "Scan",
    "Source",
    "check_layout",
    "opaque",
    "scan",
]
