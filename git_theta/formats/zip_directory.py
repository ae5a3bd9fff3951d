"""Where the members of a zip archive are: a :class:`Source` enters, checked :class:`Member` values leave.

Only directories and local headers are read, never a member's data. What always holds for a returned tuple: the
members are in file order, none overlaps another or the central directory, and all lie inside the file. So a
caller may turn any of them into a span without checking again. Formats (APPNOTE 6.3.10 is the reference) built
on a zip share this reader; Python's zipfile is not used because it trusts what we must check.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from git_theta.formats.source import GROUP_LIMIT, MalformedCheckpoint, Source

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
LOCATOR = struct.Struct("<4sIQI")
END64 = struct.Struct("<4sQ2H2I4Q")

_COMMENT_LIMIT = 0xFFFF
ABSENT_32 = 0xFFFFFFFF
FLAG_ENCRYPTED = 1 << 0
FLAG_DESCRIPTOR = 1 << 3
FLAG_UTF8 = 1 << 11
METHOD_STORED = 0
EXTRA_ZIP64 = 1


@dataclass(frozen=True, slots=True)
class Member:
    """One member: its data are bytes [start, start + compressed_size) of the file.

    ``stored`` says that those bytes are the content itself: neither compressed nor encrypted. ``header`` and
    ``entry`` are where the file has the member's local header and its record in the central directory; ``flags`` and
    ``method`` are zip's own.
    """

    name: str
    start: int
    size: int
    compressed_size: int
    stored: bool
    crc: int
    header: int
    entry: int
    flags: int
    method: int

    @property
    def end(self) -> int:
        """First byte after the data."""
        return self.start + self.compressed_size


@dataclass(frozen=True, slots=True)
class _Record:
    """One entry of the central directory, at ``entry``; ``header`` is the file offset of the member's local header."""

    raw_name: bytes
    flags: int
    method: int
    entry: int
    header: int
    size: int
    compressed_size: int
    stored: bool
    crc: int

    @property
    def name(self) -> str:
        # Every byte has a meaning in both: a name is never a reason to refuse a file.
        if self.flags & FLAG_UTF8:
            return self.raw_name.decode("utf-8", "surrogateescape")
        return self.raw_name.decode("cp437")


def is_zip(source: Source) -> bool:
    """Whether the file starts as a zip archive does; the test numpy and PyTorch make. Never raises for content."""
    return source.size >= END.size and source.read(0, 4) in (b"PK\x03\x04", b"PK\x05\x06")


def read_names(source: Source) -> tuple[str, ...]:
    """Names of the members, from the central directory alone: enough to recognise a format, in three reads.

    Raises :class:`MalformedCheckpoint` when the directory breaks the rules of zip.
    """
    records, _ = _central_directory(source)
    return tuple(record.name for record in records)


def read_directory(source: Source) -> tuple[Member, ...]:
    """Every member, in file order; raises :class:`MalformedCheckpoint` when the archive breaks the rules of zip.

    Sizes come from the central directory, so data descriptors after a member's data are not needed.
    """
    records, directory = _central_directory(source)
    members = []
    end = 0
    for record in sorted(records, key=lambda record: record.header):
        start = _data_start(source, record, end)
        end = start + record.compressed_size
        if end > directory:
            raise MalformedCheckpoint(
                f"zip member {record.name!r} ends at {end:,}, the members end before the directory at {directory:,}"
            )
        members.append(_member(record, start))
    return tuple(members)


def _member(record: _Record, start: int) -> Member:
    """The member whose data start at ``start``."""
    sizes = (record.size, record.compressed_size)
    places = (record.header, record.entry, record.flags, record.method)
    return Member(record.name, start, *sizes, record.stored, record.crc, *places)


def _data_start(source: Source, record: _Record, earliest: int) -> int:
    """Where the data of a member begin, behind its local header, whose own name and extra field may differ in size."""
    if record.header < earliest:
        raise MalformedCheckpoint(f"zip member {record.name!r} overlaps the one before it, which ends at {earliest:,}")
    header = source.read(record.header, LOCAL.size + len(record.raw_name))
    signature, *_, name_length, extra_length = LOCAL.unpack_from(header)
    if signature != b"PK\x03\x04" or name_length != len(record.raw_name) or header[LOCAL.size :] != record.raw_name:
        raise MalformedCheckpoint(f"zip member {record.name!r} has no local header of that name at {record.header:,}")
    return int(record.header + LOCAL.size + name_length + extra_length)


