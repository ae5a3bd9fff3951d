"""The settings of git-theta: Git's configuration and environment variables enter, typed values leave.

One table lists every setting with its type, default, meaning and variable; ``git theta env`` and the
documentation read the same table. What always holds: a value that does not parse is an error that names where
it was written and how to take it back, an environment variable wins over configuration, and each value knows its
origin. Settings of Git's own that say how it writes objects count for ours as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from git_theta.errors import Exit, ThetaError
from git_theta.gitio.process import ask_git

T = TypeVar("T")

DEFAULT = "default"
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_MOST_THREADS = 8
"""Beyond this the pipe from Git, not the coder, sets the pace."""
_UNKNOWN_RAM = 8 << 30
"""Assumed where the system does not tell."""


_GITS_OWN = ("core.fsync", "core.fsyncobjectfiles", "core.sharedrepository")
_SHARED = {"group": 0o660, "1": 0o660, "all": 0o664, "world": 0o664, "everybody": 0o664, "2": 0o664}


class BadSetting(ThetaError):
    """A setting has a value that means nothing."""

    exit_code = Exit.USAGE


def parse_bool(text: str) -> bool:
    """Git's booleans: true, yes, on, 1 against false, no, off, 0 and the empty string, in any case."""
    word = text.strip().lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0", ""}:
        return False
    raise ValueError("true or false")


def parse_size(text: str) -> int:
    """Bytes, with an optional unit of 1024: ``65536``, ``512m``, ``2g``, ``4 GiB``."""
    found = re.fullmatch(r"([0-9]{1,18})\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if found is None:
        raise ValueError("a size such as 512m or 2g")
    return int(found[1]) * _UNITS[found[2]]


def parse_count(text: str) -> int:
    """A whole number of at least 1."""
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text.strip()):
        raise ValueError("a whole number from 1 to 9999")
    return int(text)


def parse_days(text: str) -> int:
    """A whole number of days; 0 is none."""
    if not re.fullmatch(r"[0-9]{1,4}", text.strip()):
        raise ValueError("a whole number of days")
    return int(text)


def parse_path(text: str) -> Path:
    """A path; ``~`` is a home directory, as in Git's own path settings."""
    if not text:
        raise ValueError("a path")
    return Path(os.path.expanduser(text))


def parse_missing(text: str) -> str:
    """What smudge does where objects cannot be had."""
    if text not in {"placeholder", "fail"}:
        raise ValueError("placeholder or fail")
    return text


def parse_hardened(text: str, deprecated: str = "") -> bool:
    """Whether Git waits for the disk when it writes a loose object: ``core.fsync``, ``core.fsyncObjectFiles``.

    By itself it does so on Windows only.
    """
    hardened = os.name == "nt" or (not text and deprecated.lower() in {"true", "yes", "on", "1"})
    for word in re.split(r"[,\s]+", text.strip()):
        if word == "none":
            hardened = False
        elif word.removeprefix("-") in {"loose-object", "objects", "committed", "added", "all"}:
            hardened = not word.startswith("-")
    return hardened


def parse_shared(text: str) -> int:
    """Permissions that ``core.sharedRepository`` adds, 0 for none; negative where it says exactly which."""
    word = text.strip().lower()
    if re.fullmatch(r"0[0-7]{3}", word):
        return -int(word, 8)
    return _SHARED.get(word, 0o660 if word in {"true", "yes", "on"} else 0)


def parse_merge(text: str) -> str:
    """Some strategy; what is one, the room that knows them says."""
    if not text.strip():
        raise ValueError("a strategy such as average or ties:density=0.3, ask, or conflict")
    return text.strip()


def parse_seed(text: str) -> int:
    """A whole number of up to 18 digits."""
    if not re.fullmatch(r"[0-9]{1,18}", text.strip()):
        raise ValueError("a whole number")
    return int(text)


def _default_threads() -> int:
    try:
        usable = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        usable = os.cpu_count() or 1
    return min(usable, _MOST_THREADS)


