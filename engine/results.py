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
    def numbers(figures: Mapping[str, Any]) -> str:
        return "".join(f"{100 * figures[key]:8.1f}" for key in RETRIEVAL)

    return _table(rows, corner, "".join(f"{title:>8}" for title in RETRIEVAL.values()), numbers)


def recognition_table(rows: Rows, corner: str = "") -> str:
    """The same of recognition figures; all but the loss in percent."""
    def numbers(figures: Mapping[str, Any]) -> str:
        ranks = list(figures["rank"].values())
        shares = [ranks[min(n, len(ranks)) - 1] for n in (1, 5, 10)]
        shares += [figures["nAUC_roc"], figures["nAUC_cmc"]]
        return "".join(f"{100 * share:9.1f}" for share in shares) + f"{figures['loss']:9.2f}"

    return _table(rows, corner, "".join(f"{title:>9}" for title in RECOGNITION), numbers)


def _table(rows: Rows, corner: str, header: str, numbers) -> str:
    rows = list(rows)
    width = max([len(name) for name, _ in rows] + [6, len(corner)])
    lines = [f"{corner:{width}}{header}"]
    for name, figures in rows:
        epoch = f"   epoch {figures['epoch']}" if figures.get("epoch") is not None else ""
        lines.append(f"{name:{width}}{numbers(figures)}{epoch}")
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
