"""One migration from beginning to end: a job enters; new objects, refs and worktrees are the result.

What always holds: everything new is written before the first ref moves; what stops a migration before that leaves
refs, index and files as they were.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from git_theta.cli import drivers
from git_theta.cli.checkout import write_all
from git_theta.cli.hooks import ensure_hooks
from git_theta.cli.output import warn
from git_theta.cli.progress import Progress
from git_theta.cli.sending import terminal
from git_theta.cli.track import FORBIDDEN
from git_theta.cli.tracked import tracked
from git_theta.errors import ThetaError
from git_theta.gitio.attributes import BadPattern
from git_theta.gitio.matcher import Matcher
from git_theta.gitio.objects import Objects, id_width
from git_theta.gitio.packs import Ids, Packer, Sink
from git_theta.gitio.worktrees import Worktree, follow, unfinished, worktrees
from git_theta.lfs import Supply, bring_media, media_store

if TYPE_CHECKING:
    from git_theta.cli.workspace import Workspace
    from git_theta.migrate import Conversion, Place, Rewritten, Survey, Target
    from git_theta.model import Manifest
    from git_theta.tensors.writer import Content

_AS_MANIFESTS = ("-c", "filter.theta.process=", "-c", "filter.theta.required=false")
"""No filter, and none needed: Git writes manifests as they are, and we complete them without Git's memory."""


class UnfinishedWork(ThetaError):
    """A worktree holds work that a migration in place would run over."""


class WorktreeLeftBehind(ThetaError):
    """The history was migrated, and a worktree could not be brought to it."""


@dataclass(frozen=True, slots=True)
class Job:
    """What was asked for: ``forms`` are the options that say from what to what, without dashes.

    ``names`` are full ref names, none for all branches and tags.
    """

    forms: frozenset[str]
    patterns: tuple[bytes, ...]
    names: tuple[str, ...]
    in_place: bool
    map_file: Path | None
    dry_run: bool

    @property
    def exports(self) -> bool:
        """Whether manifests are what goes."""
        return not self.forms.isdisjoint({"to-lfs", "to-blobs"})

    def expects(self, filter_name: str) -> bool:
        """Whether this is the filter that a converted file should go through."""
        if "to-blobs" in self.forms:
            return filter_name != "theta"
        return filter_name == ("lfs" if self.exports else "theta")


@dataclass(frozen=True, slots=True)
class Report:
    """What was done, or in a dry run would be: ``moved`` has the refs that change and their new values.

    ``left_out`` are remote branches with commits that no branch or tag here reaches.
    """

    survey: Survey
    rewritten: Rewritten
    moved: Mapping[Target, str]
    left_out: Sequence[str]


def migrate(workspace: Workspace, job: Job) -> Report:
    """Everything is written before the first ref moves."""
    from git_theta.migrate import Rewriter, Source, Survey, find_targets, history, remote_branches_without

    root = workspace.repository.root
    targets = find_targets(root, job.names, in_place=job.in_place)
    if job.in_place:
        _check_free(workspace)
    width = id_width(root)
    with (
        closing(Objects(root)) as objects,
        closing(Matcher(root, job.patterns)) as matcher,
        closing(Packer(root, workspace.store.tmp, width)) as packer,
    ):
        _check_patterns(job, matcher)
        source = Source(objects, width, job.patterns, matcher)
        conversion = _conversion(workspace, job, objects, packer)
        survey, commits = Survey(source, conversion), history(root, targets)
        for commit in commits:
            survey.visit(commit)
        survey.check()
        if not job.dry_run:
            conversion.gather()
        sink = Ids(width) if job.dry_run else packer
        convert = partial(_pretended, sink) if job.dry_run else conversion.convert
        rewriter = Rewriter(source, survey, conversion, convert, sink)
        with Progress("migrate", survey.bytes) as progress:
            workspace.progress = progress.advance
            for commit in commits:
                rewriter.commit(commit)
        moved = {target: new for target in targets if (new := rewriter.ref(target.oid)) != target.oid}
        left_out = [] if job.names else remote_branches_without(root, set(commits))
        report = Report(survey, rewriter.result, moved, left_out)
        if moved and not job.dry_run:
            packer.flush()
            _publish(workspace, job, report)
            _warn_about_other_filters(workspace, job, report, matcher)
    return report


def _pretended(sink: Sink, blob: str, _place: Place) -> str:
    """An id that stands for a conversion nobody made."""
    return sink.add(b"blob", b"instead of " + blob.encode())


def _check_patterns(job: Job, matcher: Matcher) -> None:
    for name in FORBIDDEN:
        for number in matcher.matching(name.encode()):
            raise BadPattern(
                f"{os.fsdecode(job.patterns[number])} matches {name}, which Git must be able to read",
                hint="name the checkpoints more closely, such as '*.safetensors'",
            )


