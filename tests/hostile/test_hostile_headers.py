"""Headers that lie. Each ends as one opaque group with a warning, quickly, and in little memory."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from git_theta.formats import FORMATS, BytesSource, MalformedCheckpoint, check_layout, scan
from git_theta.formats.registry import load
from git_theta.formats.source import GROUP_LIMIT, READ_LIMIT, check_range
from git_theta.model import Group, Layout, Span

MIB = 1 << 20


@pytest.fixture(autouse=True, scope="module")
def _everything_imported() -> None:
    """So that the memory of imports is not counted as a header's."""
    for name in FORMATS:
        load(name)


def refusal(data: bytes) -> str:
    """Why the file was taken as opaque; fails when it was understood, or not recognised at all."""
    result = scan(BytesSource(data))
    assert result.layout.format == "opaque"
    assert result.warning is not None
    assert len(result.warning) < 500
    assert "\n" not in result.warning
    return result.warning


def names(data: bytes) -> list[str]:
    result = scan(BytesSource(data))
    assert result.warning is None
    return [group.name for span in result.layout.spans for group in span.groups]


@contextmanager
def at_most(mib: int) -> Iterator[None]:
    """Fail when the block holds more than ``mib`` MiB at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < mib * MIB, f"{peak / MIB:,.0f} MiB"


@dataclass(frozen=True)
class Sparse:
    """A file of zeros of any size that holds ``start`` at its beginning, and counts what is read of it."""

    start: bytes
    size: int
    reads: list[int] = field(default_factory=list)

    def read(self, start: int, length: int) -> bytes:
        check_range(start, length, self.size)
        self.reads.append(length)
        return self.start[start : start + length].ljust(length, b"\0")


# safetensors


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(start: int, end: int, shape: list[object] | None = None, dtype: object = "U8") -> dict[str, object]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


SAFETENSORS: dict[str, bytes] = {
    "overlap": safetensors({"a": tensor(0, 4), "b": tensor(3, 7)}, bytes(7)),
    "the same bytes twice": safetensors({"a": tensor(0, 4), "b": tensor(0, 4)}, bytes(4)),
    "hole": safetensors({"a": tensor(0, 4), "b": tensor(5, 7)}, bytes(7)),
    "hole at the start": safetensors({"a": tensor(1, 4)}, bytes(4)),
    "bytes behind the last tensor": safetensors({"a": tensor(0, 4)}, bytes(5)),
    "truncated tensor": safetensors({"a": tensor(0, 4)}, bytes(3)),
    "ends before it starts": safetensors({"a": tensor(4, 0, [0])}, bytes(4)),
    "offset of 2^63": safetensors({"a": tensor(0, 1 << 63)}, bytes(4)),
    "offset of 2^64 + 4": safetensors({"a": tensor(0, (1 << 64) + 4, [4])}, bytes(4)),
    "negative offset": safetensors({"a": tensor(-4, 0)}, bytes(4)),
    "shape of 2^63": safetensors({"a": tensor(0, 4, [1 << 63])}, bytes(4)),
    "shape whose product is 4 modulo 2^64": safetensors({"a": tensor(0, 4, [1 << 32, 1 << 32, 4])}, bytes(4)),
    "empty shape with an impossible side": safetensors({"a": tensor(0, 0, [0, 1 << 63])}),
    "negative side": safetensors({"a": tensor(0, 4, [-2, -2])}, bytes(4)),
    "fractional side": safetensors({"a": tensor(0, 4, [4.0])}, bytes(4)),
    "true as a side": safetensors({"a": tensor(0, 1, [True])}, bytes(1)),
    "65 dimensions": safetensors({"a": tensor(0, 1, [1] * 65)}, bytes(1)),
    "shape is a number": safetensors({"a": {"dtype": "U8", "shape": 4, "data_offsets": [0, 4]}}, bytes(4)),
    "three offsets": safetensors({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4, 4]}}, bytes(4)),
    "no offsets": safetensors({"a": {"dtype": "U8", "shape": [4]}}, bytes(4)),
    "dtype is a list": safetensors({"a": tensor(0, 4, dtype=["U8"])}, bytes(4)),
    "half a byte": safetensors({"a": tensor(0, 4, [7], "F4")}, bytes(4)),
    "shape against bytes": safetensors({"a": tensor(0, 4, [4], "F32")}, bytes(4)),
    "duplicate name": safetensors(b'{"a":%s,"a":%s}' % ((json.dumps(tensor(0, 4)).encode(),) * 2), bytes(4)),
    "duplicate field": safetensors(b'{"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}}', bytes(4)),
    "metadata of numbers": safetensors({"__metadata__": {"a": 1}}),
    "metadata is a list": safetensors({"__metadata__": ["a"]}),
    "not JSON": safetensors(b"{nothing}"),
    "not UTF-8": safetensors(b'{"\xff": {}}'),
    "a bare control character in a name": safetensors(b'{"a\nb": {}}'),
    "text behind the JSON": safetensors(b"{} {}"),
    "unfinished": safetensors(b'{"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}'),
    "an endless number": safetensors(b'{"a":{"dtype":"U8","shape":[%s],"data_offsets":[0,4]}}' % (b"9" * 100_000)),
    "deep nesting": safetensors(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "deep nesting in a tensor": safetensors(b'{"a":{"shape":' + b"[" * 4000 + b"}}"),
    "deep objects": safetensors(b'{"a":' * 100_000 + b"}" * 100_000),
    "deep metadata": safetensors(b'{"__metadata__":' + b"[" * 100_000 + b"}"),
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_a_safetensors_header_that_breaks_the_rules_is_refused(case: str) -> None:
    assert "safetensors" in refusal(SAFETENSORS[case])


@pytest.mark.parametrize("length", [0, 1, 3, 1 << 31, 1 << 63, (1 << 64) - 1])
def test_a_header_length_that_lies_allocates_nothing(length: int) -> None:
    data = struct.pack("<Q", length) + b"{}"
    with at_most(1):
        assert scan(BytesSource(data)).layout.format == "opaque"
        assert scan(BytesSource(data), forced="safetensors").warning is not None


def test_the_header_limit_is_the_reference_implementations() -> None:
    over = Sparse(struct.pack("<Q", 100_000_001) + b"{", 1 << 40)
    assert scan(over).warning is None
    assert "limit" in str(scan(over, forced="safetensors").warning)
    assert sum(over.reads) < 1 * MIB


def nested_lists(size: int) -> bytes:
    return b'{"a":' + b"[" + b"[]," * (size // 3)


def escapes_in_metadata(size: int) -> bytes:
    return b'{"__metadata__":{"a":"' + b"\\n" * (size // 2) + b'"}}'


def many_small_metadata(size: int) -> bytes:
    return b'{"__metadata__":{"a":"b"' + b',"a":"b"' * (size // 8) + b"}}"


def lists_in_metadata(size: int) -> bytes:
    return b'{"__metadata__":{"a":' + b"[" + b"[]," * (size // 3)


def spaces(size: int) -> bytes:
    return b"{" + b" " * size + b"}"


@pytest.mark.parametrize("header", [nested_lists, escapes_in_metadata, many_small_metadata, lists_in_metadata, spaces])
def test_a_large_header_costs_a_few_times_its_length_whatever_it_nests(header: Callable[[int], bytes]) -> None:
    data = safetensors(header(3 * MIB))
    with at_most(15):
        scan(BytesSource(data))


def test_more_tensors_than_the_limit_are_stored_whole() -> None:
    entry = b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    header = b"{" + b",".join(entry % i for i in range(GROUP_LIMIT + 1)) + b"}"
    assert f"{GROUP_LIMIT:,}" in refusal(safetensors(header))


HOSTILE_NAMES = ["", "a\nb", "\r", "nul\0end", "../../.ssh/authorized_keys", "/etc/passwd", "\U0001f4a5", "\x1b[2J",
                 "\u202egpj.exe", "a~2", " ", "x" * 100_000, "<<<<<<< ours", "'\"\\", "\ufeffbom", "CON"]  # fmt: skip


def test_names_are_names_whatever_they_hold() -> None:
    header = {name: tensor(i, i + 1) for i, name in enumerate(HOSTILE_NAMES)}
    assert names(safetensors(header, bytes(len(HOSTILE_NAMES)))) == HOSTILE_NAMES


def test_a_lone_surrogate_is_a_name() -> None:
    assert names(safetensors({"\ud800": tensor(0, 1)}, b"x")) == ["\ud800"]


def test_a_hostile_name_in_a_refusal_stays_one_short_line() -> None:
    for name in HOSTILE_NAMES:
        refusal(safetensors({name: tensor(0, 2, [3])}, bytes(2)))


# Names that repeat, in any format


def repeated(names: list[str]) -> Layout:
    spans = tuple(Span(i, 1, (Group(name, "uint8", (1,)),)) for i, name in enumerate(names))
    return Layout("test", len(spans), spans)


@pytest.mark.timeout(30)  # linear: about a second; quadratic: an hour
@pytest.mark.parametrize(
    "wanted",
    [
        ["same"] * 100_000,
        [*(f"same~{i}" for i in range(2, 50_000)), *["same"] * 50_000, *(f"same~{i}" for i in range(2, 50_000))],
        ["same", "same~2"] * 50_000,
    ],
    ids=["equal", "suffixes taken", "alternating"],
)
def test_a_hundred_thousand_equal_names_are_told_apart_in_linear_time(wanted: list[str]) -> None:
    layout = repeated(wanted)
    found = [span.groups[0].name for span in check_layout(layout, layout.size).spans]
    assert len(set(found)) == len(wanted)
    assert all(name.startswith(asked) for name, asked in zip(found, wanted, strict=True))


def test_repeated_names_are_numbered_in_file_order() -> None:
    layout = repeated(["a", "b", "a", "a~2", "a"])
    found = [span.groups[0].name for span in check_layout(layout, layout.size).spans]
    assert found == ["a", "b", "a~2", "a~2~2", "a~3"]


# npy and npz


def npy(header: bytes, data: bytes = b"", version: bytes = b"\1\0", length: int | None = None) -> bytes:
    width = "<H" if version == b"\1\0" else "<I"
    return b"\x93NUMPY" + version + struct.pack(width, len(header) if length is None else length) + header + data


def plain(shape: str, descr: str = "'<f4'", fortran: str = "False") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()


NPY: dict[str, bytes] = {
    "header longer than the file": npy(b"{}", length=0xFFFF),
    "header of 4 GB": npy(b"{}", version=b"\2\0", length=0xFFFFFFFF),
    "version 4": npy(plain("(1,)"), bytes(4), version=b"\4\0"),
    "version 1.1": npy(plain("(1,)"), bytes(4), version=b"\1\1"),
    "data missing": npy(plain("(2,)"), bytes(7)),
    "shape of 2^63": npy(plain(f"({1 << 63},)"), bytes(8)),
    "shape whose product is 1 modulo 2^64": npy(plain(f"({(1 << 32) + 1}, {(1 << 64) - (1 << 32) + 1})"), bytes(4)),
    "empty shape with an impossible side": npy(plain(f"(0, {1 << 63})")),
    "a side of 10,000 digits": npy(plain(f"({'9' * 10_000},)"), bytes(4)),
    "negative side": npy(plain("(-1,)"), bytes(4)),
    "65 dimensions": npy(plain(f"({'1,' * 65})"), bytes(4)),
    "side is an expression": npy(plain("(2*2,)"), bytes(16)),
    "no shape": npy(b"{'descr': '<f4', 'fortran_order': False, }", bytes(4)),
    "code": npy(b"__import__('os').system('true')", bytes(4)),
    "deep nesting": npy(b"(" * 60_000),
    "endless minus": npy(b"-" * 60_000),
    "not text": npy(b"\xff" * 100),
}
OPAQUE_NPY = {"negative side", "side is an expression"}


@pytest.mark.parametrize("case", sorted(set(NPY) - OPAQUE_NPY))
def test_an_npy_header_that_breaks_the_rules_is_refused(case: str) -> None:
    with at_most(4):
        assert "npy" in refusal(NPY[case])


@pytest.mark.parametrize("case", sorted(OPAQUE_NPY))
def test_an_npy_header_beyond_our_reading_leaves_the_data_opaque(case: str) -> None:
    (span,) = scan(BytesSource(NPY[case])).layout.spans
    assert span.groups[0].dtype == "opaque"
    assert span.end == len(NPY[case])


def test_more_arrays_than_the_limit_are_stored_whole() -> None:
    empty = npy(plain("(0,)"))
    assert "npy" in refusal(empty * (GROUP_LIMIT + 1))


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return buffer.getvalue()


def test_a_zip_bomb_is_never_unpacked() -> None:
    bomb = archive({"a.npy": npy(plain("(50000000,)"), bytes(200_000_000))}, zipfile.ZIP_DEFLATED)
    with at_most(1):
        (span,) = scan(BytesSource(bomb)).layout.spans
    assert span.groups[0].dtype == "opaque"
    assert span.length < MIB


def test_members_that_quote_each_other_are_refused() -> None:
    """The overlapping zip bomb: one kernel of data, many directory records."""
    data = archive({"a.npy": npy(plain("(1,)"), bytes(4))})
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    records = data[start:end] * 1000
    closing = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1000, 1000, len(records), start, 0)
    assert "overlaps" in refusal(data[:start] + records + closing)


def test_a_member_that_is_no_array_is_opaque_by_its_name() -> None:
    members = {
        "a.npy": b"not an array",
        "b.npy": npy(plain("(9,)"), bytes(4)),
        "../c.npy": npy(plain("(1,)"), bytes(5)),
        "d.npy": npy(plain("(1,)"), bytes(4)),
        "note\n.txt": b"hello",
    }
    data = archive(members)
    layout = scan(BytesSource(data)).layout
    found = {g.name: (g.dtype, data[s.start : s.end]) for s in layout.spans for g in s.groups}
    assert found.pop("d") == ("float32", bytes(4))
    assert found == {name: ("opaque", content) for name, content in members.items() if name != "d.npy"}


@pytest.mark.timeout(30)  # linear: a tenth of a second
def test_many_members_are_read_in_linear_time() -> None:
    data = archive({f"{i}.npy": npy(plain("(1,)"), struct.pack("<I", i)) for i in range(5000)})
    assert len(names(data)) == 5000


# GGUF


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def gguf(pairs: list[bytes], tensors: list[bytes], data: bytes = b"", version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs + tensors)
    return head + bytes(-len(head) % 32) + data


def described(name: bytes, shape: tuple[int, ...], type_id: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, type_id, offset)


def pair(type_id: int, content: bytes, key: bytes = b"key") -> bytes:
    return text(key) + struct.pack("<I", type_id) + content


F32 = 0
Q4_0 = 2

GGUF: dict[str, bytes] = {
    "version 1": gguf([], [], version=1),
    "version 4": gguf([], [], version=4),
    "2^64 - 1 tensors": b"GGUF" + struct.pack("<IQQ", 3, (1 << 64) - 1, 0) + bytes(100),
    "billions of pairs": b"GGUF" + struct.pack("<IQQ", 3, 0, (1 << 64) - 1) + bytes(100_000),
    "a key of 2^63 bytes": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 63) + bytes(100),
    "a string of 2^64 - 1 bytes": gguf([pair(8, struct.pack("<Q", (1 << 64) - 1))], []),
    "an array of 2^61 doubles": gguf([pair(9, struct.pack("<IQ", 12, 1 << 61))], []),
    "an array of 2^60 strings": gguf([pair(9, struct.pack("<IQ", 8, 1 << 60))], []),
    "an array of unknown things": gguf([pair(9, struct.pack("<IQ", 99, 1))], []),
    "arrays nested without end": gguf([pair(9, struct.pack("<IQ", 9, 1) * 1000)], []),
    "a value of unknown type": gguf([pair(13, b"")], []),
    "alignment of 0": gguf([pair(4, struct.pack("<I", 0), b"general.alignment")], []),
    "a tensor's name of 2^63 bytes": gguf([], [struct.pack("<Q", 1 << 63)]),
    "2^32 - 1 dimensions": gguf([], [text(b"a") + struct.pack("<I", 0xFFFFFFFF)]),
    "65 dimensions": gguf([], [described(b"a", (1,) * 65, F32, 0)], bytes(4)),
    "shape of 2^63": gguf([], [described(b"a", (1 << 63,), F32, 0)], bytes(4)),
    "shape whose product is 0 modulo 2^64": gguf([], [described(b"a", (1 << 32, 1 << 32), F32, 0)], bytes(4)),
    "empty shape with an impossible side": gguf([], [described(b"a", (1 << 63, 0), F32, 0)], bytes(4)),
    "offset of 2^64 - 1": gguf([], [described(b"a", (1,), F32, (1 << 64) - 1)], bytes(4)),
    "unknown type at 2^64 - 1": gguf([], [described(b"a", (1,), 99, (1 << 64) - 1)], bytes(4)),
    "truncated tensor": gguf([], [described(b"a", (2,), F32, 0)], bytes(7)),
    "overlap": gguf([], [described(b"a", (2,), F32, 0), described(b"b", (2,), F32, 4)], bytes(12)),
    "half a block": gguf([], [described(b"a", (16,), Q4_0, 0)], bytes(18)),
    "blocks across rows": gguf([], [described(b"a", (16, 2), Q4_0, 0)], bytes(18)),
}  # fmt: skip


@pytest.mark.parametrize("case", GGUF)
def test_gguf_metadata_that_break_the_rules_are_refused(case: str) -> None:
    with at_most(4):
        assert "gguf" in refusal(GGUF[case])


def test_a_terabyte_of_gguf_zeros_is_given_up_after_the_limit() -> None:
    """Zero-length strings, as many as the file may hold: the read-ahead is bounded, not the file."""
    start = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair(9, struct.pack("<IQ", 8, 1 << 60))
    source = Sparse(start, 1 << 40)
    assert scan(source).warning is not None
    assert sum(source.reads) < 64 * MIB
    assert max(source.reads) <= 1 << 16


def test_a_huge_array_of_numbers_is_stepped_over_unread() -> None:
    start = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair(9, struct.pack("<IQ", 12, 1 << 21))
    source = Sparse(start, 1 << 40)
    assert scan(source).warning is None
    assert sum(source.reads) <= 2 << 16


def test_gguf_names_are_names_whatever_they_hold() -> None:
    wanted = [b"a\nb", b"nul\0", b"../x", "\U0001f4a5".encode(), b"\xff\xfe", b"a", b"a"]
    tensors = [described(name, (1,), F32, 4 * i) for i, name in enumerate(wanted)]
    expected = [name.decode("utf-8", "surrogateescape") for name in wanted[:-1]] + ["a~2"]
    assert names(gguf([], tensors, bytes(4 * len(wanted)))) == expected


# The source itself


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, -1), (0, 11), (10, 1), (1 << 64, 1), (0, 1 << 64)])
def test_a_read_outside_the_file_is_refused_before_anything_is_allocated(start: int, length: int) -> None:
    with pytest.raises(MalformedCheckpoint):
        BytesSource(bytes(10)).read(start, length)


def test_no_read_is_larger_than_the_limit() -> None:
    with pytest.raises(MalformedCheckpoint):
        Sparse(b"", 1 << 40).read(0, READ_LIMIT + 1)


def test_numpy_agrees_that_our_plain_headers_are_plain() -> None:
    """Guards the cases above: what makes them hostile is the number, not our spelling."""
    assert np.load(io.BytesIO(npy(plain("(2,)"), bytes(8)))).shape == (2,)
