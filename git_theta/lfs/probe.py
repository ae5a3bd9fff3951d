"""Ask an LFS server which objects it has, by the batch API (git-lfs docs/api/batch.md).

Objects enter, what the server would not send leaves, with its reason. What always holds: silence about an object,
another size, or an answer that is none counts as not there; a server that cannot be asked is an error, never an
empty answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from git_theta.lfs.answers import BadAnswer, headers_of, parse_json, shown
from git_theta.lfs.server import CannotAsk, find_server
from git_theta.lfs.web import Answer, Web
from git_theta.model import Oid, StoredObject

_BATCH = 100
"""Objects in one question, as git-lfs asks."""
_AT_ONCE = 8
_TYPE = "application/vnd.git-lfs+json"
_RANGE = re.compile(r"bytes [0-9]{1,19}-[0-9]{1,19}/([0-9]{1,19})")
"""Not every server sends just the range it was asked for."""


def probe(
    root: Path, remote: str, url: str | None, objects: Sequence[StoredObject], *, thorough: bool = False
) -> Mapping[Oid, str]:
    """Which of ``objects`` the server behind ``remote`` would not send, and what it said of each.

    ``thorough`` begins to download each, one byte, and so finds what a server only says it has. Raises
    :class:`CannotAsk`.
    """
    if not objects:
        return {}
    web = Web(root, find_server(root, remote, url))
    lacking: dict[Oid, str] = {}
    for at in range(0, len(objects), _BATCH):
        part = objects[at : at + _BATCH]
        found = _ask(web, part)
        answers = {stored.oid: _judge(found.get(stored.oid), stored) for stored in part}
        if thorough:
            answers.update(_begin_all(web, [stored for stored in part if not answers[stored.oid]], found))
        lacking.update((oid, reason) for oid, reason in answers.items() if reason)
    return lacking


def _ask(web: Web, objects: Sequence[StoredObject]) -> dict[str, dict[str, Any]]:
    """What the server says of each object, by oid. Raises :class:`CannotAsk` unless it answers the question."""
    wanted = [{"oid": stored.oid, "size": stored.size} for stored in objects]
    question = {"operation": "download", "transfers": ["basic"], "objects": wanted, "hash_algo": "sha256"}
    answer = web.post("objects/batch", json.dumps(question).encode(), {"Accept": _TYPE, "Content-Type": _TYPE})
    if answer.status == 404:
        # No server, nothing you may see, or (giftless) none of all these: however it is, none of them would come.
        return {stored.oid: {"error": {"message": _refusal(answer)}} for stored in objects}
    if answer.status != 200:
        raise CannotAsk(f"{web.url} cannot be asked what it has: {_refusal(answer)}")
    try:
        found = parse_json(answer.body).get("objects")
        if not isinstance(found, list):
            raise BadAnswer("no list of objects")
    except BadAnswer as error:
        raise CannotAsk(f"{web.url} is no LFS server: it answers with {error}") from None
    return {one["oid"]: one for one in found if isinstance(one, dict) and isinstance(one.get("oid"), str)}


def _refusal(answer: Answer) -> str:
    """The status, and what the server says about it."""
    meaning = {
        401: "it does not accept user and password",
        403: "you may not read there",
        404: "there is no LFS server, or nothing you may see",
    }
    try:
        said = str(parse_json(answer.body).get("message") or "")
    except BadAnswer:
        said = ""
    return f"{answer.status}, {shown(said) or meaning.get(answer.status, 'and no more')}"


def _judge(found: dict[str, Any] | None, stored: StoredObject) -> str | None:
    """Why an object counts as not there, by what the server says; None when it is there."""
    if found is None:
        return "the server says nothing of it"
    error = found.get("error")
    if error is not None:
        said = error.get("message") if isinstance(error, dict) else error
        return f"the server says: {shown(str(said))}"
    if found.get("size", stored.size) != stored.size:
        return f"the server has {shown(str(found['size']))} bytes of it, expected {stored.size}"
    return None


def _begin_all(
    web: Web, objects: Sequence[StoredObject], found: Mapping[str, dict[str, Any]]
) -> Iterator[tuple[Oid, str | None]]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        reasons = pool.map(lambda stored: _begin(web, stored, found[stored.oid]), objects)
        yield from zip((stored.oid for stored in objects), reasons, strict=True)


def _begin(web: Web, stored: StoredObject, found: dict[str, Any]) -> str | None:
    """Why an object does not come when its download begins; None when it does."""
    try:
        action = found["actions"]["download"]
        href, headers = action["href"], headers_of(action.get("header"))
        if not isinstance(href, str):
            raise BadAnswer("its address is none")
    except (BadAnswer, KeyError, TypeError, AttributeError):
        return "the server says it has it, and not where"
    try:
        answer = web.begin(href, headers, authorized=found.get("authenticated") is True)
    except CannotAsk as error:
        return f"the server says it has it: {error}"
    if answer.status not in (200, 206) or len(answer.body) != 1:
        return f"the server says it has it, and answers {answer.status} when it is to come"
    size = _whole_size(answer)
    if size is not None and size != stored.size:
        return f"the server has {size:,} bytes of {stored.size:,}"
    return None


def _whole_size(answer: Answer) -> int | None:
    """How long the object is over there, where the answer tells."""
    if answer.status == 206:
        known = _RANGE.fullmatch(answer.headers.get("content-range", ""))
        return int(known[1]) if known else None
    if answer.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return None  # the length of something else
    length = answer.headers.get("content-length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,19}", length) else None
