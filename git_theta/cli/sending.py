"""Objects to a remote, for ``git theta push`` and for the hook behind plain ``git push``."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from git_theta.cli.output import warn
from git_theta.cli.text import human, plural, printable
from git_theta.cli.workspace import Workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.remotes import remote_address
from git_theta.lfs import End, LocalEnd, Need, RefRefused, Remote, end_of
from git_theta.lfs import announce as grow_ref
from git_theta.model import Oid, StoredObject


class NotEverywhere(ThetaError):
    """An object that is to be pushed is neither here nor on the remote."""

    exit_code = Exit.MISSING


def send(workspace: Workspace, remote: Remote, needs: Mapping[Oid, Need], *, thorough: bool = False) -> bool:
    """Make sure that ``remote`` has every object in ``needs``; whether its ref of objects is to name them.

    A store on a path has no use for the ref; with ``thorough``, it is read, and what is damaged there replaced.

    Raises :class:`NotEverywhere` or :class:`TransferFailed` when it will not have one of them.
    """
    if not needs:
        return False
    end = end_of(workspace.repository, remote, terminal())
    end.send(workspace.store, _sendable(workspace, remote, end, needs), thorough=thorough)
    return workspace.settings.objects_ref and not isinstance(end, LocalEnd)


def announce(workspace: Workspace, remote: Remote, needs: Mapping[Oid, Need], *, mirror: bool = False) -> None:
    """Have the remote's ref of objects name ``needs``, where hosts look for it; ``mirror`` as for :mod:`lfs`.

    A host that refuses costs a warning.
    """
    root = workspace.repository.root
    try:
        address = remote_address(root, remote.name, remote.url)
        grow_ref(root, address, (need.stored for need in needs.values()), workspace.store.tmp, mirror=mirror)
    except RefRefused as refusal:
        warn(str(refusal), refusal.hint)


def rehearse(workspace: Workspace, remote: Remote, needs: Mapping[Oid, Need]) -> None:
    """Raise what :func:`send` would raise for an object that is nowhere; nothing is sent."""
    if needs:
        _sendable(workspace, remote, end_of(workspace.repository, remote, terminal()), needs)


def _sendable(workspace: Workspace, remote: Remote, end: End, needs: Mapping[Oid, Need]) -> list[StoredObject]:
    """Those of ``needs`` that are here; the others must be on ``remote``, or :class:`NotEverywhere` is raised."""
    here = [need.stored for need in needs.values() if workspace.store.has(need.stored.oid, need.stored.size)]
    present = {stored.oid for stored in here}
    absent = [need for oid, need in needs.items() if oid not in present]
    if absent:
        lacking = end.lacks([need.stored for need in absent])
        gone = [need for need in absent if need.stored.oid in lacking]
        if gone:
            raise NotEverywhere(
                f"{plural(len(gone), 'object')} of {printable(gone[0].path)} "
                f"({gone[0].stored.oid}) neither here nor on {remote.name}",
                hint="nothing was pushed. Bring them here first: git theta fetch --all; "
                "or, where the file is whole: git add --renormalize PATH",
            )
    return here


def terminal() -> int | None:
    """Where git-lfs may draw its progress: stderr, when that is a terminal."""
    return sys.stderr.fileno() if sys.stderr.isatty() else None


def told(needs: Mapping[Oid, Need], remote: Remote) -> str:
    """What was done, as one line."""
    size = sum(need.stored.size for need in needs.values())
    return f"{plural(len(needs), 'object')} ({human(size)}) on {remote.name}"
