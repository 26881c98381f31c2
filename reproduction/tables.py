"""Tables of published figures beside ours, as text, CSV and JSON."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from engine.results import write_csv, write_json, write_text
from reproduction.experiments import Cell, published
from reproduction.jobs import Outcomes, shorten

NOT_RUN = "published, not run here"
FIGURES = ("published", "best", "spread", "last", "difference", "untrained")
Numbers = list[float] | None
Entry = dict[str, Any]


def compare(cell: Cell, records: Mapping[int, Any], missing: Sequence[str]) -> Entry:
    """A row of a column of a table; figures in percent, one for each metric of the table.

    records: by seed, those that are done. missing: why the others are not.
    """
    papers, results = published()[cell.table], [r["result"] for r in records.values()]
    ours = [figures(result, cell.column.probe) for result in results]

    def over_seeds(statistic: Callable, kind: str, least: int = 1) -> Numbers:
        if len(ours) < least or not all(run[kind] for run in ours):
            return None
        return [statistic([100 * run[kind][name] for run in ours]) for name in papers["metrics"]]

    target = papers["rows"].get(cell.row.name, {}).get(cell.column.name)
    best = over_seeds(fmean, "best")
    simulated = any(result.get("data", {}).get("simulated") for result in results)
    comparable = best and target and not simulated
    newest = list(records.values())[-1] if records else {"key": {}, "result": {}}
    capped = newest["key"].get("epochs")
    notes = [*map(shorten, missing), f"epochs capped at {capped}" if capped else ""]
    return {
        "table": cell.table,
        "row": cell.row.name,
        "column": cell.column.name,
        "metrics": papers["metrics"],
        "published": target,
        "best": best,  # on the test set, as in the papers; mean over the seeds
        "spread": over_seeds(stdev, "best", least=2),  # standard deviation of best
        "last": over_seeds(fmean, "last"),  # after the last epoch
        "difference": [a - b for a, b in zip(best, target, strict=True)] if comparable else None,
        "untrained": over_seeds(fmean, "untrained"),  # the same encoder with its initial weights
        "epochs": [run["best"].get("epoch") for run in ours],  # of the best, by seed
        "seeds": list(records),
        "seconds": sum(record["seconds"] for record in records.values()),
        "simulated": simulated,
        "capped": capped,  # the most epochs that were allowed
        "machines": sorted({record["made_by"]["machine"] for record in records.values()}),
        "settings": newest["result"].get("settings", {}),
        "data": newest["result"].get("data", {}),
        "note": "; ".join(filter(None, dict.fromkeys(notes))) if cell.jobs else NOT_RUN,
        "missing": "; ".join(dict.fromkeys(missing)),
    }


def figures(result: Mapping[str, Any], probe: str) -> dict[str, Any]:
    """Best, last and untrained figures of a script's JSON result; of a test split among several."""
    part = result["tests"][probe] if "tests" in result else result
    best = part.get("best", part)
    return {"best": best, "last": part.get("last", best), "untrained": result.get("untrained")}


def write_all(out: Path, cells: Collection[Cell], outcomes: Outcomes) -> None:
    """Write every table with what is done so far."""
    tables: dict[str, list[Entry]] = {}
    for cell in cells:
        by_seed = {job.seed: outcomes[job.path] for job in cell.jobs}
        done = {seed: outcome for seed, outcome in by_seed.items() if isinstance(outcome, dict)}
        rest = {seed: by_seed[seed] or "not run yet" for seed in by_seed if seed not in done}
        missing = [f"seed {seed}: {text}" if done else text for seed, text in rest.items()]
        tables.setdefault(cell.table, []).append(compare(cell, done, missing))
    for table, entries in tables.items():
        write(out, table, entries)


def write(folder: Path, table: str, entries: Sequence[Entry]) -> None:
    """Write <table>.md, <table>.csv and <table>.json."""
    content = {"table": table, "source": published()[table]["source"], "entries": entries}
    write_text(folder / f"{table}.md", as_markdown(table, entries))
    write_csv(folder / f"{table}.csv", as_rows(entries))
    write_json(folder / f"{table}.json", content)


def as_markdown(table: str, entries: Sequence[Entry]) -> str:
    """A section for each column of the table."""
    papers = published()[table]
    lines = [
        f"# {papers['title']}\n",
        f"{' / '.join(papers['metrics'])}, in percent. Published: {papers['source']}.",
        "Best: the epoch that is best on the test set, as in the papers; last: the last epoch;",
        "mean ± standard deviation over the seeds. Untrained: the encoder's initial weights.",
    ]
    if machines := sorted({machine for entry in entries for machine in entry["machines"]}):
        lines.append(f"\nMachine: {'; '.join(machines)}.")
    for column in dict.fromkeys(entry["column"] for entry in entries):
        lines += _section(column, [entry for entry in entries if entry["column"] == column])
    return "\n".join(lines) + "\n"


def _section(column: str, entries: Sequence[Entry]) -> list[str]:
    simulated = any(entry["simulated"] for entry in entries)
    warning = " (simulated data: not comparable with published figures)" * simulated
    rows = [_cells(entry, ", simulated" * simulated) for entry in entries]
    lines = [f"\n## {column}{warning}\n", *markdown_table(rows), ""]
    if data := next((entry["data"] for entry in entries if entry["data"]), {}):
        lines.append(f"Data: {_words(data)}.")
    long = dict.fromkeys(e["missing"] for e in entries if shorten(e["missing"]) != e["missing"])
    lines += [f"Missing: {reason}." for reason in long]
    settings = [f"- {e['row']}: {_words(e['settings'])}" for e in entries if e["settings"]]
    return lines + ["\nSettings:\n", *settings] * bool(settings)


def markdown_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of a Markdown table with the rows' keys as header."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _cells(entry: Entry, word: str) -> dict[str, str]:
    epochs = [str(epoch) for epoch in entry["epochs"] if epoch is not None]
    return {
        "method": entry["row"],
        "published": _numbers(entry["published"]),
        f"best{word}": _numbers(entry["best"], entry["spread"]),
        "best - published": _numbers(entry["difference"], sign="+"),
        f"last{word}": _numbers(entry["last"]),
        f"untrained{word}": _numbers(entry["untrained"]),
        "epoch": ", ".join(epochs) or "-",
        "seeds": ", ".join(map(str, entry["seeds"])) or "-",
        "time": str(timedelta(seconds=round(entry["seconds"]))) if entry["seeds"] else "-",
        "note": entry["note"],
    }


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _numbers(values: Numbers, spread: Numbers = None, sign: str = "") -> str:
    """66.4/80.7, or with a spread 66.4±0.3/80.7±0.1; a dash where there are none."""
    if values is None:
        return "-"
    errors = [f"±{error:.1f}" for error in spread] if spread else [""] * len(values)
    return "/".join(f"{v:{sign}.1f}{error}" for v, error in zip(values, errors, strict=True))


def as_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Rows of the CSV file, one a metric of an entry, with full precision; None for no figure."""
    return [
        {name: entry[name] for name in ("table", "column", "row")}
        | {"metric": metric, "seeds": " ".join(map(str, entry["seeds"]))}
        | {kind: entry[kind] and entry[kind][i] for kind in FIGURES}
        | {name: entry[name] for name in ("seconds", "simulated", "capped", "note")}
        for entry in entries
        for i, metric in enumerate(entry["metrics"])
    ]