def _ram() -> int:
    """Bytes of memory this process may use: the machine's, or less where a container says so."""
    try:
        amount = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        amount = _UNKNOWN_RAM
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            amount = min(amount, int(text))
    return amount


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One row of the table. ``kind`` is the type's name in the documentation."""

    name: str
    kind: str
    parse: Callable[[str], T]
    default: Callable[[], T]
    variable: str
    meaning: str


STORAGE = Setting(
    "theta.storage",
    "path",
    parse_path,
    lambda: Path("theta"),
    "GIT_THETA_STORAGE",
    "Folder of the object store. A relative path starts at the repository's common Git folder.",
)
SMUDGE_LIMIT = Setting(
    "theta.smudgeLimit",
    "size",
    parse_size,
    lambda: _ram() // 4,
    "GIT_THETA_SMUDGE_LIMIT",
    "Largest file that plain git checkout writes; above it the manifest stays until `git theta checkout`, "
    "because Git holds in memory all that a filter returns. Default: a quarter of the memory.",
)
MISSING = Setting(
    "theta.missing",
    "placeholder or fail",
    parse_missing,
    lambda: "placeholder",
    "GIT_THETA_MISSING",
    "Where objects are missing, leave the manifest in the worktree and let Git finish, or make Git fail.",
)
THREADS = Setting(
    "theta.threads",
    "number",
    parse_count,
    _default_threads,
    "GIT_THETA_THREADS",
    f"Threads that encode and decode. Default: the usable processors, at most {_MOST_THREADS}.",
)
SKIP_SMUDGE = Setting(
    "theta.skipSmudge",
    "true or false",
    parse_bool,
    lambda: False,
    "GIT_THETA_SKIP_SMUDGE",
    "Leave manifests in the worktree instead of checkpoints; `git theta checkout` writes the checkpoints later.",
)

OBJECTS_REF = Setting(
    "theta.objectsRef",
    "true or false",
    parse_bool,
    lambda: True,
    "GIT_THETA_OBJECTS_REF",
    "After a push through Git LFS, keep a pointer for every object in refs/theta/objects on the remote, so that "
    "the host's own clean-up sees them.",
)
PRUNE_AGE = Setting(
    "theta.pruneAge",
    "days",
    parse_days,
    lambda: 14,
    "GIT_THETA_PRUNE_AGE",
    "Days for which `git theta prune` keeps an object after it was stored or last used. Below 2, prune only while "
    "nothing else works in the repository.",
)

MERGE = Setting(
    "theta.merge",
    "strategy, ask, or conflict",
    parse_merge,
    lambda: "average",
    "GIT_THETA_MERGE",
    "What a merge makes of groups that both sides changed: a strategy with its parameters, such as ties:density=0.3, "
    "and others for patterns, such as average;*.bias=ours; `ask` asks at the terminal, `conflict` always stops.",
)
SEED = Setting(
    "theta.seed",
    "number",
    parse_seed,
    lambda: 0,
    "GIT_THETA_SEED",
    "Seed of merges with chance in them; what is drawn also depends on the values, so that a merge repeats exactly.",
)

SETTINGS: tuple[Setting[Any], ...] = (
    STORAGE,
    SMUDGE_LIMIT,
    MISSING,
    THREADS,
    SKIP_SMUDGE,
    OBJECTS_REF,
    PRUNE_AGE,
    MERGE,
    SEED,
)
"""Every setting. Names are compared without regard to case, as Git does."""


