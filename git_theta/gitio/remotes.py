"""Git's remotes: names and addresses enter, the address Git would use leaves, and whether it is a folder here."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from git_theta.gitio.process import GitFailed, ask_git


def remote_names(root: Path, *, elsewhere: bool = False) -> list[str]:
    """Every configured remote, in Git's order. ``elsewhere`` as for :func:`~git_theta.gitio.process.ask_git`."""
    return os.fsdecode(ask_git("remote", cwd=root, elsewhere=elsewhere)).splitlines()


def remote_url(root: Path, remote: str, *, push: bool = False) -> str:
    """The address behind a remote's name, or behind an address, after ``url.*.insteadOf``."""
    if remote in remote_names(root):
        options = ["--push"] if push else []
        return os.fsdecode(ask_git("remote", "get-url", *options, remote, cwd=root)).splitlines()[0]
    return os.fsdecode(ask_git("ls-remote", "--get-url", remote, cwd=root)).removesuffix("\n")


def remote_address(root: Path, remote: str, url: str) -> str:
    """What to call a remote that Git pushes to at ``url``, where fetch is to ask the same place.

    Its name, unless it is fetched from elsewhere or has several addresses; then the address.
    """
    if remote not in remote_names(root):
        return remote
    return remote if {remote_url(root, remote), *push_urls(root, remote)} == {url} else url


def push_urls(root: Path, remote: str) -> list[str]:
    """Every address that Git pushes to for a remote's name."""
    return os.fsdecode(ask_git("remote", "get-url", "--push", "--all", remote, cwd=root)).splitlines()


def remembered(root: Path, remote: str) -> bool:
    """Whether Git keeps in mind what the remote's branches are: not in a mirror or another bare clone of it."""
    answer = ask_git("config", "--get-all", f"remote.{remote}.fetch", cwd=root, codes=(0, 1))
    return b":refs/remotes/" in answer


def default_remote(root: Path) -> str | None:
    """The remote that plain fetch takes: the branch's, ``checkout.defaultRemote``, origin, or the only one."""
    names = remote_names(root)
    candidates = [_branch_remote(root), _value(root, "checkout.defaultRemote"), "origin"]
    chosen = [name for name in candidates if name in names]
    if chosen:
        return chosen[0]
    return names[0] if len(names) == 1 else None


def local_folder(root: Path, url: str) -> Path | None:
    """The folder an address names on this machine, or None for one that is elsewhere (gitprotocol: GIT URLS)."""
    if url.startswith("file://"):
        return _existing(Path(unquote(urlsplit(url).path)))
    if "://" in url or re.match(r"[A-Za-z0-9-]+::", url):
        return None
    path = Path(url).expanduser()
    if re.match(r"[^/\\]+:", url) and not (os.name == "nt" and re.match(r"[A-Za-z]:[/\\]", url)):
        return None  # host:path
    return _existing(root / path)


def _existing(path: Path) -> Path | None:
    candidates = (path, Path(f"{path}.git"))
    return next((candidate for candidate in candidates if candidate.is_dir()), None)


def _branch_remote(root: Path) -> str | None:
    try:
        branch = os.fsdecode(ask_git("symbolic-ref", "--quiet", "--short", "HEAD", cwd=root)).strip()
    except GitFailed:
        return None
    return _value(root, f"branch.{branch}.remote")


def _value(root: Path, key: str) -> str | None:
    answer = ask_git("config", "--get", key, cwd=root, codes=(0, 1))
    return os.fsdecode(answer).removesuffix("\n") or None


def lfs_url(root: Path, remote: str) -> str | None:
    """The LFS server that configuration or a committed ``.lfsconfig`` names for a remote; None when none does."""
    keys = r"^(remote\..*\.lfsurl|lfs\.url)$"
    for place in ((), ("--file", str(root / ".lfsconfig")), ("--blob", "HEAD:.lfsconfig")):
        with contextlib.suppress(GitFailed):
            answer = ask_git("config", *place, "--null", "--get-regexp", keys, cwd=root, codes=(0, 1))
            found = dict(line.split("\n", 1) for line in os.fsdecode(answer).split("\0")[:-1] if "\n" in line)
            url = found.get(f"remote.{remote}.lfsurl") or found.get("lfs.url")
            if url:
                return url
    return None


def transfer_agent(root: Path) -> str | None:
    """The program that git-lfs hands all transfers to without asking any server; None when there is none."""
    return _value(root, "lfs.standalonetransferagent")


def borrowed_folders(common_dir: Path) -> list[Path]:
    """Git folders of the repositories whose objects this one borrows (``clone --reference``, alternates)."""
    found: list[Path] = []
    pending = [common_dir]
    while pending and len(found) < 20:
        folder = pending.pop(0)
        try:
            lines = (folder / "objects" / "info" / "alternates").read_text("utf-8", "surrogateescape").splitlines()
        except OSError:
            continue
        for line in lines:
            borrowed = (folder / "objects" / line).resolve().parent
            if line and not line.startswith("#") and borrowed not in (common_dir, *found):
                found.append(borrowed)
                pending.append(borrowed)
    return found
