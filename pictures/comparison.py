"""Runs side by side: which may be averaged, how the others differ, and tables of their metrics."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

from markupsafe import Markup

from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.options import BASELINES
from skeleton_reid.engine.results import RETRIEVAL
from skeleton_reid.pictures.runs import SavedRun
from skeleton_reid.reproduction.experiments import PUBLISHED, TABLES

RECORDINGS = {f"recording_{key}": title for key, title in RETRIEVAL.items()}
RECOGNITION = {"rank1": "Rank-1", "nAUC_roc": "nAUC", "nAUC_cmc": "nAUC CMC"}
KINDS = {"Retrieval": RETRIEVAL, "Whole recordings": RECORDINGS, "Recognition": RECOGNITION}
SECTIONS = {
    "published": "Published", "baselines": "Baselines", "untrained": "Untrained",
    "best": "Methods, best epoch", "last": "Methods, last epoch"
}
STAGES = {"best": "", "last": ", last epoch", "untrained": ", untrained"}  # of a run, by section
COMPARED = ("baselines", "best", "last")  # of these the best is in bold
BOLD = {"text": "{}*", "markdown": "**{}**", "latex": r"\textbf{{{}}}", "html": Markup("<b>{}</b>")}
Row = dict[str, Any]  # table, data, section, method, supervision, epoch, runs, metrics and spread


class Group(NamedTuple):
    """Runs that differ by the seed alone, whose metrics may be averaged; or one run."""

    label: str
    runs: Sequence[SavedRun]


def group(runs: Sequence[SavedRun]) -> list[Group]:
    """Groups of runs. Those of one seed, which something that is not recorded tells apart, stand
    alone. A label is the run's name, or else its method, and what differs from others of the same.
    """
    alike: dict[str, list[SavedRun]] = defaultdict(list)
    for run in runs:
        alike[json.dumps(run.configuration, sort_keys=True)].append(run)
    groups: list[Sequence[SavedRun]] = []
    for own in alike.values():
        seeds = {run.content["seed"] for run in own}
        groups += [own] if len(seeds) == len(own) else [[run] for run in own]
    rows = [own[0].configuration for own in groups]
    labels = []
    for own, row in zip(groups, rows, strict=True):
        others = [other for other in rows if _title(other) == _title(row)]
        same_set = [other for other in others if other.get("dataset") == row.get("dataset")]
        compared = {n: same_set if n.startswith("data ") else others for n in row}
        differs = [n for n in row if any(other.get(n) != row[n] for other in compared[n])]
        label = ", ".join([_title(row), *(f"{name} {_short(row[name])}" for name in differs)])
        labels.append(label + (f" ({own[0].folder})" if rows.count(row) > 1 else ""))
    return [Group(*each) for each in zip(labels, groups, strict=True)]


def _title(row: Mapping[str, Any]) -> str:
    supervision = row.get("supervision", "none")
    return row.get("name") or row["method"] + (f" ({supervision})" if supervision != "none" else "")


def _short(value: Any) -> str:
    """A setting as it is; of a digest or a list the beginning."""
    text = str(value)
    return text if len(text) <= 16 else f"{text[:7]}…" + ("dirty" if "-dirty" in text else "")


def score(groups: Sequence[Group], sections: Collection[str] = SECTIONS) -> list[Row]:
    """Rows of these sections: shares as fractions, means and standard deviations over the runs."""
    found: dict[tuple[str, ...], Row] = {}
    for label, runs in groups:
        own = runs[0].content
        for kind, probe, parts in _scored([run.content for run in runs]):
            usual = "identities" if kind == "Recognition" else own.get("supervision", "none")
            results = {(stage, label + words): [part[stage] for part in parts if part.get(stage)]
                       for stage, words in STAGES.items()}
            for name, result in parts[0].get("baselines", {}).items():  # the same in every run
                if name in BASELINES and "top1" in result:  # else the joints do not allow it
                    title = f"{name}, descriptor" if name in METHODS else name
                    results["baselines", title] = [result]
            if any(results.values()):
                paper = f"{own['method']}, published"
                results["published", paper] = _published(own, kind, probe)
            for (section, name), rows in results.items():
                metrics = _summary(rows, KINDS[kind])
                if metrics and section in sections:
                    head = {
                        "table": kind, "data": runs[0].data_title(probe), "section": section,
                        "method": name, "supervision": rows[0].get("supervision", usual)
                    }
                    found.setdefault(tuple(head.values())[:4], head | metrics)
    return sorted(found.values(), key=lambda row: [*SECTIONS].index(row["section"]))


def _scored(contents: Sequence[Mapping]) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    """What runs are scored by: of KINDS, the probe or test, and what each run says of it."""
    for kind in ("Retrieval", "Whole recordings"):
        yield kind, contents[0]["probe"], [own.get("retrieval", own) for own in contents]
    for test in contents[0].get("tests", {}):
        yield "Recognition", test, [own.get("tests", {}).get(test, {}) for own in contents]


def _published(own: Mapping[str, Any], kind: str, probe: str) -> list[dict[str, float]]:
    """The method's published shares on these data, if any, with as much supervision."""
    usual = METHODS[own["method"].rpartition(" + ")[2]].settings().supervision
    table = PUBLISHED.get(kind.lower())
    if table is None or own["data"]["simulated"] or own.get("supervision") != usual:
        return []
    rows, data = table["rows"].get(own["method"], {}), (own["dataset"], probe, own["length"])
    columns = {(c.dataset, c.probe, c.length): c.name for c in TABLES[kind.lower()].columns}
    shares = rows.get(columns.get(data), [])
    return [{key: x / 100
             for key, x in zip(table["metrics"], shares, strict=True)}] if shares else []


