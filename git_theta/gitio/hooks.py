"""Our part in a repository's hooks, beside everybody else's.

A hook that is a shell script, or absent, gets a marked block of ours right after its first line: git-lfs's,
pre-commit's, husky's and users' own scripts keep their place, their name and their standard input. Anything else
(another language, a link to a script elsewhere, a hook that is switched off) is kept beside as ``NAME.theirs`` and a
shell hook in its place runs ours and then theirs. What always holds: taking our part out gives back the file that
was there, byte for byte; a second put changes nothing; a file that Git tracks, or would add, is never written.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.gitio.files import umask
from git_theta.gitio.process import ask_git

_BEGIN = b"# >>> git-theta >>> (git theta uninstall takes this block out)\n"
_END = b"# <<< git-theta <<<\n"
_BLOCK = re.compile(re.escape(_BEGIN) + b".*?" + re.escape(_END), re.DOTALL)
_ALONE = b"#!/bin/sh\n"
_SHELL = re.compile(rb"#! ?(?:/usr)?(?:/local)?/bin/(?:env (?:-S )?)?(?:sh|bash|dash|ksh|zsh)\b[^\n]*\n")
_CALL = re.compile(rb"^[^#\n]*\bgit[ -]theta (?:pre-push|checkout --pending)\b", re.MULTILINE)
"""Our part, called by somebody who wrote it there."""
_THEIRS = "theirs"


class TrackedHook(ThetaError):
    """The hook is, or would be, part of what Git tracks: everybody would get our change with the next commit."""


@dataclass(frozen=True, slots=True)
class Part:
    """Shell lines of ours in one hook; ``alone`` comes after them where the hook has nothing else."""

    lines: str
    alone: str = ""


@dataclass(frozen=True, slots=True)
class HookReport:
    """What was done, hook by hook: names written, and why others were not."""

    written: tuple[str, ...]
    refused: Mapping[str, ThetaError | OSError]


def put_hooks(folder: Path, parts: Mapping[str, Part], shared: Path) -> HookReport:
    """Put a block with our part into each named hook in ``folder``, replacing an earlier one.

    A hook that Git tracks is left alone, and is as good as written once it has :func:`line_for` it; what that line
    runs is put into the folder ``shared``, of our own.
    """
    written: list[str] = []
    refused: dict[str, ThetaError | OSError] = {}
    for name, part in parts.items():
        try:
            if _put(folder / name, part, shared / name):
                written.append(name)
        except (TrackedHook, OSError) as error:
            refused[name] = error
    return HookReport(tuple(written), refused)


def remove_hooks(folder: Path, names: Iterable[str], shared: Path) -> tuple[str, ...]:
    """Take our part out; a hook that was only ours goes. Returns the names that had one."""
    removed = []
    for name in names:
        path = folder / name
        (shared / name).unlink(missing_ok=True)
        text = _read(path)
        if text is None or not _BLOCK.search(text) or _in_worktree(path):
            continue
        rest = _BLOCK.sub(b"", text)
        if rest == _ALONE + _call_of_theirs(name):
            os.replace(_kept(path), path)
            _alias(path).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another hook's is still there
                _alias(path).parent.rmdir()
        elif rest == _ALONE:
            path.unlink()
        else:
            _replace(path, rest)
        removed.append(name)
    return tuple(removed)


def line_for(name: str) -> str:
    """The line that runs our part in a shell hook we must not write ourselves; without git-theta it does nothing."""
    place = f"$(git rev-parse --git-common-dir)/theta/hooks/{name}"
    return f'theta={place}; if [ -f "$theta" ]; then . "$theta"; fi # git-theta'


def runs_ours(path: Path) -> bool:
    """Whether Git runs the hook at ``path``, and with it our part."""
    try:
        text = _read(path)
    except OSError:
        return False
    return text is not None and os.access(path, os.X_OK) and (_BLOCK.search(text) is not None or _calls(text, path))


def _calls(text: bytes, path: Path) -> bool:
    """Whether somebody else's hook calls our part."""
    return f"theta/hooks/{path.name}".encode() in text or _CALL.search(text) is not None


