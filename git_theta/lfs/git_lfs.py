"""Git LFS as a carrier: git-lfs itself moves objects between our store and a server, with its own credentials.

git-lfs is pointed at our store by ``lfs.storage``, whose layout is the same. Up: ``git lfs push --object-id``.
Down: ``git lfs fetch`` of a commit that no ref knows, whose tree holds a pointer for each object. Both are one
process and one batch for any number of objects. What always holds: an exit code other than 0 is an error, and
what arrived is looked at in the store, not believed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from git_theta.errors import ThetaError
from git_theta.gitio.process import ask_git, git_environment
from git_theta.lfs.ends import TransferFailed, check_whole
from git_theta.lfs.pointers import render_pointer
from git_theta.model import Oid, StoredObject
from git_theta.store import Store

IDENTITY = ("-c", "user.name=git-theta", "-c", "user.email=git-theta@localhost")
"""Who makes the commits that only machines read."""


_CHATTER = (
    "Uploading",
    "Downloading",
    "fetch:",
    "hint:",
    "Errors logged to",
    "Use `git lfs logs",
    "error: failed to fetch some objects",
)
"""How lines begin that say nothing about a failure."""
_PASSING = re.compile(r"batch response: (?:Fatal error: Server error|Rate limit exceeded)")
"""What may be another answer in a moment."""
_UNSAID = "Uploading failed"
"""What git-lfs 3.3 says, and then exits with 0, when a server answers 422."""
PAUSE = 1.0
"""Seconds before the second attempt."""


class GitLfsNotFound(ThetaError):
    """git-lfs is needed for this remote and is not installed."""


class GitLfsEnd:
    """A remote that git-lfs talks to, from the repository at ``root``.

    ``url`` is given when the remote has no name in the configuration. ``terminal`` is a descriptor on which
    git-lfs draws its own progress; its words are kept for the error.
    """

    def __init__(self, name: str, root: Path, url: str | None = None, terminal: int | None = None) -> None:
        self.name = url or name
        self._root = root
        self._remote = name
        self._url = url
        self._terminal = terminal

    def send(self, store: Store, objects: Sequence[StoredObject], *, thorough: bool = False) -> None:
        """Upload what the server lacks; the server is asked, so sending twice costs one question."""
        del thorough  # a server cannot be made to take what it says it has
        if not objects:
            return
        check_whole(store, objects)
        names = "".join(f"{o.oid}\n" for o in objects).encode()
        code, said = self._run(store, ["push", "--object-id", self._remote, "--stdin"], names)
        if code:
            raise TransferFailed(
                f"git-lfs could not send objects to {self.name}: {_last_words(said) or f'exit code {code}'}",
                hint="nothing was pushed; repeat the push",
            )

    def receive(self, store: Store, objects: Sequence[StoredObject]) -> Mapping[Oid, str]:
        """Download what is not here, in one batch; what was begun earlier is resumed."""
        wanted = [o for o in objects if not store.has(o.oid, o.size)]
        if not wanted:
            return {}
        # git-lfs takes a file of the right name for the object, whatever its size.
        for damaged in (o.oid for o in wanted if store.stat(o.oid)):
            store.quarantine(damaged)
        code, said = self._run(store, ["fetch", self._remote, pointer_commit(self._root, wanted, store.tmp)], b"")
        words = _last_words(said)
        missing = [o.oid for o in wanted if not store.has(o.oid, o.size)]
        if code and len(missing) == len(wanted) and not any(oid in said for oid in missing):
            raise TransferFailed(words or f"git-lfs exited with {code}")
        return {oid: _about(oid, said) or words or f"{self.name} does not have it" for oid in missing}

    def lacks(self, objects: Sequence[StoredObject], *, thorough: bool = False) -> Mapping[Oid, str]:
        """Ask the server which of ``objects`` it would send; ``thorough`` begins to download each."""
        from git_theta.lfs.probe import probe
        from git_theta.lfs.server import CannotAsk

        require_git_lfs(self.name)
        try:
            return probe(self._root, self._remote, self._url, objects, thorough=thorough)
        except CannotAsk as error:
            raise CannotAsk(
                f"{self.name}: {error}",
                hint=error.hint or "git lfs env shows the server of each remote; when it answers, repeat the command",
            ) from None

    def _run(self, store: Store, arguments: Sequence[str], stdin: bytes) -> tuple[int, str]:
        """Run git-lfs against this remote and our store; returns its exit code and what it said.

        A server that is busy or stumbles is asked once more: git-lfs repeats transfers, but not the first question.
        """
        require_git_lfs(self.name)
        store.objects.mkdir(parents=True, exist_ok=True)
        options = [
            f"lfs.storage={store.root}",
            "lfs.fetchinclude=",
            "lfs.fetchexclude=",
            "lfs.fetchrecentalways=false",
            "lfs.locksverify=false",  # locks are on paths, and objects have none
        ]
        if self._url:
            options.append(f"remote.{self._remote}.url={self._url}")
        command = ["git", *(word for option in options for word in ("-c", option)), "lfs", *arguments]
        drawing = subprocess.DEVNULL if self._terminal is None else self._terminal
        environment = {**git_environment(False), "LC_ALL": "C", "LANGUAGE": ""}  # its words are read below
        for attempt in (1, 2):
            done = subprocess.run(
                command,
                cwd=self._root,
                env=environment,
                input=stdin,
                stdout=drawing,
                stderr=subprocess.PIPE,
                check=False,
            )
            said = done.stderr.decode("utf-8", "replace")
            if done.returncode == 0 or attempt == 2 or not _PASSING.search(said):
                break
            time.sleep(PAUSE)
        return done.returncode or (1 if _UNSAID in said else 0), said


def require_git_lfs(name: str) -> None:
    """Raises :class:`GitLfsNotFound` where there is no git-lfs to reach the remote ``name`` with."""
    if shutil.which("git-lfs") is None and shutil.which("git-lfs", path=_git_folder()) is None:
        raise GitLfsNotFound(
            f"git-lfs is not installed (https://git-lfs.com), and objects travel to and from {name} with it",
            hint="nothing was pushed or fetched; to install git-lfs on Debian or Ubuntu: sudo apt-get install git-lfs\n"
            "on macOS: brew install git-lfs (a remote on a local path works without it)",
        )


def _git_folder() -> str:
    """Where Git's own programs are: it looks there first for what is called git-lfs."""
    return os.fsdecode(ask_git("--exec-path")).removesuffix("\n")


