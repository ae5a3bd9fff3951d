"""``git theta merge``: any number of branches in one commit, tried and tested before anything here changes.

Git's octopus merge calls no drivers. So the branches are merged one after the other in a worktree of our own, where
checkpoints are only manifests; then each checkpoint that more than one branch changed is merged from all versions at
once, and one commit with all parents takes their place. What always holds: until the last step, a fast-forward of
the current branch, nothing in this worktree, its index or its refs changes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from git_theta.cli.merging import Chosen, chosen_policy, merger, parse_options, summary
from git_theta.cli.output import warn
from git_theta.cli.progress import Progress
from git_theta.cli.scratch import git_there, scratch_worktree
from git_theta.cli.tracked import filtered
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.process import GitFailed, ask_git
from git_theta.gitio.worktrees import unfinished, worktrees
from git_theta.manifest import render
from git_theta.merge.decide import Decision, Held
from git_theta.merge.merger import Merged, Versions, settle
from git_theta.merge.plan import Action, Combine, Policy, Stop, Take
from git_theta.model import Manifest


class CannotMerge(ThetaError):
    """The branches, or what is checked out, do not allow it."""


class TestFailed(ThetaError):
    """The command of --test did not like the result."""


@dataclass(frozen=True, slots=True)
class Model:
    """One checkpoint that the branches differ about, its versions, and the manifests' names for people."""

    path: str
    mode: str
    versions: Versions
    chosen: Chosen


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say: ``strategy`` is None where the usual one counts, for the groups that no pattern names."""

    strategy: str | None
    policy: Policy
    weights: tuple[float, ...] | None


@click.command("merge")
@click.argument("branches", nargs=-1, required=True)
@click.option("--strategy", metavar="S[:PARAMS]", help="For groups that more than one branch changed.")
@click.option("--group", "groups", multiple=True, metavar="GLOB=S", help="Another strategy for groups that match.")
@click.option("--weights", metavar="W,W..", help="A weight for the current branch and each BRANCH, in this order.")
@click.option("--dry-run", is_flag=True, help="Say what would become of every group, and change nothing.")
@click.option("--test", "test", metavar="CMD", help="Run CMD in the merged files; if it fails nothing is changed.")
@click.option("-m", "--message", help="The commit's message.")
def command(
    branches: tuple[str, ...],
    strategy: str | None,
    groups: tuple[str, ...],
    weights: str | None,
    dry_run: bool,
    test: str | None,
    message: str | None,
) -> int:
    """Merge any number of branches into the current one, as one commit with all parents.

    Groups that one branch changed are taken from there; a strategy combines all versions of the others at once. CMD
    is run by sh in a folder with the merged files, with the merged checkpoints' paths as its arguments.

    Example: git theta merge math code --strategy ties:density=0.3 --test 'python eval.py "$1"'
    """
    workspace = open_workspace()
    try:
        heads = [_commit(workspace, name) for name in ("HEAD", *branches)]
        wish = Wish(strategy, parse_options(strategy, groups), _numbers(weights, len(heads)))
        if dry_run:
            return _preview(workspace, heads, branches, wish)
        return _merge(workspace, heads, branches, wish, test, message)
    finally:
        workspace.close()


def _commit(workspace: Workspace, name: str) -> str:
    try:
        answer = ask_git(
            "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}", cwd=workspace.repository.root
        )
    except GitFailed:
        raise CannotMerge(f"{name!r} is no branch or commit here", hint="git branch --all lists branches") from None
    return answer.decode().strip()


def _numbers(text: str | None, count: int) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise click.UsageError(f"--weights {text!r}: expected numbers and commas") from None
    if len(numbers) != count:
        raise click.UsageError(
            f"--weights has {len(numbers)} numbers, expected {count}: the current branch comes first"
        )
    return numbers


def _models(
    workspace: Workspace,
    heads: Sequence[str],
    branches: Sequence[str],
    wish: Wish,
) -> list[Model]:
    """Every checkpoint that at least one branch changed and that two of them have."""
    base = _base(workspace, heads)
    names = ("ours", *branches)
    trees = [_checkpoints(workspace, head) for head in heads]
    before = _checkpoints(workspace, base) if base else {}
    found = []
    for path in dict.fromkeys(path for tree in trees for path in tree):
        there = [at for at, tree in enumerate(trees) if path in tree]
        blobs = {trees[at][path][1] for at in there}
        if len(there) < 2 or len(blobs) == 1:
            continue  # whatever became of it, Git knows
        mode = trees[there[0]][path][0]
        versions = Versions(
            workspace.manifest(before[path][1]) if path in before else None,
            tuple(_manifest(workspace, names[at], path, trees[at][path][1]) for at in there),
            tuple(names[at] for at in there),
            tuple(wish.weights[at] for at in there) if wish.weights else None,
        )
        found.append(Model(path, mode, versions, _policy_for(workspace, path, wish)))
    return found


def _policy_for(workspace: Workspace, path: str, wish: Wish) -> Chosen:
    """What the options say, and what counts for the path where they say nothing."""
    if wish.strategy:
        return Chosen(wish.policy, "options")
    usual = chosen_policy(workspace, path)
    return Chosen(Policy(usual.policy.default, (*usual.policy.overrides, *wish.policy.overrides)), usual.origin)


def _manifest(workspace: Workspace, branch: str, path: str, blob: str) -> Manifest:
    manifest = workspace.manifest(blob)
    if manifest is None:
        raise CannotMerge(f"{path}: has no valid manifest in {branch}", hint=f"git theta fsck {branch}")
    return manifest


def _base(workspace: Workspace, heads: Sequence[str]) -> str | None:
    """The best common ancestor of all; None where they have none."""
    answer = ask_git("merge-base", "--octopus", *heads, cwd=workspace.repository.root, codes=(0, 1))
    return answer.decode().split("\n", 1)[0].strip() or None


def _checkpoints(workspace: Workspace, commit: str) -> dict[str, tuple[str, str]]:
    """Mode and blob of every tracked checkpoint of a commit, by path."""
    answer = ask_git("ls-tree", "-r", "-z", "--full-tree", commit, cwd=workspace.repository.root)
    entries = {}
    for line in os.fsdecode(answer).split("\0")[:-1]:
        fields, _, path = line.partition("\t")
        mode, kind, blob = fields.split(" ")
        if kind == "blob" and mode.startswith("100"):
            entries[path] = mode, blob
    handled = filtered(workspace, list(entries))
    return {path: entry for path, entry in entries.items() if path in handled}


def _preview(
    workspace: Workspace,
    heads: Sequence[str],
    branches: Sequence[str],
    wish: Wish,
) -> int:
    """Say what would become of every group, from the manifests alone."""
    models = _models(workspace, heads, branches, wish)
    stopped = False
    for model in models:
        click.echo(f"{model.path}:")
        settled = settle(model.versions, model.chosen.policy)
        _warn_of_weights(model, settled)
        for decision, action in settled:
            stopped |= isinstance(action, Stop)
            if decision.changed:
                click.echo(f"  {_foretell(model, action):<24} {decision.name}")
    if not models:
        click.echo("no checkpoint differs between these branches in a way that Git alone cannot merge")
    return Exit.FAILED if stopped else Exit.OK


def _foretell(model: Model, action: Combine | Take | Stop) -> str:
    if isinstance(action, Combine):
        return action.choice.text
    if isinstance(action, Stop):
        return f"conflict: {action.why}"
    return "base" if action.place < 0 else model.versions.names[action.place]


def _merge(
    workspace: Workspace,
    heads: Sequence[str],
    branches: Sequence[str],
    wish: Wish,
    test: str | None,
    message: str | None,
) -> int:
    _check_clean(workspace)
    others = [head for head in heads[1:] if not _is_ancestor(workspace, head, heads[0])]
    if not others:
        click.echo("Already up to date.")
        return Exit.OK
    models = _models(workspace, heads, branches, wish)
    with scratch_worktree(workspace.repository, heads[0]) as folder:
        _merge_the_rest(folder, list(zip(branches, heads[1:], strict=True)))
        results = [(model, _merged(workspace, model)) for model in models]
        for model, merged in results:
            _put(workspace, folder, model, merged)
        if test:
            _run_test(folder, test, [model.path for model in models])
        commit = _commit_all(folder, heads[0], others, message or f"Merge {', '.join(branches)}")
    ask_git("merge", "--ff-only", "--quiet", commit, cwd=workspace.repository.root)
    for model, merged in results:
        click.echo(summary(model.path, model.versions, merged, model.chosen))
        _warn_of_weights(model, merged.groups)
    click.echo(f"Merged {', '.join(branches)} as {commit[:10]}.")
    return Exit.OK


def _warn_of_weights(model: Model, groups: Sequence[tuple[Decision[Held], Action]]) -> None:
    """Say so where --weights counted for nothing."""
    used = [action.choice.strategy for _, action in groups if isinstance(action, Combine)]
    deaf = sorted({strategy.name for strategy in used if not strategy.weighs})
    if deaf and model.versions.weights:
        warn(f"{model.path}: --weights count for nothing with {', '.join(deaf)}")


def _check_clean(workspace: Workspace) -> None:
    """Raise unless the worktree can be moved."""
    here = next((one for one in worktrees(workspace.repository) if one.ours), None)
    if here is None:
        raise CannotMerge("a bare repository has no current branch to merge into", hint="clone it, and merge there")
    reason = unfinished(here)
    if reason:
        raise CannotMerge(f"cannot merge now: {reason}", hint="finish or abort that, or commit or stash your changes")


def _is_ancestor(workspace: Workspace, commit: str, of: str) -> bool:
    answer = ask_git("rev-list", "--max-count=1", commit, f"^{of}", cwd=workspace.repository.root)
    return not answer.strip()


def _merge_the_rest(folder: Path, branches: Sequence[tuple[str, str]]) -> None:
    """Merge everything but checkpoints, branch after branch, as Git does."""
    for name, commit in branches:
        try:
            git_there(folder, "merge", "--quiet", "--no-edit", "--no-ff", "--no-verify", "-m", f"Merge {name}", commit)
        except GitFailed as error:
            open_paths = os.fsdecode(git_there(folder, "diff", "--name-only", "--diff-filter=U", "-z")).split("\0")[:-1]
            if not open_paths:
                raise
            raise CannotMerge(
                f"{name} conflicts in {', '.join(open_paths)}", hint=f"nothing was changed; git merge {name} shows it"
            ) from error


def _merged(workspace: Workspace, model: Model) -> Merged:
    with Progress("merge") as progress:
        workspace.progress = progress.advance
        merged = merger(workspace).merge(model.versions, model.chosen.policy, seed=workspace.settings.seed)
    if merged.conflicts:
        raise CannotMerge(
            summary(model.path, model.versions, merged, model.chosen),
            hint="nothing was changed; decide them with --strategy, --group GLOB=STRATEGY",
        )
    return merged


def _put(workspace: Workspace, folder: Path, model: Model, merged: Merged) -> None:
    """The merged manifest into the index of our own worktree."""
    blob = ask_git("hash-object", "-w", "--stdin", cwd=workspace.repository.root, stdin=render(merged.manifest))
    git_there(folder, "update-index", "--add", "--cacheinfo", f"{model.mode},{blob.decode().strip()},{model.path}")


def _run_test(folder: Path, test: str, paths: Sequence[str]) -> None:
    """Run the user's command where the merged files are."""
    git_there(folder, "-c", "theta.skipSmudge=false", "checkout-index", "--force", "--all")
    done = subprocess.run(["sh", "-c", test, "sh", *paths], cwd=folder, check=False)
    if done.returncode:
        raise TestFailed(f"the test exited with {done.returncode}, so nothing was changed", hint=f"it was: {test}")


def _commit_all(folder: Path, head: str, others: Sequence[str], message: str) -> str:
    """One commit of the index in our own worktree, with all parents."""
    tree = git_there(folder, "write-tree").decode().strip()
    if len(others) == 1 and tree == git_there(folder, "rev-parse", f"{others[0]}^{{tree}}").decode().strip():
        merged = git_there(folder, "merge-base", head, others[0]).decode().strip()
        if merged == head:
            return others[0]  # a fast-forward, as git merge would have it
    parents = [word for parent in dict.fromkeys((head, *others)) for word in ("-p", parent)]
    return git_there(folder, "commit-tree", tree, *parents, "-m", message).decode().strip()
