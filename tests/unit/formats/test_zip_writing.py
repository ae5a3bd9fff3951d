"""Archives of any size, around pieces that nobody reads: Python's zipfile and our own reader agree about them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from zlib import crc32

import pytest

from git_theta.formats.frame import Frame
from git_theta.formats.pieces import CannotBuild, Part, Piece
from git_theta.formats.zip_directory import FLAG_UTF8, read_directory
from git_theta.formats.zip_writing import NewMember, copied, raw_name, stored, write_archive
from git_theta.model import Group


class File(io.RawIOBase):
    """A frame as a file."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._at = frame, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._frame.size)[whence]
        if self._at < 0:
            raise OSError("before the file")
        return self._at

    def read(self, size: int = -1) -> bytes:
        length = self._frame.size - self._at if size < 0 else min(size, self._frame.size - self._at)
        self._at += length
        return self._frame.read(self._at - length, length)


def framed(parts: Iterable[Part]) -> Frame:
    """The archive, with every piece a stretch of zeros."""
    skeleton: list[bytes] = []
    spans, gap = [], 0
    for part in parts:
        if isinstance(part, Piece):
            spans.append((gap, part.length))
            gap = 0
        else:
            skeleton.append(part)
            gap += len(part)
    size = sum(map(len, skeleton)) + sum(length for _, length in spans)
    return Frame(size, spans, b"".join(skeleton))


def piece(length: int) -> Piece:
    return Piece((Group("w", "uint8", (length,)),), length, 0, 0)


GIB = 1 << 30


@pytest.mark.parametrize("alignment", [1, 64])
@pytest.mark.parametrize(
    "sizes", [[], [0], [5, 7], [4 * GIB - 1, 3], [4 * GIB, 1], [3 * GIB, 3 * GIB, 2, 6 * GIB], [1 << 45]]
)
def test_members_of_any_size_are_found_again(sizes: list[int], alignment: int) -> None:
    crcs = [crc32(b"head" + bytes(min(size, 10))) for size in sizes]
    members = [
        stored(f"a/{at}".encode(), 0, (b"head", piece(size)), crc)
        for at, (size, crc) in enumerate(zip(sizes, crcs, strict=True))
    ]
    frame = framed(write_archive(members, alignment))
    found = [(m.name, m.size, m.compressed_size, m.crc) for m in read_directory(frame)]
    assert found == [(f"a/{at}", size + 4, size + 4, crcs[at]) for at, size in enumerate(sizes)]
    assert all(member.start % alignment == 0 for member in read_directory(frame))
    with zipfile.ZipFile(File(frame)) as archive:
        assert [(info.filename, info.file_size, info.CRC) for info in archive.infolist()] == [
            (name, size, crc) for name, size, _, crc in found
        ]
        for info in archive.infolist():
            with archive.open(info) as opened:
                assert opened.read(4) == b"head"


def test_more_members_than_16_bits_count() -> None:
    frame = framed(write_archive(NewMember(b"%d" % at, 0, 0, 0, 0, ()) for at in range(70_000)))
    assert len(read_directory(frame)) == 70_000
    with zipfile.ZipFile(File(frame)) as archive:
        assert len(archive.infolist()) == 70_000


@pytest.mark.parametrize("name", ["plain", "modèle", "\udcff", "名前"])
def test_names_stay_the_bytes_they_are(name: str) -> None:
    raw = name.encode("utf-8", "surrogateescape")
    for flags in (0, FLAG_UTF8):
        (member,) = read_directory(framed(write_archive([stored(raw, flags, (), 0)])))
        assert raw_name(member) == raw


def test_a_compressed_member_is_copied_as_it_is() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1000))
    frame = Frame(buffer.tell(), [], buffer.getvalue())
    (member,) = read_directory(frame)
    copy = framed(write_archive([copied(member, (frame.read(member.start, member.compressed_size),))]))
    with zipfile.ZipFile(File(copy)) as archive:
        assert archive.testzip() is None
        assert archive.read("a") == bytes(1000)


def test_an_encrypted_member_is_refused() -> None:
    frame = framed(write_archive([stored(b"a", 0, (b"x",), crc32(b"x"))]))
    data = bytearray(frame.read(0, frame.size))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (member,) = read_directory(Frame(len(data), [], bytes(data)))
    with pytest.raises(CannotBuild, match="encrypted"):
        copied(member, ())
