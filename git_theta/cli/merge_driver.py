"""``git theta merge-driver``: what Git runs for a checkpoint that both sides changed.

Git's three temporary files enter; the result is in the second of them and the exit code says whether anything is
open. What always holds: whatever goes wrong, the second file is a valid manifest, all three stages stay in the index,
and ``git merge --abort`` works.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import click

from git_theta.cli.merge_table import Table
from git_theta.cli.merging import (
    Chosen,
    chosen_policy,
    in_terminal,
    memory,
    merger,
    note,
    read_version,
    recalled,
)
from git_theta.cli.output import warn
from git_theta.cli.progress import Progress
from git_theta.cli.text import printable, typed
from git_theta.cli.unresolved import note_unresolved
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.manifest import render, root
from git_theta.merge.merger import Merged, Versions
from git_theta.merge.plan import Stop
from git_theta.model import Manifest

MANUAL = "GIT_THETA_MANUAL_MERGE"
"""The variable by which git-theta 0.2 left merging to people."""


@click.command("merge-driver", context_settings={"ignore_unknown_options": True})
@click.argument("base")
@click.argument("ours")
@click.argument("theirs")
@click.argument("marker_size")
@click.argument("path")
def command(base: str, ours: str, theirs: str, path: str, **_marker_size: str) -> int:
    """Merge one checkpoint changed on both sides (Git calls this as merge.theta.driver).

    Groups that one side changed are taken from there. Those that both changed are combined by the strategy of
    GIT_THETA_MERGE, the attribute theta-merge, or theta.merge; average without any. What cannot be combined stays as
    ours and is a conflict: exit code 1, and git theta resolve finishes.

    Example: git config merge.theta.driver 'git-theta merge-driver -- %O %A %B %L %P'
    """
    workspace = open_workspace()
    try:
        with Progress("merge") as progress:
            workspace.progress = progress.advance
            return _merge(workspace, (Path(base), Path(ours), Path(theirs)), path, progress)
    except (ThetaError, OSError) as error:
        name = typed(path)
        take = f"to take a side whole: git checkout --ours -- {name}, or --theirs, then git add -- {name}"
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        hint = f"{error.hint}\n" if isinstance(error, ThetaError) and error.hint else ""
        warn(
            f"{printable(path)}: not merged, ours stands: {why}",
            f"{hint}{take}\nor, when that is mended: git theta resolve {name}",
        )
        return Exit.FAILED
    finally:
        workspace.close()


def _merge(workspace: Workspace, files: tuple[Path, Path, Path], path: str, progress: Progress) -> int:
    base, ours, theirs = (read_version(workspace, file, path) for file in files)
    if ours is None or theirs is None:
        raise ThetaError("one side is an empty file, which nothing can be merged with")
    versions = Versions(base, (ours, theirs))
    if os.environ.get(MANUAL):
        return _leave_to_people(workspace, versions, path)
    chosen = chosen_policy(workspace, path)
    past = memory(workspace, path)
    answered = False
    if chosen.ask and in_terminal():
        from git_theta.cli.choosing import ask

        progress.rest()
        policy = ask(workspace, path, versions, lambda decision: recalled(past, chosen, decision))
        answered = policy is not None
        chosen = replace(chosen, policy=policy or chosen.policy)
    merged = merger(workspace).merge(
        versions, chosen.policy, lambda decision: recalled(past, chosen, decision), workspace.settings.seed
    )
    if answered:
        note(past, merged)
    return _deliver(workspace, files[1], path, versions, merged, chosen)


def _deliver(workspace: Workspace, target: Path, path: str, versions: Versions, merged: Merged, chosen: Chosen) -> int:
    """Give Git the result, and tell people."""
    target.write_bytes(render(merged.manifest))
    text = "\n".join(Table.of(path, versions, merged, by_default=not chosen.origin).lines())
    if not merged.conflicts:
        warn(text)
        return Exit.OK
    note_unresolved(workspace, path, root(merged.manifest), len(merged.conflicts))
    warn(
        text, f"git theta diff {typed(f':2:{path}')} {typed(f':3:{path}')} shows the two sides\n{_finish(merged, path)}"
    )
    return Exit.FAILED


def _finish(merged: Merged, path: str) -> str:
    """What to type to finish."""
    files = " --strategy fisher --fisher-ours FILE --fisher-theirs FILE"
    wanting = any(isinstance(action, Stop) and action.lacks_fisher for _, action in merged.groups)
    return f"git theta resolve{files if wanting else ''} {typed(path)}"


def _leave_to_people(workspace: Workspace, versions: Versions, path: str) -> int:
    """Put the three versions beside the file."""
    from git_theta.cli.checkout import write_file
    from git_theta.cli.tracked import absolute

    beside = absolute(workspace, path)
    named: list[tuple[str, Manifest | None]] = [
        ("base", versions.base),
        ("ours", versions.manifests[0]),
        ("theirs", versions.manifests[1]),
    ]
    written = []
    for word, manifest in named:
        if manifest:
            file = beside.with_name(f"{beside.stem}.{word}{beside.suffix}")
            write_file(workspace, manifest, file, executable=False)
            written.append(file.relative_to(workspace.repository.root).as_posix())
    name, beside_it = typed(path), " ".join(typed(word) for word in written)
    warn(
        f"{printable(path)}: {MANUAL} is set, so the versions are beside it: {beside_it}",
        f"make {name} of them, then: git add -- {name}\nremove them, also after git merge --abort: rm {beside_it}",
    )
    return Exit.FAILED
