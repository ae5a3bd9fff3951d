"""What building a frame promises for every format, run over every sample in ``format_samples.py``."""

from __future__ import annotations

import random
import warnings
from functools import cache

import pytest

from git_theta.errors import ThetaError
from git_theta.formats import BytesSource
from git_theta.formats.building import Built, CannotBuild, Side, build
from tests.contract.format_samples import BUILDERS, Sample
from tests.unit.formats.merging import leaves_of, pieces_of, side


@cache
def sample_of(name: str) -> Sample:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript
        return BUILDERS[name]()


@pytest.fixture(params=list(BUILDERS))
def sample(request: pytest.FixtureRequest) -> Sample:
    return sample_of(request.param)


def skeleton(one: Side) -> bytes:
    ends = [0, *(span.end for span in one.layout.spans)]
    starts = [*(span.start for span in one.layout.spans), one.layout.size]
    return b"".join(one.frame.read(end, start - end) for end, start in zip(ends, starts, strict=True))


def rebuilt(sides: list[Side], drop: int | None = None, swap: bool = False) -> Built:
    """The first side again: without one of its spans, or with half of everything taken from the second.

    What an opaque group is, only its own file says.
    """
    pieces = pieces_of(0, sides[0].layout)
    if swap:
        for at, piece in enumerate(pieces_of(1, sides[1].layout)):
            if at % 2 and all(group.dtype != "opaque" for group in piece.groups):
                pieces[at] = piece
    if drop is not None:
        del pieces[drop]
    leaves = {path: at % 2 if swap else 0 for at, path in enumerate(leaves_of(sides[0]))}
    return build(sides[0].layout.format, sides, pieces, leaves)


def test_unchanged_pieces_give_the_skeleton_itself(sample: Sample) -> None:
    one = side(sample.data)
    built = rebuilt([one])
    assert (built.skeleton, built.layout) == (skeleton(one), one.layout)


def test_the_same_values_of_another_side_give_the_skeleton_itself(sample: Sample) -> None:
    one = side(sample.data)
    assert rebuilt([one, side(sample.data)], swap=True).skeleton == skeleton(one)


def test_a_frame_without_one_group_is_whole_or_refused(sample: Sample) -> None:
    one = side(sample.data)
    for drop in range(min(len(one.layout.spans), 3)):
        try:
            built = rebuilt([one], drop)
        except CannotBuild:
            continue
        names = {group.name for span in built.layout.spans for group in span.groups}
        gone = {group.name for group in one.layout.spans[drop].groups}
        assert names == {*sample.values} - gone


def test_no_damage_of_a_frame_raises_anything_but_our_errors(sample: Sample) -> None:
    chance = random.Random(20261)
    other = side(sample.data)
    for _ in range(20):
        damaged = bytearray(sample.data)
        for _ in range(chance.choice((1, 1, 4))):
            damaged[chance.randrange(min(len(damaged), chance.choice((64, 1024, 1 << 30))))] = chance.randrange(256)
        one = side(bytes(damaged))
        try:
            rebuilt([one], drop=0 if one.layout.spans else None)
            rebuilt([one, other], swap=len(one.layout.spans) == len(other.layout.spans))
        except ThetaError:
            continue


def test_a_frame_that_lies_about_its_layout_is_refused(sample: Sample) -> None:
    """A manifest whose skeleton is another file's: the frame reads as something else than the layout says."""
    empty = Side(BytesSource(bytes(len(sample.data))), side(sample.data).layout)
    with pytest.raises(ThetaError):
        rebuilt([empty])