def _central_directory(source: Source) -> tuple[list[_Record], int]:
    """The records of the central directory in its own order, and where in the file it starts."""
    end, count, length, claimed = _end_of_directory(source)
    if count > GROUP_LIMIT or count * CENTRAL.size > length:
        raise MalformedCheckpoint(f"a zip directory of {length:,} bytes cannot hold {count:,} members")
    start = end - length
    # Offsets count from the archive's first byte, which is not the file's when something was put before it.
    prefix = start - claimed
    if start < 0 or prefix < 0:
        raise MalformedCheckpoint(f"the zip directory of {length:,} bytes at {claimed:,} does not end at {end:,}")
    directory = source.read(start, length)
    records = []
    position = 0
    for _ in range(count):
        record, position = _record(directory, position, start, prefix)
        records.append(record)
    if position != length:
        raise MalformedCheckpoint(f"the zip directory has {length - position:,} bytes after its {count:,} members")
    return records, start


def _end_of_directory(source: Source) -> tuple[int, int, int, int]:
    """(where the central directory ends, members, its length in bytes, the offset it claims to be at)."""
    position, fields = _end_record(source)
    disk, directory_disk, here, count, length, claimed = fields
    behind = LOCATOR.size + END64.size
    if position >= behind:
        block = source.read(position - behind, behind)
        if block[END64.size :].startswith(b"PK\x06\x07"):
            position -= behind
            signature, _, _, _, disk, directory_disk, here, count, length, claimed = END64.unpack_from(block)
            if signature != b"PK\x06\x06":
                raise MalformedCheckpoint(f"no zip64 end of directory at {position:,}")
    if disk or directory_disk or here != count:
        raise MalformedCheckpoint("the zip archive is one part of several")
    return position, count, length, claimed


def _end_record(source: Source) -> tuple[int, tuple[int, ...]]:
    """Offset and numbers of the end-of-directory record: the last one whose comment reaches the end of the file."""
    if source.size < END.size:
        raise MalformedCheckpoint(f"a zip archive has at least {END.size} bytes, this file has {source.size:,}")
    # Without a comment, as every framework writes it, 22 bytes are enough.
    for tail_length in (END.size, min(source.size, END.size + _COMMENT_LIMIT)):
        tail = source.read(source.size - tail_length, tail_length)
        found = len(tail) - END.size + 4
        while (found := tail.rfind(b"PK\x05\x06", 0, found)) >= 0:
            _, *fields, comment = END.unpack_from(tail, found)
            if found + END.size + comment == len(tail):
                return source.size - tail_length + found, tuple(fields)
            found += 3
    raise MalformedCheckpoint("no end of a zip directory in the last 64 KiB")


def _record(directory: bytes, position: int, start: int, prefix: int) -> tuple[_Record, int]:
    """The record at ``position`` of the directory, which is at ``start`` of the file, and the position after it."""
    if position + CENTRAL.size > len(directory):
        raise MalformedCheckpoint("the zip directory ends inside a member's record")
    (signature, _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length, comment_length, _, _, _,
     header) = CENTRAL.unpack_from(directory, position)  # fmt: skip
    name_end = position + CENTRAL.size + name_length
    end = name_end + extra_length + comment_length
    if signature != b"PK\x01\x02" or end > len(directory):
        raise MalformedCheckpoint(f"the zip directory has no member's record at {position:,}")
    raw_name = directory[position + CENTRAL.size : name_end]
    if ABSENT_32 in (size, compressed, header):
        extra = directory[name_end : name_end + extra_length]
        size, compressed, header = _wide_numbers(extra, [size, compressed, header])
    stored = method == METHOD_STORED and not flags & FLAG_ENCRYPTED
    if stored and size != compressed:
        raise MalformedCheckpoint(f"zip member {raw_name!r} is stored, but {size:,} bytes take {compressed:,}")
    entry = start + position
    return _Record(raw_name, flags, method, entry, header + prefix, size, compressed, stored, crc), end


def _wide_numbers(extra: bytes, numbers: list[int]) -> list[int]:
    """``numbers`` with those that did not fit 32 bits taken from the zip64 extra field, in the order it keeps."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        field = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if kind != EXTRA_ZIP64:
            continue
        wide = iter(struct.unpack_from(f"<{len(field) // 8}Q", field))
        try:
            return [next(wide) if number == ABSENT_32 else number for number in numbers]
        except StopIteration:
            break
    raise MalformedCheckpoint("a zip member's sizes are not in its zip64 extra field")
