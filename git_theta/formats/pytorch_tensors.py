"""The tensors of a torch checkpoint: the inert value of its pickle enters, named tensors and spans leave.

Paths follow the containers: keys of dicts, positions in lists and attributes of objects, joined by dots; a module's
``_parameters``, ``_buffers`` and ``_modules`` add nothing, so a pickled module has the names of its state dict. Both
of torch's containers, zip and legacy, share this. What always holds: the walk ends, whatever the value contains (it
may contain itself, or share one list a million times), and every group is either true to its span's bytes or opaque.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import prod
from typing import NamedTuple, TypeGuard, TypeVar, cast

from git_theta.formats.pickle_reader import Call, Global, Mapping, PersistentId, Value
from git_theta.formats.pieces import unique_name
from git_theta.formats.source import MalformedCheckpoint
from git_theta.model import DTYPES, Group, Span, View, misfit

UNNAMED = "tensor"
"""The name of a checkpoint that is nothing but one tensor."""

DEPTH_LIMIT = 200
"""Containers inside each other that are looked into: every level writes the path again."""

NAME_LIMIT = 4096
"""No name has more characters; what would have stays unnamed."""

NAMES_LIMIT = 64 << 20
"""Characters of all names together, 64 more for each: over half a million tensors with names of honest length."""

REVISIT_LIMIT = 1 << 16
"""Values looked at again because their container is shared; afterwards a container counts where it came first."""

_STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
}

_TORCH_DTYPES = {
    **{
        name: name
        for name in (
            "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "bfloat16",
            "float32", "float64", "complex32", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2",
            "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "qint8", "quint8", "qint32", "quint4x2", "quint2x4",
        )
    },
    # A byte each; several elements may share it, which only special kernels know about.
    **dict.fromkeys(("float4_e2m1fn_x2", "bits8", "bits1x8", "bits2x4", "bits4x2"), "opaque"),
    **{f"{sign}{bits}": "opaque" for sign in ("int", "uint") for bits in range(1, 8)},
}  # fmt: skip

_UTILS = "torch._utils"
_PLAIN_TENSORS = frozenset({"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"})
_TENSORS = _PLAIN_TENSORS | {"_rebuild_qtensor"}
_SUBCLASSED = frozenset(
    {Global("torch._tensor", "_rebuild_from_type"), Global("torch._tensor", "_rebuild_from_type_v2")}
)
_ORDERED_DICT = Global("collections", "OrderedDict")

# How the arguments of torch's functions are called below the path of the call: "" adds nothing to the path, "*"
# stands for attributes, a tuple names the parts of an argument, None is not looked into.
_Names = tuple["str | tuple[str | None, ...] | None", ...]
_ARGUMENTS: dict[str, _Names] = {
    **dict.fromkeys(_PLAIN_TENSORS, ()),
    "_rebuild_qtensor": (None, None, None, None, (None, "scale", "zero_point")),
    "_rebuild_parameter": ("",),
    "_rebuild_parameter_with_state": ("", None, None, "*"),
    "_rebuild_device_tensor_from_cpu_tensor": ("",),
    "_rebuild_nested_tensor": ("buffer", "sizes", "strides", "storage_offsets"),
}
_COO_PARTS = ("indices", "values")
_COMPRESSED_PARTS = {
    "torch.sparse_csr": ("crow_indices", "col_indices", "values"),
    "torch.sparse_bsr": ("crow_indices", "col_indices", "values"),
    "torch.sparse_csc": ("ccol_indices", "row_indices", "values"),
    "torch.sparse_bsc": ("ccol_indices", "row_indices", "values"),
}

_MODULE_DICTS = frozenset({"_parameters", "_buffers", "_modules"})


class Storage(NamedTuple):
    """A reference to one storage: ``elements`` of ``dtype``, which is None for a type torch does not have.

    ``first`` is the element tensors count their offsets from: not 0 only for the storage views of old legacy files.
    """

    key: str
    dtype: str | None
    elements: Value
    first: Value = 0


class Tensor(NamedTuple):
    """A tensor as the pickle describes it, none of its numbers checked. Offset and strides count elements."""

    name: str
    storage: Storage
    dtype: str | None
    shape: Value
    offset: Value
    strides: Value


class Record(NamedTuple):
    """Where the file keeps one storage. ``name`` serves when no tensor gives one; ``plain``: not compressed."""

    name: str
    start: int
    length: int
    plain: bool = True


def name_tensors(root: Value, prefix: str = "") -> list[Tensor]:
    """Every tensor and bare storage below ``root`` in the order of the pickle, once for each of its names.

    ``prefix`` begins every path.
    """
    return list(_limited((found.name, found) for _, found in _walk(root, prefix) if isinstance(found, Tensor)))


def name_leaves(root: Value, prefix: str = "") -> dict[str, Value]:
    """Every value below ``root`` that is neither container nor tensor (epoch, lr, configuration), by its path.

    Repeated paths get ``~2``, ``~3``... as repeated names of groups do, so that no value hides another.
    """
    leaves: dict[str, Value] = {}
    tried: dict[str, int] = {}
    walked = ((name, (name, found)) for name, found in _walk(root, prefix) if not isinstance(found, Tensor))
    for name, found in _limited(walked):
        leaves[unique_name(name, leaves, tried)] = found
    return leaves


def shared_name(root: Value) -> str | None:
    """A name that two tensors or other values below ``root`` have; None where every name tells one from all others."""
    seen: set[str] = set()
    for name, _ in _limited((name, (name, found)) for name, found in names_in(root, "")):
        if name in seen:
            return name
        seen.add(name)
    return None


def names_in(root: Value, prefix: str) -> Iterator[tuple[str, Value | Tensor]]:
    """Every tensor below ``root`` by the name it has as a group, and every leaf by its path."""
    for name, found in _walk(root, prefix):
        yield (_encodable(found.name) if isinstance(found, Tensor) else name), found


def check_names(root: Value) -> None:
    """Raise :class:`MalformedCheckpoint` when some of what is below ``root`` has no name, for the limits above."""
    for _ in _walk(root, "", complete=True):
        pass


def is_unit(value: Value) -> bool:
    """Whether a value cannot be taken apart and put together again by the names of its parts alone.

    So are leaves and tensors, and calls whose arguments or state have names of their own.
    """
    if type(value) is not Call:
        return type(value) not in (list, tuple, Mapping)
    function, state = value.function, value.state
    if type(function) is not Global or _is_whole(function) or _is_subclass(value) or _is_of_python_2(value):
        return True
    if value.kwargs is not None or (state is not None and type(state) is not Mapping):
        return True
    return _argument_names(function, value.args) is not None


def lay_out(tensors: list[Tensor], records: dict[str, Record], big_endian: bool = False) -> tuple[Span, ...]:
    """A span for every record, in file order, with the groups of the tensors that live there.

    Tensors whose numbers do not fit their record become opaque groups over it. Raises
    :class:`MalformedCheckpoint` for a tensor whose storage has no record: then pickle and file do not belong together.
    """
    groups: dict[str, list[Group]] = {key: [] for key in records}
    for tensor in tensors:
        record = records.get(tensor.storage.key)
        if record is None:
            raise MalformedCheckpoint(f"tensor {tensor.name!r} is in storage {tensor.storage.key!r}, which is missing")
        groups[tensor.storage.key].append(_group(tensor, record, big_endian))
    return tuple(
        Span(record.start, record.length, tuple(groups[key]) or (opaque_group(record.name, record.length),))
        for key, record in sorted(records.items(), key=lambda item: (item[1].start, item[1].length))
    )


def opaque_group(name: str, length: int) -> Group:
    """A group nothing is known about but its bytes; names that UTF-8 cannot hold are escaped."""
    return Group(_encodable(name), "opaque", (length,))


def parse_storage(value: Value) -> Storage | None:
    """The storage a persistent id refers to; None when it refers to something else."""
    if type(value) is not PersistentId or type(value.value) is not tuple or len(value.value) not in (5, 6):
        return None
    kind, storage_type, key, _, elements, *view = value.value
    if kind != "storage" or type(storage_type) is not Global or type(key) is not str:
        return None
    dtype = _STORAGE_DTYPES.get(storage_type.name)
    first = view[0][1] if view and type(view[0]) is tuple and len(view[0]) == 3 else 0
    return Storage(key, dtype, elements, first)


def parse_dtype(value: Value) -> str | None:
    """Our name of a torch dtype; None when it is none."""
    return _TORCH_DTYPES.get(value.name) if type(value) is Global and value.module == "torch" else None


_Found = TypeVar("_Found")


def _limited(named: Iterator[tuple[str, _Found]]) -> Iterator[_Found]:
    """What is found, as long as the names do not take too much memory."""
    left = NAMES_LIMIT
    for name, found in named:
        left -= len(name) + 64
        if left < 0:
            raise MalformedCheckpoint(f"the names in it have more than {NAMES_LIMIT:,} characters")
        yield found


_Children = Iterator[tuple[str, Value]]


def _walk(root: Value, prefix: str, complete: bool = False) -> Iterator[tuple[str, Value | Tensor]]:
    """Every tensor, and every value that is no container, with its path; depth first, in the order of the pickle.

    A container inside itself is left out, and what the limits forbid; raises :class:`MalformedCheckpoint` instead
    when the walk has to be ``complete``.
    """
    look = _Look(complete)
    inside: set[int] = set()
    frames: list[tuple[str, int, _Children]] = [(prefix, 0, iter([("", root)]))]
    while frames:
        path, container, children = frames[-1]
        child = next(children, None)
        if child is None:
            frames.pop()
            inside.discard(container)
            continue
        key, value = child
        if len(path) + len(key) >= NAME_LIMIT:
            look.leave_out()
            continue
        name = f"{path}.{key}" if path and key else path or key
        tensor = _parse_tensor(name, value)
        below = look.into(value)
        if tensor is not None or below is None:
            yield name, value if tensor is None else tensor
        if below is None:
            continue
        if id(value) not in inside and len(frames) < DEPTH_LIMIT:
            frames.append((name, id(value), below))
            inside.add(id(value))
        else:
            look.leave_out()


class _Look:
    """Looks into containers: yields what they hold and what each part adds to the path.

    A list is walked again in every place where it is shared, until :data:`REVISIT_LIMIT` is used up: shared lists
    inside shared lists have exponentially many paths.
    """

    __slots__ = ("complete", "revisits", "seen")

    def __init__(self, complete: bool) -> None:
        self.complete = complete
        self.seen: set[int] = set()
        self.revisits = REVISIT_LIMIT

    def leave_out(self) -> None:
        """Something gets no name."""
        if self.complete:
            raise MalformedCheckpoint("it nests too deep, contains itself, or shares too much")

    def into(self, value: Value) -> _Children | None:
        """The parts of a container, lazily; None for what is no container."""
        if type(value) is list or type(value) is tuple:
            return self.positions(value)
        if type(value) is Mapping:
            return self.keys(value.pairs)
        if type(value) is Call and not _is_whole(value.function):
            return self.parts(value)
        return None

    def over(self, values: Sequence[_Found]) -> Iterator[_Found]:
        """The values of any sequence in the pickle. All iteration comes through here, to be counted."""
        again = id(values) in self.seen
        self.seen.add(id(values))
        for value in values:
            if again:
                if not self.revisits:
                    self.leave_out()
                    return
                self.revisits -= 1
            yield value

    def positions(self, values: Sequence[Value]) -> _Children:
        return ((str(position), value) for position, value in enumerate(self.over(values)))

    def keys(self, pairs: Sequence[tuple[Value, Value]]) -> _Children:
        return ((key_name(key, position), value) for position, (key, value) in enumerate(self.over(pairs)))

    def pairs(self, values: list[Value]) -> _Children:
        """Keys and values that come as lists of two."""
        for position, value in enumerate(self.over(values)):
            if type(value) is list and len(value) == 2:
                yield key_name(value[0], position), value[1]

    def parts(self, call: Call) -> _Children:
        """What an object holds: arguments, attributes, keys and items."""
        function, args = call.function, call.args
        if _is_subclass(call):
            yield from self.arguments(args[0], args[2])
            yield from self.attributes(args[3])
        elif _is_of_python_2(call):
            yield from self.pairs(cast("list[Value]", args[0]))
        else:
            yield from self.arguments(function, args)
        yield from self.into(call.kwargs) or ()
        yield from self.attributes(call.state)
        yield from self.keys(call.pairs or ())
        yield from self.positions(call.items or ())

    def attributes(self, state: Value) -> _Children:
        """The attributes an object's state holds: a dict, or a pair of dicts when its class has slots."""
        if type(state) is tuple and len(state) == 2 and all(part is None or type(part) is Mapping for part in state):
            return chain(self.attributes(state[0]), self.attributes(state[1]))
        if type(state) is Mapping:
            return self.keys(state.pairs)
        return iter(()) if state is None else iter([("state", state)])

    def arguments(self, function: Value, args: Value) -> _Children:
        """The arguments of a call, by the names torch's own functions give them, else by position."""
        if type(args) is not tuple:
            return
        names = _argument_names(function, args)
        if names is None:
            yield from self.positions(args)
            return
        for name, value in zip(names, args, strict=False):
            if name == "*":
                yield from self.attributes(value)
            elif type(name) is str:
                yield name, value
            elif type(name) is tuple and type(value) is tuple:
                yield from ((part, item) for part, item in zip(name, value, strict=False) if part is not None)


