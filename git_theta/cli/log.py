"""``git theta log``: history with reports on checkpoints, or only the commits that changed certain groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import click

from git_theta.cli.ancestry import Ancestry, Commit, describe, from_root, kept
from git_theta.cli.changed import DamagedVersion, Pair, Place, side
from git_theta.cli.dashes import KeepsDashes
from git_theta.cli.handover import hand_over
from git_theta.cli.output import warn
from git_theta.cli.pager import paged
from git_theta.cli.query import Query, UnknownFile, parse_query
from git_theta.cli.receiving import require_names
from git_theta.cli.reporting import Wish, make_report, terminal_style
from git_theta.cli.text import printable
from git_theta.cli.tracked import tracked
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.diff import Report, render
from git_theta.errors import Exit

_MODE = "100644"
_SHORT = 10
"""Characters of a commit's name in one line."""


@click.command("log", cls=KeepsDashes, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[GIT-LOG-OPTIONS] [REV...] [PATH...]")
@click.option("--group", "groups", multiple=True, metavar="GLOB", help="Only commits that changed a matching group.")
@click.option("--stat", is_flag=True, help="With --group: manifests only, without reading any value.")
@click.pass_context
def command(ctx: click.Context, arguments: tuple[str, ...], groups: tuple[str, ...], stat: bool) -> int:
    """Show history with what changed in checkpoints.

    Without --group this is `git log --ext-diff` with your options: add -p for reports instead of one line per
    group. With --group, the commits that changed a matching group of the checkpoints at PATH (all, without PATH),
    each with the size of the change; revisions, ranges, -n N, --oneline and options that select commits, such as
    --author=NAME and --since=DATE, are those of git log.

    Example: git theta log model.safetensors --group 'h.11.*'
    """
    if not groups:
        words = [*(["--stat"] if stat else []), *arguments, *ctx.meta["paths"]]
        return hand_over("log", "--ext-diff", *words)
    workspace = open_workspace()
    try:
        query = parse_query(arguments, ctx.meta["paths"][1:])
        with paged("log"):
            _print(workspace, query, Wish(stat=stat, groups=groups))
    finally:
        workspace.close()
    return Exit.OK


def _print(workspace: Workspace, query: Query, wish: Wish) -> None:
    style = terminal_style(workspace, wish)
    for commit, reports in islice(_history(workspace, query, wish), query.most):
        if query.oneline:
            click.echo(f"{style.paint(commit.id[:_SHORT], '33')} {_line(commit.subject)}", color=True)
            continue
        click.echo(style.paint(f"commit {commit.id}", "33"), color=True)
        click.echo(f"{commit.date} {_line(commit.author)}: {_line(commit.subject)}")
        for report in reports:
            click.echo("\n".join(f"  {line}".rstrip() for line in render(report, style)), color=True)
        click.echo()


def _line(text: str) -> str:
    """Words of a commit, which may be none, that cannot steer a terminal."""
    return printable(text) if text else ""


def _history(workspace: Workspace, query: Query, wish: Wish) -> Iterator[tuple[Commit, list[Report]]]:
    """The commits that changed matching groups, newest first, with what each changed against its first parent.

    A file is followed below the commit that gave it its name. Raises :class:`ThetaError` for a file or a group that
    nothing was found about because it is unknown.
    """
    ancestry = Ancestry(workspace, *query.revisions, options=query.sources)
    wanted = Ancestry(workspace, *query.revisions, options=[*query.sources, *query.filters]).parents
    asked = [from_root(workspace, path) for path in query.paths]
    names = asked or [item.path for item in tracked(workspace)]
    newest = {name: blob for name in names if (blob := ancestry.latest(name))}
    for name in asked:
        if name not in newest:
            raise UnknownFile(name)
    present = (ancestry.summary(blob) for blob in newest.values())
    groups = {value.group.name for summary in present if summary for value in summary.values}
    found = False
    for commit, parents in ancestry.parents.items():
        pairs = [pair for name in names if (pair := _pair(ancestry, commit, parents, name))]
        sources = (pair.old.path for pair in pairs if pair.old)
        names += [source for source in dict.fromkeys(sources) if source not in names]
        reports = [
            _without_merged(ancestry, parents[1:], report, pair)
            for pair in pairs
            if (report := _report(workspace, commit, pair, wish))
        ]
        telling = [report for report in reports if report.comparison.changes]
        if telling and commit in wanted:
            found = True
            yield describe([commit])[commit], telling
    if groups and not found:
        require_names(groups, wish.groups)


def _without_merged(ancestry: Ancestry, others: tuple[str, ...], report: Report, pair: Pair) -> Report:
    """The report less the groups that a merge only took over from one of its other parents."""
    own = ancestry.summary(pair.new.blob) if pair.new else None
    taken: set[str] = set()
    for parent in others:
        taken.update(kept(ancestry.summary(ancestry.blob(parent, pair.new.path)), own) if pair.new else ())
    changes = tuple(change for change in report.comparison.changes if change.name not in taken)
    return replace(report, comparison=replace(report.comparison, changes=changes))


def _pair(ancestry: Ancestry, commit: str, parents: tuple[str, ...], path: str) -> Pair | None:
    """A file that ``commit`` changed; None for one that a parent has just so, as after a merge of one side."""
    own = ancestry.blob(commit, path)
    before = [ancestry.blob(parent, path) for parent in parents]
    if own in before or (own is None and not any(before)):
        return None
    old = before[0] if before else None
    source = path if old or not parents else ancestry.source(parents[0], commit, path)
    if source and source != path:
        old = ancestry.blob(parents[0], source)
    return Pair(Place(source or path, _MODE, old) if old else None, Place(path, _MODE, own) if own else None)


def _report(workspace: Workspace, commit: str, pair: Pair, wish: Wish) -> Report | None:
    """What a commit did to one file; None, after a word about it, where a version is damaged."""
    try:
        old, new = side(workspace, pair.old), side(workspace, pair.new)
    except DamagedVersion as error:
        warn(f"commit {commit[:_SHORT]} cannot be compared with its parent: {error}")
        return None
    try:
        return make_report(pair.paths, (old, new), wish, workspace.settings.threads)
    finally:
        old.close()
        new.close()
