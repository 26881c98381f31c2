"""Feature files: .npz without pickles; arrays `features` (N, d), `labels` (N,) and optionally
`frames` (N, f, d).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

import numpy as np

from common.errors import InputError
from common.files import write_whole


@dataclass(frozen=True)
class Features:
    """Sequence features (N, d) float32, labels (N,) int64, and frame features (N, f, d) where they
    are kept.
    """

    features: np.ndarray
    labels: np.ndarray
    frames: np.ndarray | None = None


def part_path(path: Path, part: str) -> Path:
    """FILE.npz -> FILE.train.npz, FILE.probe.npz, ..."""
    return path.with_name(f"{path.name.removesuffix('.npz')}.{part}.npz")


def write(path: Path, features: Features) -> None:
    """Write one feature file, whole or not at all. Raises InputError if it cannot be."""
    arrays = {
        "features": features.features.astype(np.float32),
        "labels": features.labels.astype(np.int64),
    }
    if features.frames is not None:
        arrays["frames"] = features.frames.astype(np.float32)
    write_whole(path, lambda file: np.savez(file, **arrays))


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of these names that a feature file has, as they are.

    Raises InputError if the file is missing, damaged, or no .npz, and for pickled arrays.
    """
    if not path.is_file():
        folder = " (it is a folder)" if path.is_dir() else ""
        raise InputError(
            f"no feature file at {path}{folder}; a training script writes it with --save_features FILE.npz"
        )
    try:
        with path.open("rb") as file:
            if not is_zipfile(file):
                raise ValueError("it is no .npz archive")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file.files}
    except Exception as error:  # other bytes than those of such a file can raise anything
        reason = "it holds pickled objects" if "pickle" in str(error) else error
        raise InputError(
            f"{path} is not a readable feature file (.npz without pickles): {reason}"
        ) from error


def read(path: Path) -> Features:
    """Read one feature file. Raises InputError if it is missing, damaged, pickled or of the wrong
    shape.
    """
    arrays = read_arrays(path, ("features", "labels", "frames"))
    for name, axes in (("features", 2), ("labels", 1)):
        if name not in arrays or arrays[name].ndim != axes:
            found = tuple(arrays[name].shape) if name in arrays else "none"
            raise InputError(f"{path}: expected an array {name!r} with {axes} axes, found {found}")
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(f"{path}: arrays of different lengths: {sizes}")
    frames = arrays.get("frames")
    if frames is not None and frames.ndim != 3:
        raise InputError(
            f"{path}: expected an array 'frames' (N, f, d), found shape {frames.shape}"
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise InputError(
                f"{path}: expected numbers in {name!r}, found values of type {array.dtype}"
            )
    if (np.mod(arrays["labels"], 1) != 0).any():
        raise InputError(f"{path}: expected whole numbers in 'labels', found others")
    if len(arrays["labels"]) == 0:
        raise InputError(f"{path}: expected features of sequences, found none")
    for name in arrays.keys() - {"labels"}:
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"{path}: the {name} hold NaN or infinite values")
    return Features(
        arrays["features"].astype(np.float32),
        arrays["labels"].astype(np.int64),
        None if frames is None else frames.astype(np.float32),
    )
