"""Cut raw data sets into the windows that the training scripts read.

    python preprocess.py 6                                   # every data set below this folder
    python preprocess.py 4 6 8 10 12 --dataset KGBD --raw DIR
    python preprocess.py all --dataset KS20 --raw DIR --out Datasets --seed 1
    python preprocess.py 6 --dataset KGBD --joint_order file # KGBD's joints as the papers had them
    python preprocess.py 6 --split windows                   # random test windows (docs/05)
    python preprocess.py 6 --dataset my_data.yaml            # your own (docs/09-own-data.md)

Every data set lands in OUT/<name>/<F>/, with split.json beside it, which says where every recording
went. What cannot be made does not stop the rest: it is named at the end, with exit code 2.
"""

from pathlib import Path

from skeleton_reid.common.command_line import positive_int, script_parser, seed_number
from skeleton_reid.common.errors import InputError, collected, raise_collected, run_command
from skeleton_reid.common.log import fit, start_log
from skeleton_reid.data.datasets import DATASETS, Dataset, get
from skeleton_reid.data.plausible import report
from skeleton_reid.data.prepare import warn_short, write
from skeleton_reid.data.raw.formats import arrange, find, raw_of
from skeleton_reid.data.raw.kgbd import JOINT_ORDERS
from skeleton_reid.data.simulate import MARKER


def wanted_lengths(words: list[str]) -> list[int] | None:
    """The lengths to write, each once; None for `all`. InputError for anything but 2, 3, …"""
    if words == ["all"]:
        return None
    if not all(word.isdecimal() and int(word) >= 2 for word in words):
        raise InputError(f"expected window lengths from 2 on, or `all`, found {' '.join(words)!r}")
    return list(dict.fromkeys(map(int, words)))


def preprocess(dataset: Dataset, folder: Path, lengths: list[int] | None, out: Path, seed: int,
               joint_order: str, split: str = "recordings", stride: int | None = None,
               jobs: int = 1) -> None:
    """Read one raw data set once and write it at every length; InputError once all else is done."""
    simulated = any((place / MARKER).exists() for place in (folder, folder.parent))
    name = dataset.name
    print(f"{name}{' (simulated)' if simulated else ''}: reading {folder}", flush=True)
    recordings = raw_of(dataset).read(folder, joint_order, jobs)
    arrangements = arrange(dataset, recordings, seed)
    frames, persons = sum(len(own.frames) for own in recordings), {own.person for own in recordings}
    print(f"{name}: {len(recordings)} recordings, {len(persons)} persons, {frames} frames")
    for own in recordings:
        if own.lost:
            print(fit(f"  {own.name}: {len(own.frames)} frames, {own.losses()}"))
    report(dataset, *zip(*arrangements[0].pairs, strict=True))
    settings = {"simulated": simulated, "seed": seed, "joint_order": joint_order, "split": split}
    settings |= {"stride": stride} if stride else {}
    errors: list[InputError] = []
    for length in lengths or sorted({length for each in arrangements for length in each.lengths}):
        warn_short(dataset, arrangements[0], length)
        for arrangement in arrangements:
            if lengths or length in arrangement.lengths:
                with collected(errors):
                    target, counts = write(dataset, arrangement, length, out, settings)
                    windows = ", ".join(f"{split} {count}" for split, count in counts.items())
                    print(fit(f"{target}: windows {windows}"), flush=True)
    raise_collected(errors)


def main() -> None:
    parser = script_parser(__doc__, "F [F ...] [options]")
    option = parser.add_argument
    option("lengths", nargs="+", metavar="F", help="window lengths in frames, or `all`")
    option("--dataset", default="all", metavar="NAME",
           help=f"{', '.join(DATASETS)}, all (default), or FILE.yaml (docs/09-own-data.md)")
    option("--raw", type=Path, default=Path(), help="folder of the raw data (this one)")
    option("--out", type=Path, default=Path("Datasets"), help="folder of the windows (Datasets)")
    option("--seed", type=seed_number, default=0, help="seed of splits that are drawn (0)")
    option("--joint_order", choices=JOINT_ORDERS, default="kinect", help="order of KGBD's joints")
    option("--split", choices=["recordings", "windows"], default="recordings",
           help="what is drawn; windows: not a test of recognition (recordings)")
    option("--stride", type=positive_int, metavar="N",
           help="frames from one window to the next (as published)")
    option("--jobs", type=positive_int, default=1, metavar="N", help="processes that read (1)")
    args = parser.parse_args()
    start_log(quiet=False)
    datasets = list(DATASETS.values()) if args.dataset == "all" else [get(args.dataset)]
    lengths, folders = wanted_lengths(args.lengths), []
    missing: list[InputError] = []
    for dataset in datasets:
        with collected(missing):
            folders.append((dataset, find(dataset, args.raw)))
    if args.dataset != "all":
        raise_collected(missing)
    if not folders:
        raise InputError(f"expected {' or '.join(DATASETS)} below {args.raw}, found none; give "
                         "--raw DIR, or python -m data.simulate --dataset KS20 --raw DIR")
    for error in missing:
        print(fit(f"skipped {error}"))
    errors: list[InputError] = []
    for dataset, folder in folders:
        with collected(errors):
            preprocess(dataset, folder, lengths, args.out, args.seed, args.joint_order, args.split,
                       args.stride, args.jobs)
    raise_collected(errors)


if __name__ == "__main__":
    run_command(main, go_on="run again")
