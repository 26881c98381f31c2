"""Raw data sets to the windows that the training scripts read.

    python preprocess.py 6                                   # every data set found below the current folder
    python preprocess.py 4 6 8 10 12 --dataset KGBD --raw DIR
    python preprocess.py all --dataset KS20 --raw DIR --out Datasets --seed 1
    python preprocess.py 6 --dataset KGBD --joint_order file # KGBD's joints as the papers had them

Every data set lands in OUT/<name>/<F>/ (CASIA_B: also OUT/CASIA_B_match/<F>/) with split.json
beside it, which says where every recording went. The same raw files and the same seed give the same
files. What cannot be made (recordings too short for a length, broken files) does not stop the rest:
it is named at the end, with exit code 2.
"""

import argparse
import logging
from pathlib import Path

from common.command_line import script_parser, seed_number
from common.errors import InputError, collected, raise_collected, run_command
from data import datasets
from data.prepare import warn_duplicates, warn_short, write
from data.raw.formats import RAW, arrange, find
from data.raw.kgbd import JOINT_ORDERS
from data.simulate import MARKER


def parse_arguments() -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument(
        "lengths", nargs="+", metavar="F", help="window lengths in frames, or `all` published ones"
    )
    parser.add_argument("--dataset", default="all", choices=["all", *datasets.DATASETS])
    parser.add_argument(
        "--raw", type=Path, default=Path(), help="folder of the raw data sets (default: this one)"
    )
    parser.add_argument("--out", type=Path, default=Path("Datasets"))
    parser.add_argument(
        "--seed", type=seed_number, default=0, help="seed of the splits that are drawn (KGBD, KS20)"
    )
    parser.add_argument(
        "--joint_order",
        choices=JOINT_ORDERS,
        default="kinect",
        help="order of KGBD's joints; others have one",
    )
    return parser.parse_args()


def wanted_lengths(words: list[str]) -> list[int] | None:
    """The lengths to write, each once; None for `all`. Raises InputError for anything but numbers
    from 2 on.
    """
    if words == ["all"]:
        return None
    if not all(word.isdecimal() and int(word) >= 2 for word in words):
        raise InputError(f"expected window lengths from 2 on, or `all`, found {' '.join(words)!r}")
    return list(dict.fromkeys(map(int, words)))


def preprocess(
    dataset: str,
    folder: Path,
    lengths: list[int] | None,
    out: Path,
    seed: int = 0,
    joint_order: str = "kinect",
) -> None:
    """Read one raw data set once and write it at every length (None: the published ones).

    Raises InputError for broken raw data, and for what cannot be written, once all else is.
    """
    simulated = any((place / MARKER).exists() for place in (folder, folder.parent))
    print(f"{dataset}{' (simulated)' if simulated else ''}: reading {folder}", flush=True)
    recordings = RAW[dataset].read(folder, joint_order)
    arrangements = arrange(dataset, recordings, seed)
    frames = sum(len(recording.frames) for recording in recordings)
    persons = len({recording.person for recording in recordings})
    print(
        f"{dataset}: {len(recordings)} recordings, {persons} persons, {frames} frames", flush=True
    )
    warn_duplicates(dataset, recordings, arrangements[0])
    errors: list[InputError] = []
    for length in lengths or sorted({length for each in arrangements for length in each.lengths}):
        warn_short(dataset, recordings, arrangements[0], length)
        for arrangement in arrangements:
            if lengths or length in arrangement.lengths:
                settings = {"simulated": simulated, "seed": seed, "joint_order": joint_order}
                with collected(errors):
                    target, counts = write(dataset, recordings, arrangement, length, out, settings)
                    windows = ", ".join(f"{split} {count}" for split, count in counts.items())
                    print(f"{target}: windows {windows}", flush=True)
    raise_collected(errors)


def main() -> None:
    args = parse_arguments()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    names = list(datasets.DATASETS) if args.dataset == "all" else [args.dataset]
    lengths = wanted_lengths(args.lengths)
    found, missing = {}, []
    for name in names:
        try:
            found[name] = find(name, args.raw)
        except InputError as error:
            missing.append(error)
    if args.dataset != "all" and missing:
        raise missing[0]
    if not found:
        raise InputError(
            f"expected raw data sets below {args.raw}, found none of {', '.join(names)}; give --raw DIR, "
            f"or simulate one: python -m data.simulate --dataset {names[0]} --raw {args.raw}"
        )
    for error in missing:
        print(f"skipped {error}")
    errors: list[InputError] = []
    for name, folder in found.items():
        with collected(errors):
            preprocess(name, folder, lengths, args.out, args.seed, args.joint_order)
    raise_collected(errors)


if __name__ == "__main__":
    run_command(main, go_on="run again")
