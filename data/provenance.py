"""What is known of preprocessed data: whether they are simulated, and how they were split."""

import json
from pathlib import Path
from typing import Any

from data.datasets import Dataset, get
from data.files import broken
from data.layouts import layouts

SPLIT_FILE = "split.json"  # preprocess.py writes it beside the data
KEPT = ("seed", "joint_order", "split", "windows")


def describe(dataset: str | Dataset, length: int, root: str | Path = "Datasets",
             view: int | None = None) -> dict[str, Any]:
    """What preprocess.py wrote beside the data: whether they are simulated, and KEPT;
    {"simulated": False} for data from elsewhere, such as a download, or for none.

    InputError for a damaged split.json: figures from simulated data must not pass for others.
    """
    folders = (layout.folder for layout in layouts(get(dataset), length, Path(root), view))
    for file in (folder / SPLIT_FILE for folder in folders if (folder / SPLIT_FILE).is_file()):
        try:
            note = json.loads(file.read_text())
            kept = {name: note[name] for name in KEPT if name in note}
            return {"simulated": note["simulated"], **kept}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise broken(file, "what preprocess.py writes", f"{error!r}") from error
    return {"simulated": False}
