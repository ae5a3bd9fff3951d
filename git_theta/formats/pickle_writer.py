"""Write an inert value as a pickle: what :mod:`~git_theta.formats.pickle_reader` gave enters, bytes leave.

Only opcodes of protocol 2 are written, which is what torch writes and what its restricted loader accepts. What always
holds: reading the bytes gives the value again, with what was shared shared; equal values give equal bytes; the values
may nest to any depth that :data:`DEPTH_LIMIT` allows, and nothing here recurses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from git_theta.formats.pickle_reader import Call, Global, Mapping, PersistentId, Value
from git_theta.formats.pieces import CannotBuild

DEPTH_LIMIT = 10_000
"""Values inside each other: more than any loader follows, fewer than a value that contains itself."""

_PROTOCOL, _STOP = b"\x80\x02", b"."
_MARK, _APPENDS, _SETITEMS = b"(", b"e", b"u"
_TUPLES = {1: b"\x85", 2: b"\x86", 3: b"\x87"}


_ENCODE = Global("_codecs", "encode")  # how protocol 2 says bytes


class Unpicklable(CannotBuild):
    """No pickle of protocol 2 says this value."""


def write_pickle(value: Value) -> bytes:
    """The pickle of a value; raises :class:`Unpicklable`."""
    writer = _Writer()
    pending: list[Iterator[Value]] = [writer.save(value)]
    while pending:
        below = next(pending[-1], _END)
        if below is _END:
            pending.pop()
        elif len(pending) < DEPTH_LIMIT:
            pending.append(writer.save(below))
        else:
            raise Unpicklable(f"values nest deeper than {DEPTH_LIMIT:,}, or contain themselves")
    return b"".join([_PROTOCOL, *writer.out, _STOP])


_END = PersistentId(None)  # no value is this very object


def are_same(one: Value, other: Value) -> bool:
    """Whether two values are the same to the last bit and of the same types: NaN is itself, 1 is not True."""
    if one is other:
        return True
    if type(one) is type(other) and isinstance(one, str | bytes):
        return one == other
    try:
        return write_pickle(one) == write_pickle(other)
    except Unpicklable:
        return False


class _Writer:
    """The opcodes so far, and under which number the reader's memo has what."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.memo: dict[object, int] = {}
        self.kept: list[Value] = []  # made here: no other value may get the id of one that is in the memo

    def save(self, value: Value) -> Iterator[Value]:
        """Write a value; whatever it yields has to be saved before it goes on."""
        key: object = value if type(value) is str or type(value) is Global else id(value)
        if key in self.memo:
            index = self.memo[key]
            self.out.append(b"h%c" % index if index < 256 else b"j" + struct.pack("<I", index))
        elif type(value) is tuple and value:
            yield from self._save_tuple(value)
        elif type(value) is list:
            self.out.append(b"]")
            self._remember(key)
            yield from self._fill(value, _APPENDS)
        elif type(value) is Mapping:
            self.out.append(b"}")
            self._remember(key)
            yield from self._fill([part for pair in value.pairs for part in pair], _SETITEMS)
        elif type(value) is Call:
            yield from self._save_call(value)
        elif type(value) is PersistentId:
            yield value.value
            self.out.append(b"Q")
        elif type(value) is bytes:
            self.kept.append(Call(_ENCODE, (value.decode("latin-1"), "latin1")))
            yield self.kept[-1]
        else:
            self.out.append(_atom(value))
            if type(value) is str or type(value) is Global:
                self._remember(key)

    def _remember(self, key: object) -> None:
        index = self.memo[key] = len(self.memo)
        self.out.append(b"q%c" % index if index < 256 else b"r" + struct.pack("<I", index))

    def _fill(self, items: Sequence[Value], opcode: bytes) -> Iterator[Value]:
        """What is put into the container on top of the stack."""
        if items:
            self.out.append(_MARK)
            yield from items
            self.out.append(opcode)

    def _save_tuple(self, value: tuple[Value, ...]) -> Iterator[Value]:
        short = _TUPLES.get(len(value))
        if short is None:
            self.out.append(_MARK)
        yield from value
        self.out.append(short or b"t")
        self._remember(id(value))

    def _save_call(self, call: Call) -> Iterator[Value]:
        """The object, then what is put into it, in the order in which Python's own pickler writes it."""
        if call.kwargs is not None:
            raise Unpicklable("an object made with named arguments")
        yield call.function
        yield call.args
        self.out.append(b"\x81" if call.new else b"R")
        self._remember(id(call))
        yield from self._fill(call.items or (), _APPENDS)
        yield from self._fill([part for pair in call.pairs or () for part in pair], _SETITEMS)
        if call.state is not None:
            yield call.state
            self.out.append(b"b")


def _atom(value: Value) -> bytes:
    """A value without parts."""
    if value is None:
        return b"N"
    if type(value) is bool:
        return b"\x88" if value else b"\x89"
    if type(value) is int:
        return _integer(value)
    if type(value) is float:
        return b"G" + struct.pack(">d", value)
    if type(value) is str:
        text = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(text)) + text
    if type(value) is Global:
        return _name(value)
    if value == () and type(value) is tuple:
        return b")"
    raise Unpicklable(f"protocol 2 has no {type(value).__name__}")


def _integer(value: int) -> bytes:
    if 0 <= value < 1 << 8:
        return b"K" + struct.pack("<B", value)
    if 0 <= value < 1 << 16:
        return b"M" + struct.pack("<H", value)
    if -1 << 31 <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    head = b"\x8a" + struct.pack("<B", len(data)) if len(data) < 256 else b"\x8b" + struct.pack("<i", len(data))
    return head + data


def _name(value: Global) -> bytes:
    if "\n" in value.module + value.name or (value.module == "copyreg" and value.name.startswith("extension ")):
        raise Unpicklable(f"no opcode of protocol 2 names {value.name!r} of {value.module!r}")
    return b"c" + f"{value.module}\n{value.name}\n".encode("utf-8", "surrogatepass")
