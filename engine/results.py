"""Metrics as text, JSON and CSV."""

import csv
import io
import json
import math
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from skeleton_reid.common.files import write_whole
from skeleton_reid.common.log import fit

RETRIEVAL = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP"}
RECOGNITION = ("Rank-1", "Rank-5", "Rank-10", "nAUC", "nAUC CMC", "loss")
NARROW = 12  # letters in a line of a name, at least
Rows = Iterable[tuple[str, Mapping[str, Any]]]


def percent(share: float | None) -> str:
    """A share in percent; "-" if it is not known."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def retrieval_table(rows: Rows, corner: str = "") -> str:
    """A text table of retrieval metrics in percent; another of whole recordings where known."""
    rows, tables = list(rows), []
    usual = "none" if any("supervision" in own for _, own in rows) else ""
    for prefix, words in (("", corner), ("recording_", "whole recordings")):
        lines = [{
            words: name, **{
                t: percent(own.get(prefix + key)) for key, t in RETRIEVAL.items()
            }, "supervision": own.get("supervision", usual), "epoch": str(own.get("epoch", ""))
        } for name, own in rows if not prefix or f"{prefix}mAP" in own]  # fmt: skip
        tables += [text_table(lines)] if lines else []
    missing = [f"{name} is missing: {own['missing']}" for name, own in rows if "missing" in own]
    return "\n".join([*tables, *map(fit, missing)])


def recognition_table(rows: Rows, corner: str = "") -> str:
    """The same of recognition metrics; all but the loss in percent."""
    lines = []
    for name, own in rows:
        ranks = list(own["rank"].values())
        shares = [ranks[min(n, len(ranks)) - 1] for n in (1, 5, 10)]
        shares += [own["nAUC_roc"], own["nAUC_cmc"]]
        cells = (name, *map(percent, shares), f"{own['loss']:.2f}", str(own.get("epoch", "")))
        lines.append(dict(zip((corner, *RECOGNITION, "epoch"), cells, strict=True)))
    return text_table(lines)


def text_table(rows: Sequence[Mapping[str, str]]) -> str:
    """A table without empty columns; the first one is wrapped where the terminal is narrow."""
    kept = [name for n, name in enumerate(rows[0]) if not n or any(row[name] for row in rows)]
    lines = [kept, *([row[name] for name in kept] for row in rows)]
    longest, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    room = shutil.get_terminal_size().columns - sum(widths)
    gap = 2 if room >= 2 * len(widths) + NARROW else 1
    first, text = min(longest, max(room - gap * len(widths), NARROW)), []
    for name, *cells in lines:
        *above, name = textwrap.wrap(name, first) or [""]
        numbers = [f"{cell:>{gap + width}}" for cell, width in zip(cells, widths, strict=True)]
        text += [*above, "".join([f"{name:{first}}", *numbers]).rstrip()]
    return "\n".join(text)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all; null stands for NaN, which JSON lacks."""
    content = json.loads(json.dumps(content), parse_constant=lambda _: None)
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file, a line a row, whole or not at all."""
    write_text(path, as_csv(rows))


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of a CSV file, a line a row; cells without a value are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
