"""Reports as one HTML page that needs no network: a heat map, histograms, and a table to sort and filter.

The numbers are put into the page as JSON; ``page.js`` beside this module draws them with Plotly, which comes with the
page. What always holds: text from a checkpoint is data in the page, never markup.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from git_theta.diff.finding import HISTOGRAM, Statistics
from git_theta.diff.report import Line, Report, lines, loudest, printable
from git_theta.diff.words import HEADINGS, cells, frame_reason, readable, remarks, scientific, totals
from git_theta.errors import ThetaError

_NUMBER = re.compile(r"(?<![0-9A-Za-z])[0-9]+(?![0-9A-Za-z])")
_SMALLEST = 1e-12
"""What the heat map's logarithmic scale shows for no change at all."""


class NoPlotly(ThetaError):
    """The plotting library is not installed."""

    def __init__(self) -> None:
        super().__init__("an HTML report needs Plotly", hint="install plotly beside git-theta: pip install plotly")


def render(reports: Sequence[Report], sort: str = "model", top: int | None = None) -> str:
    """The page; raises :class:`NoPlotly`."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise NoPlotly from None
    data = json.dumps({"files": [_file(report, sort, top) for report in reports]}, allow_nan=False)
    # Whatever a name holds, it cannot end the script element it stands in.
    return _PAGE.format(
        css=_resource("page.css"), plotly=get_plotlyjs(), data=data.replace("<", "\\u003c"), js=_resource("page.js")
    )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Checkpoints that differ</title>
<link rel="icon" href="data:,">
<style>{css}</style>
</head>
<body>
<main><header><h1>Checkpoints that differ</h1><button id="theme" type="button">Dark</button></header></main>
<script>{plotly}</script>
<script id="data" type="application/json">{data}</script>
<script>{js}</script>
</body>
</html>"""


def _resource(name: str) -> str:
    return files("git_theta.diff").joinpath(name).read_text(encoding="utf-8")


def _file(report: Report, sort: str, top: int | None) -> dict[str, Any]:
    found = lines(report, expand=True, sort=sort)
    shown = found if top is None else loudest(found)[:top]
    groups = [_group(line) for line in shown]
    charted = [group for group in groups if group["histogram"]]
    largest = max(charted, key=lambda group: group["relative"] or 0.0, default=None)
    paths = [path for path in dict.fromkeys((report.old_path, report.new_path)) if path is not None]
    reason = frame_reason(report)
    everything_else = f"Header or metadata changed{reason and f': {reason}'}."
    return {
        "title": " → ".join(map(readable, paths)),
        "totals": totals(report.comparison),
        "notes": [
            *map(readable, report.notes),
            *([everything_else] if report.comparison.frame_changed and not report.leaves else []),
        ],
        "alerts": [f"{line.title}: {remark.text}" for line in shown for remark in remarks(line) if remark.loud],
        "heatmap": _heatmap(shown),
        "groups": groups,
        "first": largest["name"] if largest else None,
        "values": [{"path": printable(leaf.path), "old": leaf.old, "new": leaf.new} for leaf in report.leaves or ()],
    }


def _group(line: Line) -> dict[str, Any]:
    """One row; ``texts`` are its cells as people read them, the values beside them are what to sort by."""
    texts = dict(zip(HEADINGS, cells(line), strict=True))
    statistics = line.statistics[0] if line.statistics else None
    numbers = statistics if statistics and statistics.measured else None
    storage = line.findings[0].storage
    said = remarks(line)
    return {
        "name": line.name,
        "title": line.title,
        "kind": line.kind.name.lower(),
        "dtype": texts["dtype"],
        "shape": texts["shape"],
        "share": statistics.share if statistics else None,
        "relative": _finite(numbers.relative) if numbers else None,
        "largest": _finite(numbers.largest) if numbers else None,
        "cosine": numbers.cosine if numbers else None,
        "bytes": storage.bytes if storage else None,
        "texts": {
            "share": texts["changed"],
            "relative": texts["‖Δ‖/‖W‖"],
            "largest": texts["max |Δ|"],
            "cosine": texts["cosine"],
            "bytes": texts["stored"],
        },
        "remarks": [{"text": remark.text, "loud": remark.loud} for remark in said],
        "haystack": " ".join([line.name, texts["dtype"], *(remark.text for remark in said)]).lower(),
        "histogram": _histogram(numbers),
    }


def _histogram(statistics: Statistics | None) -> dict[str, list[int]] | None:
    """Counts by exponent, without the empty ends; None when nothing changed by a number."""
    counts = statistics.histogram if statistics else ()
    filled = [at for at, count in enumerate(counts) if count]
    if not filled:
        return None
    first, last = filled[0], filled[-1] + 1
    return {"edges": [HISTOGRAM[at] - 1 for at in range(first, last)], "counts": list(counts[first:last])}


def _heatmap(shown: Sequence[Line]) -> dict[str, Any] | None:
    """Relative change by layer, the first number in a name, and kind, the name without it; None without layers.

    ``loud`` are the cells of groups to which NaN or infinity came: their norms are over what is finite, and pale.
    """
    found: dict[tuple[str, int], tuple[float | None, str]] = {}
    loud = []
    for line in shown:
        number = _NUMBER.search(line.name)
        alarms = [remark.text for remark in remarks(line) if remark.loud]
        relative = _finite(next((s.relative for s in line.statistics if s.measured), None))
        if number and (relative is not None or alarms):
            kind = f"{line.name[: number.start()]}#{line.name[number.end() :]}"
            said = [f"{line.title}: {scientific(relative)}" if relative is not None else line.title, *alarms]
            found[kind, int(number[0])] = (relative, "; ".join(said).replace("<", "‹"))
            loud += [(kind, int(number[0]))] if alarms else []
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    layers = sorted({layer for _, layer in found})
    if not kinds:
        return None
    table = [[found.get((kind, layer), (None, "")) for layer in layers] for kind in kinds]
    return {
        "layers": [str(layer) for layer in layers],
        "kinds": [kind.replace("<", "‹") for kind in kinds],
        "values": [[None if one is None else math.log10(max(one, _SMALLEST)) for one, _ in row] for row in table],
        "texts": [[said for _, said in row] for row in table],
        "loud": [[str(layer), kind.replace("<", "‹"), found[kind, layer][1]] for kind, layer in loud],
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
