"""What every command that merges shares: which strategy counts, how versions are read, and what is said afterwards."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from git_theta.cli.text import plural, printable
from git_theta.cli.workspace import Workspace
from git_theta.diff.fold import fold
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.attributes import check_attributes
from git_theta.gitio.config import DEFAULT, MERGE
from git_theta.manifest import looks_like_manifest, parse, undo_line_ends
from git_theta.merge.decide import Decision, Held, Verdict
from git_theta.merge.memory import Memory
from git_theta.merge.merger import Merged, Merger, Versions
from git_theta.merge.plan import Action, Combine, Policy, Stop, parse_choice, parse_policy
from git_theta.merge.registry import Choice
from git_theta.model import Manifest
from git_theta.tensors import Writer

ATTRIBUTE = "theta-merge"
"""The attribute by which a team agrees on a strategy."""

ASK = "ask"
_SHOWN = 8
"""Names, or patterns of names, that a table lists for one thing that happened."""

_WIDTH = 80
"""Columns within which those names stand on one line; others have a line each."""


class BadStrategy(ThetaError):
    """The strategy that somebody configured is none."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Chosen:
    """The policy in force, who chose it (empty: nobody, it is the default), and whether to ask at the terminal."""

    policy: Policy
    origin: str = ""
    ask: bool = False


def chosen_policy(workspace: Workspace, path: str) -> Chosen:
    """What counts for ``path``: environment or ``-c``, else the attribute, else configuration, else the default."""
    configured = next(one for one in workspace.settings.effective if one.setting is MERGE)
    text, origin = workspace.settings.merge, configured.origin
    if not origin.startswith("environment") and not origin.endswith("(command)"):
        found = check_attributes([path], [ATTRIBUTE], workspace.repository.root)[path][ATTRIBUTE]
        if found not in {"unspecified", "unset", "set"}:
            text, origin = found, f"attribute {ATTRIBUTE} of {path}"
    if text == ASK:
        return Chosen(Policy(None), origin, ask=True)
    try:
        policy = parse_policy(text, parse_choice(MERGE.default()))
    except ThetaError as error:
        raise BadStrategy(f"{origin}: {error}", hint=error.hint) from None
    return Chosen(policy, "" if origin == DEFAULT else origin)


def parse_options(strategy: str | None, groups: Sequence[str]) -> Policy:
    """The policy that --strategy and --group make; one that decides nothing without any."""
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
    common = workspace.repository.common_dir
    return Memory(common / "theta" / "resolutions.sqlite", path, series(workspace.repository.git_dir))


def series(git_dir: Path) -> str | None:
    """A name for the rebase or the series of cherry-picks that goes on; None when none does."""
    for place in ("rebase-merge/orig-head", "rebase-apply/orig-head", "sequencer/head"):
        try:
            return f"{place} {(git_dir / place).read_text().strip()}"
        except OSError:
            continue
    return None


def recalled(past: Memory, decision: Decision[Held]) -> Choice | None:
    """The strategy that was chosen before for this decision, if there still is one of that name."""
    text = past.recall(decision)
    try:
        return parse_choice(text) if text else None
    except ThetaError:
        return None


def summary(path: str, versions: Versions, merged: Merged, chosen: Chosen) -> str:
    """The table of one merge: how many groups came from where, and by name those that were made or are open."""
    lines = [f"{path}: merged {plural(len(merged.groups), 'group')}"]
    counts = Counter(decision.verdict for decision, _ in merged.groups)
    words = dict(zip((Verdict.OURS, Verdict.THEIRS), versions.names, strict=True)) if len(versions.names) == 2 else {}
    for verdict in Verdict:
        if counts[verdict] and verdict is not Verdict.BOTH:
            lines.append(_row(words.get(verdict, verdict.value), counts[verdict]))
    lines += _both(merged.groups)
    lines += [_row("conflict", len(names), why, names) for why, names in _by_reason(merged.conflicts).items()]
    if merged.missing:
        lines.append(
            f"  {plural(len(merged.missing), 'object')} of the result did not come: git theta pull brings them"
        )
    lines.append(f"  {verdict_of(merged)}")
    if not chosen.origin and any(isinstance(action, Combine) for _, action in merged.groups):
        lines.append("  average is the default; git theta track --merge STRATEGY PATTERN chooses another for everybody")
    return "\n".join(lines)


def _both(groups: Sequence[tuple[Decision[Held], Action]]) -> list[str]:
    """A line for each way in which groups that both sides changed were settled."""
    ways: dict[str, list[str]] = {}
    for decision, action in groups:
        if decision.verdict is Verdict.BOTH and not isinstance(action, Stop):
            way = action.choice.text if isinstance(action, Combine) else "larger count"
            if not isinstance(action, Combine) and action.chosen:
                way = f"taken from {action.chosen.text}"
            ways.setdefault(way, []).append(decision.name)
    return [_row("combined", len(names), way, names) for way, names in ways.items()]


def _by_reason(conflicts: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, why in conflicts:
        found.setdefault(why, []).append(name)
    return found


def _row(word: str, count: int, how: str = "", names: Sequence[str] = ()) -> str:
    text = f"  {word:<10} {count:>6,}"
    if not how:
        return text
    patterns = [printable(pattern) for pattern, _ in fold(names, lambda name: name, lambda _: None)]
    shown = patterns[:_SHOWN]
    if len(patterns) > _SHOWN:
        shown.append(f"... and {len(patterns) - _SHOWN} more")
    line = f"{text}  {how}: {', '.join(shown)}"
    return line if len(line) <= _WIDTH else "\n".join([f"{text}  {how}:", *(f"      {part}" for part in shown)])


def verdict_of(merged: Merged) -> str:
    """MGit's three classes (arXiv 2307.07507): conflict, possible conflict, no conflict."""
    if merged.conflicts:
        return "conflict: some groups are not decided, ours stands for them"
    changed = {decision.verdict for decision, _ in merged.groups} - {Verdict.UNCHANGED, Verdict.SAME}
    if Verdict.BOTH in changed or len(changed) > 1:
        return "possible conflict: both sides changed this model; test the result"
    return "no conflict"


def in_terminal() -> bool:
    """Whether somebody can be asked."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
