"""The commits that a merge of many branches is of: names enter, those leave that count, in the order of a merge.

What always holds: no head is a part of another one, so none pulls on what came after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from git_theta.cli.workspace import Workspace
from git_theta.errors import ThetaError
from git_theta.gitio.process import GitFailed, ask_git


class CannotMerge(ThetaError):
    """The branches, or what is checked out, do not allow it."""


@dataclass(frozen=True, slots=True)
class Head:
    """One commit to merge: what people call it, and its weight where weights were given."""

    name: str
    commit: str
    weight: float | None = None


def named_heads(workspace: Workspace, branches: Sequence[str], weights: str | None) -> list[Head]:
    """The current commit, which is called ours, and those of ``branches``, with the weights in a text of numbers."""
    commits = [_commit(workspace, name) for name in ("HEAD", *branches)]
    return list(map(Head, ("ours", *branches), commits, _numbers(weights, len(commits))))


def _commit(workspace: Workspace, name: str) -> str:
    try:
        answer = ask_git(
            "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}", cwd=workspace.repository.root
        )
    except GitFailed:
        raise CannotMerge(f"{name!r} is no branch or commit here", hint="git branch --all lists branches") from None
    return answer.decode().strip()


def _numbers(text: str | None, count: int) -> list[float | None]:
    if text is None:
        return [None] * count
    try:
        numbers: list[float | None] = [float(word) for word in text.split(",")]
    except ValueError:
        raise click.UsageError(f"--weights {text!r}: expected numbers and commas") from None
    if len(numbers) != count:
        raise click.UsageError(
            f"--weights has {len(numbers)} numbers, expected {count}: the current branch comes first"
        )
    return numbers


def independent(workspace: Workspace, heads: Sequence[Head]) -> list[Head]:
    """The heads that are no part of another one, ours first; where ours is a part, the first one it is a part of."""
    answer = ask_git("merge-base", "--independent", *(head.commit for head in heads), cwd=workspace.repository.root)
    alone = set(answer.decode().split())
    kept: dict[str, Head] = {}
    for head in heads:
        if head.commit in alone and head.commit not in kept:
            kept[head.commit] = head
    found = list(kept.values())
    if heads[0].commit not in kept:
        ahead = next(head for head in found if _is_ancestor(workspace, heads[0].commit, head.commit))
        found.sort(key=lambda head: head is not ahead)
    return found


def _is_ancestor(workspace: Workspace, commit: str, of: str) -> bool:
    answer = ask_git("rev-list", "--max-count=1", commit, f"^{of}", cwd=workspace.repository.root)
    return not answer.strip()


def common_ancestor(workspace: Workspace, commits: Sequence[str]) -> str | None:
    """The best common ancestor of all; None where they have none."""
    answer = ask_git("merge-base", "--octopus", *commits, cwd=workspace.repository.root, codes=(0, 1))
    return answer.decode().split("\n", 1)[0].strip() or None
