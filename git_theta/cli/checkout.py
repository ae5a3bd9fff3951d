"""``git theta checkout``: write checkpoints straight into the worktree, without Git's pipe and memory.

What always holds: a file appears whole and verified or not at all; a file with changes of the user's is left
alone; the index learns the new status, so that Git does not read the file again.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from secrets import token_hex

import click

from git_theta.cli.hooks import PENDING
from git_theta.cli.output import remedy, warn
from git_theta.cli.progress import Progress
from git_theta.cli.text import human, plural
from git_theta.cli.tracked import State, Tracked, absolute, as_meant, matching, state
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.files import umask
from git_theta.gitio.index import Written, remember
from git_theta.gitio.process import NoWorktree, ask_git
from git_theta.model import Manifest


class BehindLink(ThetaError):
    """A folder on the way to the file is a symbolic link: writing would land somewhere else."""

    exit_code = Exit.FAILED


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: written, kept (it is a checkpoint already), changed, or failed with a reason."""

    path: str
    result: str
    reason: str | None = None
    exit_code: int = 0


@click.command("checkout")
@click.argument("pathspec", nargs=-1)
@click.option("--force", "-f", is_flag=True, help="Write also over files that were changed.")
@click.option("--pending", is_flag=True, hidden=True, help="Write what smudge left because of theta.smudgeLimit.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def command(pathspec: tuple[str, ...], force: bool, pending: bool, as_json: bool) -> int:
    """Write tracked checkpoints that are placeholders or absent, directly and in constant memory.

    A placeholder becomes the checkpoint it stands for; an absent file, the index's version. Files that hold a
    checkpoint stay as they are; with --force all are written anew from the index. This is faster than git
    checkout, and the way for files larger than theta.smudgeLimit.

    Example: git theta checkout 'models/*.safetensors'
    """
    workspace = open_workspace()
    try:
        if workspace.repository.worktree is None:
            raise NoWorktree(workspace.repository.git_dir)
        items = matching(workspace, pathspec)
        if not force:
            items = [as_meant(workspace, item) for item in items]
        if pending:
            items = _too_large_for_git(workspace, items)
        outcomes = write_all(workspace, items, force)
    finally:
        workspace.close()
    if as_json:
        click.echo(json.dumps([{"path": o.path, "result": o.result, "reason": o.reason} for o in outcomes], indent=2))
    elif not pending or any(outcome.result == "written" for outcome in outcomes):
        report(outcomes, items, named=bool(pathspec), remedy=" (--force writes anew)")
    return max((outcome.exit_code for outcome in outcomes), default=Exit.OK)


def _too_large_for_git(workspace: Workspace, items: list[Tracked]) -> list[Tracked]:
    """The placeholders that plain Git could not be given, if any; called from Git's hooks."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(workspace.repository.git_dir / PENDING)
    limit = workspace.settings.smudge_limit
    if workspace.settings.skip_smudge:
        return []
    return [item for item in items if item.manifest and item.manifest.size > limit]


def write_all(workspace: Workspace, items: list[Tracked], force: bool) -> list[Outcome]:
    """Write each of ``items`` whose file is a placeholder or absent (``force``: every one), and tell the index."""
    due, outcomes = _sort_out(workspace, items, force)
    _forget_status(workspace, [item for item, _ in due if item.blob])
    written = {}
    with Progress("checkout", sum(manifest.size for _, manifest in due)) as progress:
        workspace.progress = progress.advance
        for item, manifest in due:
            try:
                status = write_file(workspace, manifest, absolute(workspace, item.path), item.executable)
            except (ThetaError, OSError) as error:
                outcomes.append(_failed(item.path, error))
                continue
            if item.blob:
                written[_bytes(item.path)] = Written(item.blob, status)
            outcomes.append(Outcome(item.path, "written"))
    tell_index(workspace, written)
    return outcomes


def _sort_out(
    workspace: Workspace, items: list[Tracked], force: bool
) -> tuple[list[tuple[Tracked, Manifest]], list[Outcome]]:
    """What is to be written, and what became already of the rest."""
    due, outcomes = [], []
    for item in items:
        here = state(workspace, item)
        if item.manifest is None:
            outcomes += [_damaged(item.path)] if here is State.PLACEHOLDER else []
        elif here is State.FILE and not force:
            outcomes.append(Outcome(item.path, "kept"))
        elif here is not State.SPARSE:
            due.append((item, item.manifest))
    return due, outcomes


def _damaged(path: str) -> Outcome:
    warn(f"{path}: holds a damaged manifest and was left alone", f"git checkout -- {path} writes the index's version")
    return Outcome(path, "failed", "damaged manifest", Exit.DAMAGED)


def _failed(path: str, error: ThetaError | OSError) -> Outcome:
    if isinstance(error, ThetaError):
        warn(f"{path}: {error}", error.hint)
        return Outcome(path, "failed", str(error), error.exit_code)
    warn(f"{path}: {error.strerror or error}", f"what was there is untouched; {remedy(error)}")
    return Outcome(path, "failed", error.strerror, Exit.FAILED)


def write_file(workspace: Workspace, manifest: Manifest, path: Path, executable: bool) -> os.stat_result:
    """Write a checkpoint beside ``path``, verify it, and move it there. Raises DamagedValue, OSError."""
    folder = _folder(workspace, path)
    # Nothing of the file's own name in it: that may be as long as a name can be.
    name = folder / f".git-theta-{token_hex(8)}"
    try:
        with _nameless(folder) or open(name, "xb", buffering=0) as file:
            for part in workspace.smudger.stream(manifest):
                view = memoryview(part)
                while view:
                    view = view[file.write(view) :]
            if not name.exists():
                # The directory, which an absolute path overrides, makes Python follow the link to the open file.
                os.link(f"/proc/self/fd/{file.fileno()}", name, src_dir_fd=0)
        os.chmod(name, (0o777 if executable else 0o666) & ~umask())
        _age(name)
        os.replace(name, path)
        return os.lstat(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _nameless(folder: Path) -> FileIO | None:
    """A file that gets its name when it is whole, so that a crash leaves nothing for ``git add`` to find.

    None where the system cannot do it (Linux can).
    """
    flag = getattr(os, "O_TMPFILE", 0)
    if not flag or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return FileIO(os.open(folder, flag | os.O_WRONLY, 0o600), "wb")
    except OSError:
        return None


def _folder(workspace: Workspace, path: Path) -> Path:
    """The folder of ``path``, made if need be; never one behind a symbolic link, never without a worktree."""
    root = workspace.repository.worktree
    if root is None:
        raise NoWorktree(workspace.repository.git_dir)
    folder = path.parent
    for part in [*reversed(folder.relative_to(root).parents), folder.relative_to(root)]:
        if (root / part).is_symlink() and part != Path("."):
            raise BehindLink(
                f"{part} is a symbolic link, and the index has it as a folder", hint=f"git checkout {part}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _age(name: Path) -> None:
    """Date the file one second back: Git distrusts a file as young as its index, and would read it again."""
    moment = time.time_ns() - 10**9
    os.utime(name, ns=(moment, moment))


def _forget_status(workspace: Workspace, items: list[Tracked]) -> None:
    """Make the index believe nothing about files that will be written, so that a crash leaves no false belief.

    Git takes a file of another size than the index remembers for changed without reading it, and a placeholder's
    size would stay there.
    """
    left = _remember(workspace, {_bytes(item.path): Written(item.blob, None) for item in items})
    lines = [
        b"%s %s\t%s\0" % (b"100755" if item.executable else b"100644", item.blob.encode(), _bytes(item.path))
        for item in items
        if _bytes(item.path) in left
    ]
    if lines:
        ask_git("update-index", "-z", "--index-info", cwd=workspace.repository.root, stdin=b"".join(lines))


def tell_index(workspace: Workspace, written: dict[bytes, Written]) -> None:
    """Give the index the new status of files."""
    left = _remember(workspace, written)
    if left:
        names = b"".join(path + b"\0" for path in left)
        # Exit code 1 says that a path still differs, which is for git status to show.
        ask_git(
            "update-index", "-q", "--refresh", "-z", "--stdin", cwd=workspace.repository.root, stdin=names, codes=(0, 1)
        )


def _remember(workspace: Workspace, files: dict[bytes, Written]) -> set[bytes]:
    """Put the files' status into the index; returns the paths that are left to Git."""
    if not files:
        return set()
    answer = ask_git("rev-parse", "--path-format=absolute", "--git-path", "index", cwd=workspace.repository.root)
    return files.keys() - remember(Path(os.fsdecode(answer[:-1])), files)


def _bytes(path: str) -> bytes:
    """A path as Git's index has it."""
    return path.encode("utf-8", "surrogateescape")


def report(outcomes: list[Outcome], items: list[Tracked], *, named: bool = False, remedy: str = "") -> None:
    """Say what was done, as one line; ``named`` when the user named the files, ``remedy`` for those that were kept."""
    written = {outcome.path for outcome in outcomes if outcome.result == "written"}
    size = sum(item.manifest.size for item in items if item.manifest and item.path in written)
    failed = sum(outcome.result == "failed" for outcome in outcomes)
    kept = sum(outcome.result == "kept" for outcome in outcomes)
    parts = [f"wrote {plural(len(written), 'checkpoint')} ({human(size)})"]
    if kept and (named or not written):
        parts.append(f"kept {kept} that {'is' if kept == 1 else 'are'} there already{remedy}")
    if failed:
        parts.append(f"{failed} failed")
    click.echo(", ".join(parts))
