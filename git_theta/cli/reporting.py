"""How a report reaches people and programs: what they asked for and their terminal enter, text leaves on stdout."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from git_theta.cli.pager import IN_USE
from git_theta.cli.sides import Side
from git_theta.cli.workspace import Workspace
from git_theta.diff import Report, Style, compare, render, select, with_values
from git_theta.diff.words import heading
from git_theta.gitio.process import GitFailed, GitNotFound, ask_git

FORMATS = ("text", "json", "markdown", "html")

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user asked to see."""

    format: str = "text"
    stat: bool = False
    groups: tuple[str, ...] = ()
    sort: str = "model"
    top: int | None = None
    expand: bool = False


def report_options(function: Function) -> Function:
    """The options of every command that prints reports, as one parameter ``wish``."""
    options = [
        click.option("--format", "format", type=click.Choice(FORMATS), default="text", help="How to write the report."),
        click.option("--stat", is_flag=True, help="Manifests only: what changed, without reading any value."),
        click.option("--group", "groups", multiple=True, metavar="GLOB", help="Only groups whose name matches."),
        click.option(
            "--sort",
            type=click.Choice(["model", "change", "name"]),
            default="model",
            help="Order: as in the file, largest relative change first, or by name.",
        ),
        click.option("--top", type=click.IntRange(min=1), metavar="N", help="At most N lines per file."),
        click.option("--expand", is_flag=True, help="A line for every group: do not fold repeated layers."),
    ]

    @wraps(function)
    def gathered(*args: object, **given: Any) -> object:
        wish = Wish(**{name: given.pop(name) for name in Wish.__slots__})
        return function(*args, wish=wish, **given)

    for option in reversed(options):
        gathered = option(gathered)
    return cast(Function, gathered)


def make_report(
    paths: tuple[str | None, str | None], sides: tuple[Side, Side], wish: Wish, threads: int, notes: Sequence[str] = ()
) -> Report:
    """The report on one file."""
    old, new = sides
    comparison = select(compare(old.summary, new.summary), wish.groups)
    report = Report(*paths, comparison, notes=tuple(notes))
    if wish.stat:
        return report
    return with_values(report, old.values, new.values, threads, histogram=wish.format == "html")


def show(reports: Iterable[Report], wish: Wish, workspace: Workspace | None, output: str | None = None) -> None:
    """Write all reports in the format that was asked for, to a file or stdout; text as soon as each is there."""
    if output is None:
        for text in _written(reports, wish, workspace):
            click.echo(text, color=True)  # the style has decided
        return
    with open(output, "w", encoding="utf-8") as file:
        file.writelines(f"{text}\n" for text in _written(reports, wish, workspace))


def _written(reports: Iterable[Report], wish: Wish, workspace: Workspace | None) -> Iterator[str]:
    if wish.format == "text":
        style = terminal_style(workspace, wish)
        for report in reports:
            known = report.comparison.old or report.comparison.new
            yield "\n".join(render(report, style) if known else bare(report))
    elif wish.format == "json":
        from git_theta.diff.as_json import document

        yield json.dumps(document(list(reports), wish.sort, wish.top), indent=2)
    elif wish.format == "html":
        from git_theta.diff import html

        yield html.render(list(reports), wish.sort, wish.top)
    else:
        from git_theta.diff import markdown

        room = markdown.ROOM  # of all reports together: they make one comment
        for report in reports:
            text = "\n".join(markdown.render(report, wish.expand, wish.sort, wish.top, max(room, 0)))
            room -= len(text) + 1
            yield text


def bare(report: Report) -> Iterator[str]:
    """A report without a checkpoint on either side: symbolic links, and what a conflict has left without sides."""
    yield heading(report)
    yield from report.notes


def terminal_style(workspace: Workspace | None, wish: Wish) -> Style:
    """Width and colours as the terminal, ``NO_COLOR`` and Git's configuration have them."""
    width = shutil.get_terminal_size((80, 24)).columns
    return Style(width, _colours(workspace), wish.expand, wish.sort, wish.top)


def _colours(workspace: Workspace | None) -> bool:
    """Whether to write colours; below a pager standard output is no terminal, and the pager's say counts."""
    if os.environ.get("NO_COLOR"):
        return False
    place: Path | None = workspace.repository.root if workspace else None
    terminal = sys.stdout.isatty()
    try:
        if not terminal and IN_USE in os.environ:
            answer = ask_git("config", "--type=bool", "--default=true", "--get", "color.pager", cwd=place)
            terminal = answer.strip() == b"true"
            if not terminal:
                del os.environ[IN_USE]  # git config would take it for a terminal that wants colours
        terminal = terminal and os.environ.get("TERM", "dumb") != "dumb"
        answer = ask_git("config", "--get-colorbool", "color.diff", str(terminal).lower(), cwd=place, codes=(0, 1))
    except (GitFailed, GitNotFound):
        return terminal
    return answer.strip() == b"true"