def _put(path: Path, part: Part, shared: Path) -> bool:
    """Put one block; whether anything had to be written. Raises :class:`TrackedHook`, OSError."""
    text = _read(path) or b""
    lines = part.lines.encode()
    if f"theta/hooks/{path.name}".encode() in text:
        return _write_shared(shared, lines)
    if _CALL.search(text) and not _BLOCK.search(text):
        return False
    theirs_must_move = text != b"" and not _takes_block(path, text)
    wanted = with_part(_ALONE + _call_of_theirs(path.name) if theirs_must_move else text, part)
    if wanted == text:
        return False
    if path.parent.exists() and not path.parent.is_dir():
        return False  # core.hooksPath=/dev/null: whoever runs no hooks wants none of ours
    if _in_worktree(path):
        _write_shared(shared, lines)
        raise _refusal(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if theirs_must_move:
        _keep(path)
    _replace(path, wanted)
    return True


def _refusal(path: Path) -> TrackedHook:
    line = line_for(path.name)
    if path.exists():
        return TrackedHook(
            f"{path} is for everybody who clones, so git-theta leaves it as it is",
            hint=f"near the top of that shell script, add: {line}",
        )
    if path.parent.exists():
        return TrackedHook(
            f"{path.parent} is for everybody who clones, so git-theta adds no {path.name} to it",
            hint=f"to have one, write a shell script {path.name} there that can be run, with: {line}",
        )
    return TrackedHook(
        f"core.hooksPath names {path.parent}, which is not there",
        hint="make it with the tool whose hooks these are, or: git config --unset core.hooksPath; "
        "then: git theta install",
    )


def with_part(text: bytes, part: Part) -> bytes:
    """The shell hook ``text`` with ``part``; empty is a missing hook."""
    alone = _BLOCK.sub(b"", text) in (b"", _ALONE)
    block = _BEGIN + part.lines.encode() + (part.alone.encode() if alone else b"") + _END
    if not text:
        return _ALONE + block
    if _BLOCK.search(text):
        return _BLOCK.sub(lambda _: block, text, count=1)
    first = _SHELL.match(text)
    end = first.end() if first else 0  # without a first line Git's shell runs it
    return text[:end] + block + text[end:]


def _takes_block(path: Path, text: bytes) -> bool:
    """Whether this is a shell script, in its own place, that Git runs today."""
    if path.is_symlink():
        return False
    shell = _SHELL.match(text) is not None or not (text.startswith(b"#!") or b"\0" in text)
    return _BLOCK.search(text) is not None or (shell and os.access(path, os.X_OK))


def _kept(path: Path) -> Path:
    return path.with_name(f"{path.name}.{_THEIRS}")


def _alias(path: Path) -> Path:
    """Another way to their hook that ends in its own name, by which some programs know what to do."""
    return path.parent / _THEIRS / path.name


def _call_of_theirs(name: str) -> bytes:
    return f"""\
# The hook that was here is {name}.{_THEIRS}; git theta uninstall puts it back.
[ ! -x "${{0%/*}}/{_THEIRS}/{name}" ] || exec "${{0%/*}}/{_THEIRS}/{name}" "$@"
""".encode()


def _keep(path: Path) -> None:
    """Give their hook its second name; the first goes when ours is put there, so at no moment is it lost.

    One kept before is what another tool has replaced since, by writing over ours.
    """
    kept, alias = _kept(path), _alias(path)
    link = path.with_name(f".{path.name}.{_THEIRS}-{os.getpid()}")
    os.link(path, link, follow_symlinks=False)
    try:
        os.replace(link, kept)
    finally:
        # Renaming one name of a file onto another name of the same file does nothing and leaves both.
        link.unlink(missing_ok=True)
    alias.parent.mkdir(exist_ok=True)
    alias.unlink(missing_ok=True)
    alias.symlink_to(Path("..") / kept.name)


def _in_worktree(path: Path) -> bool:
    """Whether Git tracks the file, or would add it: it lies in some worktree and is not ignored there."""
    folder = next((parent for parent in path.parents if parent.is_dir()), path.parent)
    # Outside of every worktree, in a .git folder too, the answer is false or 128.
    inside = ask_git("rev-parse", "--is-inside-work-tree", cwd=folder, codes=(0, 128), elsewhere=True)
    if inside.strip() != b"true":
        return False
    name = os.fsencode(path)
    return not ask_git("check-ignore", "-z", "--stdin", cwd=folder, stdin=name, codes=(0, 1), elsewhere=True)


def _write_shared(path: Path, lines: bytes) -> bool:
    if _read(path) == lines:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, lines)
    return True


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _replace(path: Path, text: bytes) -> None:
    """Write a file that can be run, with the mode it had, and never half of it."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(fd, "wb") as file:
            file.write(text)
        runs = os.access(path, os.X_OK) and not path.is_symlink()
        os.chmod(name, path.stat().st_mode & 0o7777 if runs else 0o777 & ~umask())
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
