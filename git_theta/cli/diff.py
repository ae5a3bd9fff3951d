"""``git theta diff``: how checkpoints differ between commits, the index, the worktree, or two files anywhere."""

from __future__ import annotations

import os
import shlex
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click

from git_theta.cli.changed import (
    DamagedVersion,
    Pair,
    blobs,
    changed,
    compare_blobs,
    link_notes,
    link_target,
    side,
    stored_otherwise,
)
from git_theta.cli.dashes import KeepsDashes
from git_theta.cli.output import warn
from git_theta.cli.pager import paged
from git_theta.cli.receiving import require_names
from git_theta.cli.reporting import Wish, make_report, report_options, show
from git_theta.cli.sides import Side, of_file
from git_theta.cli.sighting import expect, forget
from git_theta.cli.text import printable
from git_theta.cli.tracked import filtered
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.diff import Report
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.repository import NotARepository
from git_theta.manifest import DamagedManifest, ManifestFromNewerVersion

_GITS = {
    name: f"--{name.replace('_', '-')}" for name in ("cached", "base", "ours", "theirs", "merge_base", "no_renames")
} | {"reverse": "-R"}
"""Options that are Git's, as Git spells them."""
_THREADS_OUTSIDE = 2
"""Without a repository there is no setting to read."""


@click.command("diff", cls=KeepsDashes)
@click.argument("what", nargs=-1, metavar="[A [B]] [--] [PATH...]")
@click.option("--cached", "--staged", "cached", is_flag=True, help="Compare the index, with HEAD or with A.")
@click.option("--base", is_flag=True, help="In a conflict: the worktree with the base.")
@click.option("--ours", is_flag=True, help="In a conflict: the worktree with our side.")
@click.option("--theirs", is_flag=True, help="In a conflict: with their side.")
@click.option("--merge-base", is_flag=True, help="Use the merge base of A and B, or of A and HEAD, for A.")
@click.option("-R", "reverse", is_flag=True, help="Swap the two sides.")
@click.option("--no-renames", is_flag=True, help="A renamed file is one deleted and one new file.")
@click.option("--no-index", is_flag=True, help="Compare two files, in a repository or not.")
@click.option("--name-only", is_flag=True, help="Only file and group, separated by a tab, one per line.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when there are differences.")
@click.option("--quiet", is_flag=True, help="Print nothing, and exit with 1 when there are differences.")
@click.option("-o", "--output", metavar="FILE", help="Write the report into a file; - is standard output.")
@report_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    what: tuple[str, ...],
    no_index: bool,
    name_only: bool,
    exit_code: bool,
    quiet: bool,
    output: str | None,
    wish: Wish,
    **for_git: bool,
) -> int:
    """Show how checkpoints differ, parameter group by parameter group.

    A and B are what `git diff` takes: commits, A..B, A...B, and blobs such as :2:model.pt in a conflict; none
    compares the worktree with the index. Two files outside a repository are compared as they are.

    Example: git theta diff HEAD~1 HEAD --sort change --top 10
    """
    if name_only and (wish.format != "text" or output is not None):
        raise click.UsageError("--name-only prints names; it goes with neither --format nor --output")
    if len([stage for stage in ("base", "ours", "theirs") if for_git[stage]]) > 1:
        raise click.UsageError("--base, --ours and --theirs: one side at a time")
    workspace = _workspace()
    try:
        words = _words(workspace, for_git, what, ctx.meta["paths"])
        files = _two_files(workspace, what, no_index)
        target = _target(workspace, output, files or ())
        names: set[str] = set()
        damaged: list[DamagedVersion] = []
        if files:
            reports = _of_files(workspace, files, wish, names)
        elif workspace:
            expect()
            reports = _of_pairs(workspace, words, replace(wish, stat=wish.stat or quiet), names, damaged)
        else:
            raise NotARepository(
                "not in a Git repository, and not two files to compare",
                hint="git theta diff OLD.safetensors NEW.safetensors",
            )
        found = _Counted(reports)
        with nullcontext() if quiet or output is not None else paged("diff"):
            if quiet:
                deque(found, maxlen=0)
            elif name_only:
                _show_names(found)
            else:
                show(found, wish, workspace, target)
        if names:
            require_names(names, wish.groups)
        if not files:
            _hint_at_two_files(what, found.differing)
    finally:
        if workspace:
            forget(workspace)
            workspace.close()
    differs = Exit.FAILED if (exit_code or quiet) and found.differing else Exit.OK
    return damaged[0].exit_code if damaged else differs


def _words(
    workspace: Workspace | None, for_git: dict[str, bool], what: Sequence[str], paths: Sequence[str]
) -> list[str]:
    """What to ask Git; in a bare repository HEAD stands for the index."""
    options = [_GITS[name] for name, given in for_git.items() if given]
    if for_git["cached"] and workspace and workspace.repository.worktree is None:
        options.remove("--cached")
        what = [*(what or ["HEAD"]), "HEAD"]
    return [*options, *what, *paths]


def _hint_at_two_files(what: Sequence[str], differing: bool) -> None:
    """Two files in a worktree may have been meant as two sides."""
    if len(what) == 2 and all(Path(name).is_file() for name in what):
        found = "each file was compared with the index" if differing else "neither differs from the index"
        warn(found, f"git theta diff --no-index {shlex.join(what)} compares one with the other")


