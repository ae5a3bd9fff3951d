"""Clean: whatever the worktree file is or becomes, the manifest is that of the bytes that were streamed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from git_theta.codecs import CHUNK
from git_theta.filters.clean import HEAD, Cleaned
from git_theta.manifest import DamagedManifest, parse, render, root
from git_theta.model import Manifest
from git_theta.tensors.writer import ContentChanged
from tests.contract.format_samples import BUILDERS
from tests.unit.filters.bench import Bench, safetensors, workbench
from tests.unit.manifest.samples import entry, every_part, simple
from tests.unit.tensors.bench import Content, noise


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with workbench(tmp_path / "theta") as bench:
        yield bench


def streamed(data: bytes, root: Path) -> Cleaned:
    """What clean makes of a stream alone, in a store of its own."""
    with workbench(root) as bench:
        return bench.cleaner.clean(Content(data))


def assert_same(one: Cleaned, two: Cleaned) -> None:
    """Both describe the same bytes, cut alike. Where values are stored may differ: a wrong first cut stays known."""
    assert one.warning == two.warning
    assert root(parse(one.manifest)) == root(parse(two.manifest))


WEIGHTS = {"a": noise(2000), "b": noise(CHUNK + 70, 2), "c": b"", "d": noise(30, 3), "e": noise(90_000, 4)}
WHOLE = safetensors(WEIGHTS)
LONG_HEADER = safetensors(WEIGHTS, "x" * HEAD)


class TestStreamAlone:
    @pytest.mark.parametrize("data", [b"x", b"git-theta", noise(100), noise(HEAD), noise(HEAD + 1), WHOLE])
    def test_comes_back(self, bench: Bench, data: bytes) -> None:
        cleaned = bench.cleaner.clean(Content(data))
        assert cleaned.warning is None
        assert bench.smudge(cleaned.manifest) == data

    def test_is_cut_into_its_groups(self, bench: Bench) -> None:
        manifest = parse(bench.cleaner.clean(Content(WHOLE)).manifest)
        assert manifest.format == "safetensors"
        assert [entry.name for entry in manifest.entries] == list("abcde")

    def test_may_be_forced_to_a_format(self, bench: Bench) -> None:
        manifest = parse(bench.cleaner.clean(Content(WHOLE), forced_format="opaque").manifest)
        assert [entry.name for entry in manifest.entries] == ["file"]

    def test_that_is_malformed_is_stored_whole_with_a_warning(self, bench: Bench) -> None:
        cleaned = bench.cleaner.clean(Content(WHOLE[:-1]))
        assert cleaned.warning is not None
        assert "stored whole" in cleaned.warning
        assert bench.smudge(cleaned.manifest) == WHOLE[:-1]


LATER = WHOLE[:-50_000] + noise(50_000, 9)
HEADER_CHANGED = LONG_HEADER.replace(b'"e": {"dtype": "U8"', b'"f": {"dtype": "I8"')
SAME_SIZE = noise(len(WHOLE), 77)

WORKTREE: dict[str, tuple[bytes, bytes]] = {
    "the same": (WHOLE, WHOLE),
    "the same with a long header": (LONG_HEADER, LONG_HEADER),
    "another of the same size": (SAME_SIZE, WHOLE),
    "different after the head": (LATER, WHOLE),
    "of another layout after the head": (HEADER_CHANGED, LONG_HEADER),
    "shorter": (WHOLE[:-1], WHOLE),
    "much shorter": (WHOLE[: HEAD + 5], WHOLE),
    "as long as the head": (WHOLE[:HEAD], WHOLE),
    "shorter than the head": (WHOLE[:100], WHOLE),
    "longer": (WHOLE + b"x", WHOLE),
    "much longer": (WHOLE + noise(2 * CHUNK), WHOLE),
    "empty": (b"", WHOLE),
    "there while its head is streamed": (WHOLE, WHOLE[:100]),
    "there while more than its head is streamed": (WHOLE, WHOLE[: HEAD + 100]),
    "malformed while the stream is not": (LONG_HEADER[:-1], LONG_HEADER),
    "well-formed while the stream is not": (LONG_HEADER, LONG_HEADER[:-1]),
    "a manifest": (render(every_part()), WHOLE),
    "opaque and different after the head": (noise(HEAD) + noise(500_000, 5), noise(HEAD) + noise(500_000, 6)),
}


@pytest.mark.parametrize(("there", "data"), WORKTREE.values(), ids=list(WORKTREE))
def test_a_worktree_file_that_is(bench: Bench, tmp_path: Path, there: bytes, data: bytes) -> None:
    path = tmp_path / "model"
    path.write_bytes(there)
    cleaned = bench.cleaner.clean(Content(data), worktree_file=path)
    assert_same(cleaned, streamed(data, tmp_path / "other"))
    assert bench.smudge(cleaned.manifest) == data
    assert path.read_bytes() == there
    assert list(bench.store.tmp.iterdir()) == []


def make_link(path: Path) -> None:
    path.with_name("target").write_bytes(WHOLE)
    path.symlink_to("target")


PLACES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link to the same bytes": make_link,
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to an endless device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
@pytest.mark.timeout(30)  # opening a pipe waits for its other end, unless asked not to
@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
def test_in_place_of_the_worktree_file_there_may_be(
    bench: Bench, tmp_path: Path, place: Callable[[Path], object]
) -> None:
    place(tmp_path / "model")
    cleaned = bench.cleaner.clean(Content(WHOLE), worktree_file=tmp_path / "model")
    assert cleaned == streamed(WHOLE, tmp_path / "other")


class Meddler(Content):
    """A stream during which somebody else works on the worktree file."""

    def __init__(self, data: bytes, after: int, meddle: Callable[[], object]) -> None:
        super().__init__(data)
        self._after, self._meddle = after, meddle

    def readinto(self, target: memoryview) -> int:
        if self.at >= self._after:
            self._meddle()
        return super().readinto(target)


class TestAFileThatChangesMeanwhile:
    @pytest.mark.parametrize("after", [0, 1, CHUNK])
    @pytest.mark.parametrize("new", [b"", WHOLE[:1000], LATER, SAME_SIZE, WHOLE + b"more"])
    def test_does_not_change_what_is_stored(self, bench: Bench, tmp_path: Path, after: int, new: bytes) -> None:
        path = tmp_path / "model"
        path.write_bytes(WHOLE)
        meddler = Meddler(WHOLE, after, lambda: path.write_bytes(new))
        cleaned = bench.cleaner.clean(meddler, worktree_file=path)
        assert_same(cleaned, streamed(WHOLE, tmp_path / "other"))
        assert bench.smudge(cleaned.manifest) == WHOLE

    def test_and_is_needed_a_second_time_stops_the_command(self, bench: Bench, tmp_path: Path) -> None:
        """A large value began like its earlier version; by the time it turned out new, the file was gone."""
        first = parse(bench.cleaner.clean(Content(WHOLE)).manifest)
        path = tmp_path / "model"
        changed = safetensors({**WEIGHTS, "b": WEIGHTS["b"][:-1] + b"!"})
        path.write_bytes(changed)
        meddler = Meddler(changed, 1, lambda: path.write_bytes(b"gone"))
        with pytest.raises(ContentChanged, match="'b'"):
            bench.cleaner.clean(meddler, worktree_file=path, priors=lambda: [first])
        assert list(bench.store.tmp.iterdir()) == []
        path.write_bytes(changed)
        again = bench.cleaner.clean(Content(changed), worktree_file=path, priors=lambda: [first])
        assert bench.smudge(again.manifest) == changed


class TestManifests:
    @pytest.mark.parametrize(
        "manifest",
        [every_part(), simple(), simple(*(entry(f"layer.{i}") for i in range(2000)))],
        ids=["small", "empty", "above 64 KiB"],
    )
    def test_pass_unchanged_and_store_nothing(self, bench: Bench, tmp_path: Path, manifest: Manifest) -> None:
        text = render(manifest)
        assert bench.cleaner.clean(Content(text), worktree_file=tmp_path / "model") == Cleaned(text)
        assert not bench.store.root.exists()

    @pytest.mark.parametrize(
        "text",
        [
            render(every_part())[:-1],
            render(every_part())[:30],
            render(every_part()) + b"\n",
            render(every_part()).replace(b"size 948", b"size 949"),
            render(every_part()).replace(b"root ", b"<<<<<<< HEAD\nroot ", 1),
            b"<<<<<<< HEAD\n" + render(every_part()),
            b"git-theta manifest ",
            b"git-theta manifest 1\n" + noise(100_000),
        ],
    )
    def test_that_are_damaged_are_refused_never_stored(self, bench: Bench, text: bytes) -> None:
        with pytest.raises(DamagedManifest):
            bench.cleaner.clean(Content(text))
        assert not bench.store.root.exists()

    def test_of_a_newer_version_pass_unchanged(self, bench: Bench) -> None:
        """Refusing them would stop git status and every checkout away from them."""
        newer = b"git-theta manifest 2\nsomething\n"
        assert bench.cleaner.clean(Content(newer)).manifest == newer

    def test_without_end_are_refused_before_memory_is_full(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("git_theta.filters.clean.MANIFEST_LIMIT", 3 << 20)
        content = Content(b"git-theta manifest 1\n" + b"#" * (30 << 20))
        with pytest.raises(DamagedManifest):
            bench.cleaner.clean(content)
        assert content.at < 6 << 20


@pytest.mark.parametrize("builder", sorted(BUILDERS))
def test_files_of_every_format_pass_once(tmp_path: Path, builder: str) -> None:
    """The layout read ahead from the worktree file holds: nothing is cut, hashed or stored a second time."""
    if "torch" in builder:
        pytest.importorskip("torch")
    data = BUILDERS[builder]().data
    path = tmp_path / "model"
    path.write_bytes(data)
    with workbench(tmp_path / "theta") as bench:
        cleaned = bench.cleaner.clean(Content(data), worktree_file=path)
        assert sum(bench.told) == len(data)
        assert cleaned == streamed(data, tmp_path / "other")
        assert bench.smudge(cleaned.manifest) == data


@pytest.mark.parametrize("builder", ["safetensors_numpy", "npz_stored", "gguf_plain", "npy_scalar"])
def test_any_byte_may_differ_from_the_worktree_file(tmp_path: Path, builder: str) -> None:
    data = BUILDERS[builder]().data
    path = tmp_path / "model"
    path.write_bytes(data)
    with workbench(tmp_path / "theta") as bench, workbench(tmp_path / "other") as other:
        for at in range(0, len(data), max(1, len(data) // 80)):
            changed = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
            cleaned = bench.cleaner.clean(Content(changed), worktree_file=path)
            assert_same(cleaned, other.cleaner.clean(Content(changed)))
            assert bench.smudge(cleaned.manifest) == changed


def test_nothing_is_the_manifest_of_nothing(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "empty.pt"
    path.write_bytes(WHOLE)
    assert bench.cleaner.clean(Content(b""), worktree_file=path).manifest == b""
    assert bench.smudge(b"") == b""
