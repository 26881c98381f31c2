"""Figures as text, JSON and CSV."""

import csv
import io
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.files import write_whole

RETRIEVAL = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP"}
RECOGNITION = ("Rank-1", "Rank-5", "Rank-10", "nAUC", "nAUC CMC", "loss")
RECORDINGS = "   recordings"
Rows = Iterable[tuple[str, Mapping[str, Any]]]


def retrieval_line(figures: Mapping[str, Any]) -> str:
    """Retrieval figures in percent, for the log."""
    return "  ".join(f"{title} {100 * figures[key]:.1f}" for key, title in RETRIEVAL.items())


def retrieval_table(rows: Rows, corner: str = "") -> str:
    """A text table of retrieval figures in percent, with a title in its corner.

    Beside them those of whole recordings, and what the features know of the training windows, where
    a row says so: nothing if it does not.
    """
    rows = list(rows)
    whole, knows = (any(key in own for _, own in rows) for key in ("recording_mAP", "knows"))
    keys = [*RETRIEVAL, *(f"recording_{key}" for key in RETRIEVAL if whole)]
    titles = [*RETRIEVAL.values(), *(f"rec. {title}" for title in RETRIEVAL.values() if whole)]
    cells = []
    for name, own in rows:
        shares = [f"{100 * own[key]:.1f}" if key in own else "" for key in keys]
        cells.append((name, own, [*shares, *[own.get("knows", "nothing")] * knows]))
    return _table(cells, corner, [*titles, *["knows"] * knows], width=8)


def recognition_table(rows: Rows, corner: str = "") -> str:
    """The same of recognition figures; all but the loss in percent."""
    cells = []
    for name, own in rows:
        ranks = list(own["rank"].values())
        shares = [ranks[min(n, len(ranks)) - 1] for n in (1, 5, 10)]
        shares += [own["nAUC_roc"], own["nAUC_cmc"]]
        cells.append((name, own, [*(f"{100 * x:.1f}" for x in shares), f"{own['loss']:.2f}"]))
    return _table(cells, corner, RECOGNITION, width=9)


def _table(rows: list[tuple], corner: str, titles: Collection[str], width: int) -> str:
    first = max(6, len(corner), *(len(name) for name, _, _ in rows))
    columns = zip(titles, *(cells for _, _, cells in rows), strict=True)
    widths = [max(width, *(len(cell) + 2 for cell in column)) for column in columns]
    lines = [f"{corner:{first}}" + _row(titles, widths)]
    for name, own, cells in rows:
        epoch = f"   epoch {own['epoch']}" if own.get("epoch") is not None else ""
        missing = f"   missing: {own['missing']}" if "missing" in own else ""
        lines.append(f"{name:{first}}" + _row(cells, widths) + epoch + missing)
    return "\n".join(lines)


def _row(cells: Iterable[str], widths: Iterable[int]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


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
