"""One look at a manifest: what tells two versions of a checkpoint apart, without parsing the lines they have in common.

The text enters; its header, one piece of text per span, and its objects leave. What always holds: the root digest was
checked, so the pieces are those that were sealed; a text about which there is any doubt gives None, and
:func:`~git_theta.manifest.parse` says what is wrong with it. Where values are stored is not looked into.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import prod

from git_theta.manifest.text import HEAD
from git_theta.model import Digest, Oid

_HEADER = re.compile(
    r"(?P<sealed>format (?P<format>[a-z][a-z0-9-]*)\nsize (?P<size>[0-9]{1,19})\n)root (?P<root>[0-9a-f]{64})\n"
    r"(?P<skeleton>skeleton [0-9]{1,19} (?P<digest>[0-9a-f]{64})) [^ \n]+"
)
_OBJECT = re.compile(r"object ([0-9a-f]{64}) ([0-9]{1,19})(?: base=[0-9a-f,]+)?")
_NAMES = re.compile(r'^(?:alias )?([!#-~][!-~]*|"(?:[^"\\\n]|\\[^\n])*") ', re.MULTILINE)
_NAME = re.compile(r'^"(?:[^"\\\n]|\\[^\n])*" ')


@dataclass(frozen=True, slots=True)
class Glance:
    """A manifest as far as one look goes. ``pieces`` are the spans in file order, what is sealed of each."""

    format: str
    size: int
    skeleton: Digest
    pieces: tuple[str, ...]
    objects: dict[Oid, int]


def glance(text: bytes) -> Glance | None:
    """What one look at ``text`` tells; None where only a whole parse can tell, or say what is wrong."""
    if not text.isascii() or not text.startswith(HEAD.encode()):
        return None
    whole = text.decode("ascii")
    header = _HEADER.match(whole, len(HEAD))
    end = whole.find("\nobject ", header.end()) if header else -1
    end = end if end >= 0 else whole.find("\nend", header.end()) if header else -1
    objects = _objects(whole[end + 1 :])
    if header is None or end < 0 or objects is None:
        return None
    first, *lines = whole[header.end() : end].split("\ngroup ")
    pieces = tuple([_sealed(line) for line in lines])
    sealed = "\ngroup ".join([f"{HEAD}{header['sealed']}{header['skeleton']}", *pieces])
    if first or sha256(f"{sealed}\n".encode()).hexdigest() != header["root"]:
        return None
    return Glance(header["format"], int(header["size"]), Digest(header["digest"]), pieces, objects)


def _sealed(lines: str) -> str:
    """A group's line without its last field, which says where the value is stored, and the lines of its aliases."""
    if "\n" not in lines:  # nearly all of them
        return lines.rpartition(" ")[0]
    first, _, aliases = lines.partition("\n")
    return f"{first.rpartition(' ')[0]}\n{aliases}"


def _objects(table: str) -> dict[Oid, int] | None:
    lines = table.split("\n")
    matches = [_OBJECT.fullmatch(line) for line in lines[:-2]]
    if lines[-2:] != ["end", ""] or None in matches:
        return None
    return {Oid(match[1]): int(match[2]) for match in matches if match}


def names(pieces: Iterable[str]) -> list[str]:
    """The groups' names, aliases included; raises :class:`ValueError` for one that is written wrongly."""
    found: list[str] = []
    for piece in pieces:
        if "\n" in piece or piece.startswith('"'):
            found += [json.loads(name) if name.startswith('"') else name for name in _NAMES.findall(piece)]
        else:
            found.append(piece.partition(" ")[0])
    return found


def groups(pieces: Iterable[str]) -> int:
    """How many groups there are, aliases included."""
    return sum(1 + piece.count("\n") for piece in pieces)


def parameters(pieces: Iterable[str]) -> int:
    """Elements of all groups: those of aliases are the same once more, and bytes of opaque groups are none."""
    kinds = Counter(" ".join(_after_name(piece).split(" ", 2)[:2]) for piece in pieces)
    return sum(count * prod(_shape(kind)) for kind, count in kinds.items() if not kind.startswith("opaque "))


def _after_name(piece: str) -> str:
    return piece.partition(" ")[2] if not piece.startswith('"') else _NAME.sub("", piece, count=1)


def _shape(kind: str) -> list[int]:
    sides = kind.partition(" ")[2].strip("[]")
    return [int(side) for side in sides.split(",")] if sides else []
