"""Figures as a printed table and as JSON."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reid.errors import InputError

RETRIEVAL = {"top1": "top-1", "top5": "top-5", "top10": "top-10", "mAP": "mAP"}


def retrieval_table(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """A text table of retrieval figures in percent: a name and an evaluation result a row."""
    rows = list(rows)
    width = max([len(name) for name, _ in rows] + [6])
    lines = [f"{'':{width}}" + "".join(f"{title:>8}" for title in RETRIEVAL.values())]
    for name, result in rows:
        epoch = f"   epoch {result['epoch']}" if "epoch" in result else ""
        lines.append(f"{name:{width}}" + "".join(f"{100 * result[key]:8.1f}" for key in RETRIEVAL) + epoch)
    return "\n".join(lines)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all. Raises InputError if the place cannot be written."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all. Raises InputError if the place cannot be written."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"could not write {path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
