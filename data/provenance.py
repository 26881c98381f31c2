"""What is known of preprocessed data: whether they are simulated, and how they were split."""

import json
from pathlib import Path
from typing import Any

from common.errors import InputError
from data import datasets
from data.layouts import layouts

SPLIT_FILE = "split.json"  # preprocess.py writes it beside the data
KEPT = ("simulated", "seed", "joint_order", "windows")


def describe(
    dataset: str, length: int, root: str | Path = "Datasets", view: int | None = None
) -> dict[str, Any]:
    """What preprocess.py wrote beside the data: simulated, seed of the split, joint order, windows
    by split; {"simulated": False} for data from elsewhere, such as a download, or for none.

    InputError for a damaged split.json: figures from simulated data must not pass for others.
    """
    for layout in layouts(datasets.get(dataset), length, Path(root), view):
        file = layout.train.parent / SPLIT_FILE
        if file.is_file():
            try:
                note = json.loads(file.read_text())
                if isinstance(note, dict) and "simulated" in note:
                    return {name: note[name] for name in KEPT if name in note}
                problem = "it does not say whether the data are simulated"
            except (OSError, ValueError) as error:
                problem = error
            raise InputError(
                f"{file}: expected what preprocess.py writes, found another or damaged file "
                f"({problem}); make the data again"
            )
    return {"simulated": False}
