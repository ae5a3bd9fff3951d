"""Git attributes: the text of a ``.gitattributes`` file enters, the text with one pattern changed leaves.

Editing is pure, bytes to bytes. What always holds: every line that is not about the pattern keeps each of its
bytes (comments, spacing, CRLF), attributes that are not ours stay on their line, and doing an edit twice is
doing it once. What a pattern or a file means is never guessed: :func:`check_attributes` and :func:`matching`
ask Git.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from git_theta.errors import Exit, ThetaError
from git_theta.gitio.process import ask_git

OURS: dict[bytes, bytes] = {
    b"filter": b"filter=theta",
    b"diff": b"diff=theta",
    b"merge": b"merge=theta",
    b"text": b"-text",
}
"""The attributes of a tracked pattern. ``-text`` keeps line-ending conversion away from the manifest."""

GIT_LFS: dict[bytes, bytes] = {
    b"filter": b"filter=lfs",
    b"diff": b"diff=lfs",
    b"merge": b"merge=lfs",
    b"text": b"-text",
}
"""What ``git lfs track`` writes for a pattern, in its order."""

MERGE_POLICY = b"theta-merge"
"""The attribute that says how merges combine what both sides changed."""

LONGEST_LINE = 2047
"""Git ignores longer lines of a ``.gitattributes`` file."""

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_WORD = re.compile(rb"[^ \t\r\n]+")
_ATTRIBUTE = re.compile(rb"[-!]?(?!-)[-.\w]+(=|\Z)")
"""How every word behind a pattern begins; Git takes no notice of a line in which one does not."""
_QUOTED = re.compile(rb'"((?:[^"\\]|\\[abtnvfr"\\]|\\[0-3][0-7]{2})*)"')
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_NEEDS_QUOTES = re.compile(rb'[\x00-\x20\x7f]|\A["#]')
_PROBE = "theta-probe"


class BadPattern(ThetaError):
    """A pattern that Git would not accept, or that can never match."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Rule:
    """One line: what stands before the attributes, byte for byte, the pattern it means, and the attributes."""

    head: bytes
    pattern: bytes
    words: tuple[bytes, ...]
    ending: bytes


def tracked_patterns(text: bytes) -> list[bytes]:
    """The patterns that this file gives to our filter, in the order of their first lines."""
    patterns = dict.fromkeys(rule.pattern for _, rule in _lines(text) if rule)
    return [pattern for pattern in patterns if filter_of(text, pattern) == b"theta"]


def filter_of(text: bytes, pattern: bytes) -> bytes | None:
    """The filter that the lines of exactly this pattern ask for; None when they ask for none."""
    word = _states(text, pattern).get(b"filter", b"")
    return word.removeprefix(b"filter=") if word.startswith(b"filter=") else None


def merge_policy_of(text: bytes, pattern: bytes) -> bytes | None:
    """How merges combine, as the lines of exactly this pattern say it; None when they say nothing of it."""
    word = _states(text, pattern).get(MERGE_POLICY, b"")
    return word.removeprefix(MERGE_POLICY + b"=") if word.startswith(MERGE_POLICY + b"=") else None


def is_tracked(text: bytes, pattern: bytes, words: Mapping[bytes, bytes] = OURS) -> bool:
    """Whether the lines of exactly this pattern already say all that :func:`track` would make them say."""
    states = _states(text, pattern)
    return all(states.get(name) == word for name, word in words.items())


def track(text: bytes, pattern: bytes, words: Mapping[bytes, bytes] = OURS) -> bytes:
    """The text with ``pattern`` given to our drivers: its last line is changed, or a line is added at the end.

    Whatever other filter the pattern had is replaced; callers ask :func:`filter_of` first. ``words`` may be
    another program's, by attribute. Raises :class:`BadPattern` where Git would ignore the line.
    """
    if is_tracked(text, pattern, words):
        return text
    written = _with_line(text, pattern, words)
    if not is_tracked(written, pattern, words):
        raise BadPattern(f"Git would ignore the line of {os.fsdecode(pattern)}: too long, or not only attributes")
    return written


