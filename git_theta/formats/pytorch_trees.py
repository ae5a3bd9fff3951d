"""Merge what the pickles of torch checkpoints say: one tree of inert values per version enters, one leaves.

What every tensor and every other value of the result is, the merge has decided already, by their names; here the
containers around them are put together: dicts key by key, lists and tuples by position, objects by their parts, with
the order of ours and the others' additions in place. What always holds: a value is taken whole from the version that
was decided, nothing is called, and every storage is referred to by its place among the pieces. Objects that several
places share stay shared only where they are tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from git_theta.formats.pickle_reader import Call, PersistentId, Value
from git_theta.formats.pickle_reader import Mapping as Dict
from git_theta.formats.pickle_writer import are_same
from git_theta.formats.pieces import CannotBuild, Leaves, Piece, Side, in_place
from git_theta.formats.pytorch_tensors import Record, Tensor, check_names, is_unit, key_name, names_in, parse_storage
from git_theta.formats.registry import OPAQUE

DEPTH_LIMIT = 100
"""Containers inside each other: every one takes a few frames of Python's stack."""

_Pairs = list[tuple[Value, Value]]


class Tree(NamedTuple):
    """What the pickle of one side says. ``storages`` are the places of its spans by the keys of the storages there."""

    place: int
    side: Side
    root: Value
    storages: Mapping[str, int]


def read_tree(place: int, side: Side, root: Value, records: Mapping[str, Record], used: bool) -> Tree:
    """The tree of the side at ``place``, whose storages are where ``records`` say.

    Raises :class:`CannotBuild` and :class:`MalformedCheckpoint` when the side is ``used`` and names do not tell its
    values apart.
    """
    if used:
        check_names(root)
    starts = {span.start: at for at, span in enumerate(side.layout.spans)}
    storages = {key: starts[record.start] for key, record in records.items() if record.start in starts}
    return Tree(place, side, root, storages)


def merge_trees(trees: Sequence[Tree], pieces: Sequence[Piece], leaves: Leaves) -> Value:
    """The tree of the result, whose storages have the places of the pieces as keys; raises :class:`CannotBuild`."""
    return _Merge(trees, pieces, leaves).merge()


