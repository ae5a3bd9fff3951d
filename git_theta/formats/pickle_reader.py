"""Read a pickle without running it: bytes enter, inert values leave.

The opcodes build plain Python values; whatever would import, call or look up something becomes a value that only
says so (:class:`Global`, :class:`Call`, :class:`PersistentId`). What always holds: nothing named in the pickle is
imported or called, memory and time are linear in the bytes read (every opcode makes at most one small value, none
copies an older one), no value is hashed or compared (a set is a list, a dict is a list of pairs: hostile keys can
make hashing exponential or overflow the C stack), and nothing here recurses. Values may be shared and may contain
themselves; who walks them bounds the walk. Anything else raises :class:`MalformedCheckpoint`.

The opcodes are those of the pickle protocols 0 to 5, as documented in the standard library's ``pickletools``. Its
``genops`` alone takes longer (0.18 s for 20,000 tensors) than this reader needs for everything.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from git_theta.formats.source import MalformedCheckpoint

OPCODE_LIMIT = 1 << 22
"""Opcodes in one pickle: 32 describe a tensor, so 130,000 tensors."""

MEMORY_FREE, MEMORY_PER_BYTE = 32 << 20, 32
"""Bytes that the values of any pickle may take, and those they may take in addition for each byte of it. By the
weights at the end, a state dict takes 24 for each byte, half of them for the memo; empty dicts would take 160."""

NUMBER_LIMIT = 1024
"""Bytes of one integer. Python refuses to print more than 4,300 digits, and decimal parsing is quadratic."""

HIGHEST_PROTOCOL = 5

_PAIR = 64
_TOO_MUCH = "a pickle whose values would take far more memory than its bytes"


@dataclass(frozen=True, slots=True)
class Global:
    """A name the pickle would import: a class or a function."""

    module: str
    name: str


@dataclass(eq=False, slots=True)
class PersistentId:
    """A reference to something outside the pickle; torch refers to storages this way."""

    value: Value


@dataclass(eq=False, slots=True)
class Mapping:
    """A dict as its pairs in the order they were set; a repeated key stays repeated."""

    pairs: list[tuple[Value, Value]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Call:
    """An object the pickle would make by calling ``function`` (a :class:`Global` in any honest pickle).

    ``new`` says that it only asks the class for an empty object, without ``__init__``.
    ``state`` is what its ``__setstate__`` or ``__dict__`` would get, ``items`` what would be appended to it, and
    ``pairs`` what would be set on it; each is None when the pickle does not do so.
    """

    function: Value
    args: tuple[Value, ...]
    kwargs: Value = None
    state: Value = None
    items: list[Value] | None = None
    pairs: list[tuple[Value, Value]] | None = None
    new: bool = False


Value: TypeAlias = (
    "bool | int | float | str | bytes | list[Value] | tuple[Value, ...] | Mapping | Global | Call | PersistentId | None"
)
"""What a pickle holds. Sets and frozensets come as lists and tuples, bytearrays as bytes."""


def read_pickle(data: bytes, start: int = 0, exact: bool = False) -> tuple[Value, int]:
    """The value of the pickle that begins at ``start``, and the position after its STOP.

    Some values say less than the pickle (a set is a list). Whoever writes a pickle from them asks for ``exact``
    reading, which refuses these.
    """
    machine = _Machine(data, start)
    try:
        _run(machine)
        value = machine.stack.pop()
    except (IndexError, KeyError, ValueError, OverflowError, struct.error) as error:
        # The stack, the memo, the table and the bytes themselves know their bounds: leaving any of them ends here.
        what = f"{type(error).__name__}: {error}"
        raise MalformedCheckpoint(f"not a readable pickle near byte {machine.position:,} ({what})") from error
    if exact and machine.loss:
        raise MalformedCheckpoint(f"the pickle holds {machine.loss}, which is not read exactly")
    return value, machine.position


def _run(machine: _Machine) -> None:
    """Follow the opcodes up to and including STOP."""
    data, handlers, weights = machine.data, _HANDLERS, _WEIGHTS
    for _ in range(OPCODE_LIMIT):
        opcode = data[machine.position]
        machine.position += 1
        if opcode == _STOP:
            return
        machine.room -= weights[opcode]
        if machine.room < 0:
            raise MalformedCheckpoint(_TOO_MUCH)
        handlers[opcode](machine)
    raise MalformedCheckpoint(f"a pickle of more than {OPCODE_LIMIT:,} opcodes")


class _Machine:
    """The pickle machine: where it reads, the stack since the last mark, the stacks below, the memo.

    ``loss`` is something the pickle holds and the values do not say.
    """

    __slots__ = ("below", "data", "loss", "memo", "position", "room", "stack")

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.stack: list[Value] = []
        self.below: list[list[Value]] = []
        self.memo: dict[int, Value] = {}
        self.room = MEMORY_FREE + MEMORY_PER_BYTE * (len(data) - position)
        self.loss = ""

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes; refuses to pass the end, so that a false length allocates nothing."""
        end = self.position + length
        if length < 0 or end > len(self.data):
            raise ValueError(f"{length:,} bytes are announced, {len(self.data) - self.position:,} are left")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def take_line(self) -> bytes:
        """The bytes up to the next newline, which is consumed."""
        line = self.take(self.data.index(b"\n", self.position) - self.position)
        self.position += 1
        return line

    def pop_mark(self) -> list[Value]:
        """Everything pushed since the last mark."""
        items = self.stack
        self.stack = self.below.pop()
        return items

    def pop_pairs(self) -> list[tuple[Value, Value]]:
        """The same, taken two by two."""
        items = self.pop_mark()
        self.room -= _PAIR * (len(items) // 2)
        if self.room < 0:
            raise MalformedCheckpoint(_TOO_MUCH)
        return list(zip(items[::2], items[1::2], strict=True))


_Handler = Callable[[_Machine], None]


def _losing(what: str, handler: _Handler) -> _Handler:
    """A handler whose values do not say all that the pickle does."""

    def handle(m: _Machine) -> None:
        m.loss = what
        handler(m)

    return handle


def _constant(value: Value) -> _Handler:
    def push(m: _Machine) -> None:
        m.stack.append(value)

    return push


def _small_int(m: _Machine) -> None:
    m.stack.append(m.data[m.position])
    m.position += 1


def _unpacked(layout: str) -> _Handler:
    """Push one number of fixed width."""
    number = struct.Struct(layout)
    unpack, width = number.unpack_from, number.size

    def push(m: _Machine) -> None:
        (value,) = unpack(m.data, m.position)
        m.position += width
        m.stack.append(value)

    return push


def _sized(layout: str, decode: Callable[[bytes], Value]) -> _Handler:
    """Push what ``decode`` makes of bytes whose length comes first."""
    number = struct.Struct(layout)
    unpack, width = number.unpack_from, number.size

    def push(m: _Machine) -> None:
        (length,) = unpack(m.data, m.position)
        m.position += width
        m.stack.append(decode(m.take(length)))

    return push


def _line(decode: Callable[[bytes], Value]) -> _Handler:
    """Push what ``decode`` makes of a line of text."""

    def push(m: _Machine) -> None:
        m.stack.append(decode(m.take_line()))

    return push


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _text_or_bytes(raw: bytes) -> Value:
    """A Python 2 ``str``, which may have been either."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def _escaped_text(raw: bytes) -> str:
    return raw.decode("raw-unicode-escape")


def _quoted_text(raw: bytes) -> Value:
    """A Python 2 ``str`` between quotes; its escapes stay as they are written."""
    raw = raw.strip()
    if len(raw) < 2 or raw[:1] != raw[-1:] or raw[:1] not in (b"'", b'"'):
        raise ValueError("a string without its quotes")
    return _text_or_bytes(raw[1:-1])


def _bytes(raw: bytes) -> bytes:
    return raw


def _long(raw: bytes) -> int:
    if len(raw) > NUMBER_LIMIT:
        raise ValueError(f"an integer of {len(raw):,} bytes")
    return int.from_bytes(raw, "little", signed=True)


def _decimal(raw: bytes) -> int:
    if len(raw) > NUMBER_LIMIT:
        raise ValueError(f"an integer of {len(raw):,} digits")
    return int(raw)


def _decimal_or_bool(raw: bytes) -> int:
    return raw == b"01" if raw in (b"00", b"01") else _decimal(raw)


def _decimal_long(raw: bytes) -> int:
    return _decimal(raw[:-1] if raw.endswith(b"L") else raw)


def _real(raw: bytes) -> float:
    return float(raw)


def _persistent_line(raw: bytes) -> PersistentId:
    return PersistentId(_text(raw))


def _put(layout: str) -> _Handler:
    """Remember the top of the stack under the number that follows."""
    number = struct.Struct(layout)
    unpack, width = number.unpack_from, number.size

    def put(m: _Machine) -> None:
        (index,) = unpack(m.data, m.position)
        m.position += width
        m.memo[index] = m.stack[-1]

    return put


def _get(layout: str) -> _Handler:
    """Push what is remembered under the number that follows."""
    number = struct.Struct(layout)
    unpack, width = number.unpack_from, number.size

    def get(m: _Machine) -> None:
        (index,) = unpack(m.data, m.position)
        m.position += width
        m.stack.append(m.memo[index])

    return get


def _put_line(m: _Machine) -> None:
    m.memo[_memo_index(m.take_line())] = m.stack[-1]


def _get_line(m: _Machine) -> None:
    m.stack.append(m.memo[_memo_index(m.take_line())])


def _memo_index(raw: bytes) -> int:
    """An index as text. Larger ones than the binary opcodes know could be chosen to have equal hashes."""
    index = _decimal(raw)
    if not 0 <= index < 1 << 32:
        raise ValueError(f"memo index {index}")
    return index


def _memoize(m: _Machine) -> None:
    m.memo[len(m.memo)] = m.stack[-1]


def _extension(layout: str) -> _Handler:
    """Push a code of the ``copyreg`` extension registry, which only the writer knows, as a name of its own."""
    number = struct.Struct(layout)

    def push(m: _Machine) -> None:
        (code,) = number.unpack(m.take(number.size))
        m.stack.append(Global("copyreg", f"extension {code}"))

    return push


def _protocol(m: _Machine) -> None:
    version = m.take(1)[0]
    if version > HIGHEST_PROTOCOL:
        raise ValueError(f"pickle protocol {version}, at most {HIGHEST_PROTOCOL} is known")


def _frame(m: _Machine) -> None:
    """A frame only announces how much to buffer; it must be there."""
    (length,) = _UINT8.unpack(m.take(8))
    if length > len(m.data) - m.position:
        raise ValueError(f"a frame of {length:,} bytes, {len(m.data) - m.position:,} are left")


def _mark(m: _Machine) -> None:
    m.below.append(m.stack)
    m.stack = []


def _pop(m: _Machine) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.pop_mark()


def _pop_mark(m: _Machine) -> None:
    m.pop_mark()


def _dup(m: _Machine) -> None:
    m.stack.append(m.stack[-1])


def _empty_list(m: _Machine) -> None:
    m.stack.append([])


def _empty_dict(m: _Machine) -> None:
    m.stack.append(Mapping())


def _list(m: _Machine) -> None:
    items = m.pop_mark()
    m.stack.append(items)


def _dict(m: _Machine) -> None:
    pairs = m.pop_pairs()
    m.stack.append(Mapping(pairs))


def _tuple(m: _Machine) -> None:
    items = m.pop_mark()
    m.stack.append(tuple(items))


def _tuple1(m: _Machine) -> None:
    stack = m.stack
    stack[-1] = (stack[-1],)


def _tuple2(m: _Machine) -> None:
    last = m.stack.pop()
    m.stack[-1] = (m.stack[-1], last)


def _tuple3(m: _Machine) -> None:
    last = m.stack.pop()
    middle = m.stack.pop()
    m.stack[-1] = (m.stack[-1], middle, last)


def _append(m: _Machine) -> None:
    item = m.stack.pop()
    _extend(m.stack[-1], [item])


def _appends(m: _Machine) -> None:
    items = m.pop_mark()
    _extend(m.stack[-1], items)


def _extend(target: Value, items: list[Value]) -> None:
    if type(target) is list:
        target.extend(items)
    elif type(target) is Call:
        if target.items is None:
            target.items = []
        target.items.extend(items)
    else:
        raise ValueError(f"items are appended to a {type(target).__name__}")


def _setitem(m: _Machine) -> None:
    value = m.stack.pop()
    key = m.stack.pop()
    _update(m.stack[-1], [(key, value)])


def _setitems(m: _Machine) -> None:
    pairs = m.pop_pairs()
    _update(m.stack[-1], pairs)


def _update(target: Value, pairs: list[tuple[Value, Value]]) -> None:
    if type(target) is Mapping:
        target.pairs.extend(pairs)
    elif type(target) is Call:
        if target.pairs is None:
            target.pairs = []
        target.pairs.extend(pairs)
    else:
        raise ValueError(f"keys are set on a {type(target).__name__}")


def _global(m: _Machine) -> None:
    module = _text(m.take_line())
    m.stack.append(Global(module, _text(m.take_line())))


def _stack_global(m: _Machine) -> None:
    name = m.stack.pop()
    module = m.stack.pop()
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a global whose name is not text")
    m.stack.append(Global(module, name))


def _reduce(m: _Machine) -> None:
    """REDUCE: a function or class, and its arguments."""
    args = m.stack.pop()
    m.stack[-1] = Call(m.stack[-1], _arguments(args))


def _newobj(m: _Machine) -> None:
    _reduce(m)
    cast("Call", m.stack[-1]).new = True


def _newobj_ex(m: _Machine) -> None:
    kwargs = m.stack.pop()
    args = m.stack.pop()
    m.stack[-1] = Call(m.stack[-1], _arguments(args), kwargs)


def _arguments(args: Value) -> tuple[Value, ...]:
    if type(args) is not tuple:
        raise ValueError(f"arguments that are a {type(args).__name__}, expected a tuple")
    return args


def _inst(m: _Machine) -> None:
    """INST: the class is named in the opcode, its arguments follow a mark."""
    _global(m)
    function = m.stack.pop()
    args = m.pop_mark()
    m.stack.append(Call(function, tuple(args)))


def _obj(m: _Machine) -> None:
    """OBJ: class and arguments follow a mark."""
    function, *args = m.pop_mark()
    m.stack.append(Call(function, tuple(args)))


def _build(m: _Machine) -> None:
    state = m.stack.pop()
    target = m.stack[-1]
    if type(target) is not Call:
        raise ValueError(f"state is set on a {type(target).__name__}")
    if target.state is not None:
        m.loss = "an object whose state is set twice"
    target.state = state


def _persistent(m: _Machine) -> None:
    m.stack[-1] = PersistentId(m.stack[-1])


def _nothing(m: _Machine) -> None:
    """READONLY_BUFFER changes nothing that matters here."""


_UINT8 = struct.Struct("<Q")
_OLD = "an object of a class of Python 2"
_STOP = ord(".")

# NEXT_BUFFER is missing on purpose: its bytes are not in the file, so such a pickle is not a whole checkpoint.
_HANDLERS: dict[int, _Handler] = {
    ord(code): handler
    for code, handler in {
        "\x80": _protocol, "\x95": _frame, "(": _mark, "0": _pop, "1": _pop_mark, "2": _dup,
        "N": _constant(None), "\x88": _constant(True), "\x89": _constant(False), ")": _constant(()),
        "K": _small_int, "M": _unpacked("<H"), "J": _unpacked("<i"), "G": _unpacked(">d"),
        "\x8a": _sized("<B", _long), "\x8b": _sized("<i", _long),
        "I": _line(_decimal_or_bool), "L": _line(_decimal_long), "F": _line(_real),
        "X": _sized("<I", _text), "\x8c": _sized("<B", _text), "\x8d": _sized("<Q", _text), "V": _line(_escaped_text),
        "B": _sized("<I", _bytes), "C": _sized("<B", _bytes), "\x8e": _sized("<Q", _bytes),
        "\x96": _losing("a bytearray", _sized("<Q", _bytes)), "\x98": _nothing,
        "T": _sized("<i", _text_or_bytes), "U": _sized("<B", _text_or_bytes),
        "S": _losing("quoted text", _line(_quoted_text)),
        "]": _empty_list, "}": _empty_dict, "l": _list, "d": _dict, "t": _tuple,
        "\x8f": _losing("a set", _empty_list), "\x91": _losing("a set", _tuple),
        "\x85": _tuple1, "\x86": _tuple2, "\x87": _tuple3,
        "a": _append, "e": _appends, "\x90": _appends, "s": _setitem, "u": _setitems,
        "p": _put_line, "q": _put("<B"), "r": _put("<I"), "\x94": _memoize,
        "g": _get_line, "h": _get("<B"), "j": _get("<I"),
        "c": _global, "\x93": _stack_global,
        "\x82": _extension("<B"), "\x83": _extension("<H"), "\x84": _extension("<i"),
        "R": _reduce, "\x81": _newobj, "\x92": _newobj_ex, "b": _build,
        "i": _losing(_OLD, _inst), "o": _losing(_OLD, _obj),
        "P": _line(_persistent_line), "Q": _persistent,
    }.items()
}  # fmt: skip

_WEIGHTS = [8] * 256  # a place on the stack
for _codes, _weight in {
    "}d": 160,
    "]l\x8f": 88,
    "(PQ": 72,
    "\x85\x86\x87t\x91s": 80,
    "R\x81\x92o": 112,
    "i": 240,
    "c\x93\x82\x83\x84": 72,
    "pqr\x94": 112,
    "MJGILFSTUVXBC\x8a\x8b\x8c\x8d\x8e\x96": 64,
}.items():
    for _code in _codes:
        _WEIGHTS[ord(_code)] = _weight
"""Bytes of memory that an opcode costs, beside the bytes it carries itself; pairs are counted as they are made."""
