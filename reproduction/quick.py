"""What reproduce.py --quick runs on: simulated data and networks so small that everything runs."""

from collections.abc import Callable, Collection
from pathlib import Path

from data.raw.formats import find
from data.simulate import simulate
from reproduction.experiments import Cell

# Persons, frames, recordings; windows for a batch of 256 in every training set.
DATA = {"BIWI": (6, 60, 1), "IAS": (5, 50, 1), "KGBD": (6, 50, 4), "KS20": (5, 20, 5)}
DATA["CASIA_B"] = (8, 80, 1)
SMALL = {"train_simmc.py": ["--H", "32"], "train_age.py": ["--hidden", "16"]}
SMALL["train_smsge.py"] = ["--D_h", "16", "--P", "2"]


def make_data(cells: Collection[Cell], raw: Path, data: Path, preprocess: Callable) -> None:
    """Simulated raw files, and windows by preprocess.py's function; made once."""
    for name in dict.fromkeys(cell.column.dataset for cell in cells):
        lengths = sorted({cell.column.length for cell in cells if cell.column.dataset == name})
        done = data / f".{name}.{'.'.join(map(str, lengths))}.done"
        if not done.is_file():
            simulate(name, raw, *DATA[name])
            preprocess(name, find(name, raw), lengths, data, 0, "kinect")
            done.touch()
