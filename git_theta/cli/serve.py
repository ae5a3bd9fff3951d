"""The long-running filter at work: Git's two pipes enter, answers leave until Git closes them.

The handshake comes before anything else is imported, click included, so that Git never waits for Python.
"""

from __future__ import annotations

from functools import partial
from io import FileIO

from git_theta.cli.output import remedy, warn
from git_theta.errors import Exit, ThetaError
from git_theta.filters.session import Service, Session
from git_theta.gitio.pktline import widen


def serve() -> int:
    """Serve one Git over stdin and stdout until it closes them."""
    widen(0)
    widen(1)
    session = Session(FileIO(0, "rb", closefd=False), FileIO(1, "wb", closefd=False))
    session.handshake()
    from git_theta.cli.filtering import Postponed, clean, smudge_request
    from git_theta.cli.hooks import ensure_hooks
    from git_theta.cli.progress import Progress
    from git_theta.cli.sighting import expected, forget
    from git_theta.cli.workspace import open_workspace

    workspace = open_workspace()
    ensure_hooks(workspace.repository)
    workspace.register()
    with Progress() as progress:
        workspace.progress = progress.advance
        try:
            later = Postponed(workspace)
            session.serve(
                Service(
                    partial(clean, workspace),
                    partial(smudge_request, workspace),
                    later.postpone,
                    later.gather,
                    _complain,
                    progress.rest,
                )
            )
        finally:
            if workspace.seen and not expected():
                forget(workspace)
            workspace.close()
    return Exit.OK


def _complain(path: str, error: Exception) -> None:
    hint = error.hint if isinstance(error, ThetaError) else None
    if isinstance(error, OSError):
        place = error.filename or "the object store"
        warn(f"{path}: {place}: {error.strerror or error}", f"nothing was changed; {remedy(error)}")
    else:
        warn(f"{path}: {error}", hint)
