"""Which format a file is, decided from its content, and the layout every plug-in must deliver.

A plug-in is a module with ``sniff(source) -> bool`` (magic numbers only, a few reads) and
``scan(source) -> Layout``; four more functions are optional, see :mod:`git_theta.formats.building`. The table below
names them in the order they are asked; modules are imported when they are asked, so a filter start pays for none.
Further plug-ins come by the entry point ``git_theta.formats``: the entry point's name is the format's permanent name
and it loads such a module.

Content decides. Where it cannot (another tool's file that only looks like one of ours, or one that a user wants
whole), the attribute ``theta-format=NAME`` does: the caller reads it and passes it as ``forced``; every name of the
table, of a plug-in, and ``opaque`` will do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Protocol, cast

from git_theta.errors import Exit, ThetaError
from git_theta.formats.pieces import unique_name
from git_theta.formats.source import MalformedCheckpoint, Source
from git_theta.model import Group, Layout, Span, misfit

FORMATS: dict[str, str] = {
    "safetensors": "git_theta.formats.safetensors",
    "gguf": "git_theta.formats.gguf",
    "npy": "git_theta.formats.npy",
    "pytorch-zip": "git_theta.formats.pytorch_zip",
    "npz": "git_theta.formats.npz",
    "pytorch-legacy": "git_theta.formats.pytorch_legacy",
}
"""Format name (permanent: written into manifests) to module, in the order they are asked."""

OPAQUE = "opaque"
FORMAT_NAME = re.compile(r"[a-z][a-z0-9-]*")
"""What a manifest can hold as a format's name."""


class UnknownFormat(ThetaError):
    """A format was asked for by name and nothing provides it."""

    exit_code = Exit.USAGE


class Format(Protocol):
    """What a plug-in module offers."""

    def sniff(self, source: Source) -> bool:
        """Whether the first (or last) bytes carry this format's mark. Never raises for any content."""

    def scan(self, source: Source) -> Layout:
        """Where the groups are; raises :class:`MalformedCheckpoint` when the file breaks the format's rules."""


@dataclass(frozen=True, slots=True)
class Scan:
    """A layout, and why the file was taken as opaque (None when it was understood or never claimed a format)."""

    layout: Layout
    warning: str | None = None


def scan(source: Source, forced: str | None = None) -> Scan:
    """Recognise the format and find the groups; ``forced`` names a format instead of sniffing.

    Never raises for bad content: what cannot be understood is one opaque group with a warning. Raises
    :class:`UnknownFormat` when nothing provides ``forced``: guessing would store the file in another way than the
    user's colleagues do.
    """
    if forced == OPAQUE:
        return Scan(opaque(source.size))
    for name in [forced] if forced else _names():
        plugin = load(name)
        if not forced and not plugin.sniff(source):
            continue
        try:
            return Scan(check_layout(plugin.scan(source), source.size))
        except MalformedCheckpoint as error:
            return Scan(opaque(source.size), f"not a readable {name} file ({_brief(error)}); stored whole as one group")
        except (RecursionError, MemoryError) as error:
            return Scan(
                opaque(source.size), f"{name} reader gave up ({type(error).__name__}); stored whole as one group"
            )
    return Scan(opaque(source.size))


def _brief(error: Exception) -> str:
    """One short line: a message may quote names from the file, of any length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:300] + "..."


def load(name: str) -> Format:
    """The plug-in module of a format name; raises :class:`UnknownFormat`."""
    if name in FORMATS:
        return cast(Format, import_module(FORMATS[name]))
    from importlib.metadata import entry_points

    for point in entry_points(group="git_theta.formats"):
        if point.name == name:
            return cast(Format, point.load())
    raise UnknownFormat(f"no format is called {name!r}", hint=f"known formats: {', '.join([*FORMATS, OPAQUE])}")


def _names() -> Iterator[str]:
    """Built-in formats; then those of the entry point by name, for which every installed package is looked at."""
    yield from FORMATS
    from importlib.metadata import entry_points

    yield from sorted(point.name for point in entry_points(group="git_theta.formats"))


def opaque(size: int) -> Layout:
    """The layout of a file nothing is known about: one group over everything, none for an empty file."""
    span = Span(0, size, (Group("file", OPAQUE, (size,)),))
    return Layout(OPAQUE, size, (span,) if size else ())


def check_layout(layout: Layout, size: int) -> Layout:
    """Refuse spans that overlap, leave the file or contradict their dtype and shape; make group names unique.

    A view must stay inside its span. Repeated names get ``~2``, ``~3``... in file order, so that a name is
    always enough to find a group.
    """
    if not FORMAT_NAME.fullmatch(layout.format):
        raise MalformedCheckpoint(f"the format is called {layout.format!r}, expected {FORMAT_NAME.pattern}")
    if layout.size != size:
        raise MalformedCheckpoint(f"the layout describes {layout.size:,} bytes, the file has {size:,}")
    end = 0
    for span in layout.spans:
        if span.start < end or span.length < 0 or span.end > size:
            raise MalformedCheckpoint(
                f"group {span.groups[0].name!r} covers bytes {span.start:,} to {span.end:,}, "
                f"expected within {end:,} to {size:,}"
            )
        end = span.end
        for group in span.groups:
            reason = misfit(group, span.length)
            if reason:
                raise MalformedCheckpoint(f"group {group.name!r} {reason}")
    return _with_unique_names(layout)


def _with_unique_names(layout: Layout) -> Layout:
    """The layout itself when no name repeats, as in nearly every file; else a copy with suffixes."""
    names = [group.name for span in layout.spans for group in span.groups]
    if len(set(names)) == len(names):
        return layout
    seen: set[str] = set()
    tried: dict[str, int] = {}
    spans = []
    for span in layout.spans:
        groups = []
        for group in span.groups:
            groups.append(replace(group, name=unique_name(group.name, seen, tried)))
            seen.add(groups[-1].name)
        spans.append(replace(span, groups=tuple(groups)))
    return replace(layout, spans=tuple(spans))