def _summary(results: Sequence[Mapping[str, Any]], metrics: Collection[str]) -> Row:
    """Means and standard deviations, and the epochs, of several runs the first and the last; empty
    if no metric is known.
    """
    row: Row = {}
    for key in metrics:
        if shares := [own[key] for own in results if own.get(key) is not None]:
            row[key] = fmean(shares)
            row[f"{key}_std"] = stdev(shares) if len(shares) > 1 else None
    epochs = sorted({own["epoch"] for own in results if own.get("epoch") is not None})
    words = "-".join(map(str, dict.fromkeys([*epochs[:1], *epochs[-1:]])))
    return row and row | {"epoch": words, "runs": len(results)}


def by_table(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each protocol and data set, by a title."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[f"{row['table']}: {row['data']}"].append(row)
    return found


def cells(rows: Sequence[Row], form: str) -> list[dict[str, str]]:
    """The cells by column of a table's rows, in percent, the best in bold. form: of BOLD."""
    shown = [{"method": row["method"]} for row in rows]
    for key, title in KINDS[rows[0]["table"]].items():
        best = max((row.get(key, -1) for row in rows if row["section"] in COMPARED), default=-1)
        for row, own in zip(rows, shown, strict=True):
            spread = f" ± {100 * row[f'{key}_std']:.1f}" if row.get(f"{key}_std") else ""
            text = f"{100 * row[key]:.1f}{spread}" if key in row else "-"
            bold = row["section"] in COMPARED and row.get(key) == best
            own[title] = BOLD[form].format(text) if bold else text
    about = ("supervision", "epoch", "runs")
    return [
        own | {name: str(row[name]) for name in about}
        for row, own in zip(rows, shown, strict=True)
    ]


def markdown(cells: Sequence[Mapping[str, str]]) -> str:
    """A table with the cells' names as header."""
    lines = [list(cells[0]), ["---"] * len(cells[0]), *(row.values() for row in cells)]
    lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex(cells: Sequence[Mapping[str, str]]) -> str:
    """A tabular; it needs the package booktabs."""
    rows = [[re.sub(r"([%_#&$])", r"\\\1", cell).replace("±", r"$\pm$") for cell in row]
            for row in (cells[0], *(row.values() for row in cells))]
    lines = [" & ".join(row) + r" \\" for row in rows]
    begin = rf"\begin{{tabular}}{{l{'r' * (len(cells[0]) - 1)}}}"
    return "\n".join(
        [begin, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}"])
