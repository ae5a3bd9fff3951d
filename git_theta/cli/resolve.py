"""``git theta resolve``: finish a merge that left conflicts, from the three stages in the index.

What always holds: the file and the index change together, after everything was decided and made, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import click

from git_theta.cli.checkout import tell_index, write_file
from git_theta.cli.choosing import ask, open_conflicts
from git_theta.cli.merge_table import Table
from git_theta.cli.merging import (
    Chosen,
    chosen_policy,
    forget_all,
    in_terminal,
    memory,
    merger,
    note,
    parse_options,
    read_fisher,
    recalled,
    warn_of_patterns,
)
from git_theta.cli.output import warn
from git_theta.cli.progress import Progress
from git_theta.cli.text import plural, printable, typed
from git_theta.cli.tracked import absolute, filtered
from git_theta.cli.unresolved import forget_unresolved
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.index import Written
from git_theta.gitio.process import ask_git
from git_theta.gitio.stages import Stages, stages
from git_theta.manifest import render
from git_theta.merge.merger import Versions
from git_theta.merge.plan import BASE, Policy, side
from git_theta.model import Manifest


class NothingToResolve(ThetaError):
    """No tracked checkpoint is unmerged."""


class StillOpen(ThetaError):
    """What was chosen leaves conflicts."""


@dataclass(frozen=True, slots=True)
class Unmerged:
    """A path with conflict stages: mode of ours, and the blobs of base, ours, theirs (empty where absent)."""

    path: str
    mode: str
    blobs: tuple[str, str, str]


@click.command("resolve")
@click.argument("paths", nargs=-1, metavar="[PATH...]")
@click.option("--strategy", metavar="S[:PARAMS]", help="Combine what both sides changed, for example ties:density=0.3.")
@click.option("--group", "groups", multiple=True, metavar="GLOB=S", help="Another strategy for groups that match.")
@click.option("--ours", "whole", flag_value="ours", default=None, help="Ours wherever both sides changed.")
@click.option("--theirs", "whole", flag_value="theirs", default=None, help="Theirs wherever both sides changed.")
@click.option("--base", "whole", flag_value="base", default=None, help="The base's value wherever both sides changed.")
@click.option(
    "--fisher-ours", type=click.Path(exists=True, dir_okay=False), help="Fisher diagonal of ours, a checkpoint."
)
@click.option("--fisher-theirs", type=click.Path(exists=True, dir_okay=False), help="Fisher diagonal of theirs.")
@click.option("--forget", is_flag=True, help="Forget what was chosen for conflicts of PATH, of every file without one.")
def command(
    paths: tuple[str, ...],
    strategy: str | None,
    groups: tuple[str, ...],
    whole: str | None,
    fisher_ours: str | None,
    fisher_theirs: str | None,
    forget: bool,
) -> int:
    """Decide the groups of unmerged checkpoints that a merge left open, write the result, and add it.

    Without options it asks at the terminal, group by group or pattern by pattern; nothing is written until you say
    done, for all files. What you choose is remembered: a rebase does not ask about the same group again. A file that
    was added as the merge left it can still be resolved, by its name, until the merge is committed.

    Example: git theta resolve model.pt --strategy average --group '*.bias=ours'
    """
    if strategy and whole:
        raise click.UsageError(f"--strategy and --{whole} contradict each other")
    if bool(fisher_ours) != bool(fisher_theirs):
        raise click.UsageError("--fisher-ours and --fisher-theirs come together")
    policy = parse_options(strategy or whole, groups)
    workspace = open_workspace()
    try:
        if forget:
            return _forget(workspace, paths)
        found = unmerged(workspace, paths)
        if not found:
            raise NothingToResolve(
                "no tracked checkpoint is unmerged" + (f" at {', '.join(map(printable, paths))}" if paths else ""),
                hint="git status shows what is; git merge BRANCH begins a merge",
            )
        fisher = read_fisher(workspace, (fisher_ours, fisher_theirs)) if fisher_ours and fisher_theirs else ()
        return _resolve_all(workspace, found, policy, fisher)
    finally:
        workspace.close()


def _forget(workspace: Workspace, paths: tuple[str, ...]) -> int:
    """Forget what was chosen for these files; the same conflict is one again then."""
    below = [os.path.relpath(os.path.abspath(path), workspace.repository.root).replace(os.sep, "/") for path in paths]
    count = sum(memory(workspace, path).forget() for path in below) if paths else forget_all(workspace)
    click.echo(f"forgot {plural(count, 'choice')}")
    return Exit.OK


def unmerged(workspace: Workspace, paths: tuple[str, ...]) -> list[Unmerged]:
    """Checkpoints with conflict stages in the index, or, for those named, that had some until they were added.

    Raises :class:`NothingToResolve` for a path that is neither.
    """
    if not paths:
        return _staged(workspace, stages())
    open_now = {path: stages(path, literal=True) for path in paths}
    found = {path: here or stages(path, literal=True, resolved=True) for path, here in open_now.items()}
    items = {path: _staged(workspace, each) for path, each in found.items()}
    for path, those in items.items():
        if not those and any(items.values()):
            raise NothingToResolve(f"{printable(path)}: is no unmerged checkpoint, so nothing was resolved")
    return list({item.path: item for those in items.values() for item in those}.values())


def _staged(workspace: Workspace, listed: Stages) -> list[Unmerged]:
    handled = filtered(workspace, list(listed))
    return [
        Unmerged(
            path,
            next(found[stage][0] for stage in ("2", "3", "1") if stage in found),
            (found.get("1", ("", ""))[1], found.get("2", ("", ""))[1], found.get("3", ("", ""))[1]),
        )
        for path, found in listed.items()
        if path in handled
    ]


def _resolve_all(workspace: Workspace, found: Sequence[Unmerged], policy: Policy, fisher: tuple[Manifest, ...]) -> int:
    """Decide every file that can be decided, then write them one after the other."""
    decided: list[tuple[Unmerged, Versions | None, Chosen]] = []
    code: int = Exit.OK
    for item in found:
        try:
            versions = _versions(workspace, item, fisher)
        except StillOpen as error:
            if _taken_whole(workspace, item, policy):
                decided.append((item, None, Chosen(policy)))
                continue
            if len(found) == 1:
                raise
            warn(str(error), error.hint)
            code = Exit.FAILED
            continue
        chosen = _chosen(workspace, item.path, versions, policy)
        if chosen is None:
            warn("nothing was written")
            return Exit.FAILED
        decided.append((item, versions, chosen))
    for item, sides, chosen in decided:
        if whole := _taken_whole(workspace, item, chosen.policy):
            _write(workspace, item, whole)
            click.echo(f"{printable(item.path)}: the whole file is taken from {chosen.policy.text}")
        elif sides:
            _resolve(workspace, item, sides, chosen)
    return code


def _taken_whole(workspace: Workspace, item: Unmerged, policy: Policy) -> Manifest | None:
    """The version that a policy takes, where sides that cannot be merged group by group leave nothing but that."""
    place = side(policy.default.strategy.name, 2) if policy.default and not policy.overrides else None
    if place is None:
        return None
    base, ours, theirs = (workspace.manifest(blob) if blob else None for blob in item.blobs)
    if ours and theirs and ours.format == theirs.format:
        return None
    return base if place == BASE else (ours, theirs)[place]


def _versions(workspace: Workspace, item: Unmerged, fisher: tuple[Manifest, ...]) -> Versions:
    base, ours, theirs = (workspace.manifest(blob) if blob else None for blob in item.blobs)
    if ours is None or theirs is None:
        which, blob, other = ("our", item.blobs[1], "theirs") if ours is None else ("their", item.blobs[2], "ours")
        name = typed(item.path)
        what = "has no valid manifest" if blob else "deleted it"
        raise StillOpen(
            f"{printable(item.path)}: {which} side {what}, so there are no groups to decide",
            hint=f"keep the other: git theta resolve --{other} {name}\nor delete it: git rm -- {name}",
        )
    return Versions(base, (ours, theirs), fisher=fisher)


def _resolve(workspace: Workspace, item: Unmerged, versions: Versions, chosen: Chosen) -> None:
    past = memory(workspace, item.path)
    with Progress("merge") as progress:
        workspace.progress = progress.advance
        merged = merger(workspace).merge(
            versions, chosen.policy, lambda decision: recalled(past, chosen, decision), workspace.settings.seed
        )
        table = Table.of(item.path, versions, merged, by_default=False)
        if merged.conflicts:
            rows = "\n".join(
                [f"{printable(item.path)}: these are not decided, so it was not written", *table.undecided()]
            )
            raise StillOpen(
                rows, hint="for these, add --group GLOB=ours to the command, or theirs, or another strategy"
            )
        _write(workspace, item, merged.manifest)
    note(past, merged)
    warn_of_patterns(chosen.policy, merged)
    click.echo("\n".join(table.lines()))


def _chosen(workspace: Workspace, path: str, versions: Versions, policy: Policy) -> Chosen | None:
    """By the options, else by asking; None when the person left."""
    if policy.default:
        return Chosen(policy, "options")
    usual = chosen_policy(workspace, path)
    if policy.overrides:  # patterns alone: the rest as a merge would have it
        return Chosen(Policy(usual.policy.default, policy.overrides), "options")
    if not open_conflicts(workspace, versions):
        return Chosen(Policy(None), "options")
    if not in_terminal():
        raise StillOpen(
            f"{printable(path)}: there is no terminal to ask at",
            hint=f"git theta resolve {typed(path)} --strategy average, or --ours, --theirs, --base, --group GLOB=ours",
        )
    answer = ask(workspace, path, versions)
    return Chosen(answer, "terminal") if answer else None


def _write(workspace: Workspace, item: Unmerged, manifest: Manifest) -> None:
    """The checkpoint into the worktree, its manifest into the index."""
    root = workspace.repository.root
    blob = ask_git("hash-object", "-w", "--stdin", cwd=root, stdin=render(manifest)).decode().strip()
    path = item.path.encode("utf-8", "surrogateescape")
    status = write_file(workspace, manifest, absolute(workspace, item.path), item.mode == "100755")
    entry = b"%s %s\t%s\0" % (item.mode.encode(), blob.encode(), path)
    # The first line takes all stages of the path away.
    ask_git("update-index", "-z", "--index-info", cwd=root, stdin=b"0 %s\t%s\0" % (b"0" * len(blob), path) + entry)
    tell_index(workspace, {path: Written(blob, status)})
    forget_unresolved(workspace, item.path)
