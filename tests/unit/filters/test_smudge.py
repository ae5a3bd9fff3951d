"""Smudge: the right bytes, or the manifest as a placeholder and the reason; never a wrong byte before the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from git_theta.codecs import CHUNK
from git_theta.filters.session import Smudged
from git_theta.filters.smudge import Smudger, StoreFailed, TooLarge
from git_theta.manifest import DamagedManifest, ManifestFromNewerVersion, parse, render
from git_theta.model import Oid, StoredObject
from git_theta.tensors import DamagedValue
from tests.unit.filters.bench import Bench, safetensors, workbench
from tests.unit.manifest.samples import every_part
from tests.unit.tensors.bench import Content, noise

WHOLE = safetensors({"a": noise(2000), "long": noise(2 * CHUNK + 70, 2), "c": b"", "d": noise(30, 3)})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with workbench(tmp_path / "theta") as bench:
        yield bench


@pytest.fixture
def text(bench: Bench) -> bytes:
    """The manifest of WHOLE, whose objects are in the store."""
    return bench.cleaner.clean(Content(WHOLE)).manifest


@pytest.fixture(params=["checked in memory", "decoded twice"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files and large ones take different ways to the same promise."""
    if request.param == "decoded twice":
        monkeypatch.setattr("git_theta.filters.smudge.WHOLE_IN_MEMORY", 1000)


def forget(bench: Bench) -> None:
    """As on a machine that fetched the objects and verified none."""
    bench.catalogue.close()
    (bench.store.root / "catalogue.sqlite").unlink()


def given(smudged: Smudged) -> bytes:
    return b"".join(bytes(part) for part in smudged.parts)


@pytest.mark.usefixtures("either_way")
class TestContent:
    def test_comes_back(self, bench: Bench, text: bytes) -> None:
        assert bench.smudge(text) == WHOLE

    def test_comes_back_where_nothing_was_verified(self, bench: Bench, text: bytes) -> None:
        forget(bench)
        assert bench.smudge(text) == WHOLE

    def test_is_known_to_be_whole_afterwards(self, bench: Bench, text: bytes) -> None:
        forget(bench)
        bench.smudge(text)
        entries = parse(text).entries
        places = {(entry.digest, entry.where) for entry in entries if isinstance(entry.where, tuple)}
        assert bench.catalogue.verified(places) == places


