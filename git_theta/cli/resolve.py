"""``git theta resolve``: finish a merge that left conflicts, from the three stages in the index.

What always holds: the file and the index change together, after everything was decided and made, or not at all.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

import click

from git_theta.cli.checkout import tell_index, write_file
from git_theta.cli.merging import (
    Chosen,
    chosen_policy,
    in_terminal,
    memory,
    merger,
    parse_options,
    read_fisher,
    recalled,
    summary,
)
from git_theta.cli.output import warn
from git_theta.cli.progress import Progress
from git_theta.cli.tracked import absolute, filtered
from git_theta.cli.unresolved import forget_unresolved
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.index import Written
from git_theta.gitio.process import ask_git
from git_theta.manifest import render
from git_theta.merge.decide import Verdict
from git_theta.merge.memory import Memory
from git_theta.merge.merger import Merged, Versions
from git_theta.merge.plan import Combine, Policy, Stop
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
def command(
    paths: tuple[str, ...],
    strategy: str | None,
    groups: tuple[str, ...],
    whole: str | None,
    fisher_ours: str | None,
    fisher_theirs: str | None,
) -> int:
    """Decide the groups of unmerged checkpoints that a merge left open, write the result, and add it.

    Without options it asks at the terminal, group by group or pattern by pattern; nothing is written until you say
    done. What you choose is remembered: a rebase does not ask about the same group again.

    Example: git theta resolve model.pt --strategy average --group '*.bias=ours'
    """
    if strategy and whole:
        raise click.UsageError(f"--strategy and --{whole} contradict each other")
    if bool(fisher_ours) != bool(fisher_theirs):
        raise click.UsageError("--fisher-ours and --fisher-theirs come together")
    policy = parse_options(strategy or whole, groups)
    workspace = open_workspace()
    try:
        found = unmerged(workspace, paths)
        if not found:
            raise NothingToResolve(
                "no tracked checkpoint is unmerged" + (f" at {', '.join(paths)}" if paths else ""),
                hint="git status shows what is; git merge BRANCH begins a merge",
            )
        fisher = read_fisher(workspace, (fisher_ours, fisher_theirs)) if fisher_ours and fisher_theirs else ()
        return max(_resolve(workspace, item, policy, fisher) for item in found)
    finally:
        workspace.close()


def unmerged(workspace: Workspace, paths: tuple[str, ...]) -> list[Unmerged]:
    """Checkpoints with conflict stages in the index."""
    stages: dict[str, dict[str, tuple[str, str]]] = {}
    for line in os.fsdecode(ask_git("ls-files", "-u", "-z", "--full-name", "--", *paths)).split("\0")[:-1]:
        fields, _, path = line.partition("\t")
        mode, blob, stage = fields.split(" ")
        stages.setdefault(path, {})[stage] = mode, blob
    handled = filtered(workspace, list(stages))
    return [
        Unmerged(
            path,
            next(found[stage][0] for stage in ("2", "3", "1") if stage in found),
            (found.get("1", ("", ""))[1], found.get("2", ("", ""))[1], found.get("3", ("", ""))[1]),
        )
        for path, found in stages.items()
        if path in handled
    ]


def _resolve(workspace: Workspace, item: Unmerged, policy: Policy, fisher: tuple[Manifest, ...]) -> int:
    base, ours, theirs = (workspace.manifest(blob) if blob else None for blob in item.blobs)
    name = shlex.quote(item.path)
    if ours is None or theirs is None:
        missing = "our" if ours is None else "their"
        raise StillOpen(
            f"{item.path}: {missing} side deleted it, or has no manifest there",
            hint=f"keep it: git add -- {name}\nor delete it: git rm -- {name}",
        )
    versions = Versions(base, (ours, theirs), fisher=fisher)
    past = memory(workspace, item.path)
    chosen = _chosen(workspace, item.path, versions, policy)
    if chosen is None:
        warn(f"{item.path}: nothing was decided and nothing written")
        return Exit.FAILED
    with Progress("merge") as progress:
        workspace.progress = progress.advance
        merged = merger(workspace).merge(
            versions,
            chosen.policy,
            # What the options say counts more than what was said before; patterns alone leave the rest to memory.
            lambda decision: None if chosen.policy.choice(decision.name) else recalled(past, decision),
            workspace.settings.seed,
        )
    if merged.conflicts:
        raise StillOpen(
            summary(item.path, versions, merged, chosen),
            hint=f"nothing was written; decide the rest too: git theta resolve {name} --group GLOB=ours",
        )
    _note(past, merged)
    _write(workspace, item, merged)
    click.echo(summary(item.path, versions, merged, chosen))
    return Exit.OK


def _chosen(workspace: Workspace, path: str, versions: Versions, policy: Policy) -> Chosen | None:
    """By the options, else by asking; None when the person left."""
    if policy.default:
        return Chosen(policy, "options")
    if policy.overrides:  # patterns alone: the rest as a merge would have it
        return Chosen(Policy(chosen_policy(workspace, path).policy.default, policy.overrides), "options")
    if not in_terminal():
        raise click.UsageError("there is no terminal to ask at: give --strategy, --ours, --theirs, --base or --group")
    from git_theta.cli.choosing import ask

    answer = ask(workspace, path, versions)
    return Chosen(answer, "terminal") if answer else None


def _note(past: Memory, merged: Merged) -> None:
    """Remember what was chosen wherever both sides had changed a group."""
    chosen = []
    for decision, action in merged.groups:
        if decision.verdict is Verdict.BOTH and not isinstance(action, Stop):
            choice = action.choice if isinstance(action, Combine) else action.chosen
            if choice:
                chosen.append((decision, choice.text))
    past.note(chosen)


def _write(workspace: Workspace, item: Unmerged, merged: Merged) -> None:
    """The checkpoint into the worktree, its manifest into the index."""
    root = workspace.repository.root
    blob = ask_git("hash-object", "-w", "--stdin", cwd=root, stdin=render(merged.manifest)).decode().strip()
    path = item.path.encode("utf-8", "surrogateescape")
    status = write_file(workspace, merged.manifest, absolute(workspace, item.path), item.mode == "100755")
    entry = b"%s %s\t%s\0" % (item.mode.encode(), blob.encode(), path)
    # The first line takes all stages of the path away.
    ask_git("update-index", "-z", "--index-info", cwd=root, stdin=b"0 %s\t%s\0" % (b"0" * len(blob), path) + entry)
    tell_index(workspace, {path: Written(blob, status)})
    forget_unresolved(workspace, item.path)
