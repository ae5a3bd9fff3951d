"""What every codec promises: any bytes of any dtype come back exactly, in a payload that is never much larger."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from git_theta import codecs
from git_theta.codecs import CHUNK, DamagedChunk, decode, encode, planes
from git_theta.errors import Exit
from git_theta.model import DTYPES

RAW, ZSTD, PLANES = 0, 1, 2
ODD_LENGTHS = (0, 1, 2, 3, 5, 7, 9, 15, 63, 1023, 1024, 1025, 4097, 70_001)


def joined(chunk: bytes | memoryview, dtype: str) -> bytes:
    return b"".join(encode(chunk, dtype))


def weights(count: int, seed: int = 7) -> np.ndarray:
    """Numbers spread like trained weights."""
    return (np.random.default_rng(seed).standard_normal(count) * 0.05).astype("<f4")


def assert_exact(data: bytes, dtype: str) -> bytes:
    """Encode, decode both ways, compare; answers the payload."""
    payload = joined(data, dtype)
    assert bytes(decode(payload, len(data))) == data
    out = memoryview(bytearray(b"\xa5" * len(data)))
    assert decode(payload, len(data), out) == data
    assert out == data
    assert len(payload) <= len(data) + 1
    return payload


def test_exported_names_are_pinned() -> None:
    assert codecs.__all__ == ["CHUNK", "Buffer", "DamagedChunk", "decode", "encode"]


@pytest.mark.parametrize("length", ODD_LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_length_comes_back(dtype: str, length: int) -> None:
    noise = np.random.default_rng(length).bytes(length)
    gentle = weights(length // 4 + 1).tobytes()[:length]
    for data in (noise, gentle, bytes(length), b"\x3f\x80\x00\x01" * (length // 4) + b"\xff" * (length % 4)):
        assert_exact(data, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float16_be", "bfloat16_be", "uint16"])
def test_all_16_bit_patterns_come_back(dtype: str) -> None:
    patterns = np.arange(1 << 16, dtype="<u2")
    assert_exact(patterns.tobytes(), dtype)
    assert_exact(np.sort(np.tile(patterns, 4) & 0xBFF8).tobytes(), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_nan_payloads_signed_zeros_and_infinities_come_back(dtype: str) -> None:
    specials = np.array(
        [0, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00001, 0x7F800001, 0xFFFFFFFF, 1, 0x807FFFFF], dtype="<u4"
    )
    data = np.concatenate([np.tile(specials, 3000), weights(40_000).view("<u4")])
    assert assert_exact(data.tobytes(), dtype)[0] == PLANES


@pytest.mark.parametrize("word", [2, 4, 8])
@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("words", [1, 2, 3, 4095, 16_384, 16_385, 50_001])
def test_planes_restore_every_word_size_with_every_tail(word: int, rotate: bool, words: int) -> None:
    rng = np.random.default_rng(words)
    for clear in range(word + 1):
        values = rng.integers(0, 256, (words, word), dtype=np.uint8)
        values[:, clear:] &= 3
        for tail in range(word):
            data = values.tobytes() + b"\xee" * tail
            body = planes.encode(memoryview(data), word, rotate)
            if body is None:
                assert clear == word
                continue
            out = memoryview(bytearray(len(data)))
            planes.decode(memoryview(b"".join(body)), out)
            assert out == data


def test_noise_between_planes_is_kept_in_wide_streams() -> None:
    data = np.random.default_rng(3).integers(0, 256, (40_000, 8), dtype=np.uint8)
    data[:, 7] &= 0x81
    body = planes.encode(memoryview(data.tobytes()), 8, rotate=True)
    assert body is not None
    assert [body[0][1 + 5 * i] for i in range((len(body[0]) - 1) // 5)] == [4, 2, 1, 0x11]


@pytest.mark.parametrize("shift", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "int64"])
def test_misaligned_buffers_are_read_and_filled(dtype: str, shift: int) -> None:
    data = weights(30_000).tobytes()
    payload = bytes(shift) + joined(memoryview(bytes(shift) + data)[shift:], dtype)
    room = bytearray(len(data) + 2 * shift)
    decode(memoryview(payload)[shift:], len(data), memoryview(room)[shift : shift + len(data)])
    assert room == bytes(shift) + data + bytes(shift)


@pytest.mark.parametrize(
    ("dtype", "method", "ratio"),
    [("float32", PLANES, 1.15), ("float64", PLANES, 1.08), ("bfloat16", PLANES, 1.4), ("float16", PLANES, 1.1)],
)
def test_weights_get_smaller_by_their_exponents(dtype: str, method: int, ratio: float) -> None:
    import ml_dtypes

    native = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}.get(dtype) or np.dtype(dtype)
    data = weights(400_000).astype(native).tobytes()
    payload = assert_exact(data, dtype)
    assert payload[0] == method
    assert len(data) / len(payload) > ratio


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_chunk_becomes_almost_nothing(dtype: str) -> None:
    assert len(assert_exact(bytes(CHUNK), dtype)) < 600
    assert len(assert_exact(b"\x00\x00\x80\x3f" * (CHUNK // 4), dtype)) < 1200


@pytest.mark.parametrize("dtype", DTYPES)
def test_noise_is_stored_as_it_is_without_a_copy(dtype: str) -> None:
    data = np.random.default_rng(1).bytes(300_000)
    buffers = encode(data, dtype)
    assert len(buffers) == 2
    assert buffers[0] == bytes([RAW])
    assert memoryview(buffers[1]).obj is data


def test_integers_take_the_better_of_two_coders() -> None:
    assert assert_exact(np.arange(300_000, dtype="<i8").tobytes(), "int64")[0] == PLANES
    rng = np.random.default_rng(2)
    few = rng.choice(rng.integers(0, 1 << 62, 40), 300_000).astype("<i8")
    assert assert_exact(few.tobytes(), "int64")[0] == ZSTD


def test_small_gains_are_not_worth_a_decoding_pass() -> None:
    data = np.random.default_rng(4).bytes(99_000) + bytes(1_000)
    assert joined(data, "opaque")[0] == RAW


def test_buffers_stay_valid_while_the_thread_encodes_on() -> None:
    first, second = weights(900_000, 1).tobytes(), weights(900_000, 2).tobytes()
    kept = encode(first, "float32")
    encode(second, "float32")
    decode(joined(second, "bfloat16"), len(second))
    assert decode(b"".join(kept), len(first)) == first


def test_threads_do_not_share_scratch() -> None:
    chunks = [weights(500_000, seed).tobytes() for seed in range(4)]
    wrong: list[int] = []

    def work(index: int) -> None:
        for _ in range(5):
            if decode(joined(chunks[index], "float32"), len(chunks[index])) != chunks[index]:
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(chunks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_a_chunk_or_a_payload(kind: type) -> None:
    data = weights(5_000).tobytes()
    payload = joined(kind(data), "float32")
    assert decode(kind(payload), len(data)) == data
    assert decode(np.frombuffer(payload, np.uint8), len(data)) == data
    assert b"".join(encode(np.frombuffer(data, np.uint8), "float32")) == payload


def test_a_buffer_of_the_wrong_size_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        decode(joined(b"abcd", "opaque"), 4, memoryview(bytearray(3)))
    with pytest.raises(ValueError, match="at most"):
        encode(bytes(CHUNK + 1), "opaque")


def test_a_method_from_the_future_says_so() -> None:
    with pytest.raises(DamagedChunk, match="method 77") as caught:
        decode(b"\x4dwhatever", 4)
    assert caught.value.exit_code is Exit.DAMAGED
    assert caught.value.hint is not None
    assert "newer git-theta" in caught.value.hint