def key_name(key: Value, position: int) -> str:
    """A key as part of a path; one that is neither text nor a number goes by its position."""
    if type(key) is str:
        return "" if key in _MODULE_DICTS else key
    return str(key if key is None or isinstance(key, int | float) else position)


def _is_of_python_2(call: Call) -> bool:
    """Whether this is an ordered dict as Python 2 pickled it: made from a list of pairs."""
    return call.function == _ORDERED_DICT and len(call.args) == 1 and type(call.args[0]) is list


def _is_whole(function: Value) -> bool:
    """Whether a call counts as one value: a plain tensor, an array or scalar of numpy."""
    if type(function) is not Global:
        return False
    if function.module == _UTILS:
        return function.name in _PLAIN_TENSORS
    return function.module == "numpy" or function.module.startswith("numpy.")


def _argument_names(function: Value, args: tuple[Value, ...]) -> _Names | None:
    if type(function) is not Global or function.module != _UTILS:
        return None
    if function.name == "_rebuild_sparse_tensor" and args:
        return None, _sparse_parts(args[0])
    return _ARGUMENTS.get(function.name)


def _sparse_parts(layout: Value) -> tuple[str, ...]:
    """How the parts of a sparse tensor are called; its layout comes as ``_get_layout("torch.sparse_csr")``."""
    name = layout.args[0] if type(layout) is Call and layout.args else None
    return _COMPRESSED_PARTS.get(name, _COO_PARTS) if type(name) is str else _COO_PARTS


