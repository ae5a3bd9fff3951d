"""Where missing objects come from: repositories whose objects Git borrows first, then the remotes in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from git_theta.errors import ThetaError
from git_theta.gitio.repository import Repository
from git_theta.lfs.ends import End
from git_theta.lfs.remotes import end_of, find_remote, nearby_ends, preferred_remotes
from git_theta.model import Oid, StoredObject
from git_theta.store import Store


class Supply:
    """Brings objects into ``store``. A source that failed once is not asked again: offline, that would be slow.

    ``everywhere`` asks every remote, otherwise only the one plain ``git fetch`` would take.
    """

    def __init__(self, repository: Repository, store: Store, *, everywhere: bool, terminal: int | None = None) -> None:
        self._repository, self._store = repository, store
        self._everywhere, self._terminal = everywhere, terminal
        self._failed: dict[str, str] = {}

    def bring(self, objects: Iterable[StoredObject], only: str | None = None) -> dict[Oid, str]:
        """Get ``objects`` from ``only``, or from wherever they are; returns why for each that did not come."""
        missing = {o.oid: o for o in objects if not self._store.has(o.oid, o.size)}
        reasons = dict.fromkeys(missing, "no remote to ask")
        for name, find in self._sources(only):
            if not missing:
                break
            if name not in self._failed:
                failures = self._ask(name, find, list(missing.values()))
                if len(failures) == len(missing):
                    self._failed[name] = next(iter(failures.values()))
                reasons.update(failures)
            else:
                reasons.update(dict.fromkeys(missing, self._failed[name]))
            missing = {oid: o for oid, o in missing.items() if not self._store.has(oid, o.size)}
        return {oid: reasons[oid] for oid in missing}

    def _ask(self, name: str, find: Callable[[], End], objects: list[StoredObject]) -> Mapping[Oid, str]:
        try:
            return find().receive(self._store, objects)
        except (ThetaError, OSError) as error:
            return {o.oid: f"{name}: {error}" for o in objects}

    def _sources(self, only: str | None) -> Iterator[tuple[str, Callable[[], End]]]:
        """Names of places to ask, each with the way to get at it, which may raise."""
        root = self._repository.root
        if only is None:
            for end in nearby_ends(self._repository):
                yield end.name, partial(_itself, end)
        names = [only] if only else preferred_remotes(root)
        for name in names if self._everywhere else names[:1]:
            yield name, partial(self._remote, name)

    def _remote(self, name: str) -> End:
        return end_of(self._repository, find_remote(self._repository.root, name), self._terminal)


def _itself(end: End) -> End:
    return end
