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
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import click

from git_theta.cli.heads import CannotMerge, Head, common_ancestor, independent, named_heads
from git_theta.cli.merge_table import Table
from git_theta.cli.merging import Chosen, chosen_policy, memory, merger, parse_options, recalled, warn_of_patterns
from git_theta.cli.output import warn
from git_theta.cli.progress import Progress
from git_theta.cli.scratch import git_there, scratch_worktree
from git_theta.cli.text import plural, printable
from git_theta.cli.tracked import filtered
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.process import GitFailed, ask_git
from git_theta.gitio.worktrees import unfinished, worktrees
from git_theta.manifest import render
from git_theta.merge.decide import Decision, Held
from git_theta.merge.leaves import Fingerprint
from git_theta.merge.merger import Merged, Versions, settle
from git_theta.merge.plan import Action, Combine, Policy, Remembered, Stop
from git_theta.model import Manifest


class MissingForTest(ThetaError):
    """The command of --test would not see the result."""

    exit_code = Exit.MISSING


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
    unrelated: bool = False


@click.command("merge")
@click.argument("branches", nargs=-1, required=True)
@click.option("--strategy", metavar="S[:PARAMS]", help="For groups that more than one branch changed.")
@click.option("--group", "groups", multiple=True, metavar="GLOB=S", help="Another strategy for groups that match.")
@click.option("--weights", metavar="W,W..", help="A weight for the current branch and each BRANCH, in this order.")
@click.option("--dry-run", is_flag=True, help="Say what would become of every group, and change nothing.")
@click.option("--test", "test", metavar="CMD", help="Run CMD in the merged files; if it fails nothing is changed.")
@click.option("-m", "--message", help="The commit's message.")
@click.option("--allow-unrelated-histories", "unrelated", is_flag=True, help="Merge what has no common ancestor.")
def command(
    branches: tuple[str, ...],
    strategy: str | None,
    groups: tuple[str, ...],
    weights: str | None,
    dry_run: bool,
    test: str | None,
    message: str | None,
    unrelated: bool,
) -> int:
    """Merge any number of branches into the current one, as one commit with all parents.

    Groups that one branch changed are taken from there; a strategy combines all versions of the others at once. A
    branch that is a part of another one is not merged by itself. CMD is run by sh in a folder with the merged files,
    with the merged checkpoints' paths as its arguments.

    Example: git theta merge math code --strategy ties:density=0.3 --test 'python eval.py "$1"'
    """
    workspace = open_workspace()
    try:
        named = named_heads(workspace, branches, weights)
        heads = independent(workspace, named)
        wish = Wish(strategy, parse_options(strategy, groups), unrelated)
        if len(heads) == 1 and heads[0] is named[0]:
            click.echo("Already up to date.")
            return Exit.OK
        contained = {head.name for head in named[1:]} - {head.name for head in heads}
        for name in sorted(contained):
            warn(f"{printable(name)} is a part of what is merged already, so it does not count by itself")
        if dry_run:
            return _preview(workspace, heads, wish)
        return _merge(workspace, heads, wish, test, message or f"Merge {', '.join(dict.fromkeys(branches))}")
    finally:
        workspace.close()


def _models(workspace: Workspace, heads: Sequence[Head], wish: Wish) -> list[Model]:
    """Every checkpoint that at least one branch changed and that two of them have."""
    base = common_ancestor(workspace, [head.commit for head in heads])
    checkpoints = cache(partial(_checkpoints, workspace))  # pairs of heads most often share their ancestors
    trees = [checkpoints(head.commit) for head in heads]
    before = checkpoints(base) if base else {}
    bases = _bases(workspace, heads) if len(heads) > 2 else {}
    shared = {pair: checkpoints(commit) for pair, commit in bases.items()}
    found = []
    for path in dict.fromkeys(path for tree in trees for path in tree):
        there = [at for at, tree in enumerate(trees) if path in tree]
        blobs = {trees[at][path][1] for at in there}
        if len(there) < 2 or len(blobs) == 1:
            continue  # whatever became of it, Git knows
        weights = [heads[at].weight for at in there]
        versions = Versions(
            workspace.manifest(before[path][1]) if path in before else None,
            tuple(_manifest(workspace, heads[at].name, path, trees[at][path][1]) for at in there),
            tuple(heads[at].name for at in there),
            tuple(weight for weight in weights if weight is not None) or None,
            between={
                (there.index(a), there.index(b)): workspace.manifest(tree[path][1]) if path in tree else None
                for (a, b), tree in shared.items()
                if a in there and b in there
            },
        )
        found.append(Model(path, trees[there[0]][path][0], versions, _policy_for(workspace, path, wish)))
    return found


