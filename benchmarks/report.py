"""Measurements enter; a table for people, a section of the documentation and JSON for programs leave.

Nothing here measures. What always holds: a number stands beside its target and the verdict, and a system that
could not do something says why below the table.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.cases import Unit

BEGIN, END = "<!-- begin: benchmarks/run.py -->", "<!-- end: benchmarks/run.py -->"


@dataclass(slots=True)
class Row:
    """One row. ``values`` holds, per system, one number per run; ``failures`` why a system has none."""

    title: str
    unit: Unit
    ratio: float | None = None
    limit: float | None = None
    values: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def relative(self) -> float | None:
        """Median over the runs of git-theta's number divided by git-lfs's in the same run."""
        pairs = zip(self.values.get("theta", []), self.values.get("lfs", []), strict=False)
        ratios = [ours / theirs for ours, theirs in pairs if theirs]
        return statistics.median(ratios) if ratios and self.unit is not Unit.YES_NO else None

    def met(self) -> bool | None:
        """Whether the target is reached; None without target or number."""
        if self.ratio is not None:
            relative = self.relative()
            return None if relative is None else relative <= self.ratio
        if self.limit is not None and self.values.get("theta"):
            return statistics.median(self.values["theta"]) <= self.limit
        return None


def table(rows: list[Row], labels: dict[str, str]) -> str:
    """A Markdown table with one column per system, then failures as sentences."""
    head = ["", *labels.values(), "ratio to git-lfs", "target", ""]
    lines = [_cells(row, labels) for row in rows]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    rule = "|".join("-" * (width + 1) + (":" if column else "-") for column, width in enumerate(widths))
    text = [_line(head, widths), f"|{rule}|", *(_line(line, widths) for line in lines)]
    reasons = [f"{labels[name]}, {row.title}: {why}" for row in rows for name, why in row.failures.items()]
    return "\n".join([*text, *(["", *reasons] if reasons else [])])


def _cells(row: Row, labels: dict[str, str]) -> list[str]:
    numbers = [_cell(row, name) for name in labels]
    relative, met = row.relative(), row.met()
    target = ""
    if row.ratio is not None:
        target = f"<= {row.ratio:.2f}"
    elif row.limit is not None:
        target = f"<= {show(row.limit, row.unit)}"
    verdict = "" if met is None else "met" if met else "**missed**"
    return [row.title, *numbers, "" if relative is None else f"{relative:.2f}", target, verdict]


def _cell(row: Row, name: str) -> str:
    if name in row.failures:
        return "failed"
    values = row.values.get(name)
    return show(statistics.median(values), row.unit) if values else "-"


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [
        cells[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)),
    ]
    return f"| {' | '.join(padded)} |"


def show(value: float, unit: Unit) -> str:
    """A number for people, three digits."""
    if unit is Unit.YES_NO:
        return "yes" if value else "no"
    if unit is Unit.SECONDS:
        return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"
    if unit is Unit.TIMES:
        return f"{value:.2f}"
    if unit is Unit.COUNT:
        return f"{value:,.0f}"
    for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.{2 if value < 10 * size else 1 if value < 100 * size else 0}f} {name}"
    return f"{value:.0f} bytes"


def machine() -> dict[str, str]:
    """What the numbers were taken on, and with which versions."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "cpu": f"{_cpu()}, {os.cpu_count()} cores",
        "memory": f"{memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "git": _says("git", "--version").removeprefix("git version "),
        "git-lfs": _says("git", "lfs", "version").split(" ")[0].removeprefix("git-lfs/"),
        **{name: version(name) for name in ("git-theta", "numpy", "zstandard")},
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return _says("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()


def _says(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def section(text: str, about: dict[str, str], summary: str) -> str:
    """The documentation's section: machine, how it was measured, table."""
    facts = ", ".join(f"{name} {value}" for name, value in about.items() if name != "date")
    return f"Measured on {about['date']}: {facts}.\n\n{summary}\n\n{text}\n"


def insert(document: str, text: str) -> str:
    """``document`` with the text between the two markers replaced; the markers come at its end if it has none."""
    before, found, rest = document.partition(BEGIN)
    after = rest.partition(END)[2] if found else "\n"
    return f"{before}{BEGIN}\n{text}{END}{after}"


def record(rows: list[Row], about: dict[str, str], summary: str) -> dict[str, Any]:
    """Everything, for ``benchmarks/results``."""
    return {
        "machine": about,
        "summary": summary,
        "rows": [
            {
                "title": row.title,
                "unit": row.unit.value,
                "values": row.values,
                "failures": row.failures,
                "ratio": row.relative(),
                "target": row.ratio if row.ratio is not None else row.limit,
                "met": row.met(),
            }
            for row in rows
        ],
    }
