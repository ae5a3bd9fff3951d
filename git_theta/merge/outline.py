"""Which spans the merged file has: decisions and actions enter, the parts of the file to be leave, in its order.

What always holds: groups that share their bytes in the version they are taken from share them in the result; a part
names one version's span as the one it is like, and holds either that span's bytes or those a job makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from git_theta.merge.combine import Job
from git_theta.merge.decide import OURS, Decision, Held
from git_theta.merge.plan import Action, Combine, Stop
from git_theta.model import Entry, Group, Manifest


@dataclass(slots=True)
class Part:
    """One span to be: its groups, the version (base after all others) and the entry it is like, and who makes it.

    ``job`` is the place of its job among :attr:`Outline.jobs`, None where the bytes are the entry's own.
    """

    place: int
    entry: Entry
    job: int | None = None
    groups: list[Group] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outline:
    """The parts in file order, and what has to be combined for them."""

    parts: tuple[Part, ...]
    jobs: tuple[Job, ...]


def outline(
    settled: Sequence[tuple[Decision[Held], Action]],
    weights: Sequence[float] | None = None,
) -> Outline:
    """Cut the result into parts. ``weights`` are those of the versions, in their order."""
    parts: dict[object, Part] = {}
    jobs: list[Job] = []
    for decision, action in settled:
        if isinstance(action, Combine):
            models = [held.entry for at in action.places if (held := decision.versions[at])]
            key: object = (action.choice.text, *map(id, models))
            if key not in parts:
                parts[key] = Part(action.places[0], models[0], len(jobs))
                jobs.append(_job(decision, action, models, weights))
            held = decision.versions[action.places[0]]
        else:
            place = OURS if isinstance(action, Stop) else action.place
            held = decision.base if place < 0 else decision.versions[place]
            if held is None:
                continue
            key = (place, id(held.entry))
            if key not in parts:
                parts[key] = Part(place if place >= 0 else len(decision.versions), held.entry)
        if held is not None:
            parts[key].groups.append(held.group)
    return Outline(tuple(parts.values()), tuple(jobs))


def _job(
    decision: Decision[Held],
    action: Combine,
    models: Sequence[Entry],
    weights: Sequence[float] | None,
) -> Job:
    base = decision.base.entry if decision.base and action.with_base else None
    theirs = tuple(weights[at] for at in action.places) if weights else None
    fisher = tuple(held.entry for held in action.fisher)
    return Job(models[0], action.choice, base, tuple(models), theirs, fisher)


def keeps(parts: Sequence[Part], manifest: Manifest) -> bool:
    """Whether the parts are exactly the spans of ``manifest``, whatever they hold."""
    return len(parts) == len(manifest.entries) and all(
        tuple(part.groups) == entry.groups for part, entry in zip(parts, manifest.entries, strict=True)
    )
