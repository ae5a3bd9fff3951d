"""``git theta track``: hand the files of a pattern to git-theta, or list the patterns that are handed over."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

import click

from git_theta.cli import drivers
from git_theta.cli.hooks import ensure_hooks
from git_theta.cli.output import emit_json, warn
from git_theta.cli.patterns import NAME, Folder, all_files, as_pattern, candidate, current_folder
from git_theta.cli.text import plural
from git_theta.cli.tracked import CONVERTING
from git_theta.cli.workspace import open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio import ask_git, find_repository
from git_theta.gitio.attributes import (
    MERGE_POLICY,
    OURS,
    BadPattern,
    check_attributes,
    filter_of,
    is_tracked,
    merge_policy_of,
    track,
    tracked_patterns,
)
from git_theta.gitio.files import attribute_files

NO_FILTER = {"theta", "unspecified", "unset", "set"}
"""What Git answers for files that go through no filter but ours; a filter without a name does nothing."""
FORBIDDEN = (".gitattributes", ".gitignore", ".gitmodules", ".lfsconfig")
"""Files that Git and git-lfs read themselves, and would read as manifests."""
SHOWN_FILES = 3
ALREADY = "already tracked"


class OtherFilter(ThetaError):
    """Files that match already go through another filter."""


class NoAttribute(ThetaError):
    """A merge policy that a line of attributes cannot hold."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Change:
    """One pattern: what was done, the files it matches (from the root), and those in the index as they are."""

    pattern: bytes
    status: str
    files: tuple[str, ...]
    plain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run did, or with ``dry_run`` would do; ``installed`` is the configuration file that was written."""

    file: str
    changes: tuple[Change, ...]
    installed: str | None
    todo: tuple[str, ...]
    dry_run: bool


@click.command("track")
@click.argument("patterns", nargs=-1)
@click.option("--filename", is_flag=True, help="Take each PATTERN as the name of one file, wildcards included.")
@click.option("--replace", is_flag=True, help="Take files over from another filter, such as lfs.")
@click.option(
    "--merge", metavar="S[:PARAMS]", help="How a merge combines groups that both sides changed, for everybody."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def command(
    patterns: tuple[str, ...], filename: bool, replace: bool, merge: str | None, dry_run: bool, as_json: bool
) -> int:
    """Version the files that match PATTERN, parameter group by parameter group.

    Writes each PATTERN into the .gitattributes file of the current folder, where it means what Git makes of it.
    Quote patterns, or the shell expands them. Without PATTERN, lists the tracked patterns of the repository.

    Example: git theta track '*.safetensors' 'models/my model.pt'
    """
    words = _words(merge)
    if not patterns and (filename or replace or merge is not None):
        lacking = f"--merge {shlex.quote(merge)}" if merge is not None else "--replace" if replace else "--filename"
        raise click.UsageError(f"no PATTERN to track; type: git theta track {lacking} '*.safetensors'")
    if not patterns:
        return _list(as_json)
    folder = current_folder()
    before = text = folder.text()
    paths = all_files(folder)
    changes = []
    for typed in patterns:
        change = _plan(folder, text, as_pattern(folder, typed, filename), paths, replace, words)
        text = track(text, change.pattern, words)
        changes.append(change)
    installed = None
    if not dry_run:
        installed = _install_if_needed()
        workspace = open_workspace()
        ensure_hooks(workspace.repository)
        workspace.register()
        if text != before:
            folder.write(text)
    todo = _next_commands(folder, changes)
    outcome = Outcome(folder.from_root(NAME), tuple(changes), installed, tuple(todo), dry_run)
    (_report_json if as_json else _report)(outcome)
    if not dry_run:
        _warn_about_overridden(folder, changes, words)
    return Exit.OK


def _words(merge: str | None) -> dict[bytes, bytes]:
    """The attributes to write, with the strategy that a team agrees on; raises :class:`NoAttribute`."""
    if merge is None:
        return OURS
    from git_theta.gitio.config import MERGE
    from git_theta.merge.plan import parse_choice, parse_policy

    policy = parse_policy(merge, parse_choice(MERGE.default())).text
    wrong = next((letter for letter in policy if letter in "\"'" or letter.isspace() or not letter.isprintable()), None)
    if wrong:
        raise NoAttribute(
            f"a line of {NAME} cannot hold the policy {policy!r}: {wrong!r} is in it",
            hint="in a pattern, ? stands for any one character",
        )
    return {**OURS, MERGE_POLICY: MERGE_POLICY + b"=" + policy.encode()}


def _plan(
    folder: Folder, text: bytes, pattern: bytes, paths: list[str], replace: bool, words: dict[bytes, bytes]
) -> Change:
    """What tracking this pattern changes; raises :class:`OtherFilter` unless ``replace`` allows it."""
    for path in folder.matches(pattern, map(folder.from_root, FORBIDDEN)):
        raise BadPattern(
            f"{os.fsdecode(pattern)} matches {path}, which Git must be able to read",
            hint="name the checkpoints more closely, such as '*.safetensors'",
        )
    guess = folder.from_root(candidate(pattern))
    matched = folder.matches(pattern, dict.fromkeys([*paths, guess]))
    filters = folder.filters(matched)
    named = filter_of(text, pattern)
    files = tuple(path for path in matched if path in set(paths))
    shown = {path: path if path in files else os.fsdecode(pattern) for path in matched}
    other = {shown[path]: name for path, name in filters.items() if name not in NO_FILTER}
    if named not in (None, b"theta"):
        other.setdefault(os.fsdecode(pattern), os.fsdecode(named or b""))
    if other and not replace:
        path, name = next(iter(other.items()))
        raise OtherFilter(
            f"{path} already goes through filter={name}",
            hint=f"to take it over: git theta track --replace {shlex.quote(os.fsdecode(pattern))}",
        )
    if is_tracked(text, pattern, words):
        return Change(pattern, ALREADY, files, ())
    cached = set(folder.files("--cached"))
    plain = tuple(path for path in files if path in cached and filters[path] != "theta")
    return Change(pattern, "replaced" if other else "tracked", files, plain)


def _install_if_needed() -> str | None:
    """Register the drivers for this repository where none are in force; the file that was written."""
    if "filter.theta.process" in drivers.configured():
        return None
    drivers.write("local")
    return drivers.file_of("local")


def _next_commands(folder: Folder, changes: list[Change]) -> list[str]:
    """What to type so that Git sees the new attributes and the files."""
    plain = [path for change in changes for path in change.plain]
    fresh = [path for change in changes if change.status != ALREADY for path in change.files]
    fresh = [path for path in dict.fromkeys(fresh) if path not in set(plain)]
    commands = ["git add " + " ".join([NAME, *_shown(folder, fresh, changes)])]
    if plain:
        commands.append("git add --renormalize -- " + " ".join(_shown(folder, plain, changes)))
    return commands


def _shown(folder: Folder, paths: list[str], changes: list[Change]) -> list[str]:
    """A few files by name, many by their patterns."""
    if len(paths) <= SHOWN_FILES:
        return [folder.shown(path) for path in paths]
    return [shlex.quote(os.fsdecode(change.pattern).lstrip("/")) for change in changes if change.files]


def _report(outcome: Outcome) -> None:
    would = "would be " if outcome.dry_run else ""
    for change in outcome.changes:
        done = change.status if change.status == ALREADY else would + change.status
        count = plural(len(change.files), "file")
        click.echo(os.fsencode(f"{os.fsdecode(change.pattern)}: {done} in {outcome.file} ({count})"))
    if outcome.installed:
        click.echo(f"wrote the theta filter, diff and merge drivers to {outcome.installed} (local)")
    plain = sum(len(change.plain) for change in outcome.changes)
    if plain:
        warn(f"{plural(plain, 'matching file')} in the index as before, until they are added again")
    if not outcome.dry_run:
        click.echo(os.fsencode("next: " + "\n      ".join(outcome.todo)))


def _report_json(outcome: Outcome) -> None:
    emit_json(
        {
            "file": outcome.file,
            "patterns": [
                {
                    "pattern": os.fsdecode(change.pattern),
                    "status": change.status,
                    "files": change.files,
                    "renormalize": change.plain,
                }
                for change in outcome.changes
            ],
            "installed": outcome.installed,
            "next": outcome.todo,
            "dry_run": outcome.dry_run,
        }
    )


def _warn_about_overridden(folder: Folder, changes: list[Change], words: dict[bytes, bytes]) -> None:
    """Name the files that Git still gives to something else, because a later or deeper line wins."""
    paths = [path for change in changes for path in change.files]
    found = check_attributes(paths, ["filter", "text", MERGE_POLICY.decode()], folder.root)
    _warn_about("filter", {path: f["filter"] for path, f in found.items() if f["filter"] != "theta"})
    _warn_about("text", {path: f["text"] for path, f in found.items() if f["text"] in CONVERTING})
    if MERGE_POLICY in words:
        name, _, policy = words[MERGE_POLICY].decode().partition("=")
        _warn_about(name, {path: f[name] for path, f in found.items() if f[name] != policy})


def _warn_about(attribute: str, lost: dict[str, str]) -> None:
    if lost:
        path, value = next(iter(lost.items()))
        warn(
            f"{path}{f' and {len(lost) - 1:,} more' if len(lost) > 1 else ''}: {attribute} is still {value}, "
            "because another line wins",
            f"a later line of the same file, a {NAME} deeper down and info/attributes win over this one",
        )


def _list(as_json: bool) -> int:
    """Every tracked pattern of the worktree, with the file it stands in and how merges combine."""
    repository = find_repository()
    sources = [(name, repository.root / name) for name in attribute_files(repository.root)]
    info = os.fsdecode(ask_git("rev-parse", "--path-format=absolute", "--git-path", "info/attributes").rstrip(b"\n"))
    sources.append((os.path.relpath(info, repository.root), repository.root / info))
    texts = [(name, path.read_bytes()) for name, path in sources if path.is_file()]
    found = [
        {"pattern": os.fsdecode(pattern), "source": name, "merge": os.fsdecode(policy) if policy else None}
        for name, text in texts
        for pattern in tracked_patterns(text)
        for policy in [merge_policy_of(text, pattern)]
    ]
    if as_json:
        emit_json({"patterns": found})
    elif found:
        click.echo("Tracked patterns")
        for one in found:
            merged = f", merged by {one['merge']}" if one["merge"] else ""
            click.echo(os.fsencode(f"    {one['pattern']} ({one['source']}){merged}"))
    else:
        click.echo("no patterns are tracked; to begin: git theta track '*.safetensors'")
    return Exit.OK
