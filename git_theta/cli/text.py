"""Plain text for people: byte counts, shapes, and tables that align. Control characters never reach a terminal."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def human(count: int) -> str:
    """Bytes in decimal units, three digits: ``1.53 kB``, ``90.9 MB``."""
    value, unit = float(count), 0
    while value >= 999.5 and unit + 1 < len(_UNITS):
        value, unit = value / 1000, unit + 1
    if unit == 0:
        return f"{count} byte{'' if count == 1 else 's'}"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def plural(count: int, noun: str) -> str:
    """``1 group``, ``2,000 groups``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(name: str) -> str:
    """A name as it is, or as a JSON string when a terminal could misread it."""
    return name if name.isprintable() and name and not name.startswith('"') else json.dumps(name)


def typed(path: str) -> str:
    """A path as somebody would type it in a shell, whatever is in it; one that begins with a dash is no option."""
    if path.startswith("-"):
        path = f"./{path}"
    if path.isprintable():
        return shlex.quote(path)
    escaped = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\x{byte:02x}" for byte in os.fsencode(path)
    )
    return f"$'{escaped}'"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns two spaces apart, those in ``right`` aligned to the right; no space at the ends of lines."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    aligned = (
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
    return "\n".join(line.rstrip() for line in aligned)
