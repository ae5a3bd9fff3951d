"""``git theta show``: the parameter groups of one checkpoint, of any revision, the index, or a plain file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import click

from git_theta.cli.dashes import KeepsDashes
from git_theta.cli.handover import hand_over
from git_theta.cli.pager import paged
from git_theta.cli.text import human, plural, printable, table
from git_theta.cli.tracked import is_placeholder
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.repository import NotARepository
from git_theta.manifest import parse, undo_line_ends
from git_theta.model import Group, Inline, Manifest, Where


class NothingToShow(ThetaError):
    """There is no checkpoint of that name."""

    exit_code = Exit.FAILED


_LIST = "git theta ls-files lists the checkpoints of the index"


@dataclass(frozen=True, slots=True)
class Row:
    """One group. ``update`` is how its value is stored; ``tied_to`` names the group whose bytes it shares."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    update: str
    digest: str
    tied_to: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """A checkpoint as ``show`` prints it."""

    source: str
    format: str
    size: int
    skeleton: int
    rows: list[Row]
    warning: str | None = None


@click.command("show", cls=KeepsDashes, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="PATH[@REV] | [GIT-SHOW-OPTIONS] [COMMIT...]")
@click.option("--json", "as_json", is_flag=True, help="Of a checkpoint: print one JSON object.")
@click.pass_context
def command(ctx: click.Context, arguments: tuple[str, ...], as_json: bool) -> int:
    """Show the parameter groups of a checkpoint, or a commit with what it changed in checkpoints.

    PATH is the file in the worktree (tracked or not, even outside a repository); PATH@REV is the checkpoint in a
    commit, PATH@ the one in the index. For each group: name, dtype, shape, bytes, update, digest; then totals. "update"
    says how a value is stored: dense (encoded whole), inline (so small that the manifest holds it). The skeleton is
    every byte outside the groups.

    What names no checkpoint is for Git: `git show --ext-diff` with your options (HEAD, without any).

    Example: git theta show model.safetensors@HEAD~1
    """
    words = [*arguments, *ctx.meta["paths"]]
    listing = _listing(words[0]) if len(words) == 1 and not words[0].startswith("-") else None
    if listing is None and as_json:
        raise click.UsageError("--json is for one checkpoint: PATH or PATH@REV")
    if listing is None:
        return hand_over("show", "--ext-diff", *words)
    with paged("show"):
        click.echo(json.dumps(asdict(listing), indent=2) if as_json else _text(listing))
    return Exit.OK


def _listing(target: str) -> Listing | None:
    """The checkpoint that ``target`` names; None for a commit. Raises :class:`NothingToShow`."""
    if Path(target).is_file() and not is_placeholder(Path(target)):
        return _examined(Path(target))
    workspace = open_workspace()
    try:
        if Path(target).is_file():
            return _stored(workspace, target, parse(undo_line_ends(Path(target).read_bytes())))
        path, at, revision = target.rpartition("@")
        if not at:
            path, revision = target, ""
        name = _from_root(workspace, path)
        manifest = None if name.startswith("../") else workspace.manifest(f"{revision}:{name}")
        if manifest:
            return _stored(workspace, f"{path}@{revision}", manifest)
        if ":" in target and (manifest := workspace.manifest(target)):  # as Git names it, from the root
            return _stored(workspace, target, manifest)
        if workspace.blobs.exists(f"{target}^{{commit}}"):
            return None
        raise _nothing(workspace, path, revision)
    finally:
        workspace.close()


def _from_root(workspace: Workspace, path: str) -> str:
    """``path``, given from the current folder, from the worktree's root."""
    return Path(os.path.relpath(Path(path).absolute(), workspace.repository.root)).as_posix()


