"""Writing that fails: the error surfaces, nothing half-written has a name, nothing is left behind, nothing hangs."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from git_theta.codecs import CHUNK
from git_theta.model import Group, Layout, Oid, Span
from git_theta.tensors import objects as objects_module
from git_theta.tensors.writer import ContentChanged
from tests.unit.tensors.bench import Bench, Content, file, noise, workbench

pytestmark = pytest.mark.timeout(60)  # what hangs must not hang the suite


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with workbench(tmp_path / "theta") as bench:
        yield bench


class Disk:
    """A disk with ``room`` bytes left, as ``os.write`` meets it: it takes what fits, then refuses.

    ``again`` is what is free after the first refusal: another process may have made room meanwhile.
    """

    def __init__(self, room: int, again: int = 0) -> None:
        self.room, self.again = room, again
        self.write_really = os.write

    def write(self, fd: int, data: memoryview) -> int:
        if data and not self.room:
            self.room, self.again = self.again, 0
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self.write_really(fd, data[: self.room])
        self.room -= count
        return count


def assert_sound(bench: Bench) -> None:
    """Every named object is what its name says, and nothing waits in the scratch folder."""
    for oid in bench.objects():
        assert sha256(bench.store.path(oid).read_bytes()).hexdigest() == oid
    assert bench.leftovers() == []


MIXED = file(
    b"head",
    *((f"small{i}", noise(700, i)) for i in range(12)),
    ("large", noise(2 * CHUNK + 9)),
    ("middle", noise(CHUNK - 5, 2)),
    ("tail", noise(900, 99)),
    noise(5000, 3),
)


class TestFullDisk:
    @pytest.mark.parametrize("again", [0, 10**9], ids=["stays full", "has room again"])
    def test_at_any_byte_surfaces_and_leaves_the_store_sound(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: int
    ) -> None:
        monkeypatch.setattr(objects_module, "PACK_SIZE", 3000)
        monkeypatch.setattr(objects_module, "PART", CHUNK)
        with workbench(tmp_path / "whole") as whole:
            expected = whole.write(MIXED).manifest
            total = sum(whole.objects().values())
        with workbench(tmp_path / "theta") as bench:
            for room in [*range(0, 9000, 250), *range(9001, total, total // 25), total - 1]:
                with monkeypatch.context() as patch:
                    patch.setattr(os, "write", Disk(room, again).write)
                    with pytest.raises(OSError, match="No space left"):
                        bench.write(MIXED)
                assert_sound(bench)
                for oid in bench.objects():
                    bench.store.path(oid).unlink()
            assert bench.write(MIXED).manifest == expected
            assert bench.read(expected) == MIXED.data

    def test_keeps_what_was_stored_before(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        first = bench.write(file(b"head", ("w", noise(3000)))).manifest
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", Disk(1000).write)
            with pytest.raises(OSError, match="No space left"):
                bench.write(file(b"head", ("w", noise(CHUNK + 1, 2))), [first])
        assert bench.read(first) == file(b"head", ("w", noise(3000))).data

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no file size limits")
    def test_a_real_limit_of_the_system_surfaces_too(self, tmp_path: Path) -> None:
        script = """
import resource, sys
from pathlib import Path
from tests.unit.tensors.bench import Bench, file, noise
bench = Bench(Path(sys.argv[1]))
bench.write(file(("fits", noise(1000))))  # the catalogue has its size by now
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
try:
    bench.write(file(b"head", ("large", noise(9 << 20)), ("small", noise(5000))))
except OSError as error:
    print(type(error).__name__, error.errno, bench.leftovers(), len(bench.objects()))
