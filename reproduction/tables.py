"""Tables of published figures beside ours, as text, CSV and JSON."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from jinja2 import Template

from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.results import as_csv, write_json, write_text
from skeleton_reid.reproduction.experiments import PUBLISHED, TABLES, Cells, Column, Job, Row
from skeleton_reid.reproduction.jobs import Outcomes, state

FIGURES = ("published", "best", "spread", "last", "difference", "untrained")
SHARED = ("table", "column", "row", "seconds", "simulated", "capped", "note")
Entry = dict[str, Any]  # docs/06-formats.md


def compare(table: str, row: Row, column: Column, jobs: Sequence[Job], outcomes: Outcomes) -> Entry:
    """A row of a column of a table; figures in percent, one for each metric."""
    metrics, papers = PUBLISHED[table]["metrics"], PUBLISHED[table]["rows"]
    runs = {job.seed: outcomes[job.folder] for job in jobs}
    done = {seed: run for seed, run in runs.items() if state(run) == "done"}
    left = [run for seed, run in runs.items() if seed not in done]
    notes = [run if isinstance(run, str) else "not run yet" for run in left]
    results = [run["result"] for run in done.values()]
    ours = [figures(result, column.probe) for result in results]

    def over_seeds(statistic: Callable, kind: str, least: int = 1) -> list[float] | None:
        if len(ours) < least or not all(own[kind] for own in ours):
            return None
        return [statistic([100 * own[kind][name] for own in ours]) for name in metrics]

    published, best = papers.get(row.name, {}).get(column.name), over_seeds(fmean, "best")
    simulated = any(result.get("data", {}).get("simulated") for result in results)
    comparable = best and published and not simulated
    capped = jobs[0].epochs if jobs else None
    notes += [f"epochs capped at {capped}"] if capped else []
    return {
        "table": table, "row": row.name, "column": column.name, "metrics": metrics,
        "positions": row.positions if jobs else "-", "published": published, "best": best,
        "spread": over_seeds(stdev, "best", least=2), "last": over_seeds(fmean, "last"),
        "untrained": over_seeds(fmean, "untrained"),
        "difference": [a - b for a, b in zip(best, published, strict=True)] if comparable else None,
        "epochs": [own["best"].get("epoch") for own in ours],
        "seeds": list(done), "seconds": sum(run["seconds"] for run in done.values()),
        "machines": sorted({run["made_by"]["machine"] for run in done.values()}),
        "settings": results[-1].get("settings", {}) if results else {},
        "data": results[-1].get("data", {}) if results else {},
        "simulated": simulated, "capped": capped,
        "note": "; ".join(dict.fromkeys(notes)) if jobs else "published, not run here"
    }  # yapf: disable


def figures(result: Mapping[str, Any], probe: str) -> dict[str, Any]:
    """Best, last and untrained figures of a script's JSON result; of a test split among several."""
    part = result["tests"][probe] if "tests" in result else result
    best = part.get("best", part)
    return {"best": best, "last": part.get("last", best), "untrained": result.get("untrained")}


def write_all(out: Path, cells: Cells, outcomes: Outcomes) -> None:
    """Write the tables with what is done so far; a line of CSV for each metric."""
    for table, group in groupby(cells, key=lambda cell: cell[0]):
        entries, lines = [compare(*cell, cells[cell], outcomes) for cell in group], []
        for entry in entries:
            for number, metric in enumerate(entry["metrics"]):
                line = {name: entry[name] for name in SHARED}
                line |= {"metric": metric, "seeds": " ".join(map(str, entry["seeds"]))}
                lines.append(line | {name: entry[name] and entry[name][number] for name in FIGURES})
        write(out, table, entries, lines, template="table.md.jinja")


def write(out: Path, table: str, entries: list[Entry], lines: list[Entry], template: str) -> None:
    """Write <table>.json of the entries, .csv of the lines, and .md by a template."""
    papers, text = PUBLISHED[table], Path(__file__).with_name(template).read_text(encoding="utf-8")
    form = Template(text, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    write_text(out / f"{table}.md", form.render(papers, entries=entries, timedelta=timedelta))
    write_text(out / f"{table}.csv", as_csv(lines))
    content = {"table": table, "source": papers["source"], "entries": entries}
    write_json(out / f"{table}.json", content)


def write_sizes(out: Path) -> None:
    """Write the table of sizes, a row for each of experiments.yaml's models."""
    from skeleton_reid.engine import encoding  # here, so that --list and --help need no model
    from skeleton_reid.models.recognition import RecognitionNetwork

    classes = {name: method.model_class for name, method in METHODS.items()}
    classes["recogniser"] = RecognitionNetwork
    skeletons, papers, sizes = np.zeros((1, 6, 20, 3), np.float32), PUBLISHED["sizes"]["rows"], []
    for name, parts in TABLES["sizes"].models.items():
        models = [classes[model](*arguments) for model, *arguments in parts]
        counts = [encoding.count_parameters(model) for model in models]
        operations = encoding.count_operations(partial(encoding.encode_set, models[0], skeletons))
        sizes.append({
            "row": name, "encoder": counts[0], "network": sum(counts[1:]), "all": sum(counts),
            "operations": operations, "published": papers.get(name, {}).get("size", "-")
        })  # fmt: skip
    write(out, "sizes", entries=sizes, lines=sizes, template="sizes.md.jinja")