class _Merge:
    """What was decided, and what was taken already."""

    def __init__(self, trees: Sequence[Tree], pieces: Sequence[Piece], leaves: Leaves) -> None:
        self._roots = {tree.place: tree.root for tree in trees}
        self._storages = {tree.place: tree.storages for tree in trees}
        self._bases = {tree.place for tree in trees if tree.side.is_base}
        self._tensors = {group.name: piece.side for piece in pieces for group in piece.groups}
        self._leaves = leaves
        self._places = _places(trees, pieces)
        self._mixed: dict[str, list[str]] = {}  # kinds of what the sides have at a path, where there are several
        self._taken: dict[int, Value] = {}  # by the identity of the original, which the roots keep alive

    def merge(self) -> Value:
        """The root of the result; raises :class:`CannotBuild`."""
        for name in sorted(self._tensors.keys() & self._leaves.keys()):
            raise CannotBuild(f"{name!r} is a tensor on one side and another value on the other, so both cannot stay")
        root = self._merge("", dict(self._roots), 0)
        if root is _ABSENT:
            raise CannotBuild("nothing is left of the checkpoint")
        lost = ({*self._tensors} | {*self._leaves}) - {name for name, _ in names_in(root, "")} if self._mixed else set()
        for path, kinds in self._mixed.items():
            if any(not path or name == path or name.startswith(f"{path}.") for name in lost):
                where = repr(path) if path else "the whole checkpoint"
                raise CannotBuild(
                    f"{where} is {' on one side and '.join(kinds)} on another, so parts of both cannot stay"
                )
        return root

    def _merge(self, path: str, nodes: Mapping[int, Value], depth: int) -> Value:
        """What is at ``path``, where the sides have ``nodes``."""
        if depth > DEPTH_LIMIT:
            raise CannotBuild(f"{path!r} nests deeper than {DEPTH_LIMIT} containers")
        if len(kinds := [*dict.fromkeys(map(_kind, nodes.values()))]) > 1:
            self._mixed[path] = kinds
        unit = self._unit(path, {side: node for side, node in nodes.items() if is_unit(node)})
        if unit is not _ABSENT:
            return unit
        empty: Value = _ABSENT
        for alike in _alike({side: node for side, node in nodes.items() if not is_unit(node)}):
            value, filled = self._container(path, alike, depth + 1)
            if filled:
                return value
            empty = value if empty is _ABSENT else empty
        return empty if self._stays(nodes) else _ABSENT

    def _stays(self, nodes: Mapping[int, Value]) -> bool:
        """Whether a container without content stays: the base has it and a version does not when it was deleted."""
        versions = self._roots.keys() - self._bases
        having = versions & nodes.keys()
        return having == versions if self._bases & nodes.keys() else bool(having)

    def _unit(self, path: str, nodes: Mapping[int, Value]) -> Value:
        """The unit from the side that its parts are taken from, or from one that says the same of them."""
        parts = {side: list(names_in(node, path)) for side, node in nodes.items()}
        wanted = {side: [self._wanted(name, part) for name, part in own] for side, own in parts.items()}
        if all(at is None for own in wanted.values() for at in own):
            kept = [side for side, own in parts.items() if not own and side not in self._bases]
            return self._take(kept[0], nodes[kept[0]], 0) if kept and self._stays(nodes) else _ABSENT
        whole = [side for side, own in wanted.items() if own and all(at == side for at in own)]
        for side in whole or parts:
            if parts[side] and all(self._says(side, name, part, parts) for name, part in parts[side]):
                return self._take(side, nodes[side], 0)
        if any(side in own for side, own in wanted.items()):
            raise CannotBuild(f"{path!r} is one value, its parts cannot come from different versions")
        return _ABSENT

    def _wanted(self, name: str, part: Value | Tensor) -> int | None:
        """The side that a tensor or leaf is taken from; None when it is not in the result."""
        return self._tensors.get(name) if isinstance(part, Tensor) else self._leaves.get(name)

    def _says(
        self, side: int, name: str, part: Value | Tensor, parts: Mapping[int, Sequence[tuple[str, Value | Tensor]]]
    ) -> bool:
        """Whether a side describes a tensor, or has a leaf, just as the one does that it is taken from."""
        wanted = self._wanted(name, part)
        if wanted is None or wanted == side:
            return wanted == side
        if isinstance(part, Tensor):
            return (side, self._storages[side].get(part.storage.key, -1)) in self._places
        theirs = [leaf for own, leaf in parts.get(wanted, ()) if own == name and not isinstance(leaf, Tensor)]
        return bool(theirs) and are_same(part, theirs[-1])

    def _container(self, path: str, nodes: Mapping[int, Value], depth: int) -> tuple[Value, bool]:
        """Containers of one kind put together, and whether anything is in the result."""
        first = next(iter(nodes.values()))
        if type(first) is Dict:
            pairs = self._pairs(path, {side: node.pairs for side, node in nodes.items() if type(node) is Dict}, depth)
            return Dict(pairs), bool(pairs)
        if type(first) is Call:
            return self._object(path, {side: node for side, node in nodes.items() if type(node) is Call}, depth)
        items = self._items(path, {s: node for s, node in nodes.items() if isinstance(node, list | tuple)}, depth)
        return items if type(first) is list else tuple(items), bool(items)

    def _items(self, path: str, nodes: Mapping[int, Sequence[Value]], depth: int) -> list[Value]:
        """Lists or tuples, position by position."""
        merged = [
            self._merge(_join(path, str(at)), {side: node[at] for side, node in nodes.items() if at < len(node)}, depth)
            for at in range(max(map(len, nodes.values()), default=0))
        ]
        while merged and merged[-1] is _ABSENT:
            merged.pop()
        if any(value is _ABSENT for value in merged):
            where = f"the list {path!r}" if path else "the list that the checkpoint is"
            raise CannotBuild(f"{where} would have a hole: one version took elements out that others kept behind")
        return merged

    def _pairs(self, path: str, nodes: Mapping[int, _Pairs], depth: int) -> _Pairs:
        """Dicts, key by key. A key that is set twice counts as it was set last."""
        keyed = {
            side: {_identity(key, at): (key_name(key, at), side, key, value) for at, (key, value) in enumerate(pairs)}
            for side, pairs in nodes.items()
        }
        merged = []
        for identity in in_place(list(keyed.values())):
            found = [pairs[identity] for pairs in keyed.values() if identity in pairs]
            name, side, key, _ = found[0]
            if type(identity) is int and not all(are_same(key, other) for _, _, other, _ in found):
                raise CannotBuild(f"keys of {path!r} that are no text stand in another order in another version")
            value = self._merge(_join(path, name), {side: value for _, side, _, value in found}, depth)
            if value is not _ABSENT:
                merged.append((self._take(side, key, 0), value))
        return merged

    def _object(self, path: str, nodes: Mapping[int, Call], depth: int) -> tuple[Value, bool]:
        """Objects of one class: arguments, attributes, keys and items."""
        first = next(iter(nodes.values()))
        args = self._items(path, {side: node.args for side, node in nodes.items()}, depth)
        states = {side: node.state.pairs for side, node in nodes.items() if type(node.state) is Dict}
        state = self._pairs(path, states, depth)
        pairs = self._pairs(path, {side: node.pairs for side, node in nodes.items() if node.pairs is not None}, depth)
        items = self._items(path, {side: node.items for side, node in nodes.items() if node.items is not None}, depth)
        filled = bool(args or state or pairs or items)
        if filled and len(args) != len(first.args):
            raise CannotBuild(f"{path!r} would be made without all of its arguments")
        kept = Dict(state) if state or first.state is not None else None
        return Call(first.function, tuple(args), None, kept, items or None, pairs or None, first.new), filled

    def _take(self, side: int, value: Value, depth: int) -> Value:
        """A value of one side, with its storages named by their places among the pieces."""
        if not isinstance(value, list | tuple | Dict | Call | PersistentId):
            return value
        if id(value) not in self._taken:
            if depth > DEPTH_LIMIT:
                raise CannotBuild(f"a value nests deeper than {DEPTH_LIMIT} containers, or contains itself")
            self._taken[id(value)] = self._copy(side, value, depth + 1)
        return self._taken[id(value)]

    def _copy(self, side: int, value: Value, depth: int) -> Value:
        """A value rebuilt of what is taken of its parts."""
        if isinstance(value, PersistentId):
            return self._storage(side, value, depth)
        if isinstance(value, Dict):
            return Dict(self._copied_pairs(side, value.pairs, depth))
        if isinstance(value, Call):
            parts = [self._take(side, part, depth) for part in (value.function, value.kwargs, value.state)]
            args = tuple(self._take(side, part, depth) for part in value.args)
            items = None if value.items is None else [self._take(side, item, depth) for item in value.items]
            pairs = None if value.pairs is None else self._copied_pairs(side, value.pairs, depth)
            return Call(parts[0], args, parts[1], parts[2], items, pairs, value.new)
        if isinstance(value, list):
            return [self._take(side, item, depth) for item in value]
        if isinstance(value, tuple):
            return tuple(self._take(side, item, depth) for item in value)
        return value

    def _copied_pairs(self, side: int, pairs: _Pairs, depth: int) -> _Pairs:
        return [(self._take(side, key, depth), self._take(side, value, depth)) for key, value in pairs]

    def _storage(self, side: int, value: PersistentId, depth: int) -> PersistentId:
        """A reference to a storage by its new key; any other reference as it is."""
        storage = parse_storage(value)
        if storage is None or not isinstance(value.value, tuple):
            return PersistentId(self._take(side, value.value, depth))
        kind, storage_type, key, location, elements, *view = value.value
        place = self._places.get((side, self._storages[side].get(storage.key, -1)))
        if place is None:
            raise CannotBuild(f"storage {key!r} is still used, but no group of the result has its bytes")
        if any(part is not None for part in view):
            raise CannotBuild(f"storage {key!r} is part of another one, as very old files have it")
        return PersistentId((kind, storage_type, str(place), location, elements, *view))


