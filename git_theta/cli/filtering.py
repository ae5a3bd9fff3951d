"""Clean and smudge as Git asks for them: a path and its content enter, the answer leaves, words go to stderr.

Shared by the long-running filter and the one-shot commands. What always holds: a file that cannot be had
becomes a placeholder and a loud message, unless ``theta.missing=fail`` asks Git to stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING

from git_theta.cli.hooks import PENDING
from git_theta.cli.output import warn
from git_theta.cli.sighting import Sighting
from git_theta.cli.unresolved import has_unresolved, unresolved
from git_theta.cli.workspace import Workspace
from git_theta.errors import ThetaError
from git_theta.filters.session import Smudged

if TYPE_CHECKING:
    from git_theta.model import Oid, StoredObject
    from git_theta.tensors.writer import Content


_ADDING = {"add", "stage", "commit"}

_CLAIMS = {".safetensors", ".gguf", ".npy", ".npz", ".pt", ".pth"}
"""Endings that promise a format we know; others, such as .bin, may be anything."""


def clean(workspace: Workspace, path: str, content: Content) -> bytes:
    """The manifest of ``content``, which Git says belongs to ``path``."""
    worktree = workspace.repository.worktree
    seen = Sighting(workspace, path)
    if again := seen.again(content):
        return again
    cleaned = workspace.cleaner.clean(
        content,
        worktree_file=worktree / path if worktree and path else None,
        priors=lambda: workspace.priors(path),
        forced_format=workspace.formats.get(path) if path else None,
        committed=lambda: workspace.committed(path),
    )
    if cleaned.warning:
        warn(f"{path}: {cleaned.warning}")
    elif cleaned.format == "opaque" and PurePath(path).suffix.lower() in _CLAIMS:
        warn(f"{path}: the content is of no known checkpoint format; stored whole as one group")
    seen.leave(cleaned.manifest)
    _warn_of_conflicts(workspace, path, cleaned.manifest)
    return cleaned.manifest


def _warn_of_conflicts(workspace: Workspace, path: str, manifest: bytes) -> None:
    """Say it when somebody adds what a merge left open as it left it; ``git status`` cleans too, and adds nothing."""
    if workspace.caller not in _ADDING or not has_unresolved(workspace):
        return
    if left := unresolved(workspace, path, manifest):
        warn(f"{path}: added as the merge left it, with ours for {left} undecided", f"git theta resolve {path}")


def smudge(workspace: Workspace, path: str, text: bytes) -> Smudged:
    """What Git is to write at ``path`` for the content ``text``."""
    from git_theta.filters.smudge import TooLarge
    from git_theta.tensors import DamagedValue

    if workspace.settings.skip_smudge:
        return as_is(text)
    smudged = workspace.smudger.smudge(text)
    if smudged.problem:
        if workspace.settings.missing == "fail" and isinstance(smudged.problem, DamagedValue):
            raise smudged.problem
        if isinstance(smudged.problem, TooLarge):
            (workspace.repository.git_dir / PENDING).touch()
        warn(f"{path}: {smudged.problem}", _placeholder_hint(path, smudged.problem))
    return smudged


def as_is(text: bytes) -> Smudged:
    """The content unchanged."""
    return Smudged(iter([memoryview(text)]))


def smudge_request(workspace: Workspace, request: Mapping[str, str], text: bytes) -> Smudged:
    """What Git is to write, or to look at, for one request of the long-running protocol."""
    path = request.get("pathname", "")
    if _for_diff(workspace, request):
        return as_is(text)
    return smudge(workspace, path, text)


class Postponed:
    """What waits for objects from elsewhere: gathered over all files of a checkout, brought in one batch."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._absent: dict[Oid, StoredObject] = {}

    def postpone(self, _request: Mapping[str, str], text: bytes) -> bool:
        """Whether the content needs objects that are not here."""
        if self._workspace.settings.skip_smudge:
            return False
        absent = self._workspace.smudger.absent(text)
        self._absent.update((stored.oid, stored) for stored in absent)
        return bool(absent)

    def gather(self) -> None:
        """Bring them; what does not come is each file's own trouble."""
        self._workspace.supply.bring(self._absent.values())
        self._absent.clear()


def _for_diff(workspace: Workspace, request: Mapping[str, str]) -> bool:
    """Whether the content only goes to our own diff driver or textconv, which read the manifest.

    Every doubt means no: then Git gets the checkpoint itself. Git names ref, treeish or can-delay when it
    writes to a worktree or an archive; a difftool wants real files.
    """
    return (
        not request.keys() & {"ref", "treeish", "can-delay"}
        and workspace.caller in ("diff", "show", "log")
        and not workspace.external_diff
        and workspace.diff_drivers.get(request.get("pathname", "")) == "theta"
    )


def _placeholder_hint(path: str, problem: ThetaError) -> str | None:
    """What to type for a file that was left as a placeholder, or as the damaged manifest it is."""
    from git_theta.filters.smudge import TooLarge
    from git_theta.tensors import DamagedValue

    if not isinstance(problem, (DamagedValue, TooLarge)):
        return problem.hint.replace("PATH", path) if problem.hint else None
    remedy = "git theta pull completes it" if isinstance(problem, DamagedValue) else problem.hint
    return f"{path} holds its manifest for now, Git is not affected; {remedy}"
