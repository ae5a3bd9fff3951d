"""What people read, pinned to the letter, at 80 columns; and that every renderer survives hostile names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from git_theta.diff import Report, Style, Summary, compare, markdown, render
from git_theta.diff.as_json import document
from git_theta.diff.leaves import LeafChange
from git_theta.diff.words import heading, percent, scientific, size, span, totals
from git_theta.model import Digest, Oid
from tests.unit.diff.support import Arrays, of_arrays, report, save

RANDOM = np.random.default_rng(0)


def weight(shape: tuple[int, ...] = (64, 32)) -> np.ndarray[Any, Any]:
    return np.random.default_rng(shape).standard_normal(shape).astype("f4")


def layers(count: int, change: float = 0.0) -> Arrays:
    return {f"h.{i}.w": weight() * np.float32(1 + change * (i + 1)) for i in range(count)}


def text(made: Report, **style: Any) -> list[str]:
    return list(render(made, Style(**style)))


def test_one_changed_group_is_one_aligned_line_below_the_totals(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, {"a": weight(), "b": weight()}, {"a": weight(), "b": weight() * np.float32(1.5)})
    assert text(made) == [
        "diff --theta a/old.safetensors b/new.safetensors",
        "2 groups, 4,096 parameters, 16.5 kB: 1 changed, 1 unchanged",
        "  group  dtype    shape    changed  ‖Δ‖/‖W‖  max |Δ|  cosine",
        "~ b      float32  [64,32]     100%      0.5      1.8       1",
    ]


def test_repeated_layers_fold_with_ranges_and_expand_on_request(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, layers(12), layers(12, 0.001))
    assert text(made, width=100)[3:] == [
        "~ h.{0..11}.w (12)  float32  [64,32]     100%  1.0e-3..0.012  3.6e-3..0.043       1"
    ]
    assert len(text(made, expand=True)) == 3 + 12


def test_no_line_is_wider_than_the_terminal(tmp_path: Path) -> None:
    old = {f"model.decoder.layers.{i}.self_attention.q_proj.weight": weight() for i in range(9)}
    made = of_arrays(tmp_path, old, {name: a * np.float32(1.1) for name, a in old.items()})
    for width in (80, 100, 200):
        assert max(map(len, text(made, width=width))) <= width


def test_a_wide_shape_stands_on_a_line_of_its_own(tmp_path: Path) -> None:
    """Also the sentence with the totals keeps to the width."""
    wide = np.zeros((1, 2) * 16, "f4")
    old = {"wide": wide, "narrow": weight(), **{f"gone.{'x' * at}": weight() for at in range(3)}}
    made = of_arrays(tmp_path, old, {"wide": wide + 1, "narrow": weight() * np.float32(2), "came": weight()})
    shown = text(made)
    assert all(len(line) <= 80 for line in shown if "[1,2," not in line)
    assert shown[1].endswith(" kB:")
    assert shown[2] == "  2 removed, 2 changed, 1 renamed"
    at = shown.index("~ wide")
    assert shown[at + 1].strip() == f"[{','.join(map(str, wide.shape))}]"
    assert shown[at + 2].split()[:2] == ["float32", "100%"]


def test_what_changed_besides_groups_has_its_reason(tmp_path: Path) -> None:
    cast = of_arrays(tmp_path, {"a": weight()}, {"a": weight().astype("f8")})
    assert "    it names the groups, their dtypes, shapes and places" in text(cast)
    assert not any("it names" in line for line in text(of_arrays(tmp_path, {"a": weight()}, {"a": weight() * 2})))


def test_sorting_by_change_and_top_show_the_largest(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, layers(3), layers(3, 0.1))
    shown = text(made, expand=True, sort="change", top=1)
    assert [line.split()[1] for line in shown if line.startswith("~")] == ["h.2.w"]
    assert shown[-1] == "... and 2 lines more"


def test_nan_that_came_in_is_loud(tmp_path: Path) -> None:
    broken = weight()
    broken[0, :3] = np.nan
    broken[1, 0] = np.inf
    made = of_arrays(tmp_path, {"w": weight()}, {"w": broken})
    assert "    \x1b[1;31m3 elements became NaN\x1b[m" in text(made, colours=True)
    assert "    1 element became infinite" in text(made)
    assert text(made)[2] == "3 NaN and 1 infinite values came into 1 group"


def test_nan_is_not_hidden_behind_the_top(tmp_path: Path) -> None:
    broken = weight()
    broken[0, 0] = np.nan
    names = ["a", "b", "c"]
    made = of_arrays(tmp_path, dict.fromkeys(names, weight()), {"a": weight() + 1, "b": weight() - 1, "c": broken})
    assert [line[:3] for line in text(made, top=1) if line.startswith("~")] == ["~ c"]
    assert [line[:3] for line in text(made, top=2) if line.startswith("~")] == ["~ c", "~ a"]
    assert [group["name"] for group in document([made], top=1)["files"][0]["groups"]] == ["c"]


def test_rows_that_came_are_not_called_no_change(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, {"w": weight()}, {"w": np.concatenate([weight(), weight()[:3]])})
    assert "resized" in text(made)[3]
    assert "0%" not in text(made)[3]


def test_the_cosine_of_what_did_not_change_is_one(tmp_path: Path) -> None:
    broken = weight()
    broken[0, 0] = np.nan
    (group,) = document([of_arrays(tmp_path, {"w": weight()}, {"w": broken})])["files"][0]["groups"]
    assert group["statistics"]["cosine"] == 1


def test_another_format_and_the_first_storing_are_told() -> None:
    old = Summary("pytorch-legacy", 10, Digest("0" * 64), (), None)
    new = Summary("pytorch", 10, Digest("1" * 64), (), {Oid("2" * 64): 2_000_000})
    said = totals(compare(old, new))
    assert "pytorch-legacy -> pytorch" in said
    assert said.endswith("its groups are stored by themselves now, 2.0 MB to store")


def test_columns_that_have_no_room_are_named(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, layers(12), layers(12, 0.001))
    assert text(made, width=60)[-1] == "(no room for: cosine)"
    assert not any("no room" in line for line in text(made, width=100))


def test_a_path_outside_is_headed_as_it_is() -> None:
    made = Report("../a.npy", "b.npy", compare(None, None))
    assert heading(made) == "diff --theta ../a.npy b/b.npy"


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (np.zeros((64, 32), "f4"), "all zero now"),
        (np.nextafter(weight(), np.float32(9)), "every change is by one ulp, to the next representable number"),
        (weight().T, "transposed, with equal content"),
        (np.concatenate([weight(), weight()[:3]]), "3 rows appended, the rest is equal"),
        (weight().astype("f8"), "dtype cast, every value is the same number"),
        (weight().astype("f2"), "dtype cast, every value rounded"),
        (weight() + np.outer(weight()[:, 0], weight()[0]), "the change has rank 1"),
        (weight().reshape(32, 64), "the same bytes"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_what_happened_to_a_group_is_said(tmp_path: Path, new: np.ndarray[Any, Any], said: str) -> None:
    made = of_arrays(tmp_path, {"w": weight()}, {"w": np.ascontiguousarray(new)})
    assert f"    {said}" in text(made)


def test_signs_of_zero_are_told(tmp_path: Path) -> None:
    zeros = np.zeros(10, "f4")
    made = of_arrays(tmp_path, {"w": zeros}, {"w": -zeros})
    assert "    only bits changed that compare equal: signs of zero, payloads of NaN" in text(made)


def test_renamed_layers_fold_and_say_their_old_names(tmp_path: Path) -> None:
    old = {f"h.{i}.w": weight((8, i + 1)) for i in range(3)} | {f"h.{i}.b": weight((5,)) + i for i in range(3)}
    new = {name.replace("h.", "layers."): array for name, array in old.items()}
    shown = text(of_arrays(tmp_path, old, new))
    assert any(line.startswith("> layers.{0..2}.b (3)") for line in shown)
    assert "    renamed from h.{0..2}.b, the same values" in shown


def test_values_besides_tensors_are_told_old_and_new(tmp_path: Path) -> None:
    old = save(tmp_path / "old.safetensors", {"w": weight()}, {"epoch": "3"})
    new = save(tmp_path / "new.safetensors", {"w": weight()}, {"epoch": "4"})
    assert text(report(old, new))[1:] == [
        "1 group, 2,048 parameters, 8.3 kB: 1 unchanged",
        "~ (everything else: header, metadata, values that are no tensors)",
        "    __metadata__.epoch '3' -> '4'",
    ]


def test_hostile_names_reach_no_terminal_and_no_markup(tmp_path: Path) -> None:
    name = "\x1b]0;x\x07<script>|`*"
    made = of_arrays(tmp_path, {name: weight()}, {name: weight() * 2})
    assert not any("\x1b" in line or "\x07" in line for line in text(made))
    shown = "\n".join(markdown.render(made))
    assert "<script>" not in shown
    assert "\x1b" not in shown


def test_json_tells_every_group_by_itself_with_exact_numbers(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, layers(2), {**layers(2, 1.0), "new": weight()})
    found = json.loads(json.dumps(document([made]), allow_nan=False))
    (file,) = found["files"]
    assert found["schema"] == 1
    assert {name: count for name, count in file["counts"].items() if count} == {"changed": 2, "added": 1}
    groups = {group["name"]: group for group in file["groups"]}
    assert groups["h.0.w"]["statistics"]["relative"] == pytest.approx(1.0, rel=1e-6)
    assert groups["new"]["old"] is None
    assert groups["new"]["statistics"] is None


def test_markdown_is_a_table_with_a_row_per_line(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, layers(12), layers(12, 0.001))
    shown = list(markdown.render(made))
    rows = [line for line in shown if line.startswith("|")]
    assert len(rows) == 3
    assert "<code>h.{0..11}.w</code> (12)" in rows[2]
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1


def test_numbers_are_short_and_never_round_to_a_lie() -> None:
    assert [percent(x) for x in (0.0, 1e-9, 0.00123, 0.5, 0.99999, 1.0)] == [
        "0%",
        "<0.01%",
        "0.12%",
        "50.0%",
        "99.9%",
        "100%",
    ]
    assert [scientific(x) for x in (0.0, 1.234e-3, 0.5, 123.0, 4.56e7)] == ["0", "1.2e-3", "0.5", "123", "4.6e7"]
    assert [size(x) for x in (0, 999, 1500, 2_938_000, 496_000_000)] == ["0 B", "999 B", "1.5 kB", "2.9 MB", "496 MB"]
    assert span([], percent) == ""


def heads(made: Report) -> list[str]:
    """Everything that three renderers say about the file itself and its groups."""
    data = json.loads(json.dumps(document([made])))
    assert not any("\ud800" <= char < "\ue000" for char in json.dumps(data, ensure_ascii=False))
    return [*text(made), *markdown.render(made)]


@pytest.mark.parametrize("name", ["\x1b]0;x\x07", "a\u202eb", "caf\udce9", "x\x9b31m"])
def test_names_from_files_and_checkpoints_cannot_steer_a_terminal(tmp_path: Path, name: str) -> None:
    made = of_arrays(tmp_path, {"w": weight()}, {"w": weight() * 2})
    hostile = replace(made, old_path=name, new_path=name, notes=(f"rename from {name}",))
    assert all(line.isprintable() for line in text(hostile))
    assert not any(char in "".join(heads(hostile)) for char in "\x1b\x07\x9b\u202e\udce9")


def test_a_path_that_is_no_unicode_is_valid_json() -> None:
    made = Report("caf\udce9", "caf\udce9", compare(None, Summary("npy", 1, Digest("0" * 64), (), None)))
    assert document([made])["files"][0]["new"]["path"] == r"caf\xe9"


@pytest.mark.parametrize(("name", "shown"), [("", '""'), (" ", '" "'), ("h.{0..2}.w", '"h.{0..2}.w"')])
def test_names_that_could_be_misread_are_quoted(tmp_path: Path, name: str, shown: str) -> None:
    made = of_arrays(tmp_path, {name: weight()}, {name: weight() * 2})
    assert any(line.startswith(f"~ {shown} ") for line in text(made))
    assert any(f"<code>{shown}</code>" in line for line in markdown.render(made))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([np.nan] * 3, [1, 2, 3], "3 elements are no longer NaN"),
        ([np.inf, np.inf], [-0.0, 2], "2 elements are no longer infinite"),
        ([np.inf, -np.inf, 1], [-np.inf, np.inf, 1], "2 elements went from one infinity to another"),
        ([np.inf], [np.nan], "1 element became NaN"),
    ],
)
def test_what_is_no_number_says_so_and_has_no_norms(
    tmp_path: Path, old: list[float], new: list[float], said: str
) -> None:
    made = of_arrays(tmp_path, {"w": np.array(old)}, {"w": np.array(new)})
    shown = text(made, width=100)
    assert f"    {said}" in shown
    assert not any("only bits" in line or "ulp" in line or "max |Δ|" in line for line in shown)


def test_a_change_beyond_float64_has_no_infinity_in_its_numbers(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, {"w": np.full(4, 1.7e308)}, {"w": np.full(4, -1.7e308)})
    assert text(made)[-1].split()[-3:] == ["2", ">1.8e308", "-1.000000"]
    (group,) = document([made])["files"][0]["groups"]
    assert (group["statistics"]["relative"], group["statistics"]["largest"]) == (2, None)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (np.concatenate([weight(), weight()[:1]]), "1 row appended, the rest is equal"),
        (np.concatenate([weight()[:8], weight()]), "8 rows more, the rest changed too"),
        (np.delete(weight(), 3, 1), "1 column fewer, the rest changed too"),
        (weight()[:, :-1], "1 column removed, the rest is equal"),
        (np.trunc(weight()).astype("i4"), "dtype cast, every value cut or rounded to an integer"),
        (weight()[None] + 1, "cannot be compared element by element: the number of axes changed"),
        (weight()[:5].astype("f2"), "cannot be compared element by element: the dtype and the shape changed"),
        (weight().astype("c8") + 1, "cannot be compared element by element: one side has complex numbers, the"),
    ],
)
def test_resizing_and_casts_say_no_more_than_is_known(tmp_path: Path, new: np.ndarray[Any, Any], said: str) -> None:
    shown = text(of_arrays(tmp_path, {"w": weight()}, {"w": np.ascontiguousarray(new)}))
    assert any(line.startswith(f"    {said}") for line in shown)


def test_counts_of_one_are_singular(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, {"w": np.ones(1)}, {"w": np.full(1, np.nan)})
    assert text(made)[1].startswith("1 group, 1 parameter, ")
    assert text(made)[2] == "1 NaN value came into 1 group"
    assert text(of_arrays(tmp_path, {}, {"w": np.ones(1)}))[1].startswith("0 -> 1 groups, 0 -> 1 parameters, ")


def with_leaves(made: Report, count: int) -> Report:
    comparison = replace(made.comparison, frame_changed=True)
    return replace(made, comparison=comparison, leaves=tuple(LeafChange(f"k{i}", "1", "2") for i in range(count)))


def test_values_are_listed_up_to_twenty_the_top_or_all(tmp_path: Path) -> None:
    made = with_leaves(of_arrays(tmp_path, {"w": weight()}, {"w": weight() * 2}), 5000)

    def listed(shown: list[str], start: str) -> int:
        return sum(line.startswith(start) for line in shown)

    assert [listed(text(made, **style), "    k") for style in ({}, {"top": 2}, {"expand": True})] == [20, 2, 5000]
    assert text(made)[-1] == "    ... and 4,980 values more; --format json has all"
    assert listed(list(markdown.render(made)), "| <code>k") == 20
    assert len(document([made])["files"][0]["values"]) == 5000


def test_a_comment_keeps_to_what_github_takes(tmp_path: Path) -> None:
    old = {f"{i:x}{'x' * 200}": np.ones(1, "f4") for i in range(600)}
    made = of_arrays(tmp_path, old, {name: array + np.float32("nan") for name, array in old.items()})
    shown = "\n".join(markdown.render(with_leaves(made, 5000), expand=True))
    assert 50_000 < len(shown) < 65_536
    assert shown.count("that a comment has no room for") == 2
    assert shown.count("<details") == shown.count("</details>") == 1


def test_a_narrow_terminal_gets_the_numbers_in_two_rows(tmp_path: Path) -> None:
    old = {f"model.layers.{i}.q_proj.weight": weight() for i in range(9)}
    made = of_arrays(tmp_path, old, {name: a * np.float32(1.1 + i / 9) for i, (name, a) in enumerate(old.items())})
    shown = text(with_leaves(made, 1), width=40)[1:]
    assert max(map(len, shown)) <= 40
    assert any("max |Δ|" in line for line in shown)


def test_bytes_that_no_format_claims_are_told_as_such() -> None:
    side = Summary("opaque", 10, Digest("0" * 64), (), None)
    assert "10 B, read as plain bytes" in totals(compare(side, replace(side, skeleton=Digest("1" * 64))))
