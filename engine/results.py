"""Metrics as text, JSON and CSV."""

import csv
import io
import json
import math
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skeleton_reid.common.files import write_whole
from skeleton_reid.common.log import fit

RETRIEVAL = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP"}
RECOGNITION = ("Rank-1", "Rank-5", "Rank-10", "nAUC", "nAUC CMC", "loss")
NARROW = 12  # letters in a line of a name, at least


def percent(share: float | None) -> str:
    """A share in percent; "-" if it is not known."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def retrieval_table(rows: Mapping[str, Mapping[str, Any]], corner: str = "") -> str:
    """A text table of retrieval metrics in percent; another of whole recordings where known."""
    usual, tables = "none" if any("supervision" in own for own in rows.values()) else "", []
    for prefix, words in (("", corner), ("recording_", "whole recordings")):
        lines = [{
            words: name, **{
                t: percent(own.get(prefix + key)) for key, t in RETRIEVAL.items()
            }, "supervision": own.get("supervision", usual), "epoch": str(own.get("epoch", ""))
        } for name, own in rows.items() if not prefix or f"{prefix}mAP" in own]  # fmt: skip
        tables += [text_table(lines)] if lines else []
    missing = {name: own["missing"] for name, own in rows.items() if "missing" in own}
    return "\n".join([*tables, *(fit(f"{name} is missing: {x}") for name, x in missing.items())])


def recognition_table(metrics: Mapping[str, Mapping[str, Any]], method: str,
                      corner: str = "") -> str:
    """Metrics of every test, as text, all but the loss in percent; best and last where there are
    epochs. corner: the title.
    """
    rows, lines = {}, []
    for name, row in metrics.items():
        if "epoch" in row.get("best", ()):
            rows |= {f"{method} {name} {which}": row[which] for which in ("best", "last")}
        else:
            rows[f"{method} {name}"] = row.get("best", row)
    for name, row in rows.items():
        ranks = list(row["rank"].values())
        shares = [ranks[min(n, len(ranks)) - 1] for n in (1, 5, 10)]
        shares += [row["nAUC_roc"], row["nAUC_cmc"]]
        cells = (name, *map(percent, shares), f"{row['loss']:.2f}", str(row.get("epoch", "")))
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


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The text of a CSV file, a line a row; cells without a value are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
