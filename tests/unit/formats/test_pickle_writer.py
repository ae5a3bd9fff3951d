"""What is written, Python's own unpickler and our reader read back; what protocol 2 cannot say is refused."""

from __future__ import annotations

import argparse
import collections
import pickle
import pickletools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta.formats.pickle_reader import Call, Global, Mapping, PersistentId, Value, read_pickle
from git_theta.formats.pickle_writer import Unpicklable, are_same, write_pickle

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.integers(-300, 70000)
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=5)
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
    ),
    max_leaves=20,
)


def inert(value: object, protocol: int = 2) -> Value:
    """A value as our reader reads it from Python's pickler."""
    return read_pickle(pickle.dumps(value, protocol), exact=True)[0]


@given(value=VALUES, protocol=st.sampled_from([0, 1, 2, 3, 4, 5]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_python_reads_what_is_written(value: object, protocol: int) -> None:
    assert pickle.loads(write_pickle(inert(value, protocol))) == value


@given(value=VALUES)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_writing_what_was_read_changes_nothing(value: object) -> None:
    written = write_pickle(inert(value))
    assert write_pickle(read_pickle(written, exact=True)[0]) == written


@pytest.mark.parametrize(
    "value",
    [
        collections.OrderedDict(b=1, a=[2]),
        collections.defaultdict(list, a=[1]),
        collections.Counter("abca"),
        argparse.Namespace(lr=0.1, note="\ud800"),
        {1, 2},
        frozenset("a"),
        bytearray(b"x"),
        complex(1, 2),
        range(3),
        list,
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_are_made_again_in_the_way_they_were_made(value: object) -> None:
    found: Any = pickle.loads(write_pickle(inert(value)))
    assert (found, type(found)) == (value, type(value))


def test_an_object_that_was_made_without_init_is_made_so_again() -> None:
    written = write_pickle(inert(argparse.Namespace(x=1)))
    opcodes = [opcode.name for opcode, _, _ in pickletools.genops(written)]
    assert "NEWOBJ" in opcodes or "REDUCE" in opcodes
    assert opcodes.count("NEWOBJ") == pickle.dumps(argparse.Namespace(x=1), 2).count(b"\x81")


def test_what_is_shared_stays_shared() -> None:
    shared = [1]
    found = pickle.loads(write_pickle(inert({"a": shared, "b": (shared, shared), "c": [("x", "x")] * 2})))
    assert found["a"] is found["b"][0] is found["b"][1]
    assert found["c"][0] is found["c"][1]


def test_more_values_than_short_memo_indices_are_remembered() -> None:
    value = [[str(at)] for at in range(400)]
    assert pickle.loads(write_pickle(inert(value + value))) == value + value


def test_a_list_that_contains_itself_is_written() -> None:
    loop: list[Any] = []
    loop.append(loop)
    found = pickle.loads(write_pickle(inert(loop)))
    assert found[0] is found


def test_values_nest_deeper_than_the_stack_of_python() -> None:
    value: Value = []
    for _ in range(5000):
        value = [value]
    found, _ = read_pickle(write_pickle(value))
    for _ in range(5000):
        assert isinstance(found, list)
        (found,) = found
    assert found == []


def test_a_tuple_that_contains_itself_is_refused() -> None:
    inner: list[Value] = []
    value = (inner,)
    inner.append(value)
    cycle = Call(Global("a", "b"), ())
    cycle.args = (cycle,)
    assert pickle.loads(write_pickle(value))[0][0][0] is not None
    with pytest.raises(Unpicklable, match="contain themselves"):
        write_pickle(cycle)


def test_bytes_are_no_text() -> None:
    assert pickle.loads(write_pickle([b"\xff\0", b"", "\xff\0"])) == [b"\xff\0", b"", "\xff\0"]


@pytest.mark.parametrize(
    "value",
    [
        Call(Global("m", "C"), (), kwargs=Mapping()),
        Global("copyreg", "extension 7"),
        Global("a\nb", "c"),
        Global("a", "b\nc"),
    ],
    ids=["named arguments", "extension", "module", "name"],
)
def test_what_protocol_2_cannot_say_is_refused(value: Value) -> None:
    with pytest.raises(Unpicklable):
        write_pickle([value])


def test_persistent_ids_are_written() -> None:
    found, _ = read_pickle(write_pickle([PersistentId(("storage", Global("torch", "FloatStorage"), "0", "cpu", 4))]))
    assert isinstance(found, list)
    assert isinstance(found[0], PersistentId)
    assert found[0].value == ("storage", Global("torch", "FloatStorage"), "0", "cpu", 4)


@pytest.mark.parametrize("value", [{1}, frozenset((1,)), bytearray(b"x")], ids=["set", "frozenset", "bytearray"])
def test_values_that_the_reader_simplifies_are_not_read_exactly(value: object) -> None:
    data = pickle.dumps(value, 5)
    assert read_pickle(data)[1] == len(data)
    with pytest.raises(Exception, match="not read exactly"):
        read_pickle(data, exact=True)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1, True),
        (1, True, False),
        (1, 1.0, False),
        (0.0, -0.0, False),
        (float("nan"), float("nan"), True),
        ("a", b"a", False),
        ("a", "a", True),
        ([1, 2], [1, 2], True),
        ([1, 2], (1, 2), False),
        (Call(Global("m", "C"), (1,)), Call(Global("m", "C"), (1,)), True),
        (Call(Global("m", "C"), (1,)), Call(Global("m", "C"), (1,), new=True), False),
        (Call(Global("m", "C"), (), kwargs=1), Call(Global("m", "C"), (), kwargs=1), False),
    ],
)
def test_values_are_the_same_to_the_last_bit_or_not(one: Value, other: Value, same: bool) -> None:
    assert are_same(one, other) is same
    assert are_same(one, one)
