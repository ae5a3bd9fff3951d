"""Where the LFS server of a remote is, as git-lfs itself would find it: a remote enters, an address and headers leave.

git-lfs is asked (``git lfs env``), so ``lfs.url``, ``.lfsconfig`` and ``insteadOf`` count as they do for transfers.
An SSH remote is asked for address and token by ``git-lfs-authenticate`` (git-lfs docs/api/authentication.md).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from git_theta.errors import ThetaError
from git_theta.gitio.process import ask_git
from git_theta.gitio.remotes import lfs_url, remote_url
from git_theta.lfs.answers import BadAnswer, headers_of, parse_json

_ENDPOINT = re.compile(r"Endpoint(?: \((.*)\))?=(.*) \(auth=\w+\)")
_LONGEST = 1 << 20
"""Bytes that git-lfs-authenticate may answer."""

# What Git does with these (git help git): a command line for a shell, or one program. git-lfs does the same.
_SSH = """\
if [ -n "$GIT_SSH_COMMAND" ]; then eval "$GIT_SSH_COMMAND \\"\\$@\\""
elif [ -n "$0" ]; then eval "$0 \\"\\$@\\""
else "${GIT_SSH:-ssh}" "$@"
fi"""


class CannotAsk(ThetaError):
    """The server behind a remote cannot be asked what it has."""


@dataclass(frozen=True, slots=True)
class Server:
    """The address below which ``/objects/batch`` is, and headers for every request to it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


def find_server(root: Path, remote: str, url: str | None) -> Server:
    """The server of ``remote``; ``url`` is its address when the name is not in the configuration.

    Raises :class:`CannotAsk` where there is none, or only a transfer agent that has no such question.
    """
    # It makes folders where it would keep files; its own are the sign that a repository has files of git-lfs.
    configured = ("-c", "lfs.storage=theta", *(("-c", f"remote.{remote}.url={url}") if url else ()))
    endpoint, ssh = _endpoint(os.fsdecode(ask_git(*configured, "lfs", "env", cwd=root)), remote)
    if not endpoint.startswith(("http://", "https://")):
        raise CannotAsk(f"{url or remote} has no LFS server that can be asked, only {endpoint or 'nothing'}")
    agent = ask_git("config", "--get-urlmatch", "lfs.standalonetransferagent", endpoint, cwd=root, codes=(0, 1))
    if agent.strip():
        raise CannotAsk(
            f"objects reach {url or remote} by the transfer agent {os.fsdecode(agent).strip()}, "
            "which cannot be asked what is there"
        )
    if ssh is None:
        return Server(endpoint)
    address = lfs_url(root, remote) or url or remote_url(root, remote)
    return _authenticate(root, endpoint, ssh, urlsplit(address).port if address.startswith("ssh://") else None)


def _endpoint(said: str, remote: str) -> tuple[str, str | None]:
    """The address and, for SSH, ``user@host:path``. The default remote's line has no name in it."""
    found: dict[str, tuple[str, str | None]] = {}
    name = None
    for line in said.splitlines():
        match = _ENDPOINT.fullmatch(line)
        if match:
            name = match[1] or ""
            found[name] = match[2], None
        elif line.startswith("  SSH=") and name is not None:
            found[name] = found[name][0], line.removeprefix("  SSH=")
    return found.get(remote) or found.get("") or ("", None)


def _authenticate(root: Path, endpoint: str, ssh: str, port: int | None) -> Server:
    """Ask the host behind an SSH remote for the server's address and a token."""
    host, _, path = ssh.partition(":")
    configured = ask_git("config", "--get", "core.sshCommand", cwd=root, codes=(0, 1))
    options = ("-p", str(port)) if port else ()
    command = ("sh", "-c", _SSH, os.fsdecode(configured).removesuffix("\n"))
    asked = f"git-lfs-authenticate {shlex.quote(path)} download"
    with subprocess.Popen(
        [*command, *options, "--", host, asked], cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        said = process.stdout.read(_LONGEST + 1) if process.stdout else b""
        if len(said) > _LONGEST:
            process.kill()
    if process.returncode:
        raise CannotAsk(f"{host} did not answer git-lfs-authenticate (exit code {process.returncode})")
    try:
        answer = parse_json(said)
        href = answer.get("href") or endpoint
        if not isinstance(href, str) or not href.startswith(("http://", "https://")):
            raise BadAnswer("its address is none of http")
        return Server(href, headers_of(answer.get("header")))
    except BadAnswer as error:
        raise CannotAsk(f"{host} answered git-lfs-authenticate with something else: {error}") from None