def _is_subclass(call: Call) -> bool:
    """Whether the call makes a tensor of a subclass: (function, class, arguments, state)."""
    function = call.function
    return type(function) is Global and function in _SUBCLASSED and len(call.args) == 4


def _parse_tensor(name: str, value: Value) -> Tensor | None:
    """The tensor a call would rebuild, or a bare storage as a flat tensor; None for anything else."""
    if type(value) is PersistentId:
        bare = parse_storage(value)
        return None if bare is None else Tensor(name or UNNAMED, bare, bare.dtype, (bare.elements,), 0, (1,))
    if type(value) is not Call:
        return None
    function, args = (value.args[0], value.args[2]) if _is_subclass(value) else (value.function, value.args)
    if type(function) is not Global or function.module != _UTILS or function.name not in _TENSORS:
        return None
    if type(args) is not tuple or len(args) < 4 or (storage := parse_storage(args[0])) is None:
        return None
    dtype = storage.dtype
    if function.name == "_rebuild_tensor_v3":
        dtype = parse_dtype(args[6]) if len(args) > 6 else None
    return Tensor(name or UNNAMED, storage, dtype, args[2], args[1], args[3])


def _group(tensor: Tensor, record: Record, big_endian: bool) -> Group:
    """The tensor as a group over its record: a view unless it fills it, opaque when its numbers do not fit."""
    group = _true_group(tensor, record, big_endian)
    if group is None or misfit(group, record.length):
        return opaque_group(tensor.name, record.length)
    return group


