"""``git theta merge-file``: the merge of three checkpoints that lie anywhere, in a repository or not."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import click

from git_theta.cli.merge_table import Table
from git_theta.cli.merging import parse_options, warn_of_patterns
from git_theta.cli.output import warn
from git_theta.cli.progress import Progress
from git_theta.errors import Exit, ThetaError
from git_theta.filters.clean import Cleaner
from git_theta.gitio.config import MERGE, read_settings
from git_theta.manifest import looks_like_manifest, parse
from git_theta.merge.merger import Merger, Versions
from git_theta.model import Manifest
from git_theta.store import Catalogue, Store
from git_theta.tensors import Reader, Writer


class NotACheckpoint(ThetaError):
    """A file that is to be merged is a placeholder, or empty."""


class NoFolder(ThetaError):
    """The folder for the result does not exist."""


@click.command("merge-file")
@click.argument("base", type=click.Path(exists=True))
@click.argument("ours", type=click.Path(exists=True, dir_okay=False))
@click.argument("theirs", type=click.Path(exists=True, dir_okay=False))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="Where the result goes.")
@click.option(
    "--strategy",
    metavar="S[:PARAMS]",
    default=MERGE.default(),
    show_default=True,
    help="For groups that both sides changed.",
)
@click.option("--group", "groups", multiple=True, metavar="GLOB=S", help="Another strategy for groups that match.")
@click.option("--fisher-ours", type=click.Path(exists=True, dir_okay=False), help="Fisher diagonal of ours.")
@click.option("--fisher-theirs", type=click.Path(exists=True, dir_okay=False), help="Fisher diagonal of theirs.")
def command(
    base: str,
    ours: str,
    theirs: str,
    output: str,
    strategy: str,
    groups: tuple[str, ...],
    fisher_ours: str | None,
    fisher_theirs: str | None,
) -> int:
    """Merge two checkpoints that came from BASE, group by group, as git merge would.

    BASE may be /dev/null, for models without a common ancestor. With conflicts the result has ours in their places
    and the exit code is 1.

    Example: git theta merge-file base.pt ours.pt theirs.pt -o merged.pt --strategy ties:density=0.3
    """
    if bool(fisher_ours) != bool(fisher_theirs):
        raise click.UsageError("--fisher-ours and --fisher-theirs come together")
    policy = parse_options(strategy, groups)
    settings = read_settings(os.environ)
    target = Path(output)
    if not target.parent.is_dir():
        raise NoFolder(
            f"{output}: the folder {target.parent} does not exist", hint=f"mkdir -p {shlex.quote(str(target.parent))}"
        )
    with (
        tempfile.TemporaryDirectory(prefix=".git-theta-", dir=target.absolute().parent) as folder,
        Progress() as progress,
    ):
        store = Store(Path(folder))
        with contextlib.closing(Catalogue(store)) as catalogue:
            reader = Reader(store, settings.threads)
            cleaner = Cleaner(store, catalogue, settings.threads, progress.advance)
            versions = Versions(
                _read(cleaner, base, may_be_absent=True),
                tuple(_present(cleaner, file) for file in (ours, theirs)),
                fisher=tuple(_present(cleaner, file) for file in (fisher_ours, fisher_theirs) if file),
            )
            writer = Writer(store, catalogue, reader, settings.threads)
            merged = Merger(store, reader, writer, settings.threads, progress=progress.advance).merge(
                versions, policy, seed=settings.seed
            )
            _write(reader, merged.manifest, target)
    text = "\n".join(Table.of(output, versions, merged, by_default=False).lines())
    warn_of_patterns(policy, merged)
    if merged.conflicts:
        warn(text, "ours stands for the conflicts in the result; --group GLOB=STRATEGY decides them")
        return Exit.FAILED
    click.echo(text)
    return Exit.OK


def _present(cleaner: Cleaner, file: str) -> Manifest:
    manifest = _read(cleaner, file)
    if manifest is None:
        raise NotACheckpoint(f"{file}: is empty, expected a checkpoint")
    return manifest


def _read(cleaner: Cleaner, file: str, may_be_absent: bool = False) -> Manifest | None:
    """The manifest of a checkpoint on disk, once it is in the store."""
    path = Path(file)
    if may_be_absent and file == os.devnull:
        return None
    if not path.is_file():
        raise NotACheckpoint(f"{file}: is no regular file, expected a checkpoint")
    with open(path, "rb") as content:
        if looks_like_manifest(content.read(1 << 16)):
            raise NotACheckpoint(f"{file}: is a placeholder, expected a checkpoint", hint=f"git theta pull -- {file}")
        content.seek(0)
        text = cleaner.clean(content, worktree_file=path).manifest
    return parse(text) if text else None


def _write(reader: Reader, manifest: Manifest, target: Path) -> None:
    """The checkpoint, whole or not at all."""
    with _beside(target) as name:
        with open(name, "xb") as file:
            for part in reader.stream(manifest):
                file.write(part)
        os.replace(name, target)


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A name in the same folder, where nothing is left behind."""
    name = target.with_name(f".git-theta-{token_hex(8)}")
    try:
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            name.unlink()