def _nothing(workspace: Workspace, path: str, revision: str) -> NothingToShow:
    """Why there is nothing to show: outside, no such revision, no such file in it, or no checkpoint."""
    name = _from_root(workspace, path)
    where = printable(revision) if revision else "the index"
    if name.startswith("../"):
        return NothingToShow(f"{printable(path)} is outside this repository", hint="change into its repository first")
    if revision and not workspace.blobs.exists(revision):
        return NothingToShow(f"there is no revision {where}", hint="git log --oneline shows revisions")
    if workspace.blobs.exists(f"{revision}:{name}"):
        return NothingToShow(f"{printable(path)} in {where} is no checkpoint of git-theta", hint=_LIST)
    missing = "" if revision or Path(path).exists() else "on disk or "
    return NothingToShow(f"there is no file {printable(path)} {missing}in {where}", hint=_LIST)


def _examined(path: Path) -> Listing:
    """A file on disk, hashed where it lies; how its values are stored is looked up in the index."""
    from git_theta.filters.examine import examine

    forced, stored = _known(path)
    with open(path, "rb") as file:
        examined = examine(file, forced)
    layout = examined.scan.layout
    rows = [
        row
        for span, digest in zip(layout.spans, examined.digests, strict=True)
        for row in _rows(span.groups, span.length, digest, stored.get(digest, "not stored"))
    ]
    covered = sum(span.length for span in layout.spans)
    return Listing(str(path), layout.format, layout.size, layout.size - covered, rows, examined.scan.warning)


def _known(path: Path) -> tuple[str | None, dict[str, str]]:
    """What the repository says of a file: the format its attributes ask for, and how known values are stored."""
    try:
        workspace = open_workspace()
    except NotARepository:
        return None, {}
    try:
        name = _from_root(workspace, str(path))
        manifests = workspace.priors(name)
        forced = None if name.startswith("../") else workspace.formats.get(name)
        found = {e.digest: _update(workspace, e.where) for m in reversed(manifests) for e in m.entries}
    finally:
        workspace.close()
    return forced, {str(digest): update for digest, update in found.items()}


def _stored(workspace: Workspace, source: str, manifest: Manifest) -> Listing:
    rows = [
        row
        for entry in manifest.entries
        for row in _rows(entry.groups, entry.length, entry.digest, _update(workspace, entry.where))
    ]
    return Listing(source, manifest.format, manifest.size, manifest.skeleton.length, rows)


def _rows(groups: tuple[Group, ...], length: int, digest: str, update: str) -> list[Row]:
    first, *others = groups
    tied = [Row(g.name, g.dtype, g.shape, 0, update, digest, first.name) for g in others]
    return [Row(first.name, first.dtype, first.shape, length, update, digest, None), *tied]


def _update(workspace: Workspace, where: Where) -> str:
    """The update kind of a stored value; "missing" when its object is not here."""
    if isinstance(where, Inline):
        return "inline"
    try:
        index = workspace.reader.index(where[0].oid)
    except ThetaError:
        return "missing"
    return index.slots[where[0].index].kind if where[0].index < len(index.slots) else "damaged"


def _text(listing: Listing) -> str:
    rows = [
        (
            printable(row.name),
            row.dtype,
            str(list(row.shape)).replace(" ", ""),
            f"{row.bytes:,}" if row.tied_to is None else f"= {printable(row.tied_to)}",
            row.update,
            row.digest[:12],
        )
        for row in listing.rows
    ]
    parameters = sum(prod(row.shape) for row in listing.rows if row.tied_to is None and row.dtype != "opaque")
    size = f"{listing.size:,} bytes ({human(listing.size)})" if listing.size >= 1000 else human(listing.size)
    totals = (
        f"{plural(len(listing.rows), 'group')}, {parameters:,} parameters, {size}, "
        f"{listing.skeleton:,} of them skeleton; format {listing.format}"
    )
    parts = [table(("group", "dtype", "shape", "bytes", "update", "digest"), rows, right=(3,)), "", totals]
    return "\n".join([*parts, *([f"warning: {listing.warning}"] if listing.warning else [])])