def _with_line(text: bytes, pattern: bytes, words: Mapping[bytes, bytes]) -> bytes:
    lines = list(_lines(text))
    last = max((at for at, (_, rule) in enumerate(lines) if rule and rule.pattern == pattern), default=None)
    if last is not None:
        return b"".join(
            _rewritten(
                raw,
                rule,
                [word for word in rule.words if _name(word) not in words],
                words.values() if at == last else (),
            )
            if rule and rule.pattern == pattern
            else raw
            for at, (raw, rule) in enumerate(lines)
        )
    ending = b"\r\n" if lines and lines[0][0].endswith(b"\r\n") else b"\n"
    gap = b"" if not text or text.endswith(b"\n") else ending
    return text + gap + b" ".join([quote(pattern), *words.values()]) + ending


def untrack(text: bytes, pattern: bytes) -> bytes:
    """The text with our attributes taken from the lines of ``pattern``; a line left with none goes."""
    if filter_of(text, pattern) != b"theta":
        return text
    return b"".join(
        _rewritten(
            raw, rule, [word for word in rule.words if word not in OURS.values() and _name(word) != MERGE_POLICY]
        )
        if rule and rule.pattern == pattern
        else raw
        for raw, rule in _lines(text)
    )


def quote(pattern: bytes) -> bytes:
    """A pattern as Git reads it back from a line: C-style quotes around blanks, control bytes, a leading # or "."""
    if not _NEEDS_QUOTES.search(pattern):
        written = pattern
    else:
        written = b'"' + re.sub(rb'[\x00-\x1f\x7f"\\]', _escaped, pattern) + b'"'
    if len(written) + sum(map(len, OURS.values())) + len(OURS) > LONGEST_LINE:
        raise BadPattern(f"a pattern of {len(pattern):,} bytes is too long: Git ignores longer attribute lines")
    return written


def file_pattern(name: bytes) -> bytes:
    """The pattern that matches a file of this name and no other: what Git would take for a wildcard is escaped."""
    escaped = re.sub(rb"([\\*?\[])", rb"\\\1", name)
    return b"\\" + escaped if escaped.startswith(b"!") else escaped


def check_attributes(
    paths: Iterable[str], names: Sequence[str], cwd: Path, index: Path | None = None
) -> dict[str, dict[str, str]]:
    """What Git finds for each path, relative to ``cwd``: attribute name to value, ``unspecified`` included.

    With an ``index`` the attribute files in it count, and none of a worktree; ``cwd`` is then the Git folder.
    """
    if index is None:
        return _check_attr(["check-attr", "-z", "--stdin", *names], paths, cwd)
    # Inside a .git folder Git would miss the worktree: any folder will do, since it looks into the index alone.
    places = [f"--git-dir={cwd}", f"--work-tree={index.parent}"]
    return _check_attr([*places, "check-attr", "-z", "--stdin", "--cached", *names], paths, cwd, index)


@contextlib.contextmanager
def index_of(revision: str, root: Path) -> Iterator[Path]:
    """An index file with the attribute files of a commit, for :func:`check_attributes` without a worktree.

    Newer versions of Git can read attributes from a commit; this is what older ones understand.
    """
    listed = ask_git("ls-tree", "-r", "-z", revision, cwd=root).split(b"\0")
    files = [line for line in listed if re.search(rb"[\t/]\.gitattributes\Z", line)]
    with tempfile.TemporaryDirectory(prefix="git-theta-") as scratch:
        index = Path(scratch, "index")
        ask_git("update-index", "-z", "--index-info", cwd=root, stdin=b"".join(f + b"\0" for f in files), index=index)
        yield index


