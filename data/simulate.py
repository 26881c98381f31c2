"""Simulated walkers as raw files, in the format of each data set (docs/06-formats.md).

    python -m data.simulate --dataset KS20 --raw .demo/raw
    python -m data.simulate --dataset KGBD --raw .demo/raw --persons 40 --frames 200 --seed 1

These walkers are made by a computer, in place of data sets that cannot be passed on. Every figure
made with them says so. Persons, recordings and sensor errors are drawn from the seed; the
same command writes the same bytes, and person k is the same for every number of persons (KS20: at
most 20). A file SIMULATED.txt beside the recordings names the settings.

What --frames and --recordings count, by default and (in brackets) from least to most; real files
have more frames, KGBD about 600 and KS20 about 100:

    BIWI     120 frames a walk   1 (1-4) walks, one after the other, in each folder of a person
    IAS      120 frames a walk   2 (1-4) walks, likewise
    KGBD     120 frames a file   5 (3-6) files a person
    KS20      30 frames a view   5 (5) views in each of 3 settings
    CASIA_B   80 frames a file   2 (1-6) videos nm of 11 views, a third as many (1, 2) of bg and cl
One recording in twenty is shorter, by up to a half.
"""

from pathlib import Path

from skeleton_reid.common.command_line import script_parser
from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.common.files import staging_folder
from skeleton_reid.data import datasets
from skeleton_reid.data.simulation import writers
from skeleton_reid.data.simulation.recording import Request

MARKER = "SIMULATED.txt"
# What writes a data set; frames and recordings by default; the least and the most recordings of a
# person that preprocess.py takes: KGBD's splits take one each, KS20 has 5 views; the most persons.
SIMULATIONS = {
    "BIWI": (writers.write_biwi, 120, 1, 1, 4), "IAS": (writers.write_ias, 120, 2, 1, 4),
    "KGBD": (writers.write_kgbd, 120, 5, 3, 6), "KS20": (writers.write_ks20, 30, 5, 5, 5, 20),
    "CASIA_B": (writers.write_casia, 80, 2, 1, 6)
}


def simulate(dataset: str, raw: Path, persons: int | None = None, frames: int | None = None,
             recordings: int | None = None, seed: int = 0) -> Path:
    """Write a simulated data set below `raw` and return its folder; None is the data set's default.

    An earlier simulation in the same place is replaced. InputError for sizes that it cannot have,
    as fewer recordings than its splits need, and for a folder that holds anything but a simulation.
    """
    write, usual_frames, usual_recordings, *bounds = SIMULATIONS[dataset]
    persons = datasets.get(dataset).persons if persons is None else persons
    frames = usual_frames if frames is None else frames
    recordings = usual_recordings if recordings is None else recordings
    limits = {"persons": (persons, 1, *(bounds[2:] or [100000])), "frames": (frames, 1, 10000)}
    limits |= {"recordings": (recordings, *bounds[:2]), "seed": (seed, 0, 2**32 - 1)}
    for name, (value, least, highest) in limits.items():
        if not least <= value <= highest:
            allowed = f"a number from {least} to {highest}"
            raise InputError(f"--{name}: expected {allowed} for {dataset}, found {value}")
    folder = Path(raw) / dataset
    if folder.exists() and not (folder / MARKER).is_file():
        raise InputError(f"{folder} is no simulation (it has no {MARKER}); choose another --raw")
    # Beside its place: an interruption leaves neither half a data set nor a mixture of two.
    with staging_folder(folder.parent, f".{dataset}-") as staging:
        written = staging / dataset
        written.mkdir()
        write(Request(dataset, written, persons, frames, recordings, seed))
        (written / MARKER).write_text(
            f"Simulated walkers, no recordings of persons: data.simulate --dataset {dataset} "
            f"--persons {persons} --frames {frames} --recordings {recordings} --seed {seed}\n")
        if folder.exists():
            folder.rename(staging / "replaced")
        written.rename(folder)
    return folder


def main() -> None:
    parser = script_parser(__doc__, prog="python -m data.simulate")
    option = parser.add_argument
    option("--dataset", required=True, choices=list(SIMULATIONS))
    option("--raw", type=Path, required=True, help="the data set's folder is made here")
    option("--persons", type=int, help="default: as many as the real set has")
    option("--frames", type=int, help="frames of a recording")
    option("--recordings", type=int, help="recordings of a person (see above)")
    option("--seed", type=int, default=0)
    args = parser.parse_args()
    folder = simulate(**vars(args))
    files = sum(1 for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    print(f"simulated {args.dataset}: {files} files in {folder}")


if __name__ == "__main__":
    run_command(main, go_on="run again")
