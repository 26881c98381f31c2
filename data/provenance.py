"""What is known of preprocessed data: whether they are simulated, and how they were split."""

import json
from pathlib import Path
from typing import Any

from common.errors import InputError
from data import datasets
from data.layouts import layouts
from data.prepare import SPLIT_FILE

KEPT = ("simulated", "seed", "joint_order", "windows")  # of split.json


def describe(
    dataset: str, length: int, root: str | Path = "Datasets", view: int | None = None
) -> dict[str, Any]:
    """What preprocess.py wrote beside the data: simulated, seed of the split, joint order, windows
    by split.

    {"simulated": False} for data from elsewhere, such as a download, and where there are none.
    Raises InputError for a damaged split.json, since figures from simulated data must not pass for
    others.
    """
    row = datasets.get(dataset)
    folders = dict.fromkeys(
        layout.train.parent for layout in layouts(row, length, Path(root), view)
    )
    file = next(
        (folder / SPLIT_FILE for folder in folders if (folder / SPLIT_FILE).is_file()), None
    )
    if file is None:
        return {"simulated": False}
    try:
        note = json.loads(file.read_text())
        if not isinstance(note, dict) or "simulated" not in note:
            raise ValueError("it does not say whether the data are simulated")
        found = {name: note[name] for name in KEPT if name in note}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{file}: expected what preprocess.py writes, found another or damaged file ({error}); "
            "make the data again"
        ) from error
    return {"simulated": False} | found
