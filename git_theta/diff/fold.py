"""Repeated layers as one line: names that differ only in numbers enter, patterns leave.

``h.0.attn.weight`` to ``h.11.attn.weight`` become ``h.{0..11}.attn.weight``. What always holds: a pattern stands for
exactly the names it was made from, no more and no fewer; a name that could be taken for something else stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

_NUMBER = re.compile(r"(?<![0-9])[0-9]+(?![0-9A-Za-z])")

Item = TypeVar("Item")


def fold(
    items: Iterable[Item], name: Callable[[Item], str], alike: Callable[[Item], Hashable]
) -> list[tuple[str, list[Item]]]:
    """The items by pattern, in the order of their first member; only those with equal ``alike`` share one."""
    families: dict[Hashable, list[Item]] = {}
    for item in items:
        between = tuple(_NUMBER.split(name(item))) if is_plain(name(item)) else name(item)
        families.setdefault((between, alike(item)), []).append(item)
    return [found for members in families.values() for found in _patterns(members, name)]


def is_plain(name: str) -> bool:
    """Whether a name shown as it is can be read as nothing else: no pattern, no quoted name, nothing invisible."""
    return name.isprintable() and name == name.strip() != "" and name[0] != '"' and not ("{" in name or "}" in name)


def _patterns(members: list[Item], name: Callable[[Item], str]) -> list[tuple[str, list[Item]]]:
    """One pattern for all members when their numbers are every combination; else one per combination but the last."""
    numbers = [_NUMBER.findall(name(member)) for member in members]
    columns = [list(dict.fromkeys(column)) for column in zip(*numbers, strict=True)]
    varying = [at for at, column in enumerate(columns) if len(column) > 1]
    combinations = 1
    for at in varying:
        combinations *= len(columns[at])
    if combinations == len(members):
        return [(_pattern(name(members[0]), columns), members)]
    parts: dict[Hashable, list[Item]] = {}
    for member, own in zip(members, numbers, strict=True):
        parts.setdefault(tuple(own[at] for at in varying[:-1]), []).append(member)
    return [found for part in parts.values() for found in _patterns(part, name)]


def _pattern(name: str, columns: list[list[str]]) -> str:
    remaining = iter(columns)
    return _NUMBER.sub(lambda _: _ranges(next(remaining)), name)


def _ranges(numbers: list[str]) -> str:
    """``7``, ``{0..11}``, ``{0,3,5..7}``; numbers written with leading zeros keep them."""
    if len(numbers) == 1:
        return numbers[0]
    runs: list[list[str]] = []
    for number in sorted(numbers, key=lambda text: (int(text), text)):
        if runs and len(runs[-1][-1]) <= len(number) and int(number) == int(runs[-1][-1]) + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "{" + ",".join(run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs) + "}"
