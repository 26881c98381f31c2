"""Simulated walkers as raw files, in the format of each data set (docs/6-formats.md).

    python -m data.simulate --dataset KS20 --raw .demo/raw
    python -m data.simulate --dataset KGBD --raw .demo/raw --persons 40 --frames 200 --seed 1

Nobody was recorded for these files: they stand in for data sets that cannot be passed on, and a
figure made with them says so. Persons, recordings and sensor errors are drawn from the seed; the
same command writes the same bytes, and person k is the same for every number of persons. A file
SIMULATED.txt beside the recordings names the settings.

What --frames and --recordings count, by default and (in brackets) from least to most:
    BIWI     120 frames a walk   1 (1-4) walks, one after the other, in each folder of a person
    IAS      120 frames a walk   2 (1-4) walks, likewise
    KGBD     120 frames a file   5 (3-6) files a person; the real files have about 600 frames
    KS20      30 frames a view   5 (5) views in each of 3 settings; the real ones have about 100
    CASIA_B   80 frames a file   2 (1-6) videos nm of 11 views, a third as many (1, 2) of bg and cl
One recording in twenty is shorter, by up to a half.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.command_line import script_parser
from common.errors import InputError, run_command
from common.files import staging_folder
from data import datasets
from data.simulation import writers
from data.simulation.recording import Request

MARKER = "SIMULATED.txt"


@dataclass(frozen=True)
class Simulation:
    """How a data set is written, the default sizes, and the bounds of a person's recordings: the
    least are what preprocess.py needs (KGBD's splits take one each, KS20 has five views).
    """

    write: Callable[[Request], None]
    frames: int
    recordings: int
    least_recordings: int
    most_recordings: int


SIMULATIONS = {
    "BIWI": Simulation(writers.write_biwi, 120, 1, 1, 4),
    "IAS": Simulation(writers.write_ias, 120, 2, 1, 4),
    "KGBD": Simulation(writers.write_kgbd, 120, 5, 3, 6),
    "KS20": Simulation(writers.write_ks20, 30, 5, 5, 5),
    "CASIA_B": Simulation(writers.write_casia, 80, 2, 1, 6),
}


def simulate(
    dataset: str,
    raw: Path,
    persons: int | None = None,
    frames: int | None = None,
    recordings: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a simulated data set below `raw` and return its folder; None is the data set's default.

    An earlier simulation in the same place is replaced. InputError for sizes beyond the real set's,
    for fewer recordings than its splits need and for a folder that holds anything but a simulation.
    """
    most, simulation = datasets.get(dataset).persons, SIMULATIONS[dataset]
    fewest, highest = simulation.least_recordings, simulation.most_recordings
    persons = _within(dataset, "persons", persons, most, 1, most)
    frames = _within(dataset, "frames", frames, simulation.frames, 1, 10000)
    recordings = _within(dataset, "recordings", recordings, simulation.recordings, fewest, highest)
    if not 0 <= seed < 2**32:
        raise InputError(f"expected a seed from 0 to {2**32 - 1}, found {seed}")
    folder = Path(raw) / dataset
    if folder.exists() and not (folder / MARKER).is_file():
        raise InputError(
            f"{folder} exists and is no simulation (it has no {MARKER}); choose another --raw"
        )
    # Beside its place: an interruption leaves neither half a data set nor a mixture of two.
    with staging_folder(folder.parent, f".{dataset}-") as staging:
        written = staging / dataset
        written.mkdir()
        simulation.write(Request(dataset, written, persons, frames, recordings, seed))
        (written / MARKER).write_text(
            f"Simulated walkers, no recordings of persons: data.simulate --dataset {dataset} "
            f"--persons {persons} --frames {frames} --recordings {recordings} --seed {seed}\n"
        )
        if folder.exists():
            folder.rename(staging / "replaced")
        written.rename(folder)
    return folder


def _within(dataset: str, name: str, value: int | None, default: int, least: int, most: int) -> int:
    """The value, or the default where it is None. InputError unless it is least ... most."""
    value = default if value is None else value
    if not least <= value <= most:
        allowed = f"a number from {least} to {most}" if least < most else f"{most}"
        raise InputError(f"--{name}: expected {allowed} for {dataset}, found {value} (see --help)")
    return value


def main() -> None:
    parser = script_parser(__doc__)
    parser.prog = "python -m data.simulate"
    parser.add_argument("--dataset", required=True, choices=list(SIMULATIONS))
    parser.add_argument(
        "--raw", type=Path, required=True, help="the data set's folder is made here"
    )
    parser.add_argument("--persons", type=int, help="default: as many as the real set has")
    parser.add_argument("--frames", type=int, help="frames of a recording")
    parser.add_argument("--recordings", type=int, help="recordings of a person (see above)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = simulate(args.dataset, args.raw, args.persons, args.frames, args.recordings, args.seed)
    files = sum(1 for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    print(f"simulated {args.dataset}: {files} files in {folder}")


if __name__ == "__main__":
    run_command(main, go_on="run again")
