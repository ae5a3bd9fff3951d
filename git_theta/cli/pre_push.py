"""``git theta pre-push``: what Git's pre-push hook runs; the push goes on only when every object is there."""

from __future__ import annotations

import shlex
import sys

import click

from git_theta.cli.output import warn
from git_theta.cli.sending import announce, rehearse, send, told
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.gitio.caller import calling_push_options
from git_theta.gitio.process import ask_git
from git_theta.gitio.remotes import remote_address
from git_theta.lfs import OBJECTS_REF, Need, Remote, fetch_promised, find_remote, keep, named_objects, new_objects
from git_theta.model import Oid

_DRY = {"--dry-run", "-n"}


@click.command("pre-push")
@click.argument("remote")
@click.argument("url", required=False)
def command(remote: str, url: str | None) -> None:
    """Send the objects that a git push needs, before it pushes; read the pushed refs from stdin as Git gives them.

    Keeps no state: what the pushed commits name, less what the commits the remote has name, is sent, and the
    remote is asked which of that it lacks. A failure stops the push. For git push --dry-run, as far as the options
    of the push can be seen, nothing is sent.

    Example: echo 'refs/heads/main HEAD refs/heads/main 0000' | git theta pre-push origin
    """
    options = calling_push_options()
    updates = [line.split() for line in sys.stdin.read().splitlines() if line.strip()]
    include = [update[1] for update in updates if len(update) == 4 and update[1].strip("0")]
    if not include:
        return
    workspace = open_workspace()
    try:
        target = find_remote(workspace.repository.root, remote, push=True, url=url)
        there = [update[3] for update in updates if len(update) == 4]
        if any(not oid.strip("0") for oid in there):
            # Something is new over there. What we remember of the remote may be of another one, under the same
            # name: only what it says now counts.
            there += _branches(workspace, target)
        there = _known(workspace, there)
        exclude = [f"^{oid}" for oid in there]
        fetch_promised(workspace.repository.root, [*include, *exclude], remote)
        needs = new_objects(workspace.repository.root, workspace.blobs, include, exclude)
        if _DRY.isdisjoint(options) or "--no-dry-run" in options:
            wanted = send(workspace, target, needs)
            mirror = workspace.settings.objects_ref and _mirrors(workspace, target, options)
            if not _is_moved(workspace, target, updates, mirror) and wanted:
                announce(workspace, target, _all(workspace) if mirror else needs, mirror=mirror)
        elif needs:
            rehearse(workspace, target, needs)
            warn(f"a push would make sure of {told(needs, target)}")
    finally:
        workspace.close()


def _is_moved(workspace: Workspace, remote: Remote, updates: list[list[str]], mirror: bool) -> bool:
    """Whether Git itself moves the remote's ref of objects, and would be refused if we had moved it before.

    A mirroring push takes it away unless it is here, and Git does not tell the hook. Then it comes here, so that the
    next such push brings it back.
    """
    root = workspace.repository.root
    if mirror and keep(root, remote_address(root, remote.name, remote.url)):
        warn(
            f"this push takes {OBJECTS_REF} away from {remote.name}, whose clean-up may then not see our objects",
            f"it is here now; to put it back, push again, or: git push {shlex.quote(remote.name)} {OBJECTS_REF}",
        )
        return True
    return any(len(update) == 4 and update[2] == OBJECTS_REF for update in updates)


def _mirrors(workspace: Workspace, remote: Remote, options: set[str]) -> bool:
    """Whether this push makes the remote have the refs that are here and no others."""
    key = ("config", "--type=bool", "--get", f"remote.{remote.name}.mirror")
    asked = ask_git(*key, cwd=workspace.repository.root, codes=(0, 1)) if remote.named else b""
    return "--mirror" in options or asked.strip() == b"true"


def _all(workspace: Workspace) -> dict[Oid, Need]:
    """What every ref names: of earlier pushes, which moved the ref of objects themselves, not all is in it."""
    return named_objects(workspace.repository.root, workspace.blobs, ["--glob=refs/*"])


def _known(workspace: Workspace, oids: list[str]) -> list[str]:
    """Those of the remote's commits that are here."""
    wanted = [oid for oid in oids if oid.strip("0")]
    answer = ask_git(
        "cat-file",
        "--batch-check=%(objectname) %(objecttype)",
        cwd=workspace.repository.root,
        stdin="".join(f"{oid}\n" for oid in wanted).encode(),
    )
    return [line.split(" ")[0] for line in answer.decode().splitlines() if line.endswith((" commit", " tag"))]


def _branches(workspace: Workspace, remote: Remote) -> list[str]:
    """The commits that the remote's branches and tags have."""
    root = workspace.repository.root
    address = remote_address(root, remote.name, remote.url)
    answer = ask_git("ls-remote", "--heads", "--tags", address, cwd=root)
    return [line.split("\t")[0] for line in answer.decode("utf-8", "replace").splitlines()]
