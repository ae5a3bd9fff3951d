"""``git theta pre-push``: what Git's pre-push hook runs; the push goes on only when every object is there."""

from __future__ import annotations

import sys

import click

from git_theta.cli.sending import send
from git_theta.cli.workspace import Workspace, open_workspace
from git_theta.gitio.process import ask_git
from git_theta.gitio.remotes import remote_address
from git_theta.lfs import Remote, fetch_promised, find_remote, new_objects


@click.command("pre-push")
@click.argument("remote")
@click.argument("url", required=False)
def command(remote: str, url: str | None) -> None:
    """Send the objects that a git push needs, before it pushes; read the pushed refs from stdin as Git gives them.

    Keeps no state: what the pushed commits name, less what the commits the remote has name, is sent, and the
    remote is asked which of that it lacks. A failure stops the push.

    Example: echo 'refs/heads/main HEAD refs/heads/main 0000' | git theta pre-push origin
    """
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
        send(workspace, target, needs)
    finally:
        workspace.close()


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
