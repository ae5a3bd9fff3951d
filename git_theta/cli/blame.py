"""``git theta blame``: the commit that last changed each parameter group of a checkpoint.

A group goes on from a commit to the parent that has the same value of it, under the same name or the one it was
renamed from; where no parent has it, the commit is the answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import click

from git_theta.cli.ancestry import Ancestry, Commit, describe, from_root, kept
from git_theta.cli.output import emit_json
from git_theta.cli.pager import paged
from git_theta.cli.receiving import require_names
from git_theta.cli.text import printable, table, typed
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.diff import matching
from git_theta.diff.fold import fold
from git_theta.errors import ThetaError
from git_theta.manifest import DamagedManifest, ManifestFromNewerVersion, looks_like_manifest, parse

_SHORT = 10
_Names = dict[str, list[str]]
"""A name at some commit, to the names that these groups have where the search began."""


class NothingToBlame(ThetaError):
    """There is no checkpoint of that name in that revision."""


@click.command("blame")
@click.argument("path")
@click.argument("revision", default="HEAD")
@click.option("--group", "groups", multiple=True, metavar="GLOB", help="Only groups whose name matches.")
@click.option("--expand", is_flag=True, help="A line for every group: do not fold repeated layers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(path: str, revision: str, groups: tuple[str, ...], expand: bool, as_json: bool) -> None:
    """Show the commit, date and author that last changed each parameter group of PATH.

    Renames of the file and of groups are followed. PATH is looked at as REVISION (HEAD) has it.

    Example: git theta blame model.safetensors --group 'h.*.attn.*'
    """
    workspace = open_workspace()
    try:
        name = from_root(workspace, path)
        ancestry = Ancestry(workspace, revision)
        blob = ancestry.blob(next(iter(ancestry.parents)), name)
        summary = ancestry.summary(blob)
        if summary is None:
            _require_whole(workspace, blob, name, revision)
            hint = f"git theta ls-files --rev {printable(revision)} lists its checkpoints"
            raise NothingToBlame(f"{printable(name)} is no tracked checkpoint in {printable(revision)}", hint=hint)
        present = [value.group.name for value in summary.values]
        require_names(present, groups)
        names = [group for group in present if matching(group, groups)]
        blamed = _blame(ancestry, name, names)
        commits = describe(list(dict.fromkeys(blamed.values())))
        with paged("blame"):
            if as_json:
                emit_json({"path": name, "groups": [_row(group, commits[blamed[group]]) for group in names]})
            else:
                click.echo(_text(names, blamed, commits, expand))
    finally:
        workspace.close()


def _require_whole(workspace: Workspace, blob: str | None, name: str, revision: str) -> None:
    """Say it of a blob that is a manifest and cannot be read, which is something else than no checkpoint."""
    text = workspace.blobs.get(blob, looks_like_manifest) if blob else None
    if text is None:
        return
    try:
        parse(text)
    except (DamagedManifest, ManifestFromNewerVersion) as error:
        hint = f"git theta blame {typed(name)} {printable(revision)}~1 asks about the version before"
        raise DamagedManifest(f"{printable(name)} in {printable(revision)}: {error}", hint=hint) from None


def _blame(ancestry: Ancestry, path: str, names: Iterable[str]) -> dict[str, str]:
    """Group name to commit."""
    waiting: dict[str, dict[str, _Names]] = defaultdict(lambda: defaultdict(dict))
    waiting[next(iter(ancestry.parents))][path] = {name: [name] for name in names}
    blamed: dict[str, str] = {}
    for commit, parents in ancestry.parents.items():
        for place, wanted in waiting.pop(commit, {}).items():
            left = wanted
            for parent in parents:
                left = _hand_on(ancestry, commit, parent, place, left, waiting) if left else left
            blamed.update((name, commit) for origins in left.values() for name in origins)
    return blamed


def _hand_on(
    ancestry: Ancestry, commit: str, parent: str, path: str, wanted: _Names, waiting: dict[str, dict[str, _Names]]
) -> _Names:
    """Give ``parent`` the groups it has too; returns those it has not."""
    before = path if ancestry.blob(parent, path) else ancestry.source(parent, commit, path)
    old = ancestry.blob(parent, before) if before else None
    if before is None or old is None:
        return wanted
    own = ancestry.blob(commit, path)
    same = None if old == own else kept(ancestry.summary(old), ancestry.summary(own))
    left: _Names = {}
    for name, origins in wanted.items():
        source = name if same is None else same.get(name)
        if source is None:
            left[name] = origins
        else:
            waiting[parent][before].setdefault(source, []).extend(origins)
    return left


def _row(group: str, commit: Commit) -> dict[str, str]:
    return {
        "group": group,
        "commit": commit.id,
        "author": commit.author,
        "date": commit.date,
        "subject": commit.subject,
    }


def _text(names: list[str], blamed: dict[str, str], commits: dict[str, Commit], expand: bool) -> str:
    if expand:
        lines = [(name, [name]) for name in names]
    else:
        lines = fold(names, lambda name: name, lambda name: blamed[name])
    rows = []
    for pattern, members in lines:
        commit = commits[blamed[members[0]]]
        count = f" ({len(members):,})" if len(members) > 1 else ""
        rows.append((commit.id[:_SHORT], commit.date, printable(commit.author), f"{printable(pattern)}{count}"))
    return table(("commit", "date", "author", "group"), rows)
