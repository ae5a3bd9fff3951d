"""The HTML report in a real browser: what it shows, sorting, filtering, themes, and no word on the console."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from git_theta.diff import Report, html
from tests.unit.diff.support import of_arrays, report, save

pytest.importorskip("plotly", reason="Plotly is not installed (pip install 'git-theta[html]')")

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=5000", "--dump-dom",
)  # fmt: skip

WATCH = """<script>
window.said = [];
for (const level of ["error", "warn"]) console[level] = (...words) => window.said.push(words.join(" "));
addEventListener("error", (event) => window.said.push(event.message));
addEventListener("securitypolicyviolation", (event) => window.said.push(event.blockedURI));
</script>"""
OFFLINE = """<meta http-equiv="Content-Security-Policy" content="default-src 'unsafe-inline' data: blob:">"""
USE = """<script>
const rows = () => [...document.querySelectorAll("tbody tr")].map((row) => row.cells[0].childNodes[0].textContent);
const click = (title) => [...document.querySelectorAll("th button")].find((b) => b.textContent === title).click();
const type = (text) => {
  const search = document.querySelector("input");
  search.value = text;
  search.dispatchEvent(new Event("input"));
};
const found = { all: rows() };
click("‖Δ‖/‖W‖"); found.largest = rows();
click("‖Δ‖/‖W‖"); found.smallest = rows();
click("group"); found.byName = rows();
type("attn"); found.filtered = rows();
type("nan"); found.remarked = rows();
type("");
found.title = document.querySelector("h3 code").textContent;
document.querySelectorAll("tr.pick")[1].click();
found.picked = document.querySelector("h3 code").textContent;
found.theme = document.documentElement.dataset.theme;
document.getElementById("theme").click();
found.other = document.documentElement.dataset.theme;
found.alerts = [...document.querySelectorAll(".alerts li")].map((item) => item.textContent);
found.charts = document.querySelectorAll(".main-svg").length > 0;
found.cells = document.querySelectorAll(".hm, .heatmaplayer image").length > 0;
found.overflow = document.documentElement.scrollWidth > innerWidth;
found.said = window.said;
const result = document.createElement("pre");
result.id = "result";
result.textContent = JSON.stringify(found);
document.body.append(result);
</script>"""


def layers(change: float = 0.0) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(0)
    names = [f"h.{i}.{kind}.weight" for i in range(3) for kind in ("attn", "mlp")]
    return {
        name: random.standard_normal((8, 8)).astype("f4") * np.float32(1 + change * at) for at, name in enumerate(names)
    }


def in_browser(folder: Path, page: str, width: int) -> Any:
    """What the page's own script puts into ``#result``."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [str(BROWSER), *FLAGS, profile, f"--window-size={width},900", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    dump = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.DOTALL)
    assert dump, done.stdout[-2000:]
    return json.loads(dump[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: the page is not tested in a browser")
@pytest.mark.parametrize("width", [1280, 480])
def test_the_page_works_in_a_browser_without_network(tmp_path: Path, width: int) -> None:
    new = layers(0.01) | {"added": np.ones(3, "f4")}
    new["h.2.mlp.weight"][0, 0] = np.nan
    page = html.render([of_arrays(tmp_path, layers(), new)])
    page = page.replace("<head>", "<head>" + OFFLINE + WATCH, 1).replace("</body>", USE + "</body>", 1)
    found = in_browser(tmp_path, page, width)
    changed = [f"h.{i}.{kind}.weight" for i in range(3) for kind in ("attn", "mlp")][1:]
    assert found["said"] == []
    assert sorted(found["all"]) == sorted(["added", *changed])
    assert found["largest"][0] == "h.2.mlp.weight"
    assert found["largest"][-1] == found["smallest"][-1] == "added"
    assert found["smallest"][0] == "h.0.mlp.weight"
    assert found["byName"] == ["added", *changed]
    assert found["filtered"] == ["h.1.attn.weight", "h.2.attn.weight"]
    assert found["remarked"] == ["h.2.mlp.weight"]
    assert found["title"] == "h.2.mlp.weight"
    assert found["picked"] == changed[1]
    assert {found["theme"], found["other"]} == {"light", "dark"}
    assert found["alerts"] == ["h.2.mlp.weight: 1 element became NaN"]
    assert found["charts"]
    assert found["cells"]
    assert not found["overflow"]


LOOK = """<script>
const boxes = [...document.querySelectorAll(".xtick text")].map((text) => text.getBoundingClientRect());
const result = document.createElement("pre");
result.id = "result";
result.textContent = JSON.stringify({
  gap: document.querySelector(".js-plotly-plot").data[0].xgap,
  labels: boxes.length,
  apart: boxes.every((box, at) => !at || boxes[at - 1].right < box.left || boxes[at - 1].top !== box.top),
});
document.body.append(result);
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed: the page is not tested in a browser")
def test_a_thousand_layers_leave_no_gaps_and_no_crowd_of_labels(tmp_path: Path) -> None:
    old = {f"model.layers.{at}.w": np.ones(1, "f4") for at in range(1000)}
    made = of_arrays(tmp_path, old, {name: array + 1 for name, array in old.items()}, histogram=False)
    found = in_browser(tmp_path, html.render([made]).replace("</body>", LOOK + "</body>", 1), 600)
    assert found["gap"] == 0
    assert found["labels"] >= 3
    assert found["apart"]


def page_data(made: Report) -> tuple[str, dict[str, Any]]:
    """The page without Plotly, and the data in it."""
    page = html.render([made])
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return page, json.loads(found[1])


def test_hostile_names_stay_data(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script>"
    old = save(tmp_path / "a.safetensors", {name: np.ones(3, "f4")}, {name: "1"})
    new = save(tmp_path / "b.safetensors", {name: np.zeros(3, "f4")}, {name: "2"})
    page, data = page_data(report(old, new))
    assert "<script>alert(1)" not in page
    assert data["files"][0]["groups"][0]["name"] == name


def test_the_heat_map_has_a_row_per_kind_and_a_column_per_layer(tmp_path: Path) -> None:
    _, data = page_data(of_arrays(tmp_path, layers(), layers(0.5)))
    map_ = data["files"][0]["heatmap"]
    assert map_["layers"] == ["0", "1", "2"]
    assert sorted(map_["kinds"]) == ["h.#.attn.weight", "h.#.mlp.weight"]
    attention = map_["values"][map_["kinds"].index("h.#.attn.weight")]
    assert attention == [None, pytest.approx(0.0, abs=1e-6), pytest.approx(np.log10(2.0), abs=1e-6)]


def test_the_heat_map_marks_where_nan_came_in(tmp_path: Path) -> None:
    broken = layers(0.5)
    broken["h.2.attn.weight"][:] = np.nan
    _, data = page_data(of_arrays(tmp_path, layers(), broken))
    ((layer, kind, said),) = data["files"][0]["heatmap"]["loud"]
    assert (layer, kind) == ("2", "h.#.attn.weight")
    assert said.endswith("became NaN")


def test_a_report_without_values_has_a_table_and_no_charts(tmp_path: Path) -> None:
    made = of_arrays(tmp_path, layers(), layers(0.5))
    _, data = page_data(Report(made.old_path, made.new_path, made.comparison))
    (file,) = data["files"]
    assert (file["heatmap"], file["first"], len(file["groups"])) == (None, None, 5)
