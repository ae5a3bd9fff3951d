"""Git LFS pointers (git-lfs docs/spec.md, version 1): how hosts and git-lfs itself recognise a stored object."""

from __future__ import annotations

from git_theta.model import StoredObject


def render_pointer(stored: StoredObject) -> bytes:
    """The one valid pointer of an object."""
    lines = ("version https://git-lfs.github.com/spec/v1", f"oid sha256:{stored.oid}", f"size {stored.size}", "")
    return "\n".join(lines).encode()
