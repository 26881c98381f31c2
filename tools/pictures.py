"""Pictures of what a model has learned, in the formats that matplotlib writes."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.command_line import output_file
from common.files import write_whole


def picture_file(text: str) -> Path:
    """argparse type: a file that can be written, with a suffix that matplotlib knows as a
    format.
    """
    from matplotlib.backend_bases import FigureCanvasBase  # here, because it is slow to load

    path, known = output_file(text), sorted(FigureCanvasBase.get_supported_filetypes())
    if _format(path) not in known:
        raise argparse.ArgumentTypeError(
            f"expected a picture file that ends in .{', .'.join(known)}, found {text!r}"
        )
    return path


def _format(path: Path) -> str:
    """The format that a file's suffix stands for, as matplotlib calls it."""
    return path.suffix.lower().removeprefix(".")


def alignment(
    path: Path, matrices: Mapping[str, np.ndarray], target: np.ndarray, title: str
) -> None:
    """Draw AGE's attention beside what the locality mask asks for, a row for each model.

    matrices: by model, the mean alignment of the axes x, y, z (3, f, f), rows are decoder steps,
    columns frames; rows sum to 1. target: the locality mask (f, f). The file's suffix chooses the
    format. Raises InputError if the file cannot be written.
    """
    from matplotlib.figure import Figure  # here, because it is slow to load

    figure = Figure(figsize=(13, 0.5 + 3.1 * len(matrices)), layout="constrained")
    figure.suptitle(title)
    # One colour scale for all models and axes, so that they compare; the mask is not normalised.
    top = max(matrix.max() for matrix in matrices.values())
    for places, (model, axes) in zip(
        figure.subplots(len(matrices), 4, squeeze=False), matrices.items(), strict=True
    ):
        panels = {
            f"{model}, axis {axis}": (matrix, top) for axis, matrix in zip("xyz", axes, strict=True)
        }
        panels["locality mask"] = target, 1
        for place, (name, (matrix, most)) in zip(places, panels.items(), strict=True):
            image = place.imshow(matrix, vmin=0, vmax=most)
            place.set(title=name, xlabel="frame", ylabel="decoder step")
            figure.colorbar(image, ax=place, fraction=0.046)
    write_whole(path, lambda file: figure.savefig(file, format=_format(path), dpi=110))
