"""``git theta migrate``: rewrite history so that files of a pattern are manifests, or are manifests no longer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from git_theta.cli.migrating import Job, Report, migrate
from git_theta.cli.output import emit_json, warn
from git_theta.cli.text import human, plural
from git_theta.cli.workspace import open_workspace
from git_theta.gitio.attributes import BadPattern

if TYPE_CHECKING:
    from git_theta.migrate import Target

_FORMS = {"import": ("from-lfs", "from-blobs"), "export": ("to-lfs", "to-blobs")}
_OUTCOMES = {"to-lfs": "Git LFS pointers", "to-blobs": "whole files"}
_SHOWN = 10
"""Refs that are named; the map and --json have all."""


@click.command("migrate")
@click.argument("direction", metavar="import|export", type=click.Choice(list(_FORMS)))
@click.argument("words", metavar="PATTERN... [REF...]", nargs=-1, required=True)
@click.option("--from-lfs", is_flag=True, help="import: convert Git LFS pointers.")
@click.option("--from-blobs", is_flag=True, help="import: convert files that lie in Git whole.")
@click.option("--to-lfs", is_flag=True, help="export: to Git LFS pointers.")
@click.option("--to-blobs", is_flag=True, help="export: to whole files in Git.")
@click.option("--in-place", is_flag=True, help="Move the refs themselves; the old ones stay in refs/theta/original/.")
@click.option("--map", "map_file", metavar="FILE", type=Path, help="Write a line 'old new' per rewritten commit.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    direction: str,
    words: tuple[str, ...],
    in_place: bool,
    map_file: Path | None,
    dry_run: bool,
    as_json: bool,
    **forms: bool,
) -> None:
    """Rewrite history: import makes manifests of the files that match PATTERN, export unmakes them.

    PATTERN is read as in a .gitattributes file at the top, and gets its line there. REF names branches and tags
    (default: all); words at the end that name refs are taken for them. The new history goes to
    refs/theta/migrated/, and the refs stay, unless --in-place is given.

    Example: git theta migrate import --from-lfs '*.safetensors' main
    """
    chosen = _chosen(direction, forms)
    workspace = open_workspace()
    try:
        patterns, names = _sort_out(workspace.repository.root, words)
        job = Job(chosen, patterns, names, in_place, map_file, dry_run)
        report = migrate(workspace, job)
    finally:
        workspace.close()
    (_tell_json if as_json else _tell)(job, report)


def _chosen(direction: str, options: Mapping[str, bool]) -> frozenset[str]:
    """The forms that were asked for; an import may take both at once."""
    chosen = frozenset(name.replace("_", "-") for name, given in options.items() if given)
    wanted = _FORMS[direction]
    if not chosen or not chosen.issubset(wanted) or (direction == "export" and len(chosen) > 1):
        raise click.UsageError(f"{direction} needs " + " or ".join(f"--{form}" for form in wanted))
    return chosen


def _sort_out(root: Path, words: Sequence[str]) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """The patterns, and the full names of the refs behind them."""
    from git_theta.migrate import full_name

    typed, names = list(words), []
    while len(typed) > 1 and not set("*?[\\") & set(typed[-1]) and (name := full_name(root, typed[-1])):
        names.append(name)
        typed.pop()
    patterns = tuple(os.fsencode(word + "**" if word.endswith("/") else word) for word in typed)
    for pattern in patterns:
        if not pattern.strip() or pattern.startswith((b"!", b"[attr]")):
            raise BadPattern(f"{os.fsdecode(pattern)!r} is not a pattern", hint="for example: '*.safetensors'")
    return patterns, tuple(reversed(names))


def _tell(job: Job, report: Report) -> None:
    survey, changed = report.survey, report.rewritten.changed
    outcome = next((_OUTCOMES[form] for form in job.forms if form in _OUTCOMES), "manifests")
    click.echo(
        f"{'would rewrite' if job.dry_run else 'rewrote'} {len(changed):,} of "
        f"{plural(len(report.rewritten.commits), 'commit')}: {plural(survey.files, 'file version')} "
        f"({human(survey.bytes)}) as {outcome}"
    )
    for target in list(report.moved)[:_SHOWN]:
        click.echo(os.fsencode(f"  {target.name}, " + _where(job, target)))
    if len(report.moved) > _SHOWN:
        click.echo(f"  and {len(report.moved) - _SHOWN:,} more")
    _warn_about_the_rest(job, report)
    if report.moved and not job.dry_run:
        click.echo("\n".join(_next(job, report)))


def _where(job: Job, target: Target) -> str:
    return f"before: {target.original}" if job.in_place else f"now also: {target.moved(False)}"


def _warn_about_the_rest(job: Job, report: Report) -> None:
    """What was not converted, and what was lost."""
    survey, unsigned = report.survey, report.rewritten.unsigned
    if survey.left:
        other = {"from-lfs", "from-blobs"} - job.forms if not job.exports else ()
        warn(
            f"{plural(survey.left, 'matching file version')} left as they are, being something else; "
            f"the first is {survey.first_left}",
            "".join(f"to convert them too: --{form}" for form in other) or None,
        )
    if unsigned:
        verb = "would be" if job.dry_run else "were" if unsigned > 1 else "was"
        warn(f"{plural(unsigned, 'signature')} {verb} dropped: what was signed is no longer the same")
    if report.left_out:
        first = report.left_out[0]
        count = f"{len(report.left_out):,} remote branch{'es' if len(report.left_out) > 1 else ''}"
        warn(
            f"{count} not migrated, such as {first}: only branches and tags of this repository are",
            f"git branch {first.partition('/')[2]} {first} makes one here; then repeat the command",
        )


def _next(job: Job, report: Report) -> list[str]:
    """What to type now, with one of the refs as the example."""
    target = min(report.moved, key=lambda target: not target.is_branch)
    if job.in_place:
        return ["the old history stays there; where it was pushed, the new one takes git push --force"]
    lines = []
    if target.is_branch:
        short = target.name.removeprefix("refs/heads/")
        lines.append(f"next: git switch {short} && git reset --hard {target.moved(False)}, and so on for each branch")
    others = [target for target in report.moved if not target.is_branch]
    if others:
        lines.append(f"next: git update-ref {others[0].name} {others[0].moved(False)}, and so on for each tag")
    return [*lines, "      or, to move all of them at once: the same command with --in-place"]


def _tell_json(job: Job, report: Report) -> None:
    survey, result = report.survey, report.rewritten
    emit_json(
        {
            "commits": len(result.commits),
            "rewritten": len(result.changed),
            "files": survey.files,
            "bytes": survey.bytes,
            "left": survey.left,
            "signatures_dropped": result.unsigned,
            "refs": [
                {"name": target.name, "at": target.moved(job.in_place), "old": target.oid, "new": new}
                for target, new in report.moved.items()
            ],
            "map": str(job.map_file) if job.map_file else None,
            "dry_run": job.dry_run,
        }
    )
