"""HTTP to one LFS server: requests leave with Git's credentials and settings, bounded answers come back.

What always holds: credentials and configured headers go to the server's own origin only; an answer is never read
beyond its limit or its time; nothing but http and https is opened, whatever address a server names.
"""

from __future__ import annotations

import base64
import http.client
import netrc
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from git_theta.gitio.config import parse_bool
from git_theta.gitio.process import GitFailed, ask_git
from git_theta.lfs.answers import shown
from git_theta.lfs.server import CannotAsk, Server

PAUSE = 0.5
"""Seconds before a failed request is repeated; twice that before the last time."""
_ATTEMPTS = 3
_TIMEOUT = 30.0
"""Seconds without a byte."""
_DEADLINE = 120.0
"""Seconds for one whole answer."""
_LARGEST = 4 << 20
"""Bytes of an answer about 100 objects; signed addresses take a few kilobytes each."""
_REDIRECTS = 5
_PASSING = {429, 500, 502, 503, 504}
"""Answers that may be another one in a moment."""
_TRANSPORT = (urllib.error.URLError, http.client.HTTPException, OSError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; ``body`` is cut where the caller wanted no more."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Web:
    """Requests to ``server`` and to the addresses it names."""

    def __init__(self, root: Path, server: Server) -> None:
        parts = urlsplit(server.url)
        self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._root = root
        self._origin = _origin(urlsplit(self.url))
        self._settings = _http_settings(root, self.url)
        self._headers = {**_extra_header(self._settings), **server.headers}
        self._opener = _opener(self._settings)
        self._authorized = any(name.lower() == "authorization" for name in self._headers)
        if parts.username is not None and not self._authorized:
            self._log_in(unquote(parts.username), unquote(parts.password or ""))
        self._user = parts.username

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send ``body`` to ``path`` below the server's address, with Git's credentials when it asks for them."""
        url = f"{self.url.rstrip('/')}/{path}"
        answer = self._ask(url, headers, body, _LARGEST)
        if answer.status != 401 or self._authorized:
            return answer
        known = _from_netrc(urlsplit(self.url).hostname)
        credential = {} if known else self._credential("fill", self._question())
        self._log_in(*(known or (credential.get("username", ""), credential.get("password", ""))))
        answer = self._ask(url, headers, body, _LARGEST)
        if credential:
            self._credential("reject" if answer.status == 401 else "approve", credential)
        return answer

    def begin(self, url: str, headers: Mapping[str, str], *, authorized: bool) -> Answer:
        """The first byte of what is at ``url``. ``authorized`` says that the address itself is the permission."""
        own = not authorized and not any(name.lower() == "authorization" for name in headers)
        return self._ask(url, {**headers, "Range": "bytes=0-0"}, None, 1, own=own)

    def _ask(self, url: str, headers: Mapping[str, str], body: bytes | None, limit: int, own: bool = True) -> Answer:
        """One question and its answer, after redirects; what may pass is asked again."""
        for attempt in range(_ATTEMPTS):
            last = attempt + 1 == _ATTEMPTS
            try:
                answer = self._follow(url, headers, body, limit, own)
                if answer.status not in _PASSING or last:
                    return answer
            except _TRANSPORT as error:
                if last:
                    reason = error.reason if isinstance(error, urllib.error.URLError) else error
                    raise CannotAsk(f"{_place(url)}: {shown(str(reason) or type(error).__name__)}") from None
            except ValueError:  # a port, a host or a character that cannot be
                raise CannotAsk(f"{_place(url)} is not an address to ask") from None
            time.sleep(PAUSE * (attempt + 1))
        raise AssertionError("the last attempt returns or raises")

    def _follow(self, url: str, headers: Mapping[str, str], body: bytes | None, limit: int, own: bool) -> Answer:
        for _ in range(_REDIRECTS):
            answer = self._once(url, headers, body, limit, own)
            target = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            was, url = urlsplit(url), urljoin(url, target)
            if was.scheme == "https" and urlsplit(url).scheme != "https":
                raise CannotAsk(f"{_place(was.geturl())} leads to {_place(url)}, which is not encrypted")
        raise CannotAsk(f"{_place(url)}: too many redirects")

    def _once(self, url: str, headers: Mapping[str, str], body: bytes | None, limit: int, own: bool) -> Answer:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CannotAsk(f"{_place(url)} is not an address to ask")
        ours = self._headers if own and _origin(parts) == self._origin else {}
        request = urllib.request.Request(url, body, {**ours, **headers})  # noqa: S310 (checked above)
        try:
            response = self._opener.open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            named = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, named, _read(response, limit, url))

    def _log_in(self, user: str, password: str) -> None:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers["Authorization"] = f"Basic {token}"
        self._authorized = True

    def _question(self) -> dict[str, str]:
        """What Git's credential helpers want to know (git help credential)."""
        parts = urlsplit(self.url)
        fields = {"protocol": parts.scheme, "host": parts.netloc, "path": parts.path.lstrip("/")}
        if self._user:
            fields["username"] = unquote(self._user)
        return fields

    def _credential(self, verb: str, description: Mapping[str, str]) -> dict[str, str]:
        lines = "".join(f"{key}={value}\n" for key, value in description.items())
        try:
            said = ask_git("credential", verb, cwd=self._root, stdin=os.fsencode(lines) + b"\n")
        except GitFailed as error:
            if verb != "fill":
                return {}  # a helper that cannot remember or forget
            raise CannotAsk(
                f"{self.url} wants a user and a password, and Git knows none ({error})",
                hint="git help credentials",
            ) from None
        return dict(line.partition("=")[::2] for line in os.fsdecode(said).splitlines())


def _from_netrc(host: str | None) -> tuple[str, str] | None:
    """User and password from the user's .netrc, which git and git-lfs read before they ask anybody."""
    try:
        found = netrc.netrc().authenticators(host or "")
    except (OSError, netrc.NetrcParseError):
        return None
    return (found[0], found[2] or "") if found else None


def _place(url: str) -> str:
    """An address for people: a signed one carries its permission in the query."""
    return shown(url.partition("?")[0])


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _http_settings(root: Path, url: str) -> dict[str, str]:
    """Git's ``http.*`` configuration for an address."""
    answer = ask_git("config", "--null", "--get-urlmatch", "http", url, cwd=root, codes=(0, 1))
    pairs = (pair.partition("\n") for pair in os.fsdecode(answer).split("\0")[:-1])
    return {key.lower().removeprefix("http."): value if newline else "true" for key, newline, value in pairs}


def _extra_header(settings: Mapping[str, str]) -> dict[str, str]:
    name, colon, value = settings.get("extraheader", "").partition(":")
    return {name.strip(): value.strip()} if colon else {}


def _opener(settings: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """http and https only, by the proxy of Git's configuration or the environment; redirects are ours to judge."""
    context = ssl.create_default_context(cafile=os.path.expanduser(settings.get("sslcainfo", "")) or None)
    try:
        trusting = not parse_bool(settings.get("sslverify", "true"))
    except ValueError:
        trusting = False
    if trusting:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    proxy = settings.get("proxy")
    proxies = None if proxy is None else {"http": proxy, "https": proxy} if proxy else {}
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", "git-theta")]
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _read(response: http.client.HTTPResponse, limit: int, url: str) -> bytes:
    """At most ``limit`` bytes. More is refused, except where one byte is all that was wanted."""
    body = bytearray()
    end = time.monotonic() + _DEADLINE
    while len(body) <= limit and (block := response.read1(min(limit + 1 - len(body), 1 << 16))):
        body += block
        if limit == 1:
            break
        if time.monotonic() > end:
            raise CannotAsk(f"{_place(url)}: the answer takes too long")
    if len(body) > limit > 1:
        raise CannotAsk(f"{_place(url)}: the answer is longer than {limit:,} bytes")
    return bytes(body[:limit])
