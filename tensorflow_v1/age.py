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
from engine.recognisers import Recogniser
from models.age import AGE, AXES
from models.recognition import RecognitionNetwork
from reid.recognition import evaluate
from tensorflow_v1 import kinds, tf_checkpoint

ENCODERS = "Gait_Encoding_models"
ROWS = ("val", "val_2")  # of the first and the second test split


def read_encoders(path: Path, decoder_input: str) -> AGE:
    """The three encoders as one model.

    path: a checkpoint or the folder of any axis, or the folders without _x, _y, _z at their end.
    Raises InputError where one is missing, damaged, or something else.
    """
    variables = {}
    for axis, prefix in axes(path).items():
        kind, found = kinds.read(prefix)
        if kind != "AGE":
            raise InputError(
                f"{prefix}: expected AGE's encoder of axis {axis}, found a checkpoint of {kind}"
            )
        variables |= {f"{axis}/{name}": array for name, array in found.items()}
    return AGE.from_published(variables, decoder_input=decoder_input)


def axes(path: Path) -> dict[str, Path]:
    """The prefix of each axis' checkpoint, from the path of one of them. Raises InputError if one
    is missing.
    """
    prefix = tf_checkpoint.find(path)
    folder = prefix.parent if prefix else path
    stem = re.sub("_[xyz]$", "", folder.name)
    folders = {axis: folder.with_name(f"{stem}_{axis}") for axis in AXES}
    found = {
        axis: tf_checkpoint.find(f / prefix.name if prefix else f) for axis, f in folders.items()
    }
    lost = [str(folders[axis]) for axis in AXES if found[axis] is None]
    if lost:
        raise InputError(
            f"AGE has an encoder for each axis, in folders that end in _x, _y and _z: found none in {', '.join(lost)}"
        )
    return found


def encoders_of(prefix: Path) -> Path | None:
    """Where the encoders of a recogniser lie in the authors' folders; None if they are not
    there.
    """
    stem = re.sub("_RN_(ap|sc)$", "", prefix.parent.name)
    folder = prefix.parent.parent.parent / ENCODERS / stem
    return folder if folder.with_name(f"{stem}_x").is_dir() else None


def manner(network: RecognitionNetwork, path: Path) -> tuple[str, int | None]:
    """`ap`, or `sc` and the frames of its sequences, from the sizes: 3H inputs a row, or 3fH, with
    H hidden units.
    """
    inputs, width = network.arguments["inputs"], 3 * network.arguments["hidden"]
    if inputs % width:
        raise InputError(
            f"{path}: expected a recogniser of a multiple of {width} inputs, found {inputs}"
        )
    return ("ap", None) if inputs == width else ("sc", inputs // width)


def score_rows(
    content: Mapping[str, Any],
    prefix: Path,
    tests: Mapping[str, tuple[np.ndarray, np.ndarray]],
    protocol: str,
    device: torch.device,
) -> dict[str, dict[str, Any]]:
    """Figures of a recogniser on the feature rows kept beside it, by test split (the authors'
    evaluate.py).

    content: as of reid.published.content.read. tests: as of read_rows. Full: every sequence.
    Released: those in whole batches of rows. Raises InputError where the rows are not this
    recogniser's.
    """
    part, size = content["recogniser"], content["settings"]["batch_size"]
    recogniser = Recogniser(**part["arguments"])
    recogniser.load_state_dict(part["model"])
    recogniser.to(device)
    f = content["length"] if content["settings"]["manner"] == "ap" else 1
    inputs, persons = part["arguments"]["inputs"], part["arguments"]["persons"]
    figures = {}
    for test, (rows, labels) in tests.items():
        if rows.shape[1] != inputs or len(rows) < f or labels.max() >= persons:
            raise InputError(
                f"{prefix} recognises {persons} persons by {f} rows of {inputs} numbers, the rows of {test} beside "
                f"it are {rows.shape} of {labels.max() + 1} persons"
            )
        used = (
            len(rows) // size * size if protocol == "released" and len(rows) >= size else len(rows)
        )
        rows, labels = (
            rows[: used // f * f].reshape(-1, f, inputs),
            labels[: used // f * f].reshape(-1, f),
        )
        one = (labels == labels[:, :1]).all(axis=1)  # as released, should a sequence be cut
        scores = recogniser.scores(torch.from_numpy(rows[one]).to(device))
        figures[test] = {**evaluate(scores, labels[one, 0]), "epoch": None, "step": None}
    return figures


def read_rows(prefix: Path, tests: tuple[str, ...]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The rows (M, d) float32 and labels (M,) kept beside a recogniser, by test split.

    Raises InputError if there are none, or they are not arrays (of a clone without Git LFS, for
    example).
    """
    found = {}
    for test, name in zip(tests, ROWS, strict=False):
        files = [prefix.with_name(f"{name}_{part}.npy") for part in "Xy"]
        if all(file.is_file() for file in files):
            X, y = (_array(file) for file in files)  # y: one-hot
            if X.shape[0] != y.shape[0]:
                raise InputError(f"{files[0]} has {X.shape[0]} rows, {files[1]} has {y.shape[0]}")
            found[test] = X.astype(np.float32), y.argmax(axis=1)
    if not found:
        raise InputError(
            f"{prefix} is AGE's recogniser alone: name its encoders with --encoder FOLDER ({ENCODERS}/..., without "
            "_x, _y, _z), or put its feature rows val_X.npy and val_y.npy beside it"
        )
    return found


def _array(file: Path) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} is not a readable array (a Git LFS pointer?): {error}") from error
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise InputError(
            f"{file}: expected numbers (rows, columns), found {array.dtype} {array.shape}"
        )
    return array