def _bases(workspace: Workspace, heads: Sequence[Head]) -> dict[tuple[int, int], str]:
    """The common ancestor of each pair of heads, for those that have one."""
    pairs = combinations(range(len(heads)), 2)
    found = {pair: common_ancestor(workspace, [heads[at].commit for at in pair]) for pair in pairs}
    return {pair: commit for pair, commit in found.items() if commit}


def _policy_for(workspace: Workspace, path: str, wish: Wish) -> Chosen:
    """What the options say, and what counts for the path where they say nothing."""
    if wish.strategy:
        return Chosen(wish.policy, "options", for_now=True)
    usual = chosen_policy(workspace, path)
    return replace(usual, policy=Policy(usual.policy.default, (*usual.policy.overrides, *wish.policy.overrides)))


def _manifest(workspace: Workspace, branch: str, path: str, blob: str) -> Manifest:
    manifest = workspace.manifest(blob)
    if manifest is None:
        raise CannotMerge(f"{printable(path)}: has no valid manifest in {branch}", hint="git theta fsck")
    return manifest


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


def _preview(workspace: Workspace, heads: Sequence[Head], wish: Wish) -> int:
    """Say what would become of every group and value, and try what Git itself would merge."""
    models = _models(workspace, heads, wish)
    stopped = False
    for model in models:
        groups = settle(model.versions, model.chosen.policy, _remembered(workspace, model))
        leaves = _leaves(workspace, model)
        click.echo("\n".join(Table(model.path, model.versions, groups, leaves or [], every=True).lines()))
        _warn_of_weights(model, groups)
        stopped |= leaves is None or any(isinstance(action, Stop) for _, action in [*groups, *leaves])
    if len(heads) == 1:
        click.echo(f"the current branch would follow {printable(heads[0].name)}: it is behind")
    elif not models:
        click.echo("no checkpoint differs between these branches in a way that Git alone cannot merge")
    with scratch_worktree(workspace.repository, heads[0].commit) as folder:
        _merge_the_rest(folder, heads[1:], wish.unrelated)
    return Exit.FAILED if stopped else Exit.OK


def _leaves(workspace: Workspace, model: Model) -> list[tuple[Decision[Fingerprint], Action]] | None:
    """What would become of values besides tensors; None where the merge would fail on them."""
    try:
        return merger(workspace).leaves(model.versions, model.chosen.policy)
    except ThetaError as error:
        warn(f"{printable(model.path)}: cannot be merged: {error}", error.hint)
        return None


def _remembered(workspace: Workspace, model: Model) -> Remembered:
    past = memory(workspace, model.path)
    return lambda decision: recalled(past, model.chosen, decision)


def _merge(workspace: Workspace, heads: Sequence[Head], wish: Wish, test: str | None, message: str) -> int:
    _check_clean(workspace)
    models = _models(workspace, heads, wish)
    with scratch_worktree(workspace.repository, heads[0].commit) as folder:
        _merge_the_rest(folder, heads[1:], wish.unrelated)
        results = [(model, _merged(workspace, model)) for model in models]
        for model, merged in results:
            _put(workspace, folder, model, merged)
        if test:
            _check_complete(results)
            _run_test(folder, test, [model.path for model in models])
        commit = _commit_all(folder, heads, message)
    _check_clean(workspace, _new_files(workspace, commit))
    _follow(workspace, commit)
    for model, merged in results:
        table = Table.of(model.path, model.versions, merged, by_default=not model.chosen.origin)
        click.echo("\n".join(table.lines()))
        _warn_of_weights(model, merged.groups)
        warn_of_patterns(wish.policy, merged)
    names = ", ".join(printable(head.name) for head in heads if head.name != "ours")
    click.echo(f"Merged {names} as {commit[:10]}." if len(heads) > 1 else f"Followed {names} to {commit[:10]}.")
    return Exit.OK


