"""Figures as a printed table and as JSON."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_whole

RETRIEVAL = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP"}


def retrieval_table(rows: Iterable[tuple[str, Mapping[str, Any]]], corner: str = "") -> str:
    """A text table of retrieval figures in percent: a name and an evaluation result a row. corner:
    its title.
    """
    rows = list(rows)
    width = max([len(name) for name, _ in rows] + [6, len(corner)])
    lines = [f"{corner:{width}}" + "".join(f"{title:>8}" for title in RETRIEVAL.values())]
    for name, result in rows:
        epoch = f"   epoch {result['epoch']}" if result.get("epoch") is not None else ""
        lines.append(
            f"{name:{width}}" + "".join(f"{100 * result[key]:8.1f}" for key in RETRIEVAL) + epoch
        )
    return "\n".join(lines)


def recognition_table(rows: Iterable[tuple[str, Mapping[str, Any]]], corner: str = "") -> str:
    """A text table of recognition figures: a name and an evaluation result a row; all but the loss
    in percent.
    """
    rows = list(rows)
    width = max([len(name) for name, _ in rows] + [6, len(corner)])
    titles = ("Rank-1", "Rank-5", "Rank-10", "nAUC", "nAUC CMC", "loss")
    lines = [f"{corner:{width}}" + "".join(f"{title:>9}" for title in titles)]
    for name, result in rows:
        ranks = list(result["rank"].values())
        shares = [ranks[min(n, len(ranks)) - 1] for n in (1, 5, 10)] + [
            result["nAUC_roc"],
            result["nAUC_cmc"],
        ]
        epoch = f"   epoch {result['epoch']}" if result.get("epoch") is not None else ""
        lines.append(
            f"{name:{width}}"
            + "".join(f"{100 * x:9.1f}" for x in shares)
            + f"{result['loss']:9.2f}{epoch}"
        )
    return "\n".join(lines)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    write_whole(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file, a line a row, whole or not at all; a cell is empty where a row has no value
    or None.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_array(path: Path, values: Iterable[float]) -> None:
    """Write numbers as a float64 .npy file, whole or not at all."""
    write_whole(path, lambda file: np.save(file, np.array(list(values), dtype=np.float64)))
