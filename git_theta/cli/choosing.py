"""Conflicts decided by a person at a terminal: versions enter, a policy leaves, or nothing when they leave it.

What always holds: nothing is written here; whatever is typed can be undone until the person says that it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

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
from git_theta.merge.decide import Decision, Held, groups_of
from git_theta.merge.merger import Versions, settle
from git_theta.merge.plan import BOTH_CHANGED, Policy, Remembered, Stop, decide_by, parse_choice, side
from git_theta.merge.registry import Choice
from git_theta.model import Manifest

HELP = """\
Type WHICH CHOICE, or CHOICE alone for all that are open:
  WHICH   a line's number, or a pattern such as *.bias or encoder.*; to choose again, name what is decided
  CHOICE  ours, theirs, base, or a strategy such as average or ties:density=0.3
list  shows everything    undo  takes the last choice back    done  goes on    quit  leaves everything as it is
"""
_QUITS, _DONE, _LISTS, _UNDOES = ({"quit", "q"}, {"done", "d"}, {"list", "l"}, {"undo", "u"})


@dataclass(frozen=True, slots=True)
class Open:
    """One conflict: the group's name, or another value's, why it is one, and what is known of both sides' changes.

    ``refuses`` says why a strategy cannot decide it; None where it can.
    """

    name: str
    why: str
    refuses: Callable[[Choice], str | None]
    what: str = ""


Say = Callable[[str], None]
Listen = Callable[[], str]
"""A line somebody typed; raises EOFError at the end."""


def ask(workspace: Workspace, path: str, versions: Versions, remembered: Remembered = lambda _: None) -> Policy | None:
    """Ask at the terminal about everything that both sides changed, and that is not remembered.

    None when the person gave up.
    """
    with _terminal() as (say, listen):
        return Dialogue(path, open_conflicts(workspace, versions, remembered), say, listen).run()


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


def open_conflicts(workspace: Workspace, versions: Versions, remembered: Remembered = lambda _: None) -> list[Open]:
    """Everything that both sides changed, groups first."""
    stop = Policy(None)
    groups = [
        (decision, action.why) for decision, action in settle(versions, stop, remembered) if isinstance(action, Stop)
    ]
    both = [_findings(workspace, versions.base, side, [d for d, _ in groups]) for side in versions.manifests]
    fisher = [groups_of(manifest) for manifest in versions.fisher]
    found = [
        Open(decision.name, why, partial(_group_refuses, decision, fisher), _what(decision, versions, both))
        for decision, why in groups
    ]
    for leaf, action in merger(workspace).leaves(versions, stop):
        if isinstance(action, Stop):
            found.append(Open(leaf.name, action.why, partial(_value_refuses, len(versions.manifests))))
    return found


def _group_refuses(decision: Decision[Held], fisher: Sequence[Mapping[str, Held]], choice: Choice) -> str | None:
    action = decide_by(decision, choice, fisher)
    return action.why if isinstance(action, Stop) else None


def _value_refuses(versions: int, choice: Choice) -> str | None:
    known = side(choice.strategy.name, versions) is not None
    return None if known else "it is no tensor, so only ours, theirs or base can be taken"


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
    """The conversation about one file. Lines keep their numbers, whether they are open or decided."""

    def __init__(self, path: str, conflicts: Sequence[Open], say: Say, listen: Listen) -> None:
        self._path, self._conflicts = path, conflicts
        self._say, self._listen = say, listen
        self._chosen: list[tuple[tuple[str, ...], str]] = []  # names and what was chosen for them; the last one counts

    def run(self) -> Policy | None:
        """The policy that was chosen; None when the person quit."""
        if not self._conflicts:
            return Policy(None)
        self._say(f"{printable(self._path)}: both sides changed {plural(len(self._conflicts), 'value')}\n{HELP}")
        self._list()
        while True:
            try:
                words = self._listen().split(None, 1)
            except (EOFError, KeyboardInterrupt):
                return None
            command = words[0] if len(words) == 1 else ""
            if command in _QUITS:
                return None
            if command in _DONE:
                if not self._open():
                    return self._policy()
                self._say(f"{plural(len(self._open()), 'value')} open; for example: ours")
            elif command in _LISTS:
                self._list()
            elif command in _UNDOES:
                self._undo()
            elif not words or command in {"?", "h", "help"}:
                self._say(HELP)
            else:
                self._choose(*(words if len(words) == 2 else ("", words[0])))

    def _policy(self) -> Policy:
        return Policy(None, tuple((escape(name), parse_choice(text)) for name, text in self._decided().items()))

    def _decided(self) -> dict[str, str]:
        """What was chosen, by name."""
        return {name: text for names, text in self._chosen for name in names}

    def _open(self) -> list[Open]:
        decided = self._decided()
        return [conflict for conflict in self._conflicts if conflict.name not in decided]

    def _lines(self) -> list[tuple[str, list[Open]]]:
        return fold(self._conflicts, lambda conflict: conflict.name, lambda conflict: conflict.why)

    def _list(self) -> None:
        decided = self._decided()
        for number, (pattern, members) in enumerate(self._lines(), 1):
            what = members[0].what if len(members) == 1 else f"{len(members)} groups, the first: {members[0].what}"
            why = "" if members[0].why == BOTH_CHANGED else f"\n     {members[0].why}"
            chosen = dict.fromkeys(decided.get(member.name, "open") for member in members)
            mark = f"  = {', '.join(chosen)}" if set(chosen) != {"open"} else ""
            self._say(f"{number:>3}  {printable(pattern)}  {what}{mark}{why}")

    def _choose(self, which: str, text: str) -> None:
        """Decide what ``which`` means."""
        if not which and self._meant(text):
            self._say(f"{text} what? For example: {text} ours")
            return
        try:
            choice = parse_choice(text)
        except ThetaError as error:
            self._say(f"{error}\n{error.hint or ''}".rstrip())
            return
        if choice is None:
            self._say("a conflict stays one by leaving: quit")
            return
        meant = self._meant(which)
        if not meant:
            self._say(
                f"nothing here is called {which!r}; list shows what is" if which else "nothing is open; type done"
            )
            return
        refusals = {conflict.name: why for conflict in meant if (why := conflict.refuses(choice))}
        for name, why in refusals.items():
            self._say(f"{printable(name)}: {why}")
        names = tuple(conflict.name for conflict in meant if conflict.name not in refusals)
        if names:
            self._chosen.append((names, text))
        left = len(self._open())
        self._say(f"{text}: {plural(len(names), 'value')}; " + (f"{left} open" if left else "all decided, type done"))

    def _meant(self, which: str) -> list[Open]:
        """A line by its number; all that is open; or what a pattern matches, of what is open if any of that does."""
        lines = self._lines()
        if which.isascii() and which.isdigit():
            return lines[int(which) - 1][1] if 0 < int(which) <= len(lines) else []
        unsettled = self._open()
        if which in {"", "all"}:
            return unsettled
        matching = [conflict for conflict in self._conflicts if matches(conflict.name, which)]
        return [conflict for conflict in matching if conflict in unsettled] or matching

    def _undo(self) -> None:
        if not self._chosen:
            self._say("nothing to undo")
            return
        names, text = self._chosen.pop()
        self._say(f"no longer {text}: {plural(len(names), 'value')}")
