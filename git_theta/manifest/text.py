"""Grammar of the manifest: lines in, frozen values out, and back, with exactly one encoding for each value.

Every line is one record of space-separated fields; the fields up to the place where the value is stored say
*what* the checkpoint is and are sealed by the root digest, so that a line merge of two versions by a host that
knows nothing of us conflicts or is refused. :func:`parse` checks every number before it is used and accepts
only the text that :func:`render` would write.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256

from git_theta.collector import collector_paused
from git_theta.errors import Exit, ThetaError
from git_theta.model import (
    Digest,
    Entry,
    Group,
    Inline,
    Manifest,
    Oid,
    Skeleton,
    Slot,
    StoredObject,
    View,
    Where,
    misfit,
)

VERSION = 1
MAGIC = b"git-theta manifest "
_NOTE = '# A checkpoint under git-theta. If you see this text instead of the file, run "git theta checkout".'
HEAD = f"{MAGIC.decode()}{VERSION}\n{_NOTE}\n"

INLINE_LIMIT = 48
"""Values up to this many bytes live in the manifest: a reference to an object would be longer."""

_REPEATED = 1 << 10
"""Shapes to remember while parsing: a model has dozens, however many groups."""

_SHORT = 12  # hex digits of an oid that stand for it on a line; longer only where two objects would collide

_BARE = re.compile(r"[!#-~][!-~]*")
_NAME = r'(?P<name>[!#-~][!-~]*|"(?:[^"\\]|\\.)*")'
_NUMBER = r"(?:0|[1-9][0-9]{0,18})"
_GROUP = rf"{_NAME} (?P<dtype>[a-z][a-z0-9_]*) \[(?P<shape>(?:{_NUMBER}(?:,{_NUMBER})*)?)\]"
_VIEW = rf"(?: view=(?P<offset>{_NUMBER}):(?P<strides>(?:{_NUMBER}(?:,{_NUMBER})*)?))?"
_VALUE = rf"(?P<length>{_NUMBER}) (?P<digest>[0-9a-f]{{64}})"
_WHERE = r"(?P<where>=[A-Za-z0-9+/]*={0,2}|[0-9a-f:+]+)"
_SPAN = rf"group {_GROUP}{_VIEW}(?: gap=(?P<gap>[1-9][0-9]{{0,18}}))? {_VALUE}"
_SPAN_LINE = re.compile(_SPAN)
_GROUP_LINE = re.compile(rf"{_SPAN} {_WHERE}")
_ALIAS_LINE = re.compile(rf"alias {_GROUP}{_VIEW}")
_SKELETON_LINE = re.compile(rf"skeleton {_VALUE} {_WHERE}")
_OBJECT_LINE = re.compile(
    rf"object (?P<oid>[0-9a-f]{{64}}) (?P<size>{_NUMBER})(?: base=(?P<bases>[0-9a-f]+(?:,[0-9a-f]+)*))?"
)
_FORMAT_LINE = re.compile(r"format (?P<format>[a-z][a-z0-9-]*)")
_SIZE_LINE = re.compile(rf"size (?P<size>{_NUMBER})")
_ROOT_LINE = re.compile(r"root (?P<root>[0-9a-f]{64})")
_SLOT = re.compile(rf"([0-9a-f]{{12,64}}):({_NUMBER})")
_MARKER = re.compile(rb"^(<{7}|>{7}|={7}|\|{7})( |$)", re.MULTILINE)


class DamagedManifest(ThetaError):
    """The text starts like a manifest and is not one: truncated, edited, line-merged, or with conflict markers."""

    exit_code = Exit.DAMAGED


class ManifestFromNewerVersion(ThetaError):
    """The manifest's version is one this program does not know."""

    exit_code = Exit.DAMAGED


def looks_like_manifest(head: bytes) -> bool:
    """Whether content that begins with ``head`` must be treated as a manifest, valid or not.

    True also when conflict markers come first: such a file must never be stored as if it were a checkpoint.
    """
    if head.startswith(MAGIC):
        return True
    return head.startswith(b"<<<<<<< ") and b"\n" + MAGIC in head[:65536]


def undo_line_ends(text: bytes) -> bytes:
    """The text before Git's line-end conversion made CRLF of it, where attributes of a tracked file allow that."""
    return text.replace(b"\r\n", b"\n") if text[:64].split(b"\n", 1)[0].endswith(b"\r") else text


def render(manifest: Manifest) -> bytes:
    """The one valid text of ``manifest``."""
    return _render(manifest)[0]