def _true_group(tensor: Tensor, record: Record, big_endian: bool) -> Group | None:
    """The group as the pickle describes it, if these are numbers at all and agree on the size of the storage."""
    dtype, shape, strides = tensor.dtype, tensor.shape, tensor.strides
    offset, first = tensor.offset, tensor.storage.first
    if dtype is None or not record.plain or storage_bytes(tensor.storage) != record.length:
        return None
    if type(offset) is not int or type(first) is not int or not _are_numbers(shape) or not _are_numbers(strides):
        return None
    fills = prod(shape) * DTYPES[dtype].bits == record.length * 8 and _is_contiguous(shape, strides)
    view = None if fills and offset == first == 0 else View(offset + first, strides)
    stored = f"{dtype}_be" if big_endian and DTYPES[dtype].word > 1 else dtype
    return Group(_encodable(tensor.name), stored, shape, view)


def storage_bytes(storage: Storage) -> int | None:
    """Bytes the storage takes; None when its type or its size make no sense."""
    if storage.dtype is None or type(storage.elements) is not int or storage.elements < 0:
        return None
    return storage.elements * DTYPES[storage.dtype].bits // 8


def _are_numbers(values: Value) -> TypeGuard[tuple[int, ...]]:
    """Whether these may be sides or strides of a tensor: at most 64 numbers, none larger than 64 bits."""
    if type(values) is not tuple or len(values) > 64 or {*map(type, values)} - {int}:
        return False
    return not values or max(cast("tuple[int, ...]", values)) < 1 << 63


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether strides are those of a C-contiguous array; the stride of a side of 1 or of an empty array is free."""
    if len(shape) != len(strides):
        return False
    expected = 1
    for side, stride in zip(reversed(shape), reversed(strides), strict=True):
        if side != 1 and stride != expected:
            return 0 in shape
        expected *= side
    return True


def _encodable(name: str) -> str:
    """The name with what UTF-8 cannot hold (lone surrogates) escaped."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")
