"""Pictures of what a model has learned, as PNG files."""

from pathlib import Path

import numpy as np

from reid.files import write_whole


def alignment(path: Path, matrices: np.ndarray, target: np.ndarray, title: str) -> None:
    """Draw AGE's attention beside what the locality mask asks for.

    matrices: mean alignment of the axes x, y, z (3, f, f), rows are decoder steps, columns frames; rows sum to 1.
    target: the locality mask (f, f). Raises InputError if the file cannot be written.
    """
    from matplotlib.figure import Figure  # here, because it is slow to load

    figure = Figure(figsize=(13, 3.6))
    figure.suptitle(title)
    places = figure.subplots(1, 4)
    figure.subplots_adjust(left=0.05, right=0.95, top=0.82, bottom=0.15, wspace=0.5)
    panels = {f"axis {axis}": matrix for axis, matrix in zip("xyz", matrices, strict=True)}
    panels["locality mask"] = target
    for place, (name, matrix) in zip(places, panels.items(), strict=True):
        # One colour scale for the three axes, so that they compare; the mask is not normalised.
        image = place.imshow(matrix, vmin=0, vmax=1 if name == "locality mask" else matrices.max())
        place.set(title=name, xlabel="frame", ylabel="decoder step")
        figure.colorbar(image, ax=place, fraction=0.046)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))
