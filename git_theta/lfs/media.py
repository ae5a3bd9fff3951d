"""The files of git-lfs itself: where it keeps them here, and how those that are not here come.

Its folder has the layout of our own store, so a :class:`~git_theta.store.Store` reads and writes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.gitio.process import ask_git
from git_theta.gitio.remotes import borrowed_folders, lfs_url, local_folder, remote_url, transfer_agent
from git_theta.gitio.repository import Repository, find_repository
from git_theta.lfs.ends import End, LocalEnd
from git_theta.lfs.git_lfs import GitLfsEnd
from git_theta.lfs.remotes import preferred_remotes
from git_theta.model import Oid, StoredObject
from git_theta.store import Store


def media_store(repository: Repository, *, elsewhere: bool = False) -> Store:
    """Where git-lfs keeps files for this repository (``lfs.storage``, by default ``lfs`` in the Git folder)."""
    question = ("config", "--type=path", "--get", "lfs.storage")
    answer = ask_git(*question, cwd=repository.root, codes=(0, 1), elsewhere=elsewhere)
    return Store(repository.common_dir / (os.fsdecode(answer).removesuffix("\n") or "lfs"))


def bring_media(
    repository: Repository, media: Store, objects: Iterable[StoredObject], terminal: int | None = None
) -> dict[Oid, str]:
    """Get ``objects`` into ``media``, by ``git lfs fetch`` where no folder has them; why for each that failed."""
    missing = [stored for stored in objects if not media.has(stored.oid, stored.size)]
    reasons = {stored.oid: "not here, and there is no remote to ask" for stored in missing}
    for name, find in _ends(repository, terminal):
        if not missing:
            break
        try:
            reasons.update(find().receive(media, missing))
        except (ThetaError, OSError) as error:
            reasons.update({stored.oid: f"{name}: {error}" for stored in missing})
        missing = [stored for stored in missing if not media.has(stored.oid, stored.size)]
    return {stored.oid: reasons[stored.oid] for stored in missing}


def _ends(repository: Repository, terminal: int | None) -> Iterator[tuple[str, Callable[[], End]]]:
    """Names of places to ask, each with the way to get at it, which may raise."""
    root = repository.root
    for folder in borrowed_folders(repository.common_dir):
        yield str(folder), partial(_folder_end, str(folder), folder)
    for name in preferred_remotes(root):
        place = local_folder(root, lfs_url(root, name) or remote_url(root, name))
        if place is not None and transfer_agent(root) is None:
            yield name, partial(_folder_end, name, place)
        else:
            yield name, partial(GitLfsEnd, name, root, terminal=terminal)


def _folder_end(name: str, folder: Path) -> End:
    """The files git-lfs keeps in another repository of this machine."""
    return LocalEnd(name, media_store(find_repository(folder, elsewhere=True), elsewhere=True))