def _render(manifest: Manifest) -> tuple[bytes, Digest]:
    """The text and the root digest in it, from one pass over the groups."""
    short = _shortener(stored.oid for stored in manifest.objects)
    pairs = list(_sealed(manifest, short))
    sealed = [what for what, _ in pairs]
    seal = _seal(sealed)
    lines = [what + place for what, place in pairs]
    table = (_object_line(stored, short) for stored in manifest.objects)
    return (HEAD + "\n".join([*lines[:2], f"root {seal}", *lines[2:], *table, "end\n"])).encode(), seal


def root(manifest: Manifest) -> Digest:
    """Digest of the whole checkpoint: sha256 over every line that says what it is, without where it is stored."""
    return _seal([what for what, _ in _sealed(manifest, {})])


def _seal(lines: list[str]) -> Digest:
    return Digest(sha256((HEAD + "\n".join(lines) + "\n").encode()).hexdigest())


def where_token(where: Where) -> str:
    """The location field with full oids: equal for equal places, whatever else a manifest holds."""
    return _where(where, {})


def _sealed(manifest: Manifest, short: dict[Oid, str]) -> Iterator[tuple[str, str]]:
    """Header, skeleton and group lines: what the root digest seals of each, and the location that ends it."""
    yield f"format {manifest.format}", ""
    yield f"size {manifest.size}", ""
    skeleton = manifest.skeleton
    yield f"skeleton {skeleton.length} {skeleton.digest}", " " + _where(skeleton.where, short)
    for entry in manifest.entries:
        gap = f" gap={entry.gap}" if entry.gap else ""
        yield f"group {_group(entry.groups[0])}{gap} {entry.length} {entry.digest}", " " + _where(entry.where, short)
        for alias in entry.groups[1:]:
            yield f"alias {_group(alias)}", ""


def _group(group: Group) -> str:
    name = group.name if _BARE.fullmatch(group.name) else json.dumps(group.name)
    text = f"{name} {group.dtype} [{_shape(group.shape)}]"
    if group.view is None:
        return text
    return f"{text} view={group.view.offset}:{','.join(map(str, group.view.strides))}"


def _where(where: Where, short: dict[Oid, str]) -> str:
    if isinstance(where, Inline):
        return "=" + b64encode(where.data).decode()
    return "+".join(f"{short.get(slot.oid, slot.oid)}:{slot.index}" for slot in where)


def _object_line(stored: StoredObject, short: dict[Oid, str]) -> str:
    bases = f" base={','.join(short[oid] for oid in stored.bases)}" if stored.bases else ""
    return f"object {stored.oid} {stored.size}{bases}"


def _shortener(oids: Iterable[Oid]) -> dict[Oid, str]:
    """Each oid's prefix: the fewest hex digits, 12 or a multiple of 4 above, that keep all of them apart."""
    full = sorted(oids)
    width = _SHORT
    while width < 64 and len({oid[:width] for oid in full}) < len(full):
        width += 4
    return {oid: oid[:width] for oid in full}


def parse(text: bytes) -> Manifest:
    """The manifest in ``text``; raises :class:`DamagedManifest` or :class:`ManifestFromNewerVersion`."""
    if _MARKER.search(text):
        raise DamagedManifest(
            "the manifest has conflict markers in it",
            hint="take one side with `git checkout --ours PATH` or `--theirs PATH`, or `git merge --abort`",
        )
    lines = _lines(text)
    version = lines[0][len(MAGIC) :]
    if version != str(VERSION):
        if re.fullmatch(r"[1-9][0-9]*", version):
            raise ManifestFromNewerVersion(
                f"the manifest is of version {version[:20]}, this git-theta reads version {VERSION}",
                hint="upgrade git-theta: pip install --upgrade git-theta",
            )
        raise _damaged(1, "the version is not a number")
    with collector_paused():
        manifest, claimed = _Parser(lines).manifest()
        rendered, sealed = _render(manifest)
    if sealed != claimed:
        raise DamagedManifest(
            f"the manifest's lines do not add up to its root digest {claimed[:12]}: it was edited or line-merged",
            hint="take one side whole: `git checkout --ours PATH` or `--theirs PATH`",
        )
    if rendered != text:
        raise DamagedManifest("the manifest is not written the one way the specification allows", hint=_RESTORE)
    return manifest


