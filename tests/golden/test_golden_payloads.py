"""Payloads written once, which every later version must decode: change a codec, never this file."""

from __future__ import annotations

import struct

import pytest

from git_theta.codecs import decode

GOLDEN = {
    "raw": (
        "0000ff80",
        b"\x00\xff\x80",
    ),
    "zstd": (
        "0128b52ffd20c865000028746865746101004050450b",
        b"theta" * 40,
    ),
    "planes of 4, turned, all plain": (
        "0284011800000001180000000118000000011800000007ab00cdab250039cd8cabd9258900f13936cd318c43ab0ad9aa"
        "00ccaa49008ecc2eaa89498800f08e94cc0c2e16aad789540198552401c69974553a251001e0c7ae9986756455463b7d"
        "7d7c7c7c7c7b7b7b7b7b7b7b7b7a7a7a7a7a7a7a7a7a7a",
        b"".join(struct.pack("<f", (-1) ** i / (i + 3)) for i in range(24)) + b"\x07",
    ),
    "planes of 4, turned, low half together, exponents framed": (
        "02840230000000011800000011110000000700009f753eebdd607dd61c4cbbc15a37f9ac98223798d60d768315f9b46e"
        "53e4f25991cf3045d0ba6f300ea6ad1b4c9100060c141a222830363e444c525860666e747c828a90989e28b52ffd2018"
        "450000107f7f01000ac002",
        b"".join(struct.pack("<f", 1 + i / 37) for i in range(24)) + b"\x07",
    ),
    "planes of 2": (
        "0202012800000001280000005500665592001c66d155ec924400881cbd6618d191551fecbe926a442100c288501cebbd"
        "90663e1835b432b130b02fae2dad2cac2cac2bab2aaa2aa929a929a828a828a828a827a727a726a626a626a6",
        b"".join(struct.pack("<e", (-1) ** i / (i + 3)) for i in range(40)),
    ),
    "planes of 2, turned, halves of floats and an odd byte": (
        "02820130000000013000000001575400019b9857554a24000173c69b9918745755b33a4a2513100001e3e073c76dae9b"
        "9962861875866457551546b33b557d007d997c557c927c007c1c7b997b5d7b557b137b927b117b007be17a1c7a287a99"
        "7a187a5d7a2c7a557aae7a137a",
        b"".join(struct.pack("<f", (-1) ** i / (i + 3)) for i in range(24)) + b"\x01",
    ),
    "planes of 8, turned, streams of 4, 2 and 1, five bytes left over": (
        "02880448000000022400000001120000001111000000010203040500000000eb0653e4d60da6c8c214f9acad1b4c9198"
        "229f758429f2596f30453e5a379822453eeb0630453eeb1c4c91cf0753e4b3f2593798de608a7cc967dd60b46e30459f"
        "7583290000b36e67dd1b4ccfba83293798eb069f7553e40653bac16e30229fd60d8a7c3eebf259e0e0e0e2e2e4e4e6e6"
        "e6e8e8eaeaecececee28b52ffd2012450000107f7f010008c002",
        b"".join(struct.pack("<d", 1 + i / 37) for i in range(18)) + b"\x01\x02\x03\x04\x05",
    ),
    "planes of 8, low half together": (
        "02080428000000010a000000010a000000010a000000010a00000000000000fffffffffefffffffdfffffffcfffffffb"
        "fffffffafffffff9fffffff8fffffff7ffffff00ffffffffffffffffff00ffffffffffffffffff00ffffffffffffffff"
        "ff00ffffffffffffffffff",
        b"".join(struct.pack("<q", -i) for i in range(10)),
    ),
    "framed streams of 2": (
        "02041211000000121100000028b52ffd203045000010000001009b000b28b52ffd203045000010803f0100673a2c",
        b"\x00\x00\x80\x3f" * 24,
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_payloads_of_the_past_decode_forever(name: str) -> None:
    payload, chunk = GOLDEN[name]
    assert decode(bytes.fromhex(payload), len(chunk)) == chunk