def _follow(workspace: Workspace, commit: str) -> None:
    """Bring the current branch to ``commit``."""
    try:
        ask_git("merge", "--ff-only", "--quiet", commit, cwd=workspace.repository.root)
    except GitFailed as error:
        raise CannotMerge(
            f"the merge is made, commit {commit[:10]}, but Git could not check it out: {error}",
            hint=f"git merge {commit[:10]}\nwhere files are half written, before that: git reset --hard",
        ) from error


def _warn_of_weights(model: Model, groups: Sequence[tuple[Decision[Held], Action]]) -> None:
    """Say so where --weights counted for nothing."""
    used = [action.choice.strategy for _, action in groups if isinstance(action, Combine)]
    deaf = sorted({strategy.name for strategy in used if not strategy.weighs})
    if deaf and model.versions.weights:
        warn(f"{model.path}: --weights count for nothing with {', '.join(deaf)}")


def _check_complete(results: Sequence[tuple[Model, Merged]]) -> None:
    """Raise where a test would get a placeholder instead of a checkpoint."""
    for model, merged in results:
        if merged.missing:
            raise MissingForTest(
                f"{printable(model.path)}: {plural(len(merged.missing), 'object')} of the result did not come, "
                f"so there is nothing to test: {next(iter(merged.missing.values()))}",
                hint="git theta fetch BRANCH brings them, when the remote can be reached",
            )


def _new_files(workspace: Workspace, commit: str) -> list[str]:
    """What the commit has and the current one has not."""
    root = workspace.repository.root
    answer = ask_git("diff", "--no-renames", "--name-only", "--diff-filter=A", "-z", "HEAD", commit, cwd=root)
    return os.fsdecode(answer).split("\0")[:-1]


def _check_clean(workspace: Workspace, new_files: Sequence[str] = ()) -> None:
    """Raise unless the worktree can be moved, and have ``new_files``."""
    here = next((one for one in worktrees(workspace.repository) if one.ours), None)
    if here is None:
        raise CannotMerge("a bare repository has no current branch to merge into", hint="clone it, and merge there")
    reason = unfinished(here, new_files)
    if reason:
        raise CannotMerge(f"cannot merge now: {reason}", hint="finish or abort that, or commit or stash your changes")


def _merge_the_rest(folder: Path, heads: Sequence[Head], unrelated: bool) -> None:
    """Merge everything but checkpoints, branch after branch, as Git does."""
    options = [
        "--quiet",
        "--no-edit",
        "--no-ff",
        "--no-verify",
        *(["--allow-unrelated-histories"] if unrelated else []),
    ]
    for head in heads:
        try:
            git_there(folder, "merge", *options, "-m", f"Merge {head.name}", head.commit)
        except GitFailed as error:
            answer = git_there(folder, "diff", "--name-only", "--diff-filter=U", "-z")
            open_paths = os.fsdecode(answer).split("\0")[:-1]
            name = printable(head.name)
            if open_paths:
                raise CannotMerge(
                    f"{name} conflicts in {', '.join(map(printable, open_paths))}",
                    hint=f"nothing was changed; git merge {name} shows it",
                ) from error
            raise CannotMerge(
                f"{name} cannot be merged: {error}",
                hint="nothing was changed; --allow-unrelated-histories merges those",
            ) from error


def _merged(workspace: Workspace, model: Model) -> Merged:
    with Progress("merge") as progress:
        workspace.progress = progress.advance
        merged = merger(workspace).merge(
            model.versions, model.chosen.policy, _remembered(workspace, model), workspace.settings.seed
        )
    if merged.conflicts:
        rows = Table.of(model.path, model.versions, merged, by_default=False).undecided()
        raise CannotMerge(
            "\n".join([f"{printable(model.path)}: these are not decided, so nothing was changed", *rows]),
            hint="decide them with --strategy, --group GLOB=STRATEGY",
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


def _commit_all(folder: Path, heads: Sequence[Head], message: str) -> str:
    """One commit of the index in our own worktree, with all heads as parents; a single head is a fast-forward."""
    if len(heads) == 1:
        return heads[0].commit
    tree = git_there(folder, "write-tree").decode().strip()
    parents = [word for head in heads for word in ("-p", head.commit)]
    return git_there(folder, "commit-tree", tree, *parents, "-m", message).decode().strip()
