"""Conflicts decided by a person at a terminal: versions enter, a policy leaves, or nothing when they leave it.

What always holds: nothing is written here; whatever is typed can be undone until the person says that it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from git_theta.cli.merging import merger
from git_theta.cli.sides import stored
from git_theta.cli.text import plural, printable
from git_theta.cli.workspace import Workspace
from git_theta.diff import compare
from git_theta.diff.finding import Finding
from git_theta.diff.findings import find_all
from git_theta.diff.fold import fold
from git_theta.diff.words import percent, scientific
from git_theta.errors import ThetaError
from git_theta.globs import escape, matches
from git_theta.merge.decide import Decision, Held
from git_theta.merge.merger import Versions, settle
from git_theta.merge.plan import Policy, Stop, parse_choice
from git_theta.model import Manifest

HELP = """\
Type WHICH CHOICE, or CHOICE alone for all that are open:
  WHICH   a line's number, or a pattern such as *.bias or encoder.*
  CHOICE  ours, theirs, base, or a strategy such as average or ties:density=0.3
list  shows what is open    undo  takes the last choice back    done  goes on    quit  leaves everything as it is
"""


@dataclass(frozen=True, slots=True)
class Open:
    """One conflict: the group's name, or another value's, why it is one, and what is known of both sides' changes."""

    name: str
    why: str
    what: str = ""


Say = Callable[[str], None]
Listen = Callable[[], str]
"""A line somebody typed; raises EOFError at the end."""


def ask(workspace: Workspace, path: str, versions: Versions) -> Policy | None:
    """Ask at the terminal about everything that both sides changed; None when the person gave up."""
    with _terminal() as (say, listen):
        return Dialogue(path, open_conflicts(workspace, versions), say, listen).run()


@contextmanager
def _terminal() -> Iterator[tuple[Say, Listen]]:
    """The terminal itself, whatever the standard streams are: Git may have them."""
    with open("/dev/tty", "r+b", buffering=0) as device:

        def say(text: str) -> None:
            device.write(text.encode("utf-8", "replace") + b"\n")

        def listen() -> str:
            device.write(b"> ")
            line = bytearray()
            while not line.endswith(b"\n"):
                byte = device.read(1)
                if not byte:
                    raise EOFError
                line += byte
            return line.decode("utf-8", "replace").strip()

        yield say, listen


def open_conflicts(workspace: Workspace, versions: Versions) -> list[Open]:
    """Everything that both sides changed, groups first."""
    stop = Policy(None)
    groups = [(decision, action.why) for decision, action in settle(versions, stop) if isinstance(action, Stop)]
    both = [_findings(workspace, versions.base, side, [d for d, _ in groups]) for side in versions.manifests]
    found = [Open(decision.name, why, _what(decision, versions, both)) for decision, why in groups]
    for leaf, action in merger(workspace).settle_leaves(versions, stop):
        if isinstance(action, Stop):
            found.append(Open(leaf.name, action.why))
    return found


def _findings(
    workspace: Workspace, base: Manifest | None, side: Manifest, decisions: Sequence[Decision[Held]]
) -> dict[str, Finding]:
    """How one side changed the groups in question, where the values are here."""
    if base is None or not decisions:
        return {}
    names = {decision.name for decision in decisions}
    before, after = stored(workspace, base), stored(workspace, side)
    changes = [change for change in compare(before.summary, after.summary).changes if change.name in names]
    return find_all(changes, before.values, after.values, workspace.settings.threads)


def _what(decision: Decision[Held], versions: Versions, both: Sequence[dict[str, Finding]]) -> str:
    """Dtype, shape, and each side's share of changed elements and relative change."""
    parts = []
    held = next((version for version in decision.versions if version), None)
    if held:
        parts.append(f"{held.group.dtype} [{', '.join(map(str, held.group.shape))}]")
    for name, found in zip(versions.names, both, strict=True):
        finding = found.get(decision.name)
        numbers = finding.statistics if finding else None
        if numbers:
            relative = f", ‖Δ‖/‖W‖ {scientific(numbers.relative)}" if numbers.relative is not None else ""
            parts.append(f"{name} {percent(numbers.share)}{relative}")
    return "  ".join(parts)


class Dialogue:
    """The conversation about one file."""

    def __init__(self, path: str, conflicts: Sequence[Open], say: Say, listen: Listen) -> None:
        self._path, self._conflicts = path, conflicts
        self._say, self._listen = say, listen
        self._chosen: list[tuple[str, tuple[str, ...], str]] = []  # pattern, the names it meant, choice

    def run(self) -> Policy | None:
        """The policy that was chosen; None when the person quit."""
        self._say(f"{self._path}: both sides changed {plural(len(self._conflicts), 'value')}\n{HELP}")
        self._list()
        while True:
            try:
                words = self._listen().split(None, 1)
            except (EOFError, KeyboardInterrupt):
                return None
            if words in (["quit"], ["q"]):
                return None
            if words in (["done"], ["d"]):
                if not self._open():
                    return self._policy()
                self._say(f"{plural(len(self._open()), 'value')} open; for example: ours")
            elif words in (["list"], ["l"]):
                self._list()
            elif words in (["undo"], ["u"]):
                self._undo()
            elif words:
                self._choose(*(words if len(words) == 2 else ("", words[0])))
            else:
                self._say(HELP)

    def _policy(self) -> Policy:
        overrides = [(escape(name), parse_choice(text)) for _, names, text in self._chosen for name in names]
        return Policy(None, tuple(overrides))

    def _open(self) -> list[Open]:
        decided = {name for _, names, _ in self._chosen for name in names}
        return [conflict for conflict in self._conflicts if conflict.name not in decided]

    def _lines(self) -> list[tuple[str, list[Open]]]:
        return fold(self._open(), lambda conflict: conflict.name, lambda conflict: conflict.why)

    def _list(self) -> None:
        for number, (pattern, members) in enumerate(self._lines(), 1):
            what = members[0].what if len(members) == 1 else f"{len(members)} groups, the first: {members[0].what}"
            self._say(f"{number:>3}  {printable(pattern)}  {what}\n     {members[0].why}")

    def _choose(self, which: str, text: str) -> None:
        """Decide what ``which`` means among what is open."""
        try:
            choice = parse_choice(text)
        except ThetaError as error:
            self._say(f"{error}\n{error.hint or ''}".rstrip())
            return
        if choice is None:
            self._say("a conflict stays one by leaving: quit")
            return
        names = self._meant(which)
        if not names:
            self._say(f"nothing that is open is called {which!r}")
            return
        self._chosen.append((which, names, text))
        left = len(self._open())
        self._say(f"{text}: {plural(len(names), 'value')}; " + (f"{left} open" if left else "all decided, type done"))

    def _meant(self, which: str) -> tuple[str, ...]:
        lines = self._lines()
        if which.isascii() and which.isdigit() and 0 < int(which) <= len(lines):
            return tuple(conflict.name for conflict in lines[int(which) - 1][1])
        return tuple(c.name for c in self._open() if not which or which == "all" or matches(c.name, which))

    def _undo(self) -> None:
        if not self._chosen:
            self._say("nothing to undo")
            return
        _, names, text = self._chosen.pop()
        self._say(f"open again: {plural(len(names), 'value')} that were {text}")
