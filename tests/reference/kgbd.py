"""A raw file of KGBD, read line by line, unchecked."""

from pathlib import Path

import numpy as np


def read_file(path: Path) -> np.ndarray:
    """Frames (n, 20, 3) of a file of lines `Name;x;y;z`."""
    coordinates = []
    with path.open() as file:
        for line in file:
            _, x, y, z = line.split(";")
            coordinates.append([float(x), float(y), float(z)])
    frames = len(coordinates) // 20
    return np.array(coordinates[:frames * 20]).reshape(frames, 20, 3)
