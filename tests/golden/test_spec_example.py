"""The worked example of docs/manifest-spec.md is real: the text parses, its root is what the recipe gives, its
object is the one kept beside this test, and every name the specification lists is the program's."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

import zstandard

from git_theta.codecs import CHUNK
from git_theta.manifest import INLINE_LIMIT, parse, render, root
from git_theta.model import DTYPES
from git_theta.store.container import INDEX_LIMIT, TRAILER

HERE = Path(__file__).parent
SPECIFICATION = (HERE.parents[1] / "docs" / "manifest-spec.md").read_text(encoding="utf-8")
OBJECT = (HERE / "checkpoint-1.object").read_bytes()


def example(name: str) -> str:
    """The block behind the comment that names it."""
    found = re.search(rf"<!-- example: {name} -->\n```[a-z]+\n(.*?)```", SPECIFICATION, re.DOTALL)
    assert found, f"the specification has no example {name}"
    return found[1]


def sealed_by_recipe(text: str) -> str:
    """Section 1.8, word for word, on text alone."""
    lines = [line for line in text.splitlines() if line.split(" ")[0] not in {"root", "object", "end"}]
    return "".join(
        (line.rpartition(" ")[0] if line.startswith(("skeleton ", "group ")) else line) + "\n" for line in lines
    )


def test_the_example_is_a_manifest_in_its_one_valid_text() -> None:
    text = example("manifest").encode()
    assert render(parse(text)) == text
    assert text == (HERE / "checkpoint-1.manifest").read_bytes()


def test_the_root_is_the_digest_of_the_sealed_text() -> None:
    text, sealed = example("manifest"), example("sealed")
    assert sealed_by_recipe(text) == sealed
    claimed = re.search(r"^root (\w+)$", text, re.MULTILINE)
    assert claimed
    assert claimed[1] == sha256(sealed.encode()).hexdigest() == root(parse(text.encode()))


def test_the_recipe_holds_for_every_part_of_the_grammar() -> None:
    text = (HERE / "manifest-1.txt").read_text(encoding="ascii")
    assert sha256(sealed_by_recipe(text).encode()).hexdigest() == root(parse(text.encode()))


def test_the_object_ends_and_is_described_as_the_example_shows() -> None:
    (stored,) = parse(example("manifest").encode()).objects
    assert (stored.oid, stored.size) == (sha256(OBJECT).hexdigest(), len(OBJECT))
    assert OBJECT[-TRAILER.size :] == bytes.fromhex(example("trailer"))
    length, magic = TRAILER.unpack(OBJECT[-TRAILER.size :])
    assert OBJECT.startswith(magic)
    index = zstandard.ZstdDecompressor().decompress(OBJECT[-TRAILER.size - length : -TRAILER.size])
    assert json.loads(index) == json.loads(example("index"))


def test_every_dtype_and_its_width_is_in_the_specification() -> None:
    section = SPECIFICATION.split("## 4. Dtypes")[1].split("## 5.")[0]
    assert set(re.findall(r"`([a-z0-9_]+)`", section)) - {"bits", "_be"} == set(DTYPES)
    for names, bits in re.findall(r"^\| (`.*?) \| (\d+) \|$", section, re.MULTILINE):
        for name in re.findall(r"`([a-z0-9_]+)`", names):
            assert DTYPES[name].bits == int(bits), name
    for name, block, size in re.findall(r"`(gguf_\w+)` \((\d+), (\d+)\)", section):
        assert (DTYPES[name].block, DTYPES[name].bits) == (int(block), 8 * int(size)), name


def test_the_limits_in_the_specification_are_those_of_the_program() -> None:
    assert f"at most {INLINE_LIMIT} bytes" in SPECIFICATION
    assert f"{INDEX_LIMIT:,} bytes" in SPECIFICATION
    assert f"at most 4 MiB ({CHUNK:,} bytes) of a value" in SPECIFICATION
