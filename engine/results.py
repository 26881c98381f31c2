"""Figures as text, JSON and CSV."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.files import write_whole

RETRIEVAL = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP"}
RECOGNITION = ("Rank-1", "Rank-5", "Rank-10", "nAUC", "nAUC CMC", "loss")
Rows = Iterable[tuple[str, Mapping[str, Any]]]


def retrieval_line(figures: Mapping[str, Any]) -> str:
    """Retrieval figures in percent, for the log."""
    return "  ".join(f"{title} {100 * figures[key]:.1f}" for key, title in RETRIEVAL.items())


def retrieval_table(rows: Rows, corner: str = "") -> str:
    """A text table of retrieval figures in percent, with a title in its corner."""
    rows = [(name, own, [f"{100 * own[key]:.1f}" for key in RETRIEVAL]) for name, own in rows]
    return _table(rows, corner, RETRIEVAL.values(), width=8)


def recognition_table(rows: Rows, corner: str = "") -> str:
    """The same of recognition figures; all but the loss in percent."""
    cells = []
    for name, own in rows:
        ranks = list(own["rank"].values())
        shares = [ranks[min(n, len(ranks)) - 1] for n in (1, 5, 10)]
        shares += [own["nAUC_roc"], own["nAUC_cmc"]]
        cells.append((name, own, [*(f"{100 * x:.1f}" for x in shares), f"{own['loss']:.2f}"]))
    return _table(cells, corner, RECOGNITION, width=9)


def _table(rows: list[tuple], corner: str, titles: Iterable[str], width: int) -> str:
    first = max(6, len(corner), *(len(name) for name, _, _ in rows))
    lines = [f"{corner:{first}}" + "".join(f"{title:>{width}}" for title in titles)]
    for name, own, cells in rows:
        epoch = f"   epoch {own['epoch']}" if own.get("epoch") is not None else ""
        lines.append(f"{name:{first}}" + "".join(f"{cell:>{width}}" for cell in cells) + epoch)
    return "\n".join(lines)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


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
