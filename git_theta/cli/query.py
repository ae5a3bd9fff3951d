"""What ``git theta log --group`` is asked, in words of ``git log``: arguments enter, a query leaves.

What always holds: a word that is neither understood nor a file is refused, never passed over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from git_theta.cli.text import printable
from git_theta.errors import ThetaError
from git_theta.gitio.process import GitFailed, ask_git

_SOURCES = re.compile(r"--(all|(branches|tags|remotes|glob|exclude)(=.*)?)", re.DOTALL)
"""Options that stand for revisions."""
_FILTERS = re.compile(
    r"-i|--((since|after|until|before|author|committer|grep|min-parents|max-parents)=.*"
    r"|regexp-ignore-case|all-match|invert-grep|merges|no-merges)",
    re.DOTALL,
)
"""Options that leave commits out."""
_MOST = re.compile(r"(?:-n?|--max-count=)([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Query:
    """Which commits and files are asked about: at most ``most`` of the commits that ``revisions`` and ``sources``
    reach and ``filters`` let pass; all checkpoints without ``paths``, which are from the current folder."""

    revisions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    most: int | None = None
    oneline: bool = False


class UnknownFile(ThetaError):
    """A path that no commit in question has."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no commit has a file {printable(path)}", hint="git theta ls-files lists the checkpoints")


def parse_query(arguments: Sequence[str], paths: Sequence[str] = ()) -> Query:
    """The query in ``arguments``, and in ``paths``, what stood behind ``--``; raises :class:`click.UsageError`."""
    revisions: list[str] = []
    sources: list[str] = []
    filters: list[str] = []
    places = list(paths)
    most, oneline = None, False
    words = iter(arguments)
    for word in words:
        if count := _MOST.fullmatch(f"-n{next(words, '')}" if word in ("-n", "--max-count") else word):
            most = int(count[1])
        elif word == "--oneline":
            oneline = True
        elif _SOURCES.fullmatch(word):
            sources.append(word)
        elif _FILTERS.fullmatch(word):
            filters.append(word)
        elif word.startswith("-"):
            raise click.UsageError(f"with --group, git log's {word} is not understood")
        elif named := _revisions(word):
            revisions += named
        elif paths or not Path(word).exists():
            raise click.UsageError(f"{word!r} is neither a revision nor a file; a file that is gone follows --")
        else:
            places.append(word)
    heads = [] if revisions or sources else ["HEAD"]
    return Query((*revisions, *heads), tuple(sources), tuple(filters), tuple(places), most, oneline)


def _revisions(word: str) -> list[str]:
    """The commits that a revision or a range names, as rev-list takes them; none for what is no revision."""
    try:
        return ask_git("rev-parse", "--revs-only", word).decode().split()
    except GitFailed:
        return []
