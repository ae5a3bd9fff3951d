"""The rewriting itself: surveyed commits enter, the oldest first; new commits, trees and tags leave to a sink.

What always holds: a commit whose tree and parents stay the same stays itself, signature included; every distinct
blob is converted once, every distinct tree rewritten once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from git_theta.errors import ThetaError
from git_theta.gitio.packs import Sink
from git_theta.migrate.raw import (
    Item,
    links,
    read_tree,
    relinked,
    render_tree,
    retargeted,
    tag_target,
    with_item,
)
from git_theta.migrate.survey import ATTRIBUTES, Conversion, Place, Source, Stopped, Survey

Convert = Callable[[str, Place], str]
"""The id of the blob that comes in the place of another."""


@dataclass
class Rewritten:
    """What became of each commit (itself, if nothing changed), and how many signatures went."""

    commits: dict[str, str] = field(default_factory=dict)
    unsigned: int = 0

    @property
    def changed(self) -> dict[str, str]:
        """The commits that are not what they were."""
        return {old: new for old, new in self.commits.items() if old != new}


class Rewriter:
    """Rewrites one history. ``convert`` makes the blobs, ``sink`` takes everything else."""

    def __init__(self, source: Source, survey: Survey, conversion: Conversion, convert: Convert, sink: Sink) -> None:
        self._objects, self._width, self._patterns = source.objects, source.width, source.patterns
        self._survey, self._conversion, self._convert, self._sink = survey, conversion, convert, sink
        self._blobs: dict[str, str] = {}
        self._folders: dict[tuple[str, bytes], str | None] = {}
        self._roots: dict[tuple[str, frozenset[int]], str] = {}
        self._active: dict[str, frozenset[int]] = {}
        self.result = Rewritten()

    def commit(self, old: str) -> None:
        """Rewrite a commit; its parents come first."""
        raw = self._objects.get(old)[1]
        tree, parents = links(raw)
        strangers = [parent for parent in parents if parent not in self.result.commits]
        if strangers:
            raise ThetaError(
                f"commit {old} has a parent Git did not list: {strangers[0]}",
                hint="git rev-list knows grafts: remove them",
            )
        active = self._survey.seen(tree).matched.union(*(self._active[parent] for parent in parents))
        self._active[old] = active
        new_tree = self._root(tree, active, old)
        new_parents = [self.result.commits[parent] for parent in parents]
        if (new_tree, new_parents) == (tree, parents):
            self.result.commits[old] = old
            return
        data, unsigned = relinked(raw, new_tree, new_parents)
        self.result.commits[old] = self._sink.add(b"commit", data)
        self.result.unsigned += unsigned

    def ref(self, oid: str) -> str:
        """What a ref is to name instead of ``oid``, a commit or a tag."""
        if oid in self.result.commits:
            return self.result.commits[oid]
        raw = self._objects.get(oid)[1]
        target, kind = tag_target(raw)
        new = self.ref(target) if kind in (b"commit", b"tag") else target
        if new == target:
            return oid
        data, unsigned = retargeted(raw, new)
        self.result.unsigned += unsigned
        return self._sink.add(b"tag", data)

    def _root(self, tree: str, active: frozenset[int], commit: str) -> str:
        """The tree of a commit, with the attributes of the patterns that are ``active`` by now."""
        key = tree, active
        if key not in self._roots:
            before = read_tree(self._objects.get(tree)[1], self._width)
            items = self._items(before, b"", commit) if self._survey.seen(tree).touched else before
            if active:
                items = self._with_attributes(items, active, commit)
            self._roots[key] = tree if items == before else self._sink.add(b"tree", render_tree(items))
        return self._roots[key]

    def _with_attributes(self, items: list[Item], active: frozenset[int], commit: str) -> list[Item]:
        old = next((item for item in items if item.name == ATTRIBUTES), Item(b"100644", ATTRIBUTES, ""))
        if not old.is_file:
            raise Stopped(
                Place(commit, ATTRIBUTES), "it is not a regular file, and Git reads no attributes from others"
            )
        text = after = self._objects.get(old.oid)[1] if old.oid else b""
        for number in sorted(active):
            after = self._conversion.attributes(after, self._patterns[number])
        if after == text:
            return items
        new = _with_text(old, after, self._sink)
        return with_item(items, new) if new else [item for item in items if item is not old]

    def _folder(self, tree: str, folder: bytes, commit: str) -> str | None:
        """The tree at ``folder``; None when nothing is left in it."""
        if not self._survey.seen(tree, folder).touched:
            return tree
        key = tree, folder
        if key not in self._folders:
            items = self._items(read_tree(self._objects.get(tree)[1], self._width), folder, commit)
            self._folders[key] = self._sink.add(b"tree", render_tree(items)) if items else None
        return self._folders[key]

    def _items(self, items: Sequence[Item], folder: bytes, commit: str) -> list[Item]:
        """The lines of a tree, each with what comes in its place."""
        return [new for item in items if (new := self._item(item, folder, commit)) is not None]

    def _item(self, item: Item, folder: bytes, commit: str) -> Item | None:
        path = folder + item.name
        if item.is_folder:
            below = self._folder(item.oid, path + b"/", commit)
            return item._replace(oid=below) if below else None
        if folder and item.is_file and item.name == ATTRIBUTES:
            text = self._survey.nested(item.oid)
            return item if text is None else _with_text(item, text, self._sink)
        if self._survey.converts(item, path):
            return item._replace(oid=self._blob(item.oid, Place(commit, path)))
        return item

    def _blob(self, blob: str, place: Place) -> str:
        if blob not in self._blobs:
            try:
                self._blobs[blob] = self._convert(blob, place)
            except Stopped:
                raise
            except (ThetaError, OSError) as error:
                raise Stopped(place, str(error), error) from error
        return self._blobs[blob]


def _with_text(item: Item, text: bytes, sink: Sink) -> Item | None:
    """The file with another text; None, for no file, when the text is empty."""
    return item._replace(oid=sink.add(b"blob", text)) if text else None
