"""What every command that merges shares: which strategy counts, how versions are read, what was chosen before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from git_theta.cli.output import warn
from git_theta.cli.text import printable
from git_theta.cli.workspace import Workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.attributes import check_attributes
from git_theta.gitio.config import DEFAULT, MERGE
from git_theta.globs import matches
from git_theta.manifest import looks_like_manifest, parse, undo_line_ends
from git_theta.merge.decide import Decision, Held, Verdict
from git_theta.merge.memory import Memory, forget_everything
from git_theta.merge.merger import Merged, Merger
from git_theta.merge.plan import ASK, Combine, Policy, Stop, parse_choice, parse_policy
from git_theta.merge.registry import Choice
from git_theta.model import Manifest
from git_theta.tensors import Writer

ATTRIBUTE = "theta-merge"
"""The attribute by which a team agrees on a strategy."""


class BadStrategy(ThetaError):
    """The strategy that somebody configured is none."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Chosen:
    """The policy in force, who chose it (empty: nobody, it is the default), and whether to ask at the terminal.

    ``for_now`` says that it was chosen for this one command, and not by a setting that stays.
    """

    policy: Policy
    origin: str = ""
    ask: bool = False
    for_now: bool = False


def chosen_policy(workspace: Workspace, path: str) -> Chosen:
    """What counts for ``path``: environment or ``-c``, else the attribute, else configuration, else the default."""
    configured = next(one for one in workspace.settings.effective if one.setting is MERGE)
    text, origin, remedy = workspace.settings.merge, configured.origin, configured.remedy
    for_now = origin.startswith("environment") or origin.endswith("(command)")
    if not for_now:
        found = check_attributes([path], [ATTRIBUTE], workspace.repository.root)[path][ATTRIBUTE]
        if found not in {"unspecified", "unset", "set"}:
            text, origin = found, f"attribute {ATTRIBUTE} of {path}"
            remedy = "git theta track --merge STRATEGY PATTERN, or edit .gitattributes"
    if text == ASK:
        return Chosen(Policy(None), origin, ask=True, for_now=for_now)
    try:
        policy = parse_policy(text, parse_choice(MERGE.default()))
    except ThetaError as error:
        raise BadStrategy(f"{origin}: {error}", hint="\n".join(filter(None, [error.hint, remedy]))) from None
    return Chosen(policy, "" if origin == DEFAULT else origin, for_now=for_now)


def parse_options(strategy: str | None, groups: Sequence[str]) -> Policy:
    """The policy that --strategy and --group make; one that decides nothing without any."""
    if strategy and ";" in strategy:
        raise click.UsageError(f"--strategy takes one strategy, found {strategy!r}; --group GLOB=S is for patterns")
    overrides = []
    for text in groups:
        pattern, equals, choice = text.partition("=")
        if not (pattern and equals and choice):
            raise click.UsageError(f"--group {text!r} is no GLOB=STRATEGY, such as *.bias=ours")
        overrides.append((pattern, parse_choice(choice)))
    return Policy(parse_choice(strategy) if strategy else None, tuple(overrides))


def merger(workspace: Workspace) -> Merger:
    """A merger over the repository's store, which brings what is missing from its remotes."""
    settings = workspace.settings
    writer = Writer(workspace.store, workspace.catalogue, workspace.reader, settings.threads)
    return Merger(
        workspace.store,
        workspace.reader,
        writer,
        settings.threads,
        bring=workspace.supply.bring,
        progress=workspace.progress,
    )


def read_version(workspace: Workspace, file: Path, path: str | None = None) -> Manifest | None:
    """The version that Git put into ``file``; None for an empty one, which is how it says that there is none.

    A checkpoint in full, from before it was tracked, is stored first. ``path`` is its path in the repository, if
    it has one. Raises :class:`DamagedManifest`.
    """
    with open(file, "rb") as content:
        head = content.read(1 << 16)
        if not head:
            return None
        if looks_like_manifest(head):
            return parse(undo_line_ends(head + content.read()))
        content.seek(0)
        forced = workspace.formats.get(path) if path else None
        return parse(workspace.cleaner.clean(content, worktree_file=file, forced_format=forced).manifest)


def read_fisher(workspace: Workspace, files: Sequence[str]) -> tuple[Manifest, ...]:
    """Diagonals of Fisher matrices from checkpoints on disk, one for each model."""
    found = []
    for file in files:
        manifest = read_version(workspace, Path(file))
        if manifest is None:
            raise ThetaError(f"{file}: is empty, expected a checkpoint")
        found.append(manifest)
    return tuple(found)


def memory(workspace: Workspace, path: str) -> Memory:
    """What was chosen before for conflicts of ``path``."""
    return Memory(_database(workspace), path, series(workspace.repository.git_dir))


def forget_all(workspace: Workspace) -> int:
    """Forget what was chosen for every file; returns how many choices that were."""
    return forget_everything(_database(workspace))


def _database(workspace: Workspace) -> Path:
    return workspace.repository.common_dir / "theta" / "resolutions.sqlite"


def series(git_dir: Path) -> str | None:
    """A name for the rebase or the series of cherry-picks that goes on; None when none does."""
    for place in ("rebase-merge/orig-head", "rebase-apply/orig-head", "sequencer/head"):
        try:
            return f"{place} {(git_dir / place).read_text().strip()}"
        except OSError:
            continue
    return None


def recalled(past: Memory, chosen: Chosen, decision: Decision[Held]) -> Choice | None:
    """The strategy that was chosen before for this decision, if there still is one of that name.

    Somebody who says for this one command what to do is not answered from memory, but within a rebase is asked once.
    """
    text = past.recall(decision, in_series=chosen.for_now)
    try:
        return parse_choice(text) if text else None
    except ThetaError:
        return None


def note(past: Memory, merged: Merged) -> None:
    """Remember what somebody chose for groups that both sides had changed, where it can be had again."""
    chosen = []
    for decision, action in merged.groups:
        if decision.verdict is Verdict.BOTH and not isinstance(action, Stop):
            choice = action.choice if isinstance(action, Combine) else action.chosen
            if choice and not choice.strategy.needs_fisher:
                chosen.append((decision, choice.text))
    past.note(chosen)


def warn_of_patterns(given: Policy, merged: Merged) -> None:
    """Say so where a pattern somebody typed matches nothing."""
    names = [decision.name for decision, _ in merged.groups] + [decision.name for decision, _ in merged.leaves]
    for pattern, _ in given.overrides:
        if not any(matches(name, pattern) for name in names):
            warn(f"--group {printable(pattern)}: no group, and no other value that was merged, is called so")


def in_terminal() -> bool:
    """Whether somebody can be asked."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
