"""Our part in a repository's hooks, beside everybody else's.

A hook that is a shell script, or absent, gets a marked block of ours right after its first line: git-lfs's,
pre-commit's, husky's and users' own scripts keep their place, their name and their standard input. A hook in
another language is left alone and reported. What always holds: taking our block out gives back the file that
was there, byte for byte, and a second put changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from git_theta.gitio.files import umask

_BEGIN = b"# >>> git-theta >>> (git theta uninstall takes this block out)\n"
_END = b"# <<< git-theta <<<\n"
_BLOCK = re.compile(re.escape(_BEGIN) + b".*?" + re.escape(_END), re.DOTALL)
_ALONE = b"#!/bin/sh\n"
_SHELL = re.compile(rb"#! ?(?:/usr)?(?:/local)?/bin/(?:env (?:-S )?)?(?:sh|bash|dash|ksh|zsh)\b[^\n]*\n")


@dataclass(frozen=True, slots=True)
class HookReport:
    """What was done, hook by hook: names written, and names that hold something we cannot share a file with."""

    written: tuple[str, ...]
    foreign: tuple[str, ...]


def put_hooks(folder: Path, blocks: Mapping[str, str]) -> HookReport:
    """Put a block of shell lines into each named hook in ``folder``, replacing an earlier one of ours."""
    written, foreign = [], []
    for name, lines in blocks.items():
        path = folder / name
        text = _read(path)
        wanted = with_block(text, lines.encode())
        if wanted is None:
            foreign.append(name)
        elif wanted != text:
            folder.mkdir(parents=True, exist_ok=True)
            _replace(path, wanted)
            written.append(name)
    return HookReport(tuple(written), tuple(foreign))


def remove_hooks(folder: Path, names: Mapping[str, str]) -> tuple[str, ...]:
    """Take our blocks out; a hook that was only ours goes. Returns the names that had one."""
    removed = []
    for name in names:
        path = folder / name
        text = _read(path)
        if text is None or not _BLOCK.search(text):
            continue
        rest = _BLOCK.sub(b"", text)
        if rest == _ALONE:
            path.unlink()
        else:
            _replace(path, rest)
        removed.append(name)
    return tuple(removed)


def has_block(folder: Path, name: str) -> bool:
    """Whether the hook has a block of ours, of whatever version."""
    text = _read(folder / name)
    return text is not None and _BLOCK.search(text) is not None


def with_block(text: bytes | None, lines: bytes) -> bytes | None:
    """The hook ``text`` with our block; None when it is no shell script. A missing hook is ``None`` or empty."""
    block = _BEGIN + lines + _END
    if not text:
        return _ALONE + block
    if _BLOCK.search(text):
        return _BLOCK.sub(lambda _: block, text, count=1)
    first = _SHELL.match(text)
    if first is None:
        # Without a first line Git's shell runs it; a line that names another program is not for us.
        return block + text if not text.startswith(b"#!") and b"\0" not in text else None
    return text[: first.end()] + block + text[first.end() :]


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _replace(path: Path, text: bytes) -> None:
    """Write through a symbolic link, keep the mode, and never leave half a hook."""
    path = Path(os.path.realpath(path))
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(fd, "wb") as file:
            file.write(text)
        mode = path.stat().st_mode if path.exists() else 0o666 & ~umask()
        os.chmod(name, stat.S_IMODE(mode) | (mode & 0o444) >> 2)  # whoever may read it may run it
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
