"""Where the real library can judge a file, we say the same: Hypothesis writes headers, sound and broken."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import SafetensorError, deserialize

from git_theta.formats import BytesSource, MalformedCheckpoint, check_layout, scan
from git_theta.formats.safetensors import DTYPES
from git_theta.formats.safetensors import scan as scan_safetensors
from tests.contract.format_samples import npy

small = st.integers(0, 9) | st.sampled_from([16, 1 << 32, 1 << 62])
info = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(sorted(DTYPES)),
        "shape": st.lists(small, max_size=3),
        "data_offsets": st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted),
    },
    optional={"more": st.just(1)},
)
bits = dict.fromkeys(DTYPES, 8) | {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}


@st.composite
def sound_header(draw: st.DrawFn) -> tuple[bytes, int]:
    """A header whose tensors tile their bytes, in any order and spacing, and how many bytes those are."""
    header: dict[str, object] = {}
    end = 0
    for name in draw(st.lists(st.text(max_size=5), unique=True, max_size=6)):
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        dtype = draw(st.sampled_from(["U8", "I8", "BOOL", "F8_E8M0", "F4", "F6_E2M3"]))
        total = int(np.prod(shape, dtype=int)) * bits[dtype]
        if total % 8:
            shape, total = [8], 8 * bits[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + total // 8]}
        end += total // 8
    shuffled = {name: header[name] for name in draw(st.permutations(list(header)))}
    metadata = draw(st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
    if metadata is not None:
        shuffled["__metadata__"] = metadata
    text = json.dumps(shuffled, indent=draw(st.none() | st.integers(0, 2)), ensure_ascii=draw(st.booleans()))
    return text.encode() + b" " * draw(st.integers(0, 9)), end


def agree(data: bytes) -> bool:
    """Whether the library accepts the file; fails when we see it differently."""
    try:
        found = deserialize(data)  # type: ignore[no-untyped-call]  # the library is not annotated
    except SafetensorError:
        found = None
    try:
        layout = check_layout(scan_safetensors(BytesSource(data)), len(data))
    except MalformedCheckpoint:
        assert found is None
        return False
    assert found is not None
    ours = {g.name: (g.dtype, list(g.shape), data[s.start : s.end]) for s in layout.spans for g in s.groups}
    assert ours == {n: (DTYPES[t["dtype"]], t["shape"], bytes(t["data"])) for n, t in found}
    return True


@given(sound_header())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_sound_safetensors_file_is_read_as_the_library_reads_it(made: tuple[bytes, int]) -> None:
    header, size = made
    assert agree(struct.pack("<Q", len(header)) + header + bytes(i % 251 for i in range(size)))


@given(st.dictionaries(st.text(max_size=3), info, max_size=3), st.integers(0, 60))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_safetensors_header_is_judged_as_the_library_judges_it(header: dict[str, object], size: int) -> None:
    text = json.dumps(header).encode()
    agree(struct.pack("<Q", len(text)) + text + bytes(size))


@given(sound_header(), st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_an_edited_safetensors_header_is_never_read_as_something_else(
    made: tuple[bytes, int], at: int, put: bytes, cut: int
) -> None:
    """Edits may make a name repeat or a dtype unknown, where we differ on purpose: then only what both read counts."""
    header, size = made
    header = header[:at] + put + header[at + cut :]
    data = struct.pack("<Q", len(header)) + header + bytes(size)
    try:
        found = deserialize(data)  # type: ignore[no-untyped-call]  # the library is not annotated
        layout = scan_safetensors(BytesSource(data))
    except (SafetensorError, MalformedCheckpoint):
        return
    ours = {g.name: (g.dtype, list(g.shape)) for s in layout.spans for g in s.groups}
    assert ours == {n: (DTYPES[t["dtype"]], t["shape"]) for n, t in found}


plain = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes()
    | hnp.unsigned_integer_dtypes()
    | hnp.floating_dtypes(sizes=(16, 32, 64))
)


@given(
    hnp.arrays(plain | hnp.complex_number_dtypes(sizes=(64, 128)), hnp.array_shapes(min_dims=0, min_side=0)),
    st.booleans(),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_plain_array_is_found_where_numpy_finds_it(
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], fortran: bool
) -> None:
    if fortran:
        array = np.asfortranarray(array)
    data = npy(array)
    (span,) = scan(BytesSource(data)).layout.spans
    (group,) = span.groups
    loaded = np.load(io.BytesIO(data))
    content = np.frombuffer(data[span.start : span.end], loaded.dtype)
    if group.view is None:
        found = content.reshape(group.shape)
    else:
        strides = [stride * loaded.itemsize for stride in group.view.strides]
        found = np.lib.stride_tricks.as_strided(content[group.view.offset :], group.shape, strides)
    assert group.dtype == str(loaded.dtype.newbyteorder("=")) + "_be" * (loaded.dtype.byteorder == ">")
    assert found.tobytes() == loaded.tobytes()
