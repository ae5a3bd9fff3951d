"""Where missing objects come from: repositories whose objects Git borrows first, then the remotes in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from git_theta.errors import ThetaError
from git_theta.gitio.repository import Repository
from git_theta.lfs.ends import End
from git_theta.lfs.remotes import end_of, find_remote, nearby_ends, preferred_remotes
from git_theta.model import Oid, StoredObject
from git_theta.store import Store


class Supply:
    """Brings objects into ``store``. Nobody is asked twice for an object, nor again once it could not be reached."""

    def __init__(self, repository: Repository, store: Store, terminal: int | None = None) -> None:
        self._repository, self._store, self._terminal = repository, store, terminal
        self._unreachable: dict[str, str] = {}
        self._refused: dict[str, dict[Oid, str]] = {}

    def bring(self, objects: Iterable[StoredObject], only: str | None = None) -> dict[Oid, str]:
        """Get ``objects`` from ``only``, or from wherever they are; returns why for each that did not come."""
        missing = {o.oid: o for o in objects if not self._store.has(o.oid, o.size)}
        reasons = dict.fromkeys(missing, "no remote to ask")
        for name, find in self._sources(only):
            if not missing:
                break
            refused = self._refused.setdefault(name, {})
            self._ask(name, find, [o for o in missing.values() if o.oid not in refused])
            missing = {oid: o for oid, o in missing.items() if not self._store.has(oid, o.size)}
            away = self._unreachable.get(name, f"{name} does not have it")
            reasons.update((oid, refused.get(oid, away)) for oid in missing)
        return {oid: reasons[oid] for oid in missing}

    def _ask(self, name: str, find: Callable[[], End], objects: list[StoredObject]) -> None:
        """Ask one source for ``objects``, and note what it would not give."""
        if not objects or name in self._unreachable:
            return
        try:
            self._refused[name].update(find().receive(self._store, objects))
        except (ThetaError, OSError) as error:
            self._unreachable[name] = f"{name}: {error}"

    def _sources(self, only: str | None) -> Iterator[tuple[str, Callable[[], End]]]:
        """Names of places to ask, each with the way to get at it, which may raise."""
        root = self._repository.root
        if only is None:
            for end in nearby_ends(self._repository):
                yield end.name, partial(_itself, end)
        for name in [only] if only else preferred_remotes(root):
            yield name, partial(self._remote, name)

    def _remote(self, name: str) -> End:
        return end_of(self._repository, find_remote(self._repository.root, name), self._terminal)


def _itself(end: End) -> End:
    return end
