"""Metrics as text, JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from skeleton_reid.common.files import write_whole

RETRIEVAL = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP"}
RECOGNITION = ("Rank-1", "Rank-5", "Rank-10", "nAUC", "nAUC CMC", "loss")
Rows = Iterable[tuple[str, Mapping[str, Any]]]


def retrieval_line(metrics: Mapping[str, Any]) -> str:
    """Retrieval metrics in percent, for the log."""
    return "  ".join(f"{title} {percent(metrics[key])}" for key, title in RETRIEVAL.items())


def percent(share: float | None) -> str:
    """A share in percent; "-" if it is not known."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def retrieval_table(rows: Rows, corner: str = "") -> str:
    """A text table of retrieval metrics in percent, where they are known also of recordings."""
    rows, titles = list(rows), dict(RETRIEVAL)
    if any("recording_mAP" in own for _, own in rows):
        titles |= {f"recording_{key}": f"rec. {title}" for key, title in RETRIEVAL.items()}
    lines = [[percent(own[key]) if key in own else "" for key in titles] for _, own in rows]
    header = [*titles.values()]
    if any("supervision" in own for _, own in rows):
        header.append("supervision")
        for line, (_, own) in zip(lines, rows, strict=True):
            line.append(own.get("supervision", "none"))
    return _table(rows, lines, [corner, *header], width=8)


def recognition_table(rows: Rows, corner: str = "") -> str:
    """The same of recognition metrics; all but the loss in percent."""
    rows, lines = list(rows), []
    for _, own in rows:
        ranks = list(own["rank"].values())
        shares = [ranks[min(n, len(ranks)) - 1] for n in (1, 5, 10)]
        shares += [own["nAUC_roc"], own["nAUC_cmc"]]
        lines.append([*(f"{100 * x:.1f}" for x in shares), f"{own['loss']:.2f}"])
    return _table(rows, lines, [corner, *RECOGNITION], width=9)


def _table(rows: Rows, lines: Sequence[Sequence[str]], header: Sequence[str], width: int) -> str:
    """The rows' names, their cells (lines), and epoch or what is missing behind them."""
    table = [header, *([name, *line] for (name, _), line in zip(rows, lines, strict=True))]
    first, *widths = (max(len(cell) + 2 for cell in column) for column in zip(*table, strict=True))
    text = []
    for (name, *cells), own in zip(table, [{}, *(own for _, own in rows)], strict=True):
        line = f"{name:{max(6, first - 2)}}"
        line += "".join(f"{x:>{max(width, n)}}" for x, n in zip(cells, widths, strict=True))
        if own.get("epoch") is not None:
            line += f"   epoch {own['epoch']}"
        if "missing" in own:
            line += f"   missing: {own['missing']}"
        text.append(line)
    return "\n".join(text)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all; null stands for NaN, which JSON lacks."""
    write_text(path, json.dumps(_without_nan(content), indent=1) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_without_nan, value))
    return None if isinstance(value, float) and math.isnan(value) else value


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file, a line a row, whole or not at all; cells without a value are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
