"""The pickle reader against the standard library's writer, and opcode by opcode for what that writer never uses."""

from __future__ import annotations

import argparse
import collections
import copyreg
import decimal
import enum
import pathlib
import pickle
import struct
from typing import Any

import numpy as np
import pytest

from git_theta.formats import MalformedCheckpoint
from git_theta.formats.pickle_reader import (
    NUMBER_LIMIT,
    Call,
    Global,
    Mapping,
    PersistentId,
    Value,
    read_pickle,
)

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 255, 256, 65535, 65536, -(1 << 31), (1 << 31) - 1, 1 << 31, 1 << 63, -(1 << 200)),
    *(0.0, -0.0, 1.5, float("inf"), 5e-324, "", "text", "\u00fc\n\\", "\U0001f600", "\ud800", "x" * 300, "y" * 70_000),
    *((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1, [2, [3]]], {}, {"a": {"b": [1, (2,)]}, 3: None, (4, 5): 6}),
    list(range(3000)),
    {str(i): i for i in range(3000)},
]


def thaw(value: Value) -> Any:
    """The ordinary value an inert one stands for."""
    if isinstance(value, list):
        return [thaw(item) for item in value]
    if isinstance(value, tuple):
        return tuple(thaw(item) for item in value)
    if isinstance(value, Mapping):
        return {thaw(key): thaw(item) for key, item in value.pairs}
    if isinstance(value, Call):
        return (thaw(value.function), thaw(value.args), thaw(value.state))
    return value


def read(data: bytes) -> Value:
    """The value of a pickle that is all of ``data``."""
    value, end = read_pickle(data)
    assert end == len(data)
    return value


def call(value: object, protocol: int = 2) -> Call:
    made = read(pickle.dumps(value, protocol))
    assert isinstance(made, Call)
    return made


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_plain_values_come_back_equal_and_of_the_same_type(value: object, protocol: int) -> None:
    made = thaw(read(pickle.dumps(value, protocol)))
    assert repr(made) == repr(value)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("value", [b"", b"short", b"b" * 300])
def test_bytes_and_bytearrays_come_as_bytes(value: bytes, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value
    assert read(pickle.dumps(bytearray(value), 5)) == value


def test_sets_come_as_lists_and_frozensets_as_tuples() -> None:
    assert read(pickle.dumps({7}, 4)) == [7]
    assert read(pickle.dumps(frozenset({7}), 4)) == (7,)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_class_or_function_is_only_named(protocol: int) -> None:
    assert read(pickle.dumps(collections.OrderedDict, protocol)) == Global("collections", "OrderedDict")
    assert read(pickle.dumps(collections.Counter.most_common, 4)) == Global("collections", "Counter.most_common")


def test_an_object_of_any_class_keeps_its_state() -> None:
    made = call(argparse.Namespace(lr=0.1, layers=[3, 2]))
    assert (made.function, made.args) == (Global("argparse", "Namespace"), ())
    assert thaw(made.state) == {"lr": 0.1, "layers": [3, 2]}


def test_what_is_appended_to_or_set_on_an_object_is_kept_apart_from_its_state() -> None:
    ordered = collections.OrderedDict(a=1)
    ordered.note = "attribute"  # type: ignore[attr-defined]  # as PyTorch hangs _metadata on a state dict
    made = call(ordered)
    assert (made.pairs, thaw(made.state)) == ([("a", 1)], {"note": "attribute"})
    assert call(collections.deque([1, 2])).items == [1, 2]
    assert call(collections.defaultdict(list, a=[1]), 4).args == (Global("builtins", "list"),)


class Colour(enum.Enum):
    RED = 1


class WithKeywords:
    def __getnewargs_ex__(self) -> tuple[tuple[int], dict[str, int]]:
        return (1,), {"two": 2}

    def __new__(cls, *args: int, **kwargs: int) -> WithKeywords:
        return super().__new__(cls)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value", [Colour.RED, decimal.Decimal("1.5"), 1 + 2j, np.float32(1.5), np.arange(3), np.dtype("<f4"), range(3)]
)
def test_objects_of_other_libraries_are_calls_nobody_makes(value: object, protocol: int) -> None:
    assert isinstance(read(pickle.dumps(value, protocol)), Call)


def test_keyword_arguments_of_a_constructor_are_kept() -> None:
    made = call(WithKeywords(), 4)
    assert made.args == (1,)
    assert thaw(made.kwargs) == {"two": 2}


