"""Objects to a remote, for ``git theta push`` and for the hook behind plain ``git push``."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from git_theta.cli.output import warn
from git_theta.cli.text import human, plural, printable
from git_theta.cli.workspace import Workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.remotes import remote_address
from git_theta.lfs import LocalEnd, Need, RefRefused, Remote, announce, end_of
from git_theta.model import Oid


class NotEverywhere(ThetaError):
    """An object that is to be pushed is neither here nor on the remote."""

    exit_code = Exit.MISSING


def send(workspace: Workspace, remote: Remote, needs: Mapping[Oid, Need]) -> int:
    """Make sure that ``remote`` has every object in ``needs``; returns how many bytes were offered.

    Raises :class:`NotEverywhere` or :class:`TransferFailed` when it will not have one of them.
    """
    if not needs:
        return 0
    end = end_of(workspace.repository, remote, terminal())
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
    end.send(workspace.store, here)
    if workspace.settings.objects_ref and not isinstance(end, LocalEnd):
        try:
            root = workspace.repository.root
            address = remote_address(root, remote.name, remote.url)
            announce(root, address, (need.stored for need in needs.values()), workspace.store.tmp)
        except RefRefused as refusal:
            warn(str(refusal), refusal.hint)
    return sum(stored.size for stored in here)


def terminal() -> int | None:
    """Where git-lfs may draw its progress: stderr, when that is a terminal."""
    return sys.stderr.fileno() if sys.stderr.isatty() else None


def told(needs: Mapping[Oid, Need], remote: Remote) -> str:
    """What was done, as one line."""
    size = sum(need.stored.size for need in needs.values())
    return f"{plural(len(needs), 'object')} ({human(size)}) on {remote.name}"
