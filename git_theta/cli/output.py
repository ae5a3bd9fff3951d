"""How commands speak: sentences for people on stderr, stable JSON for programs on stdout."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def warn(message: str, hint: str | None = None) -> None:
    """Say something on stderr and what to type next, line by line as Git does."""
    lines = [f"git-theta: {message}", *(f"hint: {line}" for line in (hint or "").splitlines())]
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()


def remedy(error: OSError) -> str:
    """What to do about ``error`` before the same command is worth another try."""
    return f"{'make room' if error.errno in _FULL else 'mend that'}, then repeat the command"


def emit_json(document: Mapping[str, object]) -> None:
    """Write one JSON document; paths that are no text keep their bytes as surrogates."""
    import json  # a filter start needs none of it

    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def drop_output() -> None:
    """Whoever read our output has gone: Python must not complain once more when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
