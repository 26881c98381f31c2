"""The several files of a published AGE: an encoder for each axis, a recogniser, and the feature
rows kept beside it.

Models/Gait_Encoding_models/IAS_LA_x/trained_model.ckpt, ..._y/..., ..._z/...    encoders
Models/AGEs_RN_models/IAS_LA_RN_ap/trained_model.ckpt                            recogniser
Models/AGEs_RN_models/IAS_LA_RN_ap/val_X.npy, val_y.npy                          rows of its test A
Models/AGEs_RN_models/IAS_LA_RN_ap/val_2_X.npy, val_2_y.npy                      of its test B
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import InputError
from engine.recogniser import Recogniser
from models.age import AXES
from reid.recognition import evaluate
from tensorflow_v1 import bundle

ENCODERS = "Gait_Encoding_models"
ROWS = ("val", "val_2")  # of the first and the second test split


def encoder_prefixes(path: Path) -> dict[str, Path]:
    """The prefix of each axis' checkpoint. Raises InputError if one is missing.

    path: a checkpoint or the folder of any axis, or the folders without _x, _y, _z at their end.
    """
    prefix = bundle.find(path)
    stem = re.sub("_[xyz]$", "", str(prefix.parent if prefix else path))
    prefixes = {axis: bundle.find(Path(f"{stem}_{axis}")) for axis in AXES}
    if lost := [f"{stem}_{axis}" for axis in AXES if prefixes[axis] is None]:
        raise InputError(
            "AGE has an encoder for each axis, in folders that end in _x, _y and _z: "
            f"found none in {', '.join(lost)}"
        )
    return prefixes


def encoders_beside(prefix: Path) -> Path | None:
    """Where a recogniser's encoders lie in the authors' folders; None if they are not there."""
    stem = re.sub("_RN_(ap|sc)$", "", prefix.parent.name)
    folder = prefix.parent.parent.parent / ENCODERS / stem
    return folder if folder.with_name(f"{stem}_x").is_dir() else None


def score_rows(
    content: Mapping[str, Any],
    prefix: Path,
    tests: Mapping[str, tuple[np.ndarray, np.ndarray]],
    protocol: str,
    device: torch.device,
) -> dict[str, dict[str, Any]]:
    """Figures of a recogniser on the feature rows kept beside it, by test split (the authors'
    evaluate.py).

    content: as of convert. tests: as of read_rows. Full: every sequence. Released: those in whole
    batches of rows. Raises InputError where the rows are not this recogniser's.
    """
    part, settings = content["recogniser"], content["settings"]
    recogniser = Recogniser(**part["arguments"]).to(device)
    recogniser.load_state_dict(part["model"])
    f = content["length"] if settings["manner"] == "ap" else 1  # rows of a sequence
    size = settings["batch_size"] if protocol == "released" else 1
    inputs, persons = part["arguments"]["inputs"], part["arguments"]["persons"]
    figures = {}
    for test, (rows, labels) in tests.items():
        if rows.shape[1] != inputs or len(rows) < f or labels.max() >= persons:
            raise InputError(
                f"{prefix} recognises {persons} persons by {f} rows of {inputs} numbers, the rows "
                f"of {test} beside it are {rows.shape} of {labels.max() + 1} persons"
            )
        used = (len(rows) // size * size or len(rows)) // f * f
        rows, labels = rows[:used].reshape(-1, f, inputs), labels[:used].reshape(-1, f)
        one = (labels == labels[:, :1]).all(axis=1)  # as released, should a sequence be cut
        scores = recogniser.scores(torch.from_numpy(rows[one]).to(device))
        figures[test] = {**evaluate(scores, labels[one, 0]), "epoch": None, "step": None}
    return figures


def read_rows(prefix: Path, tests: tuple[str, ...]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The rows (M, d) float32 and labels (M,) kept beside a recogniser, by test split.

    Raises InputError if there are none, or they are not arrays (Git LFS pointers, for example).
    """
    arrays = {}
    for test, name in zip(tests, ROWS, strict=False):
        files = [prefix.with_name(f"{name}_{part}.npy") for part in "Xy"]
        if not all(file.is_file() for file in files):
            continue
        try:
            rows, labels = (np.load(file, allow_pickle=False) for file in files)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{files[0]} or {files[1].name} is no readable array (a Git LFS pointer?): {error}"
            ) from error
        if rows.ndim != 2 or labels.ndim != 2 or len(rows) != len(labels):
            raise InputError(
                f"{files[0]}: expected rows (M, d) with one-hot labels (M, persons), found "
                f"{rows.shape} with {labels.shape}"
            )
        arrays[test] = rows.astype(np.float32), labels.argmax(axis=1)
    if not arrays:
        raise InputError(
            f"{prefix} is AGE's recogniser alone: name its encoders with --encoder FOLDER "
            f"({ENCODERS}/..., without _x, _y, _z), or put its val_X.npy and val_y.npy beside it"
        )
    return arrays
