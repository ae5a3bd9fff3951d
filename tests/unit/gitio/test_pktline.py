"""Packet lines: read exactly what was asked for, however the pipe cuts it; write what Git accepts."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from git_theta.gitio.pktline import MAX_PAYLOAD, PacketReader, PacketWriter, ProtocolError, widen
from tests.unit.gitio.packets import Trickle, content, flush, lists, packets, text
from tests.unit.tensors.bench import noise

STEPS = pytest.mark.parametrize("step", [1, 2, 3, 7, 4096, 1 << 20])


class TestText:
    @STEPS
    def test_comes_line_by_line_and_ends_with_none(self, step: int) -> None:
        reader = PacketReader(Trickle(text("one", "two=2") + text("three"), step))
        assert [reader.line() for _ in range(5)] == ["one", "two=2", None, "three", None]

    def test_comes_as_pairs_and_as_lists(self) -> None:
        reader = PacketReader(Trickle(text("a=1", "b=x=y", "c", "d=") + text("l", "m") + text()))
        assert reader.pairs() == {"a": "1", "b": "x=y", "c": "", "d": ""}
        assert reader.lines() == ["l", "m"]
        assert reader.lines() == []

    def test_keeps_bytes_that_are_not_unicode(self) -> None:
        reader = PacketReader(Trickle(packets([b"pathname=\xff\xfe\n"]) + flush()))
        pathname = reader.pairs()["pathname"]
        assert os.fsencode(pathname) == b"\xff\xfe"
        out = io.BytesIO()
        PacketWriter(out).lines([f"pathname={pathname}"])
        assert lists(out.getvalue()) == [[b"pathname=\xff\xfe\n"]]

    def test_of_the_largest_size_comes_whole(self) -> None:
        line = "x" * MAX_PAYLOAD
        reader = PacketReader(Trickle(packets([line.encode()] * 40), 100_000))
        assert [reader.line() for _ in range(40)] == [line] * 40

    @pytest.mark.parametrize("cut", range(1, 10))
    def test_that_breaks_off_is_the_end_of_the_pipe(self, cut: int) -> None:
        with pytest.raises(EOFError):
            PacketReader(Trickle(packets([b"hello\n"])[:-cut])).line()

    @pytest.mark.parametrize("junk", [b"zzzz", b"0001", b"0003", b"fff1", b"ffff", b"\xff\xff\xff\xff"])
    def test_with_an_impossible_length_is_refused(self, junk: bytes) -> None:
        with pytest.raises(ProtocolError):
            PacketReader(Trickle(junk + b"x" * 70_000)).line()


class TestContent:
    @STEPS
    @pytest.mark.parametrize("length", [0, 1, 3, 5000])
    @pytest.mark.parametrize("size", [1, 4, 1000, MAX_PAYLOAD])
    def test_comes_whole_and_the_next_packet_is_untouched(self, step: int, length: int, size: int) -> None:
        data = noise(length)
        reader = PacketReader(Trickle(content(data, size) + text("next"), step))
        target = memoryview(bytearray(length + 10))
        assert reader.content().readinto(target) == length
        assert target[:length] == data
        assert reader.lines() == ["next"]

    def test_fills_every_buffer_but_the_last(self) -> None:
        data = noise(3 << 20)
        reader = PacketReader(Trickle(content(data), 70_001)).content()
        buffer = memoryview(bytearray(65_537))
        found, counts = bytearray(), []
        while count := reader.readinto(buffer):
            found += buffer[:count]
            counts.append(count)
        assert found == data
        assert set(counts[:-1]) == {len(buffer)}
        assert reader.readinto(buffer) == 0

    def test_passes_over_packets_without_bytes(self) -> None:
        reader = PacketReader(Trickle(packets([b"ab", b"", b"c"]) + flush() + text("next")))
        target = memoryview(bytearray(10))
        assert reader.content().readinto(target) == 3
        assert bytes(target[:3]) == b"abc"
        assert reader.lines() == ["next"]

    @pytest.mark.parametrize("read", [0, 1, 65_516, 100_000, 200_000])
    def test_that_is_drained_leaves_the_next_packet(self, read: int) -> None:
        reader = PacketReader(Trickle(content(noise(200_000)) + text("next"), 999))
        part = reader.content()
        part.readinto(memoryview(bytearray(read)))
        part.drain()
        assert reader.lines() == ["next"]

    def test_that_breaks_off_is_the_end_of_the_pipe(self) -> None:
        whole = content(b"some content")
        for length in range(len(whole)):
            reader = PacketReader(Trickle(whole[:length])).content()
            with pytest.raises(EOFError):
                reader.readinto(memoryview(bytearray(100)))


class Narrow(io.BytesIO):
    """A pipe that takes a few bytes at a time."""

    def write(self, data: Any, /) -> int:
        return super().write(data[:1000])


class TestWriter:
    @pytest.mark.parametrize("length", [0, 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 3 << 20])
    def test_content_is_read_back_through_any_pipe(self, length: int) -> None:
        data, out = noise(length), Narrow()
        writer = PacketWriter(out)
        writer.content(data)
        writer.content(memoryview(data))
        writer.flush()
        (found,) = lists(out.getvalue())
        assert b"".join(found) == data * 2
        assert all(found)

    def test_an_empty_list_is_a_flush(self) -> None:
        out = io.BytesIO()
        PacketWriter(out).lines([])
        assert out.getvalue() == b"0000"


def test_a_pipe_is_widened_where_the_system_can() -> None:
    read, write = os.pipe()
    try:
        widen(write)
        os.write(write, b"x" * 1000)
        assert os.read(read, 1000) == b"x" * 1000
    finally:
        os.close(read)
        os.close(write)


def test_what_is_no_pipe_is_left_as_it_is(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        widen(file.fileno())
