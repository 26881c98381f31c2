"""Tables of published figures beside ours, as text, CSV and JSON."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from skeleton_reid.engine.results import write_csv, write_json, write_text
from skeleton_reid.reproduction.experiments import Cell, published
from skeleton_reid.reproduction.jobs import Outcome, Outcomes, shorten

NOT_RUN = "published, not run here"
ABOUT = """Best: the epoch that is best on the test set, as in the papers; last: the last epoch;
mean ± standard deviation over the seeds. Untrained: the encoder's initial weights."""
FIGURES = ("published", "best", "spread", "last", "difference", "untrained")
Entry = dict[str, Any]


def compare(cell: Cell, outcomes: Mapping[int, Outcome]) -> Entry:
    """A row of a column of a table; figures in percent, one for each metric of the table.

    outcomes: of its runs, by seed. spread: standard deviation of best over the seeds. epochs: the
    best ones, by seed. capped: the most epochs that were allowed.
    """
    papers = published()[cell.table]
    done = {seed: run for seed, run in outcomes.items() if isinstance(run, dict)}
    left = {seed: reason or "not run yet" for seed, reason in outcomes.items() if seed not in done}
    missing = [f"seed {seed}: " * bool(done) + reason for seed, reason in left.items()]
    results = [run["result"] for run in done.values()]
    ours = [figures(result, cell.column.probe) for result in results]

    def over_seeds(statistic: Callable, kind: str, least: int = 1) -> list[float] | None:
        if len(ours) < least or not all(run[kind] for run in ours):
            return None
        return [statistic([100 * run[kind][name] for run in ours]) for name in papers["metrics"]]

    target = papers["rows"].get(cell.row.name, {}).get(cell.column.name)
    best, newest = over_seeds(fmean, "best"), results[-1] if results else {}
    simulated = any(result.get("data", {}).get("simulated") for result in results)
    comparable = best and target and not simulated
    capped = next((run["key"]["epochs"] for run in done.values()), None)
    notes = [*map(shorten, missing), *[f"epochs capped at {capped}"] * bool(capped)]
    entry = {"table": cell.table, "row": cell.row.name, "column": cell.column.name}
    entry |= {"metrics": papers["metrics"], "published": target, "positions": cell.row.positions}
    entry |= {"best": best, "spread": over_seeds(stdev, "best", least=2)}
    entry |= {kind: over_seeds(fmean, kind) for kind in ("last", "untrained")}
    entry["difference"] = [a - b for a, b in zip(best, target, strict=True)] if comparable else None
    entry["epochs"] = [run["best"].get("epoch") for run in ours]
    entry |= {"seeds": list(done), "seconds": sum(run["seconds"] for run in done.values())}
    entry["machines"] = sorted({run["made_by"]["machine"] for run in done.values()})
    entry |= {name: newest.get(name, {}) for name in ("settings", "data")}
    entry |= {"simulated": simulated, "capped": capped}
    entry["note"] = "; ".join(dict.fromkeys(notes)) if cell.jobs else NOT_RUN
    return entry | {"missing": "; ".join(dict.fromkeys(missing))}


def figures(result: Mapping[str, Any], probe: str) -> dict[str, Any]:
    """Best, last and untrained figures of a script's JSON result; of a test split among several."""
    part = result["tests"][probe] if "tests" in result else result
    best = part.get("best", part)
    return {"best": best, "last": part.get("last", best), "untrained": result.get("untrained")}


def write_all(out: Path, cells: Collection[Cell], outcomes: Outcomes) -> None:
    """Write <table>.md, .csv and .json of every table with what is done so far."""
    tables: dict[str, list[Entry]] = {}
    for cell in cells:
        entry = compare(cell, {job.seed: outcomes[job.path] for job in cell.jobs})
        tables.setdefault(cell.table, []).append(entry)
    for table, entries in tables.items():
        content = {"table": table, "source": published()[table]["source"], "entries": entries}
        write_text(out / f"{table}.md", as_markdown(entries))
        write_csv(out / f"{table}.csv", as_rows(entries))
        write_json(out / f"{table}.json", content)


def as_markdown(entries: Sequence[Entry]) -> str:
    """The entries of a table, a section for each column."""
    papers = published()[entries[0]["table"]]
    metrics, source = " / ".join(papers["metrics"]), papers["source"]
    lines = [f"# {papers['title']}\n", f"{metrics}, in percent. Published: {source}.", ABOUT]
    if machines := sorted({machine for entry in entries for machine in entry["machines"]}):
        lines.append(f"\nMachine: {'; '.join(machines)}.")
    for column in dict.fromkeys(entry["column"] for entry in entries):
        own = [entry for entry in entries if entry["column"] == column]
        simulated = any(entry["simulated"] for entry in own)
        warning = " (simulated data: not comparable with published figures)" * simulated
        rows = [_cells(entry, ", simulated" * simulated) for entry in own]
        lines += [f"\n## {column}{warning}\n", *markdown_table(rows), ""]
        lines += [f"Data: {_words(entry['data'])}." for entry in own if entry["data"]][:1]
        missing = dict.fromkeys(entry["missing"] for entry in own)
        lines += [f"Missing: {reason}." for reason in missing if shorten(reason) != reason]
        settings = [f"- {e['row']}: {_words(e['settings'])}" for e in own if e["settings"]]
        lines += ["\nSettings:\n", *settings] * bool(settings)
    return "\n".join(lines) + "\n"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of a Markdown table with the rows' keys as header."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _cells(entry: Entry, word: str) -> dict[str, str]:
    epochs = [str(epoch) for epoch in entry["epochs"] if epoch is not None]
    cells = {"method": entry["row"], "published": _numbers(entry["published"])}
    cells[f"best{word}"] = _numbers(entry["best"], entry["spread"])
    cells["best - published"] = _numbers(entry["difference"], sign="+")
    cells |= {f"{kind}{word}": _numbers(entry[kind]) for kind in ("last", "untrained")}
    cells["epoch"] = ", ".join(epochs) or "-"
    cells["seeds"] = ", ".join(map(str, entry["seeds"])) or "-"
    time = str(timedelta(seconds=round(entry["seconds"]))) if entry["seeds"] else "-"
    return cells | {"time": time, "positions": entry["positions"], "note": entry["note"]}


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _numbers(values: Sequence[float] | None, spread: Any = None, sign: str = "") -> str:
    """66.4/80.7, or with a spread 66.4±0.3/80.7±0.1; a dash where there are none."""
    texts = [f"{x:{sign}.1f}" for x in values or ()]
    if spread:
        texts = [f"{text}±{x:.1f}" for text, x in zip(texts, spread, strict=True)]
    return "/".join(texts) or "-"


def as_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Rows of the CSV file, one a metric of an entry, with full precision; None for no figure."""
    return [{name: entry[name] for name in ("table", "column", "row")}
            | {"metric": metric, "seeds": " ".join(map(str, entry["seeds"]))}
            | {kind: entry[kind] and entry[kind][i] for kind in FIGURES}
            | {name: entry[name] for name in ("seconds", "simulated", "capped", "note")}
            for entry in entries for i, metric in enumerate(entry["metrics"])]
