"""Pickles made to harm: they run nothing, cost no more than their bytes, and end in a layout like any other file."""

from __future__ import annotations

import io
import pickle
import random
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from git_theta.formats import BytesSource, MalformedCheckpoint, Scan, scan
from git_theta.formats.pickle_reader import MEMORY_FREE, MEMORY_PER_BYTE, OPCODE_LIMIT, _Machine, _run, read_pickle
from git_theta.formats.pytorch_tensors import DEPTH_LIMIT, NAME_LIMIT, REVISIT_LIMIT, name_leaves, name_tensors

MEBIBYTE = 1 << 20
LEGACY_HEAD = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


# A tensor of one float in storage "0", as PyTorch writes it.
TENSOR = b"".join(
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu"),
        b"K\x01tQK\x00K\x01\x85K\x01\x85\x89NtR",
    ]
)


def archive(data_pickle: bytes) -> bytes:
    """A PyTorch zip archive around a pickle, with one storage of four bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("archive/data.pkl", data_pickle)
        made.writestr("archive/data/0", struct.pack("<f", 1.5))
        made.writestr("archive/version", "3\n")
    return buffer.getvalue()


def scan_everywhere(data_pickle: bytes) -> Scan:
    """The scan of an archive around the pickle, after one of a legacy file around it; neither may raise."""
    scan(BytesSource(LEGACY_HEAD + data_pickle + pickle.dumps(["0"], 2) + struct.pack("<qf", 1, 1.5)))
    result = scan(BytesSource(archive(data_pickle)))
    assert (result.layout.format, result.warning) == ("pytorch-zip", None)
    return result


def names(result: Scan) -> list[str]:
    return [group.name for span in result.layout.spans for group in span.groups]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that comes into being when module ``trap_module`` is imported or its ``spring`` is called."""
    sprung = tmp_path / "sprung"
    line = f"open({str(sprung)!r}, 'a').close()\n"
    (tmp_path / "trap_module.py").write_text(
        f"{line}def spring(*_):\n    {line}class Trap:\n    __setstate__ = spring\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield sprung
    sys.modules.pop("trap_module", None)


RUNNING = {
    "import": b"ctrap_module\nspring\n.",
    "call": b"ctrap_module\nspring\n(K\x01tR.",
    "call through the stack": text("trap_module") + text("spring") + b"\x93)R.",
    "make an instance": b"(itrap_module\nTrap\n.",
    "make an object": b"(ctrap_module\nTrap\no.",
    "construct": b"ctrap_module\nTrap\n)\x81.",
    "construct with keywords": b"ctrap_module\nTrap\n)}\x92.",
    "set state": b"ctrap_module\nTrap\n)\x81K\x01b.",
    "set items": b"ctrap_module\nTrap\n)R" + text("a") + b"K\x01s.",
    "append": b"ctrap_module\nTrap\n)RK\x01a.",
    "as a dictionary's key": b"}ctrap_module\nspring\n)RK\x01s.",
    "as a persistent id": b"ctrap_module\nspring\n)RQ.",
    "eval": b"cbuiltins\neval\n(" + text("__import__('trap_module')") + b"tR.",
    "as a tensor's function": TENSOR.replace(b"torch._utils\n_rebuild_tensor_v2", b"trap_module\nspring") + b".",
    "as a storage's type": TENSOR.replace(b"torch\nFloatStorage", b"trap_module\nTrap") + b".",
}


@pytest.mark.parametrize("attack", RUNNING)
def test_nothing_a_pickle_names_is_imported_or_called(attack: str, trap: Path) -> None:
    scan_everywhere(RUNNING[attack])
    value, _ = read_pickle(RUNNING[attack])
    name_leaves(value)
    assert not trap.exists()
    assert "trap_module" not in sys.modules


@pytest.mark.parametrize("shell", [b"cos\nsystem\n", b"cposix\nsystem\n", text("os") + text("system") + b"\x93"])
def test_no_shell_command_runs(shell: bytes, trap: Path) -> None:
    attack = shell + text(f"echo >'{trap}'") + b"\x85R."
    value, _ = read_pickle(attack)
    name_leaves(value)
    scan_everywhere(attack)
    assert not trap.exists()
    pickle.loads(attack)
    assert trap.exists(), "the attack itself works"


def test_the_trap_springs_when_a_pickle_is_executed(trap: Path) -> None:
    pickle.loads(RUNNING["call"])
    assert trap.exists()


LYING = {
    "memo index": b"Nr\xff\xff\xff\xff.",
    "memo index as text": b"Np" + b"9" * 1000 + b"\n.",
    "memo index as long text": b"Np" + b"9" * 100_000 + b"\n.",
    "text length": b"X\xff\xff\xff\xff.",
    "text length in 64 bits": b"\x8d" + b"\xff" * 7 + b"\x7f.",
    "bytes length": b"B\xff\xff\xff\xff.",
    "bytes length in 64 bits": b"\x8e" + b"\xff" * 8 + b".",
    "bytearray length": b"\x96" + b"\xff" * 8 + b".",
    "old string length": b"T\xff\xff\xff\x7f.",
    "negative string length": b"T\xff\xff\xff\xff.",
    "integer length": b"\x8b\xff\xff\xff\x7f.",
    "negative integer length": b"\x8b\x00\x00\x00\x80.",
    "integer as text": b"I" + b"9" * 100_000 + b"\n.",
    "long as text": b"L" + b"9" * 100_000 + b"L\n.",
    "frame": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "protocol": b"\x80\xff.",
    "out of band buffer": b"\x80\x05\x97.",
}


@pytest.mark.parametrize("lie", LYING)
def test_a_number_that_lies_allocates_nothing(lie: str) -> None:
    data = LYING[lie]
    if lie != "memo index":
        with pytest.raises(MalformedCheckpoint):
            read_pickle(data)
    tracemalloc.start()
    try:
        scan_everywhere(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * MEBIBYTE
    finally:
        tracemalloc.stop()


def nested(opening: bytes, closing: bytes, depth: int = 150_000, core: bytes = b"N") -> bytes:
    return opening * depth + core + closing * depth + b"."


DEEP = {
    "lists": nested(b"]", b"a"),
    "tuples": nested(b"", b"\x85"),
    "dictionaries": nested(b"}N", b"s"),
    "keys": nested(b"}", b"Ns"),
    "tuples as a key": b"}" + nested(b"", b"\x85")[:-1] + b"Ns.",
    "calls": nested(b"cos\nsystem\n", b"\x85R", 150_000),
    "states": nested(b"cos\nsystem\n)R", b"b", 200_000),
    "persistent ids": nested(b"", b"Q"),
    "marks": nested(b"(", b"t"),
    "functions": nested(b"", b")R"),
    "parameters": nested(b"ctorch._utils\n_rebuild_parameter\n", b"\x85R", 100_000),
    "subclasses": nested(b"ctorch._tensor\n_rebuild_from_type_v2\n(N", b"N))tR", 100_000),
}


@pytest.mark.parametrize("kind", DEEP)
def test_levels_by_the_hundred_thousand_overflow_nothing(kind: str) -> None:
    data = DEEP[kind]
    value, end = read_pickle(data)
    assert end == len(data)
    assert name_tensors(value) == []
    name_leaves(value)
    del value
    assert names(scan_everywhere(data)) == ["data/0"]


def test_a_tensor_too_deep_is_stored_without_its_name() -> None:
    within = nested(b"]", b"a", DEPTH_LIMIT - 2, TENSOR)
    assert names(scan_everywhere(within)) == [".".join("0" * (DEPTH_LIMIT - 2))]
    assert names(scan_everywhere(nested(b"]", b"a", DEPTH_LIMIT + 10, TENSOR))) == ["data/0"]


LOOPS = {
    "a list in itself": b"]q\x00h\x00a" + TENSOR + b"a.",
    "a dictionary in itself": b"}q\x00(" + text("a") + b"h\x00" + text("b") + TENSOR + b"u.",
    "a dictionary as its own key": b"}q\x00h\x00" + TENSOR + b"s.",
    "a tuple in its list": b"]q\x00h\x00\x85q\x01ah\x00" + TENSOR + b"a.",
    "an object as its own state": b"cos\nsystem\n)Rq\x00h\x00b" + TENSOR + b"a.",
    "a call with itself as argument": b"]q\x00cos\nsystem\nh\x00\x85Rah\x000" + TENSOR + b"a.",
    "two lists in each other": b"]q\x00]q\x01h\x00aah\x010" + TENSOR + b"a.",
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.timeout(20)
def test_what_contains_itself_is_walked_to_an_end(loop: str) -> None:
    value, _ = read_pickle(LOOPS[loop])
    assert len(name_tensors(value)) == 1
    name_leaves(value)
    scan_everywhere(LOOPS[loop])


LAUGHS = {
    "lists": b"](" + TENSOR + b"e" + b"2\x86" * 60 + b".",
    "lists of lists": b"]" + TENSOR + b"a" + b"q\x00](h\x00h\x00e" * 60 + b".",
    "tuples": TENSOR + b"2\x86" * 60 + b".",
    "dictionaries": TENSOR + b"q\x000h\x00" + (b"q\x000}(" + text("a") + b"h\x00" + text("b") + b"h\x00u") * 60 + b".",
    "keys": TENSOR + b"2\x86" * 60 + b"q\x000}h\x00Ns.",
    "states": TENSOR + b"2\x86" * 60 + b"q\x000cos\nsystem\n)Rh\x00b.",
    "one argument, many calls": b"](" + b"N" * 20_000 + b"e\x85q\x000](" + b"cos\nsystem\nh\x00R" * 20_000 + b"e.",
    "one state, many objects": b"}(" + b"NN" * 20_000 + b"uq\x000](" + b"cos\nsystem\n)Rh\x00b" * 20_000 + b"e.",
    "one python 2 list, many dictionaries": b"]("
    + b"](NNe" * 20_000
    + b"e\x85q\x000]("
    + b"ccollections\nOrderedDict\nh\x00R" * 20_000
    + b"e.",
}


@pytest.mark.parametrize("laugh", LAUGHS)
@pytest.mark.timeout(100)
def test_sharing_costs_no_more_than_the_bytes_that_share(laugh: str) -> None:
    value, _ = read_pickle(LAUGHS[laugh])
    tracemalloc.start()
    try:
        for look in (name_tensors, name_leaves):
            try:
                look(value)
            except MalformedCheckpoint:
                continue
        assert tracemalloc.get_traced_memory()[1] < 64 * MEBIBYTE
    finally:
        tracemalloc.stop()
    scan_everywhere(LAUGHS[laugh])


GREEDY = {
    "empty dictionaries": b"}" * 1_000_000,
    "empty lists": b"]" * 1_000_000,
    "marks": b"(" * 1_000_000,
    "a memo": b"N" + b"\x94" * 1_000_000,
    "instances": b"(i\n\n" * 500_000,
}


@pytest.mark.parametrize("greed", GREEDY)
def test_bytes_that_take_far_more_memory_than_they_are_end_the_reading(greed: str) -> None:
    data = GREEDY[greed]
    tracemalloc.start()
    try:
        with pytest.raises(MalformedCheckpoint, match="far more memory"):
            read_pickle(data)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * (MEMORY_FREE + MEMORY_PER_BYTE * len(data))
    finally:
        tracemalloc.stop()


def test_an_honest_pickle_has_a_quarter_more_room_than_it_takes() -> None:
    """Short names make the worst of honest pickles: everything but names costs the same."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1)) for _ in range(300)])
    buffer = io.BytesIO()
    torch.save({"state": {str(i): torch.zeros(1) for i in range(300)}, "optimizer": optimizer.state_dict()}, buffer)
    with zipfile.ZipFile(buffer) as file:
        data = file.read("archive/data.pkl")
    machine = _Machine(data, 0)
    _run(machine)
    assert MEMORY_FREE + MEMORY_PER_BYTE * len(data) - machine.room < MEMORY_PER_BYTE * len(data) / 1.25


LARGE = "x" * 10_000_000
HUGE_INT = pickle.dumps(1 << 8000, 2)[2:-1]
SHARED_LARGE = {
    "key": b"}(" + text(LARGE) + b"q\x00N" + b"h\x00N" * 200_000 + b"u.",
    "class": b"](c" + LARGE.encode() + b"\nx\nq\x00" + b"h\x00)R" * 50_000 + b"e.",
    "persistent id": b"](" + b"(" + b"N" * 500_000 + b"tQq\x00" + b"h\x00" * 200_000 + b"e.",
    "shape": b"](" + b"(" + HUGE_INT * 64 + b"tq\x000" + TENSOR.replace(b"K\x01\x85", b"h\x00") * 10_000 + b"e.",
    "shape of many sides": b"]("
    + b"("
    + b"N" * 500_000
    + b"tq\x000"
    + TENSOR.replace(b"K\x01\x85", b"h\x00") * 10_000
    + b"e.",
}


@pytest.mark.parametrize("what", SHARED_LARGE)
@pytest.mark.timeout(60)
def test_something_large_is_not_copied_wherever_it_is_shared(what: str) -> None:
    value, _ = read_pickle(SHARED_LARGE[what])
    name_tensors(value)
    name_leaves(value)
    scan_everywhere(SHARED_LARGE[what])


def test_a_tensor_shared_a_billion_times_has_a_bounded_number_of_names() -> None:
    value, _ = read_pickle(TENSOR + b"2\x86" * 60 + b".")
    assert 1 < len(name_tensors(value)) <= REVISIT_LIMIT


def test_names_are_bounded_alone_and_together() -> None:
    long, longer = "x" * (NAME_LIMIT - 1), "x" * NAME_LIMIT
    two = b"}(" + text(long) + TENSOR + text(longer) + TENSOR + b"u."
    assert names(scan_everywhere(two)) == [long]
    deep = (b"}" + text("x" * 1000)) * 100 + TENSOR + b"s" * 100 + b"."
    assert names(scan_everywhere(deep)) == ["data/0"]
    many = TENSOR + b"q\x000}" + text(long[: NAME_LIMIT - 10]) + b"](" + b"h\x00" * 30_000 + b"es."
    with pytest.raises(MalformedCheckpoint):
        name_tensors(read_pickle(many)[0])
    assert names(scan_everywhere(many)) == ["data.pkl", "data/0", "version"]


@pytest.mark.timeout(60)
def test_keys_with_equal_hashes_cost_nothing() -> None:
    collision = (1 << 61) - 1
    items = b"".join(pickle.dumps(i * collision, 2)[2:-1] + b"N" for i in range(100_000))
    value, _ = read_pickle(b"}(" + items + b"u.")
    assert len(name_leaves(value)) == 100_000


def test_more_opcodes_than_any_checkpoint_needs_are_refused() -> None:
    with pytest.raises(MalformedCheckpoint, match="opcodes"):
        read_pickle(b"N0" * (OPCODE_LIMIT // 2 + 1) + b"N.")


def real_pickle() -> bytes:
    """What PyTorch writes for a checkpoint with a bit of everything."""
    buffer = io.BytesIO()
    tensor = torch.ones(1)
    content = {"w": tensor, "l": [tensor, (1, 2.5, "x" * 300)], "n": None, "s": {1}, "big": 1 << 70, "b": b"\0"}
    torch.save(content, buffer)
    with zipfile.ZipFile(buffer) as made:
        return made.read("archive/data.pkl")


def test_a_pickle_cut_anywhere_is_refused() -> None:
    data = real_pickle()
    for length in range(len(data)):
        with pytest.raises(MalformedCheckpoint):
            read_pickle(data[:length])
        scan_everywhere(data[:length])


def test_a_pickle_with_flipped_bytes_is_read_or_refused() -> None:
    chance = random.Random(20260)
    data = real_pickle()
    for _ in range(1000):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 8))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            value, _ = read_pickle(bytes(damaged))
            name_tensors(value)
            name_leaves(value)
        except MalformedCheckpoint:
            pass
        scan_everywhere(bytes(damaged))


def test_random_opcodes_are_read_or_refused() -> None:
    chance = random.Random(20261)
    opcodes = [bytes([code]) for code in b"(.01N\x88\x89)]}K2abdeghjlopqrstuR\x81\x85\x86\x87\x8f\x90\x91\x92\x93\x94Q"]
    pieces = [*opcodes, b"K\x01", b"h\x00", b"q\x00", TENSOR, text("a"), b"cos\nsystem\n"]
    for _ in range(1000):
        data = b"".join(chance.choices(pieces, k=chance.randrange(1, 60))) + b"."
        try:
            value, _ = read_pickle(data)
            name_tensors(value)
            name_leaves(value)
        except MalformedCheckpoint:
            pass
        scan_everywhere(data)
