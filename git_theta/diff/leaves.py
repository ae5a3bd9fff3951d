"""What a checkpoint says besides tensors: epoch, learning rate, configuration, metadata, as text by path.

The bytes outside all tensors enter, read by the format's own plug-in; what changed between two sides leaves. What
always holds: nothing is executed, and a file that cannot be read says nothing here instead of failing.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from git_theta.diff.values import Values
from git_theta.errors import ThetaError
from git_theta.formats.pickle_reader import Call, Global, PersistentId
from git_theta.formats.registry import load

TEXT_LIMIT = 200
"""Characters of one value that are shown; a longer one ends with its digest, so that no change is hidden."""
BELOW = "(values below it)"
"""What stands for a value in whose place the other side has a container; no value is spelled so."""
_DEPTH = 3
_ITEMS = 8
_ENCODE = Global("_codecs", "encode")


@dataclass(frozen=True, slots=True)
class LeafChange:
    """A value besides tensors, as text; None on the side that does not have it."""

    path: str
    old: str | None
    new: str | None


def leaf_changes(old: tuple[str, Values] | None, new: tuple[str, Values] | None) -> tuple[LeafChange, ...] | None:
    """Values that differ, in the new side's order, then those that are gone. Each side is (format, values).

    None where a side cannot be read.
    """
    before = _leaves(*old) if old else {}
    after = _leaves(*new) if new else {}
    if before is None or after is None:
        return None
    over_before, over_after = _containers(before), _containers(after)

    def side(values: dict[str, str], containers: set[str], path: str) -> str | None:
        return values.get(path, BELOW if path in containers else None)

    paths = [path for path, text in after.items() if before.get(path) != text]
    paths += [path for path in before if path not in after]
    return tuple(LeafChange(path, side(before, over_before, path), side(after, over_after, path)) for path in paths)


def _containers(values: dict[str, str]) -> set[str]:
    """The paths that have values below them."""
    return {path[:at] for path in values for at, char in enumerate(path) if char == "."}


def _leaves(container: str, values: Values) -> dict[str, str] | None:
    """Every value by path; empty for a format that has none to tell, None when they cannot be read."""
    try:
        read = getattr(load(container), "leaves", None) if container != "opaque" else None
        if read is None:
            return {}
        return {path: _text(value) for path, value in read(values.frame()).items()}
    except (ThetaError, OSError, RecursionError, MemoryError):
        return None


def _text(value: object) -> str:
    """A value as Python would write it, in full or with its digest."""
    text = _spell(value, _DEPTH)
    if len(text) <= TEXT_LIMIT:
        return text
    digest = sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
    return f"{text[:TEXT_LIMIT]}... ({len(text):,} characters, sha256:{digest})"


def _spell(value: object, depth: int) -> str:
    """Values that plug-ins give. What the objects of a pickle hold is looked into to a depth, and not all of it."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, bytes | bytearray):
        return repr(value) if len(value) <= 32 else f"{len(value):,} bytes sha256:{sha256(value).hexdigest()[:12]}"
    if isinstance(value, Global):
        return f"{value.module}.{value.name}"
    if isinstance(value, Call) and (number := _numpy_scalar(value)) is not None:
        return number
    if not depth:
        return f"<{type(value).__name__}>"
    below = depth - 1
    if isinstance(value, list | tuple):
        return f"[{', '.join(_spell(item, below) for item in value[:_ITEMS])}]"
    if isinstance(value, PersistentId):
        return _spell(value.value, below)
    if isinstance(value, Call):
        parts = [*value.args[:_ITEMS], *([] if value.state is None else [value.state])]
        return f"{_spell(value.function, below)}({', '.join(_spell(part, below) for part in parts)})"
    return f"<{type(value).__name__}>"


def _numpy_scalar(call: Call) -> str | None:
    """The number that a pickled scalar of NumPy is: ``scalar(dtype("f8", ...), bytes)``."""
    if not (isinstance(call.function, Global) and call.function.name == "scalar" and len(call.args) == 2):
        return None
    dtype, data = call.args
    if isinstance(data, Call) and data.function == _ENCODE and data.args and isinstance(data.args[0], str):
        data = data.args[0].encode("latin-1", "replace")  # as protocols before 3 write bytes
    name = dtype.args[0] if isinstance(dtype, Call) and dtype.args else None
    if name not in {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"} or not isinstance(data, bytes):
        return None
    import numpy as np

    kind = np.dtype(f"<{name}")
    return repr(np.frombuffer(data, kind)[0].item()) if len(data) == kind.itemsize else None
