"""Tables of published figures beside ours, as text, CSV and JSON."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.results import write_csv, write_json, write_text
from reproduction.experiments import TITLES, Cell, published

TITLE_OF = {
    "top1": "top-1",
    "top5": "top-5",
    "top10": "top-10",
    "mAP": "mAP",
    "rank1": "Rank-1",
    "nAUC_roc": "nAUC",
}


@dataclass
class Entry:
    """One row of one column of a table; figures in percent, one for each metric of the table.

    best, last: mean over the seeds, best on the test set as in the papers, and after the last
    epoch. spread: standard deviation of the best over the seeds, None for one. difference: best -
    published, None for simulated data. untrained: the same encoder with its initial weights.
    epochs: of the best, by seed. seeds: those that are done. capped: the most epochs that were
    allowed. note: what is to be known, and what is missing. missing: why it is.
    """

    table: str
    row: str
    column: str
    metrics: list[str]
    published: list[float] | None = None
    best: list[float] | None = None
    spread: list[float] | None = None
    last: list[float] | None = None
    difference: list[float] | None = None
    untrained: list[float] | None = None
    epochs: list[int | None] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    seconds: float = 0.0
    simulated: bool = False
    capped: int | None = None
    machines: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    missing: str = ""


def compare(
    cell: Cell,
    records: Mapping[int, Mapping[str, Any]],
    missing: Sequence[str],
    code: str | None = None,
) -> Entry:
    """A cell's entry. records: by seed, those that are done. missing: why the others are not.

    code: the state of the code now; records that another one made are noted.
    """
    papers = published()[cell.row.table]
    metrics = papers["metrics"]
    entry = Entry(cell.row.table, cell.row.name, cell.column.name, metrics)
    entry.published = papers["rows"].get(cell.row.name, {}).get(cell.column.name)
    entry.missing = "; ".join(dict.fromkeys(missing))
    entry.note = shorten(entry.missing)
    if not records:
        return entry
    parts = [figures(record["result"], cell.column.probe) for record in records.values()]
    entry.best, entry.spread = _mean_and_spread([part["best"] for part in parts], metrics)
    entry.last, _ = _mean_and_spread([part["last"] for part in parts], metrics)
    if all(part["untrained"] for part in parts):
        entry.untrained, _ = _mean_and_spread([part["untrained"] for part in parts], metrics)
    entry.epochs = [part["best"].get("epoch") for part in parts]
    entry.seeds = list(records)
    entry.seconds = sum(record["seconds"] for record in records.values())
    newest = list(records.values())[-1]
    entry.settings, entry.data = (
        newest["result"].get("settings", {}),
        newest["result"].get("data", {}),
    )
    entry.simulated = any(
        record["result"].get("data", {}).get("simulated") for record in records.values()
    )
    entry.capped = (newest["key"] or {}).get("epochs")
    made = [record["made_by"] for record in records.values()]
    entry.machines = sorted({m["machine"] for m in made if "machine" in m})
    found = [entry.note] + [f"run by hand, {m['file']}" for m in made if "file" in m]
    if entry.capped:
        found.append(f"stopped after {entry.capped} epoch" + "s" * (entry.capped > 1))
    if code and any(m.get("code", code) != code for m in made):
        found.append("made by another state of the code")
    entry.note = "; ".join(dict.fromkeys(filter(None, found)))
    if entry.published and not entry.simulated:
        entry.difference = [a - b for a, b in zip(entry.best, entry.published, strict=True)]
    return entry


def shorten(reason: str) -> str:
    """A reason without the places that were looked at."""
    return reason.partition(": looked in")[0]


def figures(result: Mapping[str, Any], probe: str) -> dict[str, Any]:
    """Best, last and untrained figures of a script's JSON result, for one test split where it has
    several.
    """
    part = result["tests"][probe] if "tests" in result else result
    best = part.get("best", part)
    return {"best": best, "last": part.get("last", best), "untrained": result.get("untrained")}


def _mean_and_spread(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]
) -> tuple[list, list | None]:
    columns = [[100 * row[metric] for row in rows] for metric in metrics]
    spread = [statistics.stdev(column) for column in columns] if len(rows) > 1 else None
    return [statistics.fmean(column) for column in columns], spread


def write(folder: Path, table: str, entries: Sequence[Entry]) -> None:
    """Write <table>.md, <table>.csv and <table>.json."""
    write_text(folder / f"{table}.md", as_markdown(table, entries))
    write_csv(folder / f"{table}.csv", as_rows(entries))
    content = {
        "table": table,
        "source": published()[table]["source"],
        "entries": [asdict(e) for e in entries],
    }
    write_json(folder / f"{table}.json", content)


def as_markdown(table: str, entries: Sequence[Entry]) -> str:
    """A section for each column of the table."""
    metrics = " / ".join(TITLE_OF[metric] for metric in published()[table]["metrics"])
    lines = [
        f"# {TITLES[table]}",
        "",
        f"{metrics}, in percent. Published: {published()[table]['source']}.",
        "Best: the epoch that is best on the test set, as in the papers; last: the last epoch; mean ± standard",
        "deviation over the seeds. Untrained: the same encoder with its initial weights.",
    ]
    machines = sorted({machine for entry in entries for machine in entry.machines})
    if machines:
        lines += ["", f"Machine: {'; '.join(machines)}."]
    for column in dict.fromkeys(entry.column for entry in entries):
        own = [entry for entry in entries if entry.column == column]
        simulated = any(entry.simulated for entry in own)
        word = ", simulated" if simulated else ""
        lines += [
            "",
            f"## {column}{' (simulated data: not comparable with published figures)' * simulated}",
            "",
        ]
        header = [
            "method",
            "published",
            f"best{word}",
            "best - published",
            f"last{word}",
            f"untrained{word}",
        ]
        header += ["epoch", "seeds", "time", "note"]
        lines += [_line(header), _line(["---"] * len(header))]
        lines += [_line(_cells(entry)) for entry in own]
        lines += _conditions(own)
    return "\n".join(lines) + "\n"


def _cells(entry: Entry) -> list[str]:
    epochs = ", ".join(str(epoch) for epoch in entry.epochs if epoch is not None)
    return [
        entry.row,
        _numbers(entry.published),
        _numbers(entry.best, entry.spread),
        _numbers(entry.difference, sign="+"),
        _numbers(entry.last),
        _numbers(entry.untrained),
        epochs or "-",
        ", ".join(map(str, entry.seeds)) or "-",
        _time(entry.seconds) if entry.seeds else "-",
        entry.note,
    ]


def _conditions(entries: Sequence[Entry]) -> list[str]:
    """Data and settings of a column's rows."""
    data = next((entry.data for entry in entries if entry.data), {})
    lines = [""] + [f"Data: {_words(data)}."] * bool(data)
    reasons = dict.fromkeys(
        entry.missing for entry in entries if shorten(entry.missing) != entry.missing
    )
    lines += [f"Missing: {reason}." for reason in reasons]
    rows = [f"- {entry.row}: {_words(entry.settings)}" for entry in entries if entry.settings]
    return lines + ["", "Settings:", "", *rows] * bool(rows)


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {json.dumps(value) if isinstance(value, dict) else value}"
        for name, value in values.items()
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _numbers(
    values: Sequence[float] | None, spread: Sequence[float] | None = None, sign: str = ""
) -> str:
    """66.4/80.7, or with a spread 66.4±0.3/80.7±0.1; a dash where there are none."""
    if values is None:
        return "-"
    errors = [f"±{value:.1f}" for value in spread] if spread else [""] * len(values)
    return "/".join(
        f"{value:{sign}.1f}{error}" for value, error in zip(values, errors, strict=True)
    )


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def as_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A row of the CSV file for every metric of every entry, with full precision; None where there
    is no figure.
    """
    kinds = ("published", "best", "spread", "last", "difference", "untrained")
    rows = []
    for entry in entries:
        for i, metric in enumerate(entry.metrics):
            rows.append(
                {"table": entry.table, "column": entry.column, "row": entry.row, "metric": metric}
            )
            rows[-1] |= {
                kind: values[i] if (values := getattr(entry, kind)) else None for kind in kinds
            }
            rows[-1] |= {"seeds": " ".join(map(str, entry.seeds)), "seconds": entry.seconds}
            rows[-1] |= {"simulated": entry.simulated, "capped": entry.capped, "note": entry.note}
    return rows
