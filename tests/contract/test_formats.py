"""What every format plug-in promises, run over every sample in ``format_samples.py``."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from git_theta.formats import FORMATS, BytesSource, MalformedCheckpoint, check_layout, scan
from git_theta.formats.registry import load
from git_theta.model import DTYPES, Group, Layout, misfit
from tests.contract.format_samples import BUILDERS, Sample, Value

BUILT_IN = list(FORMATS)


@cache
def build(name: str) -> Sample:
    return BUILDERS[name]()


@pytest.fixture(params=list(BUILDERS))
def sample(request: pytest.FixtureRequest) -> Sample:
    return build(request.param)


def found(group: Group, content: bytes) -> Value:
    """A group's value in C order, as its span and view give it."""
    if group.view is not None and content:
        width = DTYPES[group.dtype].bits // 8
        elements = np.frombuffer(content, f"V{width}")[group.view.offset :]
        content = as_strided(elements, group.shape, [stride * width for stride in group.view.strides]).tobytes()
    return Value(group.dtype, group.shape, content)


def assert_tiles(layout: Layout, size: int) -> None:
    """The promise that makes every round trip exact, checked here apart from the code that keeps it."""
    assert layout.size == size
    end = 0
    names = set()
    for span in layout.spans:
        assert end <= span.start <= span.end <= size
        assert span.groups
        end = span.end
        for group in span.groups:
            assert misfit(group, span.length) is None
            assert group.name not in names
            names.add(group.name)


def test_the_format_is_recognised_from_content(sample: Sample) -> None:
    result = scan(BytesSource(sample.data))
    assert (result.layout.format, result.warning) == (sample.format, None)


def test_the_layout_tiles_the_file(sample: Sample) -> None:
    assert_tiles(scan(BytesSource(sample.data)).layout, len(sample.data))


def test_groups_hold_what_the_framework_reads(sample: Sample) -> None:
    layout = scan(BytesSource(sample.data)).layout
    groups = {g.name: found(g, sample.data[s.start : s.end]) for s in layout.spans for g in s.groups}
    assert groups == sample.values


def test_spans_and_skeleton_give_the_file_back(sample: Sample) -> None:
    pieces, end = [], 0
    for span in scan(BytesSource(sample.data)).layout.spans:
        pieces += [sample.data[end : span.start], sample.data[span.start : span.end]]
        end = span.end
    assert b"".join([*pieces, sample.data[end:]]) == sample.data


def test_a_forced_format_scans_the_same(sample: Sample) -> None:
    source = BytesSource(sample.data)
    assert scan(source, forced=sample.format) == scan(source)


def test_forcing_any_other_format_is_harmless(sample: Sample) -> None:
    for name in [*BUILT_IN, "opaque"]:
        assert_tiles(scan(BytesSource(sample.data), forced=name).layout, len(sample.data))


def test_no_truncation_raises(sample: Sample) -> None:
    size = len(sample.data)
    lengths = {*range(min(size, 160)), *range(160, size, max(1, size // 100)), *range(max(0, size - 80), size)}
    for length in sorted(lengths):
        assert_every_reader_holds(sample.data[:length], sample.format)


def test_no_flipped_byte_raises(sample: Sample) -> None:
    chance = random.Random(20260)
    for _ in range(200):
        damaged = bytearray(sample.data)
        for _ in range(chance.choice((1, 1, 1, 4))):
            damaged[chance.randrange(min(len(damaged), chance.choice((32, 512, 1 << 30))))] = chance.randrange(256)
        assert_every_reader_holds(bytes(damaged), sample.format)


def assert_every_reader_holds(data: bytes, format_name: str) -> None:
    """Sniffing and scanning end in a layout that tiles, recognised or forced."""
    source = BytesSource(data)
    assert_tiles(scan(source).layout, len(data))
    assert_tiles(scan(source, forced=format_name).layout, len(data))


@pytest.mark.parametrize("name", BUILT_IN)
@given(
    data=st.binary(max_size=300),
    start=st.sampled_from([b"", b"\x93NUMPY\x01\0", b"GGUF\3\0\0\0", b"PK\3\4", b"PK\5\6"]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_bytes_are_sniffed_and_scanned_without_surprise(name: str, data: bytes, start: bytes) -> None:
    source = BytesSource(start + data)
    plugin = load(name)
    plugin.sniff(source)
    try:
        check_layout(plugin.scan(source), source.size)
    except MalformedCheckpoint:
        return


@given(data=st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_rewritten_stretch_never_raises(data: st.DataObject) -> None:
    sample = build(data.draw(st.sampled_from(list(BUILDERS))))
    start = data.draw(st.integers(0, len(sample.data)) | st.integers(0, 200))
    length = data.draw(st.integers(0, 16))
    stretch = data.draw(st.binary(max_size=16) | st.just(b"\xff" * 8) | st.just(b"[" * 200))
    assert_every_reader_holds(sample.data[:start] + stretch + sample.data[start + length :], sample.format)


@pytest.mark.parametrize("data", [b"", b"\0", b"PK\5\6" + bytes(18), b"hello world", bytes(1000), b"\xff" * 1000])
def test_a_file_of_no_format_is_stored_whole_without_a_warning(data: bytes) -> None:
    result = scan(BytesSource(data))
    assert result.warning is None
    assert [(span.start, span.end) for span in result.layout.spans] == ([(0, len(data))] if data else [])


def test_every_format_has_a_sample() -> None:
    assert {build(name).format for name in BUILDERS} == set(FORMATS)
