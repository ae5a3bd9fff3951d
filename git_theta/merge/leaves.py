"""Values besides tensors (epoch, learning rate, metadata) as keys of a dict: a frame enters, fingerprints leave.

What always holds: two values with one fingerprint are the same to the last bit, and of the same types.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import count

from git_theta.formats import MalformedCheckpoint, Source
from git_theta.formats.building import check_told_apart
from git_theta.formats.pickle_reader import Value
from git_theta.formats.pickle_writer import Unpicklable, write_pickle
from git_theta.formats.registry import OPAQUE, load

Fingerprint = bytes
"""Stands for one value."""

_UNIQUE = count()


def fingerprints(container: str, frame: Source) -> dict[str, Fingerprint]:
    """Every value besides tensors by path; none for formats that have none, or where they cannot be read.

    Raises :class:`CannotBuild` when a path does not tell which value is meant.
    """
    check_told_apart(container, frame)
    read = getattr(load(container), "leaves", None) if container != OPAQUE else None
    if read is None:
        return {}
    try:
        return {path: fingerprint(value) for path, value in read(frame).items()}
    except MalformedCheckpoint:
        return {}


def fingerprint(value: Value) -> Fingerprint:
    """The fingerprint of one value as the format plug-ins give them; one of its own for what cannot be written.

    Such a value counts as changed wherever it is met, so that a person decides.
    """
    try:
        return sha256(write_pickle(value)).digest()
    except Unpicklable:
        return b"%d" % next(_UNIQUE)