def remove(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def fold(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.usefixtures("either_way")
class TestPlaceholder:
    @pytest.mark.parametrize("damage", [remove, empty, truncate, flip, fold])
    @pytest.mark.parametrize("verified", [True, False])
    @pytest.mark.parametrize("number", [0, 1])
    def test_stands_for_what_cannot_be_had_and_names_it(
        self, bench: Bench, text: bytes, damage: Callable[[Path], None], verified: bool, number: int
    ) -> None:
        path = bench.paths()[number]
        damage(path)
        if not verified:
            forget(bench)
        smudged = bench.smudger.smudge(text)
        assert isinstance(smudged.problem, DamagedValue)
        assert given(smudged) == text
        assert smudged.problem.oids == (Oid(path.name),)
        assert path.name in str(smudged.problem)
        assert smudged.problem.group in (["long"] if number == 0 else ["(skeleton)", "a"])
        assert "git theta" in str(smudged.problem.hint)

    def test_is_cleaned_to_itself(self, bench: Bench, text: bytes) -> None:
        remove(bench.paths()[0])
        assert bench.cleaner.clean(Content(given(bench.smudger.smudge(text)))).manifest == text

    def test_is_completed_once_the_object_is_back(self, bench: Bench, text: bytes) -> None:
        path = bench.paths()[0]
        payload = path.read_bytes()
        flip(path)
        assert bench.smudger.smudge(text).problem
        path.write_bytes(payload)
        assert bench.smudge(text) == WHOLE

    def test_stands_for_a_store_that_cannot_be_read(self, bench: Bench, text: bytes) -> None:
        folder = bench.paths()[0].parent
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        folder.symlink_to(folder)  # what even root cannot open
        smudged = bench.smudger.smudge(text)
        assert isinstance(smudged.problem, StoreFailed)
        assert given(smudged) == text


class TestAnObjectThatRotted:
    """Its file was verified here, and a bit flipped since without a trace in its status."""

    def rot(self, bench: Bench) -> None:
        path = bench.paths()[0]
        status = path.stat()
        flip(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def test_of_a_small_file_leaves_a_placeholder(self, bench: Bench, text: bytes) -> None:
        self.rot(bench)
        assert isinstance(bench.smudger.smudge(text).problem, DamagedValue)

    def test_of_a_large_file_fails_before_its_end_and_leaves_a_placeholder_the_next_time(
        self, bench: Bench, text: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("git_theta.filters.smudge.WHOLE_IN_MEMORY", 1000)
        self.rot(bench)
        smudged = bench.smudger.smudge(text)
        assert smudged.problem is None
        with pytest.raises(DamagedValue, match="'long'"):
            given(smudged)
        again = bench.smudger.smudge(text)
        assert isinstance(again.problem, DamagedValue)
        assert given(again) == text


class TestAsItIs:
    @pytest.mark.parametrize(
        "content", [b"", b"x", noise(5000), WHOLE, b"version https://git-lfs.github.com/spec/v1\n"]
    )
    def test_what_is_no_manifest_passes(self, bench: Bench, content: bytes) -> None:
        assert bench.smudge(content) == content

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b"<<<<<<< HEAD\n" + render(every_part()), DamagedManifest),
            (render(every_part()).replace(b"root ", b"=======\nroot ", 1), DamagedManifest),
            (render(every_part())[:-3], DamagedManifest),
            (b"git-theta manifest 1\n" + noise(1000), DamagedManifest),
            (b"git-theta manifest 7\nwhatever\n", ManifestFromNewerVersion),
        ],
    )
    def test_what_is_damaged_passes_and_is_named(self, bench: Bench, content: bytes, kind: type[Exception]) -> None:
        smudged = bench.smudger.smudge(content)
        assert isinstance(smudged.problem, kind)
        assert given(smudged) == content

    def test_a_file_above_the_limit_passes_as_its_manifest(self, bench: Bench, text: bytes) -> None:
        with workbench(bench.store.root, limit=len(WHOLE) - 1) as strict:
            smudged = strict.smudger.smudge(text)
            assert isinstance(smudged.problem, TooLarge)
            assert given(smudged) == text
        with workbench(bench.store.root, limit=len(WHOLE)) as enough:
            assert enough.smudge(text) == WHOLE


class TestBringing:
    def smudger(self, bench: Bench, bring: Callable[[Sequence[StoredObject]], Mapping[Oid, str]]) -> Smudger:
        return Smudger(bench.store, bench.catalogue, 2, 1 << 40, bring=bring)

    def test_asks_for_what_is_absent_and_for_nothing_else(self, bench: Bench, text: bytes) -> None:
        path = bench.paths()[0]
        payload = path.read_bytes()
        asked: list[StoredObject] = []
        path.unlink()

        def bring(absent: Sequence[StoredObject]) -> Mapping[Oid, str]:
            asked.extend(absent)
            path.write_bytes(payload)
            return {}

        smudger = self.smudger(bench, bring)
        assert given(smudger.smudge(text)) == WHOLE
        assert asked == [StoredObject(Oid(path.name), len(payload))]
        assert given(smudger.smudge(text)) == WHOLE
        assert len(asked) == 1

    def test_says_why_it_did_not_come(self, bench: Bench, text: bytes) -> None:
        path = bench.paths()[0]
        path.unlink()
        smudged = self.smudger(bench, lambda absent: {Oid(path.name): "no route to host"}).smudge(text)
        assert "no route to host" in str(smudged.problem)
        assert given(smudged) == text

    def test_does_not_believe_that_a_forgery_is_the_object(self, bench: Bench, text: bytes) -> None:
        path = bench.paths()[0]
        forgery = bytearray(path.read_bytes())
        forgery[len(forgery) // 2] ^= 1
        path.unlink()

        def bring(_: Sequence[StoredObject]) -> Mapping[Oid, str]:
            path.write_bytes(forgery)
            return {}

        smudged = self.smudger(bench, bring).smudge(text)
        assert isinstance(smudged.problem, DamagedValue)
        assert given(smudged) == text

    def test_absent_lists_objects_of_manifests_only(self, bench: Bench, text: bytes) -> None:
        assert bench.smudger.absent(text) == []
        remove(bench.paths()[0])
        assert [stored.oid for stored in bench.smudger.absent(text)] == [
            stored.oid for stored in parse(text).objects if bench.store.stat(stored.oid) is None
        ]
        assert bench.smudger.absent(WHOLE) == []
        assert bench.smudger.absent(text[:-1]) == []