def pointer_commit(root: Path, objects: Sequence[StoredObject], scratch: Path) -> str:
    """A commit no ref knows, with a pointer for each object; Git's own garbage collection takes it later."""
    blobs = write_pointers(root, objects, scratch)
    lines = (f"100644 blob {blob}\t{o.oid}\n" for blob, o in zip(blobs, objects, strict=True))
    tree = ask_git("mktree", cwd=root, stdin="".join(lines).encode()).decode().strip()
    return ask_git(*IDENTITY, "commit-tree", "-m", "objects to fetch", tree, cwd=root).decode().strip()


def write_pointers(root: Path, objects: Sequence[StoredObject], scratch: Path) -> list[str]:
    """Put a pointer blob for each object into Git; returns their ids in the same order."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pointers-", dir=scratch) as folder:
        paths = []
        for stored in objects:
            path = Path(folder) / stored.oid
            path.write_bytes(render_pointer(stored))
            paths.append(os.fsencode(path) + b"\n")
        answer = ask_git("hash-object", "-w", "--no-filters", "--stdin-paths", cwd=root, stdin=b"".join(paths))
    return answer.decode().split()


def _last_words(said: str) -> str:
    """The lines of git-lfs's output that say what went wrong, as one line."""
    telling = [line for line in _lines(said) if not line.startswith(_CHATTER)]
    if _UNSAID in said:
        telling = ["the server answers that it cannot process an object (HTTP 422)"]
    return "; ".join(dict.fromkeys(telling[-3:]))


def _about(oid: Oid, said: str) -> str | None:
    """What git-lfs said of one object."""
    return next((line for line in _lines(said) if oid in line and not line.startswith(_CHATTER)), None)


def _lines(said: str) -> list[str]:
    """Lines without what may be a key (the query of a signed address), and without a Go value printed by mistake."""
    said = re.sub(r"(https?://[^\s?\"]+)\?[^\s;\"]+", r"\1", said.replace("\r", "\n"))
    said = re.sub(r"\w+ error &\{.*?/([0-9a-f]{64})\).*?from HTTP", r"object \1: the server answered HTTP", said)
    return [line.strip() for line in said.splitlines() if line.strip()]