class NoSuchFile(ThetaError):
    """One of two files to compare is not there, or is no file."""

    def __init__(self, name: str) -> None:
        path = Path(name)
        if path.is_dir():
            said = f"{printable(name)} is a folder; two files are compared"
        elif path.exists():
            said = f"{printable(name)} is no regular file, such as can be read more than once"
        elif path.is_symlink():
            said = f"{printable(name)} is a symbolic link to {printable(os.readlink(path))}, which is not there"
        else:
            said = f"there is no file {printable(name)}"
        super().__init__(said, hint="git theta diff OLD.safetensors NEW.safetensors")


class WouldOverwrite(ThetaError):
    """The report was to go over a checkpoint."""

    exit_code = Exit.USAGE

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{printable(name)} is a checkpoint: a report is not written over it", hint="--output report.txt"
        )


def _target(workspace: Workspace | None, output: str | None, files: Sequence[str]) -> str | None:
    """The file to write; None for standard output. Raises :class:`WouldOverwrite` where a checkpoint is or belongs."""
    if output is None or output == "-":
        return None
    if not output:
        raise click.UsageError("--output needs the name of a file, or - for standard output")
    place = Path(output).resolve()
    if any(place == Path(name).resolve() for name in files if name != os.devnull):
        raise WouldOverwrite(output)
    root = workspace.repository.worktree if workspace else None
    if workspace and root and place.is_relative_to(root.resolve()):
        path = place.relative_to(root.resolve()).as_posix()
        if filtered(workspace, [path]):
            raise WouldOverwrite(output)
    return output


class _Counted:
    """Reports as they pass; ``differing`` says afterwards whether one of them had something to say."""

    def __init__(self, reports: Iterator[Report]) -> None:
        self._reports = reports
        self.differing = False

    def __iter__(self) -> Iterator[Report]:
        for report in self._reports:
            self.differing = self.differing or bool(report.notes) or not report.comparison.equal
            yield report


def _workspace() -> Workspace | None:
    try:
        return open_workspace()
    except NotARepository:
        return None


def _two_files(workspace: Workspace | None, what: Sequence[str], no_index: bool) -> tuple[str, str] | None:
    """The two files to compare as they are: those asked for so, or two of which one is outside the worktree."""
    if no_index and len(what) != 2:
        raise click.UsageError("--no-index compares exactly two files")
    if len(what) != 2:
        return None
    absent = [name for name in what if not (Path(name).is_file() or name == os.devnull)]
    if absent and (no_index or workspace is None):
        raise NoSuchFile(absent[0])
    if absent:
        return None
    root = workspace.repository.worktree if workspace else None
    outside = root is None or any(not Path(name).resolve().is_relative_to(root.resolve()) for name in what)
    return (what[0], what[1]) if no_index or outside else None


def _of_files(workspace: Workspace | None, files: tuple[str, str], wish: Wish, names: set[str]) -> Iterator[Report]:
    threads = workspace.settings.threads if workspace else _THREADS_OUTSIDE
    old, new = (_side_of(workspace, name) for name in files)
    names.update(_names(old, new))
    before, after = (None if name == os.devnull else name for name in files)
    report = make_report((before, after), (old, new), wish, threads)
    if not report.comparison.equal:
        yield report
    old.close()
    new.close()


def _side_of(workspace: Workspace | None, name: str) -> Side:
    """What is in a file; one that cannot be read as others are, such as those in /proc, is named."""
    try:
        return of_file(workspace, name)
    except OSError as error:
        if error.filename:
            raise
        raise ThetaError(f"{printable(name)} cannot be read as a file: {error.strerror or error}") from None
    except (DamagedManifest, ManifestFromNewerVersion) as error:
        raise DamagedManifest(f"{printable(name)}: {error}") from None


def _of_pairs(
    workspace: Workspace, words: Sequence[str], wish: Wish, names: set[str], damaged: list[DamagedVersion]
) -> Iterator[Report]:
    """A report for each pair that differs; those that cannot be read are said, noted in ``damaged``, and passed by."""
    named = blobs(words)
    for pair in [named] if named else changed(workspace, words):
        try:
            report = _of_pair(workspace, pair, wish, names)
        except DamagedVersion as error:
            warn(str(error), error.hint)
            damaged.append(error)
            continue
        if (report.notes and not wish.groups) or not report.comparison.equal:
            yield report


def _of_pair(workspace: Workspace, pair: Pair, wish: Wish, names: set[str]) -> Report:
    if wish.stat and not wish.groups and (comparison := compare_blobs(workspace, pair)):
        return Report(*pair.paths, comparison, notes=tuple(pair.notes))
    notes = [*pair.notes, *link_notes(link_target(workspace, pair.old), link_target(workspace, pair.new))]
    old, new = side(workspace, pair.old), side(workspace, pair.new)
    names.update(_names(old, new))
    if pair.old and pair.new and pair.old.blob and pair.new.blob and (said := stored_otherwise(old, new)):
        notes.append(said)
    try:
        return make_report(pair.paths, (old, new), wish, workspace.settings.threads, notes)
    finally:
        old.close()
        new.close()


def _names(*sides: Side) -> Iterator[str]:
    """The groups of all sides."""
    return (value.group.name for side in sides if side.summary for value in side.summary.values)


def _show_names(reports: _Counted) -> None:
    """File and group; the file alone where it differs in none, such as in its metadata or its mode."""
    for report in reports:
        path = printable((report.new_path if report.new_path is not None else report.old_path) or "")
        names = [printable(change.name) for change in report.comparison.changes]
        for line in [f"{path}\t{name}" for name in names] or [path]:
            click.echo(line)