def parse_span(lines: str) -> tuple[tuple[Group, ...], int, Digest]:
    """Groups, length and digest of one span, from its lines without the place where it is stored.

    Raises :class:`DamagedManifest`.
    """
    first, *aliases = lines.split("\n")
    matches = [_SPAN_LINE.fullmatch(first), *(_ALIAS_LINE.fullmatch(line) for line in aliases)]
    found = [match for match in matches if match]
    if len(found) != len(matches):
        raise DamagedManifest("a group line of the manifest is not one", hint=_RESTORE)
    groups = tuple(_Parser.group(match, 0) for match in found)
    length = _Parser.number(found[0]["length"])
    if any(_misfit(group.dtype, group.shape, group.view, length) for group in groups):
        raise DamagedManifest("a group of the manifest does not fit into its bytes", hint=_RESTORE)
    return groups, length, Digest(found[0]["digest"])


_RESTORE = "git log -- FILE shows its commits; git checkout COMMIT -- FILE takes it from a good one"


def _damaged(line: int, what: str) -> DamagedManifest:
    return DamagedManifest(f"the manifest is damaged at line {line}: {what}", hint=_RESTORE)


def _lines(text: bytes) -> list[str]:
    if not text.startswith(MAGIC):
        raise _damaged(1, f"expected {MAGIC.decode().strip()!r}")
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise _damaged(text.count(b"\n", 0, error.start) + 1, "a byte that is not ASCII") from None
    if lines[-1] != "":
        raise _damaged(len(lines), "it stops in the middle of a line: the file is truncated")
    return lines[:-1]