_ABSENT = PersistentId(None)
"""Stands for what is not in the result; no value of a pickle is this object."""


def _places(trees: Sequence[Tree], pieces: Sequence[Piece]) -> dict[tuple[int, int], int]:
    """The places of the pieces by (side, span): the spans they are like, and those that differ only in their values.

    What an opaque group is, only its own side says.
    """
    places = {(piece.side, piece.span): place for place, piece in enumerate(pieces)}
    alike = {(piece.length, frozenset(piece.groups)): place for place, piece in enumerate(pieces)}
    for tree in trees:
        for at, span in enumerate(tree.side.layout.spans):
            place = alike.get((span.length, frozenset(span.groups)))
            if place is not None and all(group.dtype != OPAQUE for group in span.groups):
                places.setdefault((tree.place, at), place)
    return places


def _alike(nodes: Mapping[int, Value]) -> Iterator[dict[int, Value]]:
    """The containers by kind, the kind of the first side first: type, and what makes an object."""
    kinds: dict[object, dict[int, Value]] = {}
    for side, node in nodes.items():
        made = (node.function, node.new, len(node.args)) if isinstance(node, Call) else ()
        kinds.setdefault((type(node), *made), {})[side] = node
    yield from kinds.values()


def _kind(node: Value) -> str:
    """What a value is, in words."""
    if is_unit(node):
        return "one value"
    return {Dict: "a dict", list: "a list", tuple: "a tuple"}.get(type(node), "an object")


def _identity(key: Value, at: int) -> object:
    """What makes a key the same key on another side: value and type, or its position when it is an object."""
    if isinstance(key, str | bytes):
        return type(key), key
    # Numbers as text: unlike that of text, their hash is no secret, and a file could hold thousands with the same.
    return (type(key), repr(key)) if key is None or isinstance(key, int | float) else at


def _join(path: str, key: str) -> str:
    """The path of a part, as the names of groups are made."""
    return f"{path}.{key}" if path and key else path or key
