"""Patterns for the names of parameter groups: a name and a pattern enter, whether they match leaves.

``*``, ``?`` and ``[...]`` are those of a shell; ``{query,key}`` is one of several, ``{0..11}`` a number of a range, so
what a report folds to one line can be typed as it was printed. What always holds: a name matches itself, whatever
characters it has.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase, translate
from functools import lru_cache

_LONGEST = 10_000
"""Numbers in a range; a longer one stands for its own characters."""
_PIECE = re.compile(r"\*|\?|\[!?\]?[^\]]*\]|\{[^{}]*\}|.", re.DOTALL)
_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")


def matches(name: str, pattern: str) -> bool:
    """Whether the whole of ``name`` is what ``pattern`` describes, letter case included."""
    if name == pattern:
        return True
    return bool(_compiled(pattern).fullmatch(name)) if "{" in pattern else fnmatchcase(name, pattern)


def escape(name: str) -> str:
    """The pattern that only ``name`` matches."""
    return glob.escape(name).replace("{", "[{]")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_regex(pattern), re.DOTALL)


def _regex(pattern: str) -> str:
    return "".join(map(_piece, _PIECE.findall(pattern)))


def _piece(piece: str) -> str:
    if piece.startswith("{") and ("," in piece or ".." in piece):
        return f"(?:{'|'.join(found for part in piece[1:-1].split(',') for found in _alternatives(part))})"
    return translate(piece).removeprefix("(?s:")[:-3]  # less the end it asks for, ")\\Z"


def _alternatives(part: str) -> Iterator[str]:
    """A range's numbers, with the leading zeros that its first one has; anything else as the pattern it is."""
    ends = _RANGE.fullmatch(part)
    if ends and 0 <= int(ends[2]) - int(ends[1]) < _LONGEST:
        width = len(ends[1]) if ends[1].startswith("0") else 1
        yield from (f"{number:0{width}}" for number in range(int(ends[1]), int(ends[2]) + 1))
    else:
        yield _regex(part)
