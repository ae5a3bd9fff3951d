"""``git theta fsck``: every manifest Git can reach, and every object in the store, looked at byte by byte."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial

import click

from git_theta.cli.fsck_remote import check_remote
from git_theta.cli.progress import Progress
from git_theta.cli.text import plural, printable
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.errors import Exit, ThetaError
from git_theta.lfs.keep import CHECKED_OUT, UNPUSHED, Place, needed
from git_theta.lfs.reach import EVERYTHING, manifest_texts
from git_theta.manifest import parse
from git_theta.model import Digest, Entry, Oid, Skeleton, Where
from git_theta.store import DamagedObject, MissingObject, Store


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: an object or a manifest, what it is, and whom it concerns."""

    what: str
    oid: str
    concerns: list[str]


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    manifests: int = 0
    objects: int = 0
    unreferenced: int = 0
    on_remotes: int = 0
    drafts: int = 0
    findings: list[Finding] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)


@click.command("fsck")
@click.option("--dry-run", is_flag=True, help="Leave damaged objects where they are.")
@click.option(
    "--remote",
    metavar="[NAME]",
    is_flag=False,
    flag_value="",
    help="Check a remote instead: whether it has every object that what was pushed to it names.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dry_run: bool, remote: str | None, as_json: bool) -> int:
    """Verify every manifest in the index, in any branch, tag, stash or reflog, and every stored object.

    An object whose bytes are wrong is moved to theta/corrupt/, so that adding the file again, or fetching,
    puts a good one in its place. Exits with 4 when something is damaged, 5 when objects are only missing.

    Example: git theta fsck --remote origin
    """
    workspace = open_workspace()
    try:
        if remote is not None:
            return check_remote(workspace, remote or None, as_json)
        report = _check(workspace, dry_run)
    finally:
        workspace.close()
    click.echo(json.dumps(asdict(report), indent=2) if as_json else _text(report))
    if not report.findings:
        return Exit.OK
    return Exit.MISSING if all(finding.what == "missing" for finding in report.findings) else Exit.DAMAGED


def _check(workspace: Workspace, dry_run: bool) -> Report:
    report = Report()
    sizes: dict[Oid, int] = {}
    users: dict[Oid, list[str]] = {}
    values: dict[tuple[Digest, Where], tuple[str, str, Entry | Skeleton]] = {}
    for path, blob, text in manifest_texts(workspace.repository.root, workspace.blobs, EVERYTHING):
        report.manifests += 1
        name = f"{printable(path)} (blob {blob[:12]})"
        try:
            manifest = parse(text)
        except ThetaError as error:
            report.findings.append(Finding("damaged manifest", name, [str(error)]))
            continue
        sizes.update((stored.oid, stored.size) for stored in manifest.objects)
        for group, value in manifest.values():
            values.setdefault((value.digest, value.where), (name, group, value))
            for oid in _oids(value.where):
                users.setdefault(oid, []).append(f"{printable(group)} of {name}")
    bad = _check_objects(workspace, report, sizes, users)
    _check_values(workspace, report, values, bad)
    report.drafts = sum(1 for _ in workspace.store.tmp.glob("draft-*")) if workspace.store.tmp.is_dir() else 0
    for oid in bad:
        workspace.catalogue.distrust(oid)
        if not dry_run and workspace.store.stat(oid):
            workspace.store.quarantine(oid)
            report.moved.append(oid)
    return report


def _check_objects(
    workspace: Workspace, report: Report, sizes: dict[Oid, int], users: dict[Oid, list[str]]
) -> set[Oid]:
    """Compare each object's bytes with its name; returns those that cannot be used."""
    here = dict(workspace.store.oids())
    report.objects = len(here)
    report.unreferenced = len(here.keys() - sizes.keys())
    bad = set(sizes.keys() - here.keys())
    missing = _must_be_here(workspace, bad) if bad else bad
    report.on_remotes = len(bad - missing)
    report.findings += [Finding("missing", oid, users.get(oid, [])) for oid in sorted(missing)]
    with Progress("fsck", sum(here.values())) as progress, ThreadPoolExecutor(workspace.settings.threads) as pool:
        for oid, found in zip(here, pool.map(partial(_wrong, workspace.store), here), strict=True):
            progress.advance(here[oid])
            wrong = found
            if found in (None, "damaged") and here[oid] != sizes.get(oid, here[oid]):
                wrong = f"truncated: {here[oid]:,} bytes, expected {sizes[oid]:,}"
            if wrong is None:
                continue
            report.findings.append(Finding(wrong, oid, users.get(oid, ["nothing refers to it"])))
            bad.add(oid)
    return bad


def _must_be_here(workspace: Workspace, oids: set[Oid]) -> set[Oid]:
    """Those checked out, staged or on no remote: a clone or a prune leaves older pushed versions to the remote."""
    try:
        needs = needed(Place.of(workspace.repository))
    except ThetaError:  # a manifest of a newer version, which is a finding of its own
        return oids
    return oids & (needs[CHECKED_OUT] | needs[UNPUSHED])


def _wrong(store: Store, oid: Oid) -> str | None:
    """What is wrong with an object's bytes, if anything is."""
    try:
        return None if store.sha256(oid) == oid else "damaged"
    except MissingObject:
        return None  # another process is pruning
    except DamagedObject as damage:
        return str(damage).removeprefix(f"object {oid} is ")


def _check_values(
    workspace: Workspace,
    report: Report,
    values: dict[tuple[Digest, Where], tuple[str, str, Entry | Skeleton]],
    bad: set[Oid],
) -> None:
    """Decode what the manifests name, once each; objects already found bad are not reported twice."""
    for (_, where), (name, group, value) in values.items():
        if bad & set(_oids(where)):
            continue
        try:
            for _ in workspace.reader.value(group, value):
                pass
        except ThetaError as error:
            oids = ", ".join(_oids(where)) or "inline"
            report.findings.append(Finding("does not hold what the manifest says", oids, [f"{name}: {error}"]))


def _oids(where: Where) -> list[Oid]:
    return [slot.oid for slot in where] if isinstance(where, tuple) else []


def _text(report: Report) -> str:
    lines = []
    for finding in report.findings:
        lines.append(f"{finding.what}: {finding.oid}")
        lines += [f"    {concern}" for concern in finding.concerns[:5]]
        if len(finding.concerns) > 5:
            lines.append(f"    and {len(finding.concerns) - 5:,} more")
    if report.moved:
        lines.append(f"moved {plural(len(report.moved), 'damaged object')} to theta/corrupt/")
    if report.on_remotes:
        count = plural(report.on_remotes, "object")
        lines.append(f"{count} of pushed versions not here; git theta fsck --remote asks the remote for them")
    if report.drafts:
        lines.append(f"{plural(report.drafts, 'unfinished object')} of interrupted commands in theta/tmp/, harmless")
    seen = f"{plural(report.manifests, 'manifest')} and {plural(report.objects, 'object')} checked"
    if not report.findings:
        return "\n".join([*lines, f"{seen}, all good"])
    return "\n".join(
        [
            *lines,
            f"{seen}, {plural(len(report.findings), 'problem')}",
            "where the file is whole in a worktree: git add --renormalize PATH stores it again; else: git theta fetch",
        ]
    )
