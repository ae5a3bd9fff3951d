"""Payloads made to hurt: whatever they say, decoding gives ``length`` bytes or raises, in bounded memory."""

from __future__ import annotations

import random
import struct
import tracemalloc

import numpy as np
import pytest
import zstandard

from git_theta.codecs import CHUNK, DamagedChunk, decode, encode, planes

GUARD = b"\x5a" * 64


def samples() -> dict[str, tuple[bytes, bytes]]:
    """One chunk and its payload for every shape a payload can have."""
    weights = (np.random.default_rng(5).standard_normal(20_000) * 0.05).astype("<f4").tobytes()
    small = weights[:1501]
    split = planes.encode(memoryview(small[:302]), 2, rotate=False)
    assert split is not None
    return {
        "raw": (small, b"".join(encode(np.random.default_rng(6).bytes(40), "opaque"))),
        "zstd": (bytes(3000), b"".join(encode(bytes(3000), "opaque"))),
        "planes of 2": (small[:302], b"\x02" + b"".join(split)),
        "planes of 4": (small, b"".join(encode(small, "float32"))),
        "planes of 8": (bytes(5000), b"".join(encode(bytes(5000), "float64"))),
        "wide streams": (weights, b"".join(encode(weights, "float32"))),
    }


SAMPLES = samples()


def decode_or_damage(payload: bytes, length: int) -> None:
    """Decode into the middle of a larger buffer; nothing around the middle may change."""
    room = bytearray(GUARD + bytes(length) + GUARD)
    try:
        answer = decode(payload, length, memoryview(room)[len(GUARD) : len(GUARD) + length])
        assert len(answer) == length
    except DamagedChunk:
        pass
    assert room[: len(GUARD)] == GUARD
    assert room[len(GUARD) + length :] == GUARD


@pytest.mark.parametrize("name", SAMPLES)
def test_every_truncation_is_noticed_or_harmless(name: str) -> None:
    chunk, payload = SAMPLES[name]
    step = max(1, len(payload) // 1500)
    for end in [*range(0, min(len(payload), 200)), *range(200, len(payload), step), len(payload) - 1]:
        with pytest.raises(DamagedChunk):
            decode(payload[:end], len(chunk))


@pytest.mark.parametrize("name", SAMPLES)
def test_flipped_bits_never_leave_the_chunk(name: str) -> None:
    chunk, payload = SAMPLES[name]
    rng = random.Random(name)
    places = [*range(min(len(payload), 60) * 8), *(rng.randrange(len(payload) * 8) for _ in range(1500))]
    for place in places:
        damaged = bytearray(payload)
        damaged[place // 8] ^= 1 << place % 8
        decode_or_damage(bytes(damaged), len(chunk))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_payload_for_another_length_is_refused(name: str) -> None:
    chunk, payload = SAMPLES[name]
    for length in {0, 1, len(chunk) - 1, len(chunk) + 1, 2 * len(chunk), CHUNK, -1, CHUNK + 1, 1 << 62} - {40}:
        with pytest.raises(DamagedChunk):
            decode(payload, length)


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"zstd"}))
def test_trailing_bytes_after_a_payload_are_refused(name: str) -> None:
    chunk, payload = SAMPLES[name]
    with pytest.raises(DamagedChunk):
        decode(payload + b"\0", len(chunk))


def test_random_payloads_of_every_method_are_survived() -> None:
    rng = random.Random(20)
    for _ in range(3000):
        payload = bytes([rng.randrange(4)]) + rng.randbytes(rng.randrange(60))
        decode_or_damage(payload, rng.randrange(300))


def frame_declaring(size: int, content: bytes) -> bytes:
    """A zstd frame whose header claims ``size`` bytes (as a u64), whatever ``content`` holds."""
    honest = zstandard.ZstdCompressor().compress(content)
    parameters = zstandard.get_frame_parameters(honest)
    assert parameters.content_size == len(content)
    blocks = honest[zstandard.frame_header_size(honest) :]
    return zstandard.FRAME_HEADER + b"\xc0" + b"\x50" + struct.pack("<Q", size) + blocks


@pytest.mark.parametrize("declared", [0, 1, 9_999, 10_001, 1 << 32, 1 << 62, (1 << 64) - 3])
def test_frames_that_lie_about_their_size_are_refused(declared: int) -> None:
    with pytest.raises(DamagedChunk, match="declares"):
        decode(b"\x01" + frame_declaring(declared, bytes(10_000)), 10_000)


@pytest.mark.parametrize("real", [9_999, 10_001, 50 << 20])
def test_frames_with_other_content_than_declared_are_refused(real: int) -> None:
    with pytest.raises(DamagedChunk):
        decode(b"\x01" + frame_declaring(10_000, bytes(real)), 10_000)


def test_frames_without_a_size_are_refused() -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    with pytest.raises(DamagedChunk, match="declares"):
        decode(b"\x01" + compressor.compress(bytes(100)), 100)


def test_a_skippable_frame_is_no_content() -> None:
    with pytest.raises(DamagedChunk):
        decode(b"\x01" + struct.pack("<II", 0x184D2A50, 100) + bytes(100), 100)


def test_bombs_are_refused_before_memory_is_taken() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(400 << 20))
    huge_window = zstandard.FRAME_HEADER + b"\x80" + b"\xf8" + struct.pack("<I", 100) + b"\x01\x00\x00"
    record = struct.pack("<BI", 0x11, len(bomb))
    payloads = [
        b"\x01" + bomb,
        b"\x01" + huge_window,
        b"\x02\x02" + 2 * record + 2 * bomb,
        b"\x02\x04" + 4 * struct.pack("<BI", 1, 0xFFFFFFFF),
    ]
    tracemalloc.start()
    try:
        for payload in payloads:
            for length in (100, 100_000):
                with pytest.raises(DamagedChunk):
                    decode(payload, length)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20, "one thread's scratch (two chunks) and little else"


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"", "words of 0 bytes"),
        (b"\x03", "words of 3 bytes"),
        (b"\x42", "words of 66 bytes"),
        (b"\x04", "after 0 streams"),
        (b"\x04" + struct.pack("<BI", 8, 0), "kind 0x8"),
        (b"\x04" + struct.pack("<BI", 0x21, 0), "kind 0x21"),
        (b"\x04" + struct.pack("<BIBI", 1, 25, 2, 50), "at byte 1"),
        (b"\x84" + struct.pack("<BIBI", 2, 50, 2, 50), "at byte 2"),
        (b"\x02" + struct.pack("<BI", 4, 100), "kind 0x4"),
        (b"\x02" + struct.pack("<BI", 1, 51), "plain stream of 51"),
        (b"\x02" + struct.pack("<BIBI", 1, 50, 0x11, 9), "fill 70 bytes"),
    ],
)
def test_each_broken_plane_header_gets_its_own_message(head: bytes, says: str) -> None:
    with pytest.raises(DamagedChunk, match=says):
        decode(b"\x02" + head, 100)