def _check_free(workspace: Workspace) -> None:
    """Raise unless every worktree can be moved and no earlier migration's refs would be lost."""
    from git_theta.migrate import check_originals

    check_originals(workspace.repository.root)
    for worktree in worktrees(workspace.repository):
        why = unfinished(worktree, [".gitattributes"])
        if why:
            raise UnfinishedWork(
                f"{worktree.path}: {why}, and --in-place would run over it",
                hint="nothing was changed; commit or stash first, or leave --in-place out",
            )


def _conversion(workspace: Workspace, job: Job, objects: Objects, packer: Packer) -> Conversion:
    """What is to become of each file, with everything it needs from this repository."""
    from git_theta.migrate import Export, Import, to_blob, to_pointer

    media = media_store(workspace.repository)
    if job.exports:
        supply = Supply(workspace.repository, workspace.store, terminal=terminal())
        stream = partial(_stream, workspace)
        to_lfs = "to-lfs" in job.forms
        write = partial(to_pointer, stream=stream, media=media, sink=packer)
        if not to_lfs:
            write = partial(to_blob, stream=stream, packer=packer)
        return Export(objects, workspace.store, write, to_lfs=to_lfs, bring=supply.bring)
    return Import(
        objects,
        packer,
        _Cleaning(workspace).clean,
        media=media if "from-lfs" in job.forms else None,
        blobs="from-blobs" in job.forms,
        bring=lambda missing: bring_media(workspace.repository, media, missing, terminal()),
    )


def _stream(workspace: Workspace, manifest: Manifest) -> Iterator[memoryview]:
    return workspace.smudger.stream(manifest)


class _Cleaning:
    """Cleans files of history as the filter would have, each after the version before it."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._latest: dict[bytes, Manifest] = {}
        self._warned: set[bytes] = set()

    def clean(self, path: bytes, content: Content) -> bytes:
        from git_theta.manifest import parse

        name = os.fsdecode(path)
        cleaned = self._workspace.cleaner.clean(
            content,
            priors=lambda: [self._latest[path]] if path in self._latest else [],
            forced_format=self._workspace.formats.get(name),
        )
        if cleaned.warning and path not in self._warned:
            self._warned.add(path)
            warn(f"{name}: {cleaned.warning}")
        if cleaned.manifest:
            self._latest[path] = parse(cleaned.manifest)
        return cleaned.manifest


def _publish(workspace: Workspace, job: Job, report: Report) -> None:
    """Write the map, move the refs, and let the worktrees follow."""
    from git_theta.migrate import move_refs

    if not job.exports:
        if "filter.theta.process" not in drivers.configured():
            drivers.write("local")
        ensure_hooks(workspace.repository)
    if job.in_place:
        _check_free(workspace)  # it may have been a long time
    if job.map_file:
        _write_map(job.map_file, report.rewritten.changed)
    move_refs(workspace.repository.root, report.moved, in_place=job.in_place)
    if job.in_place:
        names = {target.name for target in report.moved}
        for worktree in worktrees(workspace.repository):
            if worktree.branch in names:
                _follow(workspace, job, worktree)


def _write_map(file: Path, changed: Mapping[str, str]) -> None:
    """One line ``old new`` per commit, the oldest first, as ``git notes copy --stdin`` reads it."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        fresh.write_text("".join(f"{old} {new}\n" for old, new in changed.items()), encoding="ascii", newline="\n")
        os.replace(fresh, file)
    finally:
        fresh.unlink(missing_ok=True)


def _follow(workspace: Workspace, job: Job, worktree: Worktree) -> None:
    """Bring a worktree to its branch's new commit; checkpoints of ours are written directly."""
    direct = worktree.ours and not job.exports
    try:
        follow(worktree, *(_AS_MANIFESTS if direct else ()))
    except ThetaError as error:
        raise WorktreeLeftBehind(
            f"the history is migrated; {worktree.path} is not yet at its branch: {error}",
            hint=f"mend that, then in {worktree.path}: git reset --hard",
        ) from None
    if direct and not workspace.settings.skip_smudge:
        write_all(workspace, tracked(workspace, [":/"]), force=False)


def _warn_about_other_filters(workspace: Workspace, job: Job, report: Report, matcher: Matcher) -> None:
    """Name the files that another line of a .gitattributes file still gives to another filter."""
    from git_theta.migrate import filters_at

    for target, new in report.moved.items():
        found = filters_at(workspace.repository.root, new, matcher, workspace.store.tmp) if target.is_branch else {}
        lost = [(path, name) for path, name in found.items() if not job.expects(name)]
        if lost:
            path, name = lost[0]
            more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
            warn(
                f"{target.moved(job.in_place)}: {path}{more} still has filter={name}, because another line wins",
                "migrate again with that line's own pattern, or change the line in a commit on top",
            )