@dataclass(frozen=True, slots=True)
class Effective(Generic[T]):
    """The value in force and where it comes from: ``default``, a variable, or a configuration file and scope.

    With a ``problem`` what is written there means nothing, and the value is the default. ``remedy`` is what to type to
    take the value back.
    """

    setting: Setting[T]
    value: T
    origin: str
    problem: BadSetting | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A ``theta.*`` key in Git's configuration that no setting has."""

    key: str
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting's value in force; ``effective`` has them in the table's order with their origins.

    ``hardened`` and ``shared`` are what Git's own ``core.fsync`` and ``core.sharedRepository`` mean for objects.
    """

    storage: Path
    smudge_limit: int
    missing: str
    threads: int
    skip_smudge: bool
    objects_ref: bool
    prune_age: int
    merge: str
    seed: int
    effective: tuple[Effective[Any], ...]
    unknown: tuple[Unknown, ...]
    hardened: bool
    shared: int

    @property
    def shares_store(self) -> bool:
        """Whether somebody chose where the store is, so that other repositories may use it too."""
        return any(one.setting is STORAGE and one.origin != DEFAULT for one in self.effective)

    def store(self, common_dir: Path) -> Path:
        """The folder of the object store of a repository with this common Git folder."""
        return common_dir / self.storage


def read_settings(
    environ: Mapping[str, str], cwd: Path | None = None, *, elsewhere: bool = False, tolerant: bool = False
) -> Settings:
    """The settings in force in ``cwd``, inside a repository or not; raises :class:`BadSetting` unless ``tolerant``.

    One Git process. An empty environment variable counts as absent. ``elsewhere`` as for
    :func:`~git_theta.gitio.process.ask_git`.
    """
    configured, unknown = _configured(cwd, elsewhere)
    effective: list[Effective[Any]] = []

    def value(setting: Setting[T]) -> T:
        found = _effective(setting, environ.get(setting.variable), configured)
        if found.problem and not tolerant:
            raise found.problem
        effective.append(found)
        return found.value

    def gits_own(key: str) -> str:
        return configured[key].text if key in configured else ""

    return Settings(
        storage=value(STORAGE),
        smudge_limit=value(SMUDGE_LIMIT),
        missing=value(MISSING),
        threads=value(THREADS),
        skip_smudge=value(SKIP_SMUDGE),
        objects_ref=value(OBJECTS_REF),
        prune_age=value(PRUNE_AGE),
        merge=value(MERGE),
        seed=value(SEED),
        effective=tuple(effective),
        unknown=unknown,
        hardened=parse_hardened(gits_own("core.fsync"), gits_own("core.fsyncobjectfiles")),
        shared=parse_shared(gits_own("core.sharedrepository")),
    )


@dataclass(frozen=True, slots=True)
class _Written:
    """What configuration says of one key: the text, the file or the like, and the scope."""

    text: str
    place: str
    scope: str

    @property
    def origin(self) -> str:
        return f"{self.place} ({self.scope})"


def _configured(cwd: Path | None, elsewhere: bool) -> tuple[dict[str, _Written], tuple[Unknown, ...]]:
    """What Git's configuration says, by lower-case name, and the keys that are no setting."""
    answer = ask_git(
        "config",
        "--null",
        "--show-scope",
        "--show-origin",
        "--get-regexp",
        rf"^theta\.|^({'|'.join(map(re.escape, _GITS_OWN))})$",
        cwd=cwd,
        codes=(0, 1),
        elsewhere=elsewhere,
    )
    words = answer.decode("utf-8", "surrogateescape").split("\0")
    known = {setting.name.lower() for setting in SETTINGS}.union(_GITS_OWN)
    configured: dict[str, _Written] = {}
    unknown: dict[str, Unknown] = {}
    for scope, place, pair in zip(words[0::3], words[1::3], words[2::3], strict=False):
        key, newline, text = pair.partition("\n")
        # Git lists the weakest scope first, so the last one counts; a key without "=" means true.
        written = _Written(text if newline else "true", place, scope)
        if key in known:
            configured[key] = written
        else:
            unknown[key] = Unknown(key, written.origin)
    return configured, tuple(unknown.values())


def _effective(setting: Setting[T], variable: str | None, configured: Mapping[str, _Written]) -> Effective[T]:
    if variable:
        text, origin = variable, f"environment variable {setting.variable}"
        remedy = f"unset {setting.variable}"
    elif setting.name.lower() in configured:
        written = configured[setting.name.lower()]
        text, origin = written.text, written.origin
        remedy = f"git config --{written.scope} --unset-all {setting.name}"
        if written.scope == "command":
            remedy = f"leave out -c {setting.name}={text}"
    else:
        return Effective(setting, setting.default(), DEFAULT)
    try:
        return Effective(setting, setting.parse(text), origin, remedy=remedy)
    except ValueError as expected:
        problem = BadSetting(f"{setting.name} is {text!r} ({origin}), expected {expected}", hint=remedy)
        return Effective(setting, setting.default(), origin, problem, remedy)