class _Parser:
    """Reads the records in their only order: note, format, size, root, skeleton, groups, objects, end."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 1

    def manifest(self) -> tuple[Manifest, str]:
        if self._at >= len(self._lines) or self._lines[self._at] != _NOTE:
            raise _damaged(2, "the note that belongs here is missing")
        self._at += 1
        container = self._expect(_FORMAT_LINE, "format")["format"]
        size = self.number(self._expect(_SIZE_LINE, "size")["size"])
        claimed = self._expect(_ROOT_LINE, "root")["root"]
        skeleton = self._expect(_SKELETON_LINE, "skeleton")
        groups = self._block("group ", "alias ")
        table = self._block("object ")
        if self._at >= len(self._lines) or self._lines[self._at] != "end":
            raise _damaged(self._at + 1, "expected a group, object or end line: the file is truncated or edited")
        if self._at + 1 != len(self._lines):
            raise _damaged(self._at + 2, "there is something after the end")
        objects = self._objects(table)
        full = {value: key for key, value in _shortener(o.oid for o in objects).items()}
        return self._assemble(container, size, skeleton, groups, objects, full), claimed

    def _expect(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        match = pattern.fullmatch(self._lines[self._at]) if self._at < len(self._lines) else None
        if match is None:
            raise _damaged(self._at + 1, f"expected a {what} line")
        self._at += 1
        return match

    def _block(self, *prefixes: str) -> range:
        first = self._at
        while self._at < len(self._lines) and self._lines[self._at].startswith(prefixes):
            self._at += 1
        return range(first, self._at)

    @staticmethod
    def number(digits: str) -> int:
        value = int(digits)
        if value >= 1 << 63:
            raise DamagedManifest(f"the manifest has an impossible number, {digits}", hint=_RESTORE)
        return value

    def _objects(self, table: range) -> tuple[StoredObject, ...]:
        matches = []
        for at in table:
            match = _OBJECT_LINE.fullmatch(self._lines[at])
            if match is None:
                raise _damaged(at + 1, "not an object line")
            matches.append(match)
        full = {value: key for key, value in _shortener(Oid(m["oid"]) for m in matches).items()}
        return tuple(StoredObject(Oid(m["oid"]), self.number(m["size"]), self._bases(m, full)) for m in matches)

    def _bases(self, match: re.Match[str], full: dict[str, Oid]) -> tuple[Oid, ...]:
        names = match["bases"].split(",") if match["bases"] else []
        unknown = [name for name in names if name not in full]
        if unknown:
            raise DamagedManifest(f"the manifest names base {unknown[0][:64]} and does not list it", hint=_RESTORE)
        if names != sorted(set(names)):
            raise DamagedManifest("the manifest lists the bases of an object twice or out of order", hint=_RESTORE)
        return tuple(full[name] for name in names)

    def _assemble(
        self,
        container: str,
        size: int,
        skeleton: re.Match[str],
        groups: range,
        objects: tuple[StoredObject, ...],
        full: dict[str, Oid],
    ) -> Manifest:
        used: set[Oid] = set()
        frame = Skeleton(*self._value(skeleton, skeleton["where"], full, used, groups.start))
        found: list[tuple[list[Group], int, tuple[int, Digest, Where]]] = []
        names: set[str] = set()
        for at in groups:
            line = self._lines[at]
            match = (_GROUP_LINE if line.startswith("group ") else _ALIAS_LINE).fullmatch(line)
            if match is None:
                raise _damaged(at + 1, "not a group line")
            group = self.group(match, at)
            if group.name in names:
                raise _damaged(at + 1, f"the group name {group.name!r} appears twice")
            names.add(group.name)
            if match.re is _GROUP_LINE:
                value = self._value(match, match["where"], full, used, at)
                found.append(([group], self.number(match["gap"] or "0"), value))
            elif not found:
                raise _damaged(at + 1, "an alias comes before every group")
            else:
                found[-1][0].append(group)
            reason = _misfit(group.dtype, group.shape, group.view, found[-1][2][0])
            if reason:
                raise _damaged(at + 1, f"group {group.name!r} {reason}")
        entries = [Entry(tuple(members), gap, *value) for members, gap, value in found]
        self._check_sums(size, frame, entries)
        _check_closure(objects, used)
        return Manifest(container, size, frame, tuple(entries), objects)

    @staticmethod
    def group(match: re.Match[str], at: int) -> Group:
        name = match["name"]
        if name.startswith('"'):
            try:
                name = json.loads(name)
            except ValueError:
                raise _damaged(at + 1, "a group name is not a JSON string") from None
        view = None
        if match["offset"] is not None:
            view = View(_Parser.number(match["offset"]), _Parser._numbers(match["strides"]))
        return Group(name, match["dtype"], _Parser._numbers(match["shape"]), view)

    @staticmethod
    @lru_cache(maxsize=_REPEATED)
    def _numbers(text: str) -> tuple[int, ...]:
        return tuple(_Parser.number(digits) for digits in text.split(",")) if text else ()

    def _value(
        self, match: re.Match[str], token: str, full: dict[str, Oid], used: set[Oid], at: int
    ) -> tuple[int, Digest, Where]:
        length, digest = self.number(match["length"]), Digest(match["digest"])
        if token.startswith("="):
            return length, digest, _inline(token, length, digest, at)
        slots = []
        for part in token.split("+"):
            slot = _SLOT.fullmatch(part)
            if slot is None or slot[1] not in full:
                raise _damaged(at + 1, f"it names object {part[:70]} and the table at the end does not list it")
            slots.append(Slot(full[slot[1]], self.number(slot[2])))
            used.add(slots[-1].oid)
        return length, digest, tuple(slots)

    @staticmethod
    def _check_sums(size: int, skeleton: Skeleton, entries: list[Entry]) -> None:
        gaps = sum(entry.gap for entry in entries)
        total = skeleton.length + sum(entry.length for entry in entries)
        if gaps > skeleton.length or total != size:
            raise DamagedManifest(
                f"the manifest's groups and skeleton make {total:,} bytes, expected {size:,}", hint=_RESTORE
            )


@lru_cache(maxsize=_REPEATED)
def _misfit(dtype: str, shape: tuple[int, ...], view: View | None, length: int) -> str | None:
    """:func:`~git_theta.model.misfit`, which never asks for the name: layers repeat."""
    return misfit(Group("", dtype, shape, view), length)


@lru_cache(maxsize=_REPEATED)
def _shape(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))


def _inline(token: str, length: int, digest: Digest, at: int) -> Inline:
    try:
        data = b64decode(token[1:], validate=True)
    except binascii.Error:
        raise _damaged(at + 1, "an inline value is not base64") from None
    if len(data) != length or length > INLINE_LIMIT or sha256(data).hexdigest() != digest:
        raise _damaged(at + 1, "an inline value does not match its length or digest")
    return Inline(data)


def _check_closure(objects: tuple[StoredObject, ...], used: set[Oid]) -> None:
    """The table lists exactly what the lines reach, bases of bases included."""
    table = {stored.oid: stored for stored in objects}
    if len(table) != len(objects):
        raise DamagedManifest("the manifest lists an object twice", hint=_RESTORE)
    reached: set[Oid] = set()
    pending = list(used)
    while pending:
        oid = pending.pop()
        if oid not in reached:
            reached.add(oid)
            pending.extend(table[oid].bases)
    if reached != set(table):
        raise DamagedManifest("the manifest lists an object that no group needs", hint=_RESTORE)
    if list(table) != sorted(table):
        raise DamagedManifest("the manifest's objects are out of order", hint=_RESTORE)
    if any(stored.bases for stored in objects):
        try:
            TopologicalSorter({stored.oid: stored.bases for stored in objects}).prepare()
        except CycleError as error:
            raise DamagedManifest(f"object {error.args[1][0]} has itself among its bases", hint=_RESTORE) from None
