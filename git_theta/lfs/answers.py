"""JSON from a server we do not trust: bytes enter, checked plain values leave."""

from __future__ import annotations

import json
import re
from typing import Any

_HEADERS = 64
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")
_VALUE = re.compile(r"[\t\x20-\x7e]{0,16384}")
_SHOWN = 200


class BadAnswer(Exception):
    """The answer is not what the protocol says; the text continues a sentence."""


def parse_json(text: bytes) -> dict[str, Any]:
    """The JSON object in ``text``."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadAnswer(f"no JSON but {shown(text.decode('utf-8', 'replace')) or 'nothing'}") from None
    if not isinstance(found, dict):
        raise BadAnswer("no JSON object")
    return found


def headers_of(value: object) -> dict[str, str]:
    """HTTP headers that may be sent as they are; None is none."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _HEADERS:
        raise BadAnswer("its headers are none")
    for name, text in value.items():
        if not (isinstance(text, str) and _NAME.fullmatch(name) and _VALUE.fullmatch(text)):
            raise BadAnswer(f"its header {shown(name)} cannot be sent")
    return dict(value)


def shown(text: str) -> str:
    """Somebody else's words for a terminal: short, on one line, without control characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * _SHOWN]).split())
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}..."
