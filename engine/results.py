"""Metrics as text, JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
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
    rows = list(rows)
    whole, says = (any(key in own for _, own in rows) for key in ("recording_mAP", "supervision"))
    of_recordings = {f"recording_{key}": f"rec. {title}" for key, title in RETRIEVAL.items()}
    titles = RETRIEVAL | (of_recordings if whole else {})
    cells = []
    for name, own in rows:
        shares = [percent(own[key]) if key in own else "" for key in titles]
        cells.append((name, [*shares, *[own.get("supervision", "none")] * says], own))
    return _table(cells, corner, [*titles.values(), *["supervision"] * says], width=8)


def recognition_table(rows: Rows, corner: str = "") -> str:
    """The same of recognition metrics; all but the loss in percent."""
    cells = []
    for name, own in rows:
        ranks = list(own["rank"].values())
        shares = [ranks[min(n, len(ranks)) - 1] for n in (1, 5, 10)]
        shares += [own["nAUC_roc"], own["nAUC_cmc"]]
        cells.append((name, [*(f"{100 * x:.1f}" for x in shares), f"{own['loss']:.2f}"], own))
    return _table(cells, corner, RECOGNITION, width=9)


def _table(rows: list[tuple], corner: str, titles: Collection[str], width: int) -> str:
    rows = [(corner, titles, {}), *rows]
    first = max(6, *(len(name) for name, _, _ in rows))
    columns = zip(*(cells for _, cells, _ in rows), strict=True)
    widths = [max(width, *(len(cell) + 2 for cell in column)) for column in columns]
    lines = []
    for name, cells, own in rows:
        line = "".join(f"{cell:>{size}}" for cell, size in zip(cells, widths, strict=True))
        epoch = f"   epoch {own['epoch']}" if own.get("epoch") is not None else ""
        missing = f"   missing: {own['missing']}" if "missing" in own else ""
        lines.append(f"{name:{first}}{line}{epoch}{missing}")
    return "\n".join(lines)


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