def matching(pattern: bytes, folder: PurePosixPath, paths: Iterable[str], root: Path) -> list[str]:
    """Those of ``paths`` that ``pattern``, written in ``folder``'s ``.gitattributes``, matches.

    ``folder`` and ``paths`` are relative to the worktree's ``root``. Git matches: the pattern is given to it
    from a file of its own, with an attribute that nothing else sets.
    """
    prefix = b"" if folder == PurePosixPath() else file_pattern(os.fsencode(folder.as_posix())) + b"/"
    if prefix and b"/" not in pattern:
        prefix += b"**/"
    everywhere = prefix + (pattern.lstrip(b"/") if prefix else pattern)
    with tempfile.TemporaryDirectory(prefix="git-theta-") as scratch:
        file = Path(scratch, "attributes")
        file.write_bytes(quote(everywhere) + b" " + _PROBE.encode() + b"\n")
        command = ["-c", f"core.attributesFile={file}", "check-attr", "-z", "--stdin", _PROBE]
        answers = _check_attr(command, paths, root)
    return [path for path, found in answers.items() if found[_PROBE] == "set"]


def _check_attr(
    command: list[str], paths: Iterable[str], cwd: Path, index: Path | None = None
) -> dict[str, dict[str, str]]:
    question = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if not question:
        return {}
    words = os.fsdecode(ask_git(*command, cwd=cwd, stdin=question, index=index)).split("\0")
    found: dict[str, dict[str, str]] = {}
    for path, name, value in zip(words[0::3], words[1::3], words[2::3], strict=False):
        found.setdefault(path, {})[name] = value
    return found


def _lines(text: bytes) -> Iterator[tuple[bytes, Rule | None]]:
    """Each line's bytes, and what it says; None for comments, blank lines, macro definitions, what Git ignores."""
    mark = text[:3] if text.startswith(_BOM) else b""
    for raw in re.findall(rb"[^\n]*\n|[^\n]+", text):  # splitlines would also cut at a lone CR
        yield raw, _parse(raw, len(mark))
        mark = b""


def _parse(raw: bytes, skip: int) -> Rule | None:
    """Read one line as Git does, from its byte ``skip`` on."""
    start = len(raw) - len(raw[skip:].lstrip(_BLANK))
    body = raw[start:]
    if not body or body.startswith(b"#"):
        return None
    quoted = _QUOTED.match(body)
    if quoted:
        pattern, end = _ESCAPE.sub(_unescaped, quoted[1]), quoted.end()
    else:
        pattern = _WORD.findall(body)[0]
        end = len(pattern)
    if pattern.startswith(b"[attr]"):
        return None
    words = tuple(_WORD.findall(body[end:]))
    if len(raw.rstrip(b"\r\n")) > LONGEST_LINE or not all(map(_ATTRIBUTE.match, words)):
        return None
    ending = raw[len(raw.rstrip(b"\r\n")) :]
    return Rule(raw[: start + end], pattern, words, ending)


def _states(text: bytes, pattern: bytes) -> dict[bytes, bytes]:
    """Attribute name to the word that decides it, over all lines of exactly this pattern: the last one wins."""
    states: dict[bytes, bytes] = {}
    for _, rule in _lines(text):
        for word in rule.words if rule and rule.pattern == pattern else ():
            if word == b"binary":  # Git's one built-in macro
                states.update({b"diff": b"-diff", b"merge": b"-merge", b"text": b"-text"})
            else:
                states[_name(word)] = word
    return states


def _name(word: bytes) -> bytes:
    """The attribute that a word such as ``-text`` or ``filter=lfs`` is about."""
    return word.lstrip(b"-!").split(b"=", 1)[0]


def _rewritten(raw: bytes, rule: Rule, kept: list[bytes], added: Iterable[bytes] = ()) -> bytes:
    """The line with the attributes ``kept``, then those ``added``; nothing when that leaves none."""
    words = [*kept, *added]
    if not words:
        return b""
    return raw if tuple(words) == rule.words else b" ".join([rule.head, *words]) + rule.ending


def _escaped(found: re.Match[bytes]) -> bytes:
    byte = found[0]
    return b"\\" + byte if byte in (b'"', b"\\") else b"\\%03o" % byte[0]


def _unescaped(found: re.Match[bytes]) -> bytes:
    code = found[1]
    return bytes([int(code, 8)]) if code.isdigit() else _LETTERS.get(code, code)