class WithPersistentIds(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return ("storage", "0") if isinstance(obj, memoryview) else None


def test_a_persistent_id_is_only_named(tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "pickle", "wb") as file:
        WithPersistentIds(file, 2).dump([memoryview(b"")])
    made = read((tmp_path / "pickle").read_bytes())
    assert isinstance(made, list)
    assert isinstance(made[0], PersistentId)
    assert made[0].value == ("storage", "0")


def test_a_registered_extension_code_is_only_named() -> None:
    copyreg.add_extension("collections", "OrderedDict", 240)
    try:
        data = pickle.dumps(collections.OrderedDict, 2)
    finally:
        copyreg.remove_extension("collections", "OrderedDict", 240)
    assert b"\x82\xf0" in data
    assert read(data) == Global("copyreg", "extension 240")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"I01\n.", True),
        (b"I00\n.", False),
        (b"I42\n.", 42),
        (b"L42L\n.", 42),
        (b"L42\n.", 42),
        (b"F1.5\n.", 1.5),
        (b"S'it\\'s'\n.", "it\\'s"),
        (b'S"x"\n.', "x"),
        (b"T\x02\0\0\0\xc3\xbc.", "\u00fc"),
        (b"U\x01\xff.", b"\xff"),
        (b"Va\\u00fc\n.", "a\u00fc"),
        (b"(I1\nI2\nl.", [1, 2]),
        (b"(I1\nI2\nd.", {1: 2}),
        (b"(I1\nI2\nt.", (1, 2)),
        (b"]I1\na.", [1]),
        (b"}I1\nI2\ns.", {1: 2}),
        (b"I1\nI2\n0.", 1),
        (b"I1\n(I2\nI3\n1.", 1),
        (b"I1\n(0.", 1),
        (b"I1\n2\x86.", (1, 1)),
        (b"I7\np12\n0g12\n.", 7),
        (b"K\x07r\xff\xff\xff\xff0j\xff\xff\xff\xff.", 7),
        (b"K\x07\x940K\x08h\x00\x86.", (8, 7)),
        (b"\x8a\x00.", 0),
        (b"\x8b\x02\0\0\0\xff\xff.", -1),
        (b"\x84\x01\0\0\0.", Global("copyreg", "extension 1")),
        (b"\x83\x01\0.", Global("copyreg", "extension 1")),
        (b"(I1\nios\nsystem\n.", (Global("os", "system"), (1,), None)),
        (b"(cos\nsystem\nI1\no.", (Global("os", "system"), (1,), None)),
        (b"cos\nsystem\n)\x81}b.", (Global("os", "system"), (), {})),
        (b"\x96\x02\0\0\0\0\0\0\0ab\x98.", b"ab"),
    ],
)
def test_opcodes_today_s_writers_rarely_use(data: bytes, expected: object) -> None:
    assert thaw(read(data)) == expected


def test_a_line_persistent_id_is_text() -> None:
    made = read(b"Pstorage 0\n.")
    assert isinstance(made, PersistentId)
    assert made.value == "storage 0"


def test_a_repeated_key_stays_repeated() -> None:
    made = read(b"}(X\x01\0\0\0aK\x01X\x01\0\0\0aK\x02u.")
    assert isinstance(made, Mapping)
    assert made.pairs == [("a", 1), ("a", 2)]


def test_keys_need_not_be_hashable() -> None:
    made = read(b"}]}s.")
    assert isinstance(made, Mapping)
    assert len(made.pairs) == 1


def test_what_is_shared_stays_shared_and_may_contain_itself() -> None:
    inner = [1]
    made = read(pickle.dumps((inner, inner), 2))
    assert isinstance(made, tuple)
    assert made[0] is made[1]
    loop: list[Any] = []
    loop.append(loop)
    again = read(pickle.dumps(loop, 2))
    assert isinstance(again, list)
    assert again[0] is again


def test_the_position_after_each_of_several_pickles_is_reported() -> None:
    data = b"".join(pickle.dumps(value, protocol) for protocol, value in enumerate(["a", ["b"], {"c": 1}]))
    position, found = 0, []
    for _ in range(3):
        value, position = read_pickle(data, position)
        found.append(thaw(value))
    assert (found, position) == (["a", ["b"], {"c": 1}], len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"0.",
        b"1.",
        b"t.",
        b"a.",
        b"K\x01K\x01a.",
        b"]s.",
        b"]K\x01K\x02s.",
        b"}(K\x01u.",
        b"(o.",
        b"]]R.",
        b"cos\nsystem\n]R.",
        b"]}b.",
        b"cos\nsystem\n}b.",
        b"]]\x93.",
        b"h\x00.",
        b"j\xff\xff\xff\xff.",
        b"g9999999999\n.",
        b"K\x01p-1\n.",
        b"K\x01p4294967296\n.",
        b"\x80\x06N.",
        b"\x97.",
        b"\xff.",
        b"Inot a number\n.",
        b"I1",
        b"Sunquoted\n.",
        b"S'\n.",
        b"X\x02\0\0\0\xff\xff.",
        b"F\n.",
        b"cos\nsystem",
        b"\x8b\xff\xff\xff\xff.",
        b"T\xff\xff\xff\xff.",
        b"\x95\xff\0\0\0\0\0\0\0N.",
        b"I" + b"1" * (NUMBER_LIMIT + 1) + b"\n.",
        b"\x8b" + struct.pack("<I", NUMBER_LIMIT + 1) + b"\1" * (NUMBER_LIMIT + 1) + b".",
    ],
)
def test_what_breaks_the_rules_of_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedCheckpoint):
        read_pickle(data)


def test_the_largest_integer_still_prints() -> None:
    value = read(b"\x8b" + struct.pack("<I", NUMBER_LIMIT) + b"\x7f" * NUMBER_LIMIT + b".")
    assert len(str(value)) > 2000
