"""The zip directory reader against archives that Python's zipfile writes, and against damaged ones."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest

from git_theta.formats.source import BytesSource, MalformedCheckpoint
from git_theta.formats.zip_directory import Member, is_zip, read_directory, read_names


class _Pipe(io.BytesIO):
    """A stream without positions: zipfile then writes data descriptors."""

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


def archive(members: dict[str, bytes], *, comment: bytes = b"", method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, data in members.items():
            out.writestr(name, data)
        out.comment = comment
    return buffer.getvalue()


def contents(data: bytes) -> dict[str, bytes]:
    return {m.name: data[m.start : m.start + m.compressed_size] for m in read_directory(BytesSource(data))}


MEMBERS = {"a": b"first", "empty": b"", "dir/\u00fcber": b"x" * 1000, "last": b"\0" * 7}


@pytest.mark.parametrize("comment", [b"", b"hello", b"c" * 0xFFFF, b"PK\x05\x06" * 30], ids=len)
@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh\n", b"PK\x05\x06" * 30], ids=len)
def test_members_hold_what_was_stored_whatever_surrounds_the_archive(prefix: bytes, comment: bytes) -> None:
    assert contents(prefix + archive(MEMBERS, comment=comment)) == MEMBERS


def test_names_come_without_reading_local_headers() -> None:
    assert read_names(BytesSource(archive(MEMBERS))) == tuple(MEMBERS)


def test_deflated_members_are_not_stored_and_keep_both_sizes() -> None:
    (member,) = read_directory(BytesSource(archive({"z": b"\0" * 5000}, method=zipfile.ZIP_DEFLATED)))
    assert not member.stored
    assert member.size == 5000 > member.compressed_size


def test_data_descriptors_belong_to_no_member() -> None:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w") as out:
        for name, data in MEMBERS.items():
            out.writestr(name, data)
    data = pipe.getvalue()
    assert b"PK\x07\x08" in data
    assert contents(data) == MEMBERS


def test_zip64_records_and_sizes_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 3)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    data = archive(MEMBERS)
    assert b"PK\x06\x06" in data
    assert contents(data) == MEMBERS
    assert contents(b"prefix" + data) == MEMBERS


def test_an_encrypted_member_is_not_stored() -> None:
    data = bytearray(archive({"secret": b"12345"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (member,) = read_directory(BytesSource(bytes(data)))
    assert not member.stored


def test_members_come_in_file_order_whatever_the_directory_says() -> None:
    data = archive({"a": b"1", "b": b"22"})
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    half = (start + end) // 2
    swapped = data[:start] + data[half:end] + data[start:half] + data[end:]
    assert read_names(BytesSource(swapped)) == ("b", "a")
    assert [m.name for m in read_directory(BytesSource(swapped))] == ["a", "b"]


def test_an_empty_archive_has_no_members() -> None:
    data = archive({})
    assert is_zip(BytesSource(data))
    assert read_directory(BytesSource(data)) == ()


def test_names_in_no_encoding_still_have_a_name() -> None:
    data = archive({"\u00fc": b"1"}).replace("\u00fc".encode(), b"\xff\xfe")
    assert read_directory(BytesSource(data))[0].name == "\udcff\udcfe"


def _central(data: bytes, offset: int, layout: str, value: int) -> bytes:
    """``data`` with one number of the first central record replaced."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, data.index(b"PK\x01\x02") + offset, value)
    return bytes(changed)


def _end(data: bytes, offset: int, layout: str, value: int) -> bytes:
    """``data`` with one number of the end record replaced."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, data.rindex(b"PK\x05\x06") + offset, value)
    return bytes(changed)


SOUND = archive({"a": b"first", "b": b"second"})

DAMAGED = {
    "nothing": b"",
    "no end record": SOUND[:-1],
    "member count lies low": _end(_end(SOUND, 8, "<H", 1), 10, "<H", 1),
    "member count lies high": _end(_end(SOUND, 8, "<H", 3), 10, "<H", 3),
    "several disks": _end(SOUND, 4, "<H", 1),
    "counts differ": _end(SOUND, 8, "<H", 1),
    "directory longer than the file": _end(SOUND, 12, "<I", 1 << 31),
    "directory offset beyond its place": _end(SOUND, 16, "<I", 1 << 31),
    "name longer than the directory": _central(SOUND, 28, "<H", 0xFFFF),
    "extra longer than the directory": _central(SOUND, 30, "<H", 0xFFFF),
    "stored sizes differ": _central(SOUND, 24, "<I", 6),
    "sizes run into the next member": _central(_central(SOUND, 20, "<I", 60), 24, "<I", 60),
    "sizes run past the file": _central(_central(SOUND, 20, "<I", 1 << 31), 24, "<I", 1 << 31),
    "sizes promised in a missing zip64 field": _central(SOUND, 20, "<I", 0xFFFFFFFF),
    "local header is not where it should be": _central(SOUND, 42, "<I", 7),
    "two records share one header": _central(SOUND, 42, "<I", 36),
    "local name differs": SOUND.replace(b"a" + b"first", b"c" + b"first"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_directory_is_refused(damage: str) -> None:
    with pytest.raises(MalformedCheckpoint):
        read_directory(BytesSource(DAMAGED[damage]))


def test_a_zip64_record_with_huge_numbers_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    data = archive({"a": b"1"})
    for offset in (24, 32, 40, 48):
        changed = bytearray(data)
        struct.pack_into("<Q", changed, data.index(b"PK\x06\x06") + offset, (1 << 64) - 1)
        with pytest.raises(MalformedCheckpoint):
            read_directory(BytesSource(bytes(changed)))


def test_a_member_is_described_in_full() -> None:
    data = archive({"a": b"first"})
    assert read_directory(BytesSource(data)) == (Member("a", 31, 5, 5, True, zlib.crc32(b"first"), 0, 36, 0, 0),)