"""
        done = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "theta"], capture_output=True, text=True, check=True, timeout=50
        )
        assert done.stdout == f"OSError {errno.EFBIG} [] 1\n"


class TestContent:
    @pytest.mark.parametrize("threads", [1, 2, 8])
    def test_that_breaks_off_with_an_error_stops_everything(self, tmp_path: Path, threads: int) -> None:
        """Encodings wait in line when the error comes: cancelling them must not make their writer wait forever."""
        data = np.random.default_rng(1).standard_normal(7 * CHUNK // 4).astype("<f4").tobytes()
        spans = tuple(Span(at, CHUNK, (Group(str(at), "float32", (CHUNK // 4,)),)) for at in range(0, len(data), CHUNK))

        class Breaks(Content):
            def readinto(self, target: memoryview) -> int:
                if self.at >= 5 * CHUNK:
                    raise EOFError("the pipe broke")
                return super().readinto(target)

        with workbench(tmp_path / "theta", threads) as bench:
            for _ in range(5):
                with pytest.raises(EOFError, match="the pipe broke"):
                    bench.writer.write(Layout("opaque", len(data), spans), Breaks(data))
                assert_sound(bench)

    def test_that_is_interrupted_leaves_nothing(self, bench: Bench) -> None:
        class Interrupted(Content):
            def readinto(self, target: memoryview) -> int:
                if self.at > CHUNK:
                    raise KeyboardInterrupt
                return super().readinto(target)

        with pytest.raises(KeyboardInterrupt):
            bench.writer.write(MIXED.layout, Interrupted(MIXED.data))
        assert_sound(bench)


class TestStore:
    def test_a_scratch_folder_that_cannot_be_made_surfaces(self, bench: Bench) -> None:
        bench.store.root.mkdir(parents=True)
        bench.store.tmp.write_bytes(b"in the way")
        with pytest.raises(OSError, match=r"exists|directory"):
            bench.write(MIXED)

    def test_an_object_folder_that_cannot_be_made_leaves_no_draft(self, bench: Bench) -> None:
        """A crash of put: the draft is closed already, and must still be removed."""
        bench.store.root.mkdir(parents=True)
        bench.store.objects.write_bytes(b"in the way")
        with pytest.raises(OSError, match=r"exists|directory"):
            bench.write(MIXED)
        assert bench.leftovers() == []

    def test_an_object_that_went_since_it_was_looked_at_is_stored_again(self, bench: Bench) -> None:
        """Prune in another process, after a long-running filter has come to trust the object."""
        first = bench.write(MIXED).manifest
        assert all(bench.catalogue.places(entry.digest) for entry in first.entries)
        for oid in bench.objects():
            bench.store.path(oid).unlink()
        assert bench.read(bench.write(MIXED, [first]).manifest) == MIXED.data

    def test_an_object_that_goes_while_it_is_used_stops_the_write(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only a hand can do that: prune respects the use."""
        first = bench.write(MIXED).manifest

        def use_and_go(oid: Oid) -> bool:
            bench.store.path(oid).unlink()
            return True

        monkeypatch.setattr(bench.store, "use", use_and_go)
        with pytest.raises(ContentChanged, match="was removed"):
            bench.write(MIXED, [first])
        with workbench(bench.store.root) as next_process:
            assert next_process.read(next_process.write(MIXED, [first]).manifest) == MIXED.data


MEMORY = """
import sys
from pathlib import Path
from git_theta.manifest import parse, render
from git_theta.model import Group, Layout, Oid, Span
from tests.unit.tensors.bench import Bench

SIZE = 600 << 20

class Zeros:
    left = SIZE
    def readinto(self, target):
        count = min(len(target), self.left)
        target[:count] = bytes(count)
        self.left -= count
        return count

span = Span(0, SIZE, (Group("w", "float32", (SIZE // 4,)),))
layout = Layout("opaque", SIZE, (span,) if sys.argv[2] == "value" else ())
bench = Bench(Path(sys.argv[1]))
manifest = parse(render(bench.writer.write(layout, Zeros()).manifest))
assert sum(len(part) for part in bench.reader.stream(manifest)) == SIZE
try:
    # Linux hands ru_maxrss down from the process that started this one.
    peak = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))
except FileNotFoundError:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak >> 20)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows counts memory otherwise")
@pytest.mark.parametrize("kind", ["value", "skeleton"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "theta", kind], capture_output=True, text=True, check=True, timeout=50
    )
    assert int(done.stdout) < 250
