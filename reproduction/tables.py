"""Tables of published figures beside ours, as text, CSV and JSON."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
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
Figures = list[float] | None  # in percent, one a metric of the table


@dataclass(frozen=True)
class Entry:
    """A row of a column of a table."""

    table: str
    row: str
    column: str
    metrics: list[str]
    positions: str  # what the row sees of where a person stands
    published: Figures
    best: Figures
    spread: Figures  # standard deviation of best over the seeds
    last: Figures
    untrained: Figures
    difference: Figures  # best - published
    epochs: list[int | None]  # the best ones, by seed
    seeds: list[int]
    seconds: float
    machines: list[str]
    settings: dict[str, Any]
    data: dict[str, Any]
    simulated: bool
    capped: int | None  # the most epochs that were allowed
    missing: str
    note: str


def compare(cell: Cell, outcomes: Mapping[int, Outcome]) -> Entry:
    """An entry of a table from the outcomes of its runs, by seed."""
    papers = published()[cell.table]
    target = papers["rows"].get(cell.row.name, {}).get(cell.column.name)
    done = {seed: run for seed, run in outcomes.items() if isinstance(run, dict)}
    left = {seed: reason or "not run yet" for seed, reason in outcomes.items() if seed not in done}
    missing = [f"seed {seed}: {reason}" if done else reason for seed, reason in left.items()]
    results = [run["result"] for run in done.values()]
    ours = [figures(result, cell.column.probe) for result in results]

    def over_seeds(statistic: Callable, kind: str, least: int = 1) -> Figures:
        if len(ours) < least or not all(run[kind] for run in ours):
            return None
        return [statistic([100 * run[kind][name] for run in ours]) for name in papers["metrics"]]

    best, newest = over_seeds(fmean, "best"), results[-1] if results else {}
    simulated = any(result.get("data", {}).get("simulated") for result in results)
    difference = None
    if best and target and not simulated:
        difference = [a - b for a, b in zip(best, target, strict=True)]
    capped = next((run["key"]["epochs"] for run in done.values()), None)
    notes = [*map(shorten, missing)] if cell.jobs else [NOT_RUN]
    if capped:
        notes.append(f"epochs capped at {capped}")
    return Entry(table=cell.table, row=cell.row.name, column=cell.column.name,
                 metrics=papers["metrics"], positions=cell.row.positions, published=target,
                 best=best, spread=over_seeds(stdev, "best",
                                              least=2), last=over_seeds(fmean, "last"),
                 untrained=over_seeds(fmean, "untrained"), difference=difference,
                 epochs=[run["best"].get("epoch") for run in ours
                         ], seeds=list(done), seconds=sum(run["seconds"] for run in done.values()),
                 machines=sorted({run["made_by"]["machine"]
                                  for run in done.values()}), settings=newest.get("settings", {}),
                 data=newest.get("data", {}), simulated=simulated, capped=capped, missing="; ".join(
                     dict.fromkeys(missing)), note="; ".join(dict.fromkeys(notes)))  # fmt: skip


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
        content = {"table": table, "source": published()[table]["source"]}
        content["entries"] = [asdict(entry) for entry in entries]
        write_text(out / f"{table}.md", as_markdown(entries))
        write_csv(out / f"{table}.csv", as_rows(entries))
        write_json(out / f"{table}.json", content)


def as_markdown(entries: Sequence[Entry]) -> str:
    """The entries of a table, a section for each column."""
    papers = published()[entries[0].table]
    metrics, source = " / ".join(papers["metrics"]), papers["source"]
    lines = [f"# {papers['title']}\n", f"{metrics}, in percent. Published: {source}.", ABOUT]
    if machines := sorted({machine for entry in entries for machine in entry.machines}):
        lines.append(f"\nMachine: {'; '.join(machines)}.")
    for column in dict.fromkeys(entry.column for entry in entries):
        own = [entry for entry in entries if entry.column == column]
        warning = word = ""
        if any(entry.simulated for entry in own):
            warning = " (simulated data: not comparable with published figures)"
            word = ", simulated"
        rows = [_cells(entry, word) for entry in own]
        lines += [f"\n## {column}{warning}\n", *markdown_table(rows), ""]
        lines += [f"Data: {_listed(entry.data)}." for entry in own if entry.data][:1]
        missing = dict.fromkeys(entry.missing for entry in own)
        lines += [f"Missing: {reason}." for reason in missing if shorten(reason) != reason]
        settings = [f"- {entry.row}: {_listed(entry.settings)}" for entry in own if entry.settings]
        if settings:
            lines += ["\nSettings:\n", *settings]
    return "\n".join(lines) + "\n"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of a Markdown table with the rows' keys as header."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _cells(entry: Entry, word: str) -> dict[str, str]:
    epochs = ", ".join(str(epoch) for epoch in entry.epochs if epoch is not None)
    time = str(timedelta(seconds=round(entry.seconds))) if entry.seeds else "-"
    return {
        "method": entry.row, "published": _numbers(entry.published),
        f"best{word}": _numbers(entry.best, entry.spread),
        "best - published": _numbers(entry.difference, sign="+"),
        f"last{word}": _numbers(entry.last), f"untrained{word}": _numbers(entry.untrained),
        "epoch": epochs or "-", "seeds": ", ".join(map(str, entry.seeds)) or "-", "time": time,
        "positions": entry.positions, "note": entry.note
    }  # fmt: skip


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _numbers(values: Figures, spread: Figures = None, sign: str = "") -> str:
    """66.4/80.7, or with a spread 66.4±0.3/80.7±0.1; a dash where there are none."""
    texts = [f"{x:{sign}.1f}" for x in values or ()]
    if spread:
        texts = [f"{text}±{x:.1f}" for text, x in zip(texts, spread, strict=True)]
    return "/".join(texts) or "-"


def as_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Rows of the CSV file, one a metric of an entry, with full precision; None for no figure."""
    lists = ("published", "best", "spread", "last", "difference", "untrained")
    rows = []
    for entry in map(asdict, entries):
        for number, metric in enumerate(entry["metrics"]):
            row = {name: entry[name] for name in ("table", "column", "row")}
            row |= {"metric": metric, "seeds": " ".join(map(str, entry["seeds"]))}
            row |= {name: entry[name][number] if entry[name] else None for name in lists}
            row |= {name: entry[name] for name in ("seconds", "simulated", "capped", "note")}
            rows.append(row)
    return rows
