"""A checkpoint as format plug-ins read it without its tensors: a manifest and its skeleton enter, a source leaves."""

from __future__ import annotations

from git_theta.formats.frame import Frame
from git_theta.model import Manifest


class FrameSource(Frame):
    """A source over a skeleton in memory: its bytes are where the file has them, tensors read as zeros."""

    def __init__(self, manifest: Manifest, skeleton: bytes) -> None:
        super().__init__(manifest.size, ((entry.gap, entry.length) for entry in manifest.entries), skeleton)
