"""Of any two manifests: a glance at their texts tells what parsing them would tell."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given, settings

from git_theta.diff import compare, compare_texts, of_manifest
from git_theta.diff.report import parameters
from git_theta.manifest import glance, render
from git_theta.model import Digest, Entry, Manifest
from tests.property.test_manifest import closed, manifests


@st.composite
def successors(draw: st.DrawFn, manifest: Manifest) -> Manifest:
    """The manifest with some spans gone, changed, renamed, or in another place."""
    order = draw(st.permutations(manifest.entries)) if draw(st.booleans()) else list(manifest.entries)
    varied = [_varied(entry, draw(st.sampled_from(["", "digest", "name", "gone"]))) for entry in order]
    entries = tuple(entry for entry in varied if entry)
    places = [manifest.skeleton.where, *(entry.where for entry in entries)]
    used = {slot.oid for where in places if isinstance(where, tuple) for slot in where}
    size = manifest.skeleton.length + sum(entry.length for entry in entries)
    return replace(manifest, size=size, entries=entries, objects=closed(manifest.objects, used))


def _varied(entry: Entry, how: str) -> Entry | None:
    if how == "digest" and isinstance(entry.where, tuple):
        return replace(entry, digest=Digest("5" * 64))
    if how == "name":
        first, *others = entry.groups
        return replace(entry, groups=(replace(first, name=f"{first.name} anew"), *others))
    return None if how == "gone" else entry


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_glance_compares_as_parsing_does(data: st.DataObject) -> None:
    old = data.draw(manifests())
    new = data.draw(successors(old) | manifests())
    whole, quick = compare(of_manifest(old), of_manifest(new)), compare_texts(render(old), render(new))
    assert quick
    assert (quick.changes, quick.unchanged, quick.moved, quick.frame_changed, quick.stored) == (
        (whole.changes, whole.unchanged, whole.moved, whole.frame_changed, whole.stored)
    )
    for short, full in ((quick.old, whole.old), (quick.new, whole.new)):
        assert short
        assert full
        assert (short.groups, parameters(short), short.size, short.format) == (
            (full.groups, parameters(full), full.size, full.format)
        )


@settings(max_examples=60, deadline=None)
@given(manifests(), st.data())
def test_a_text_with_a_wrong_byte_is_left_to_the_parser(manifest: Manifest, data: st.DataObject) -> None:
    text = bytearray(render(manifest))
    whole = glance(bytes(text))
    assert whole
    end = text.find(b"\nobject ") if b"\nobject " in text else len(text)
    at = data.draw(st.integers(0, end - 1))
    text[at] ^= data.draw(st.integers(1, 127))
    seen = glance(bytes(text))
    # A byte that says where a value is stored is sealed by nothing, and not looked at.
    assert seen in (None, whole)
