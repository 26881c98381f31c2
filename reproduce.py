"""The papers' tables from what data there are: published figures beside ours.

    python reproduce.py                                        every table, all data, one seed
    python reproduce.py --tables retrieval --datasets KGBD --seeds 3
    python reproduce.py --list --tables recognition            what would run, and what is missing
    python reproduce.py --jobs 4                               four runs at once; see also --slurm
    python reproduce.py --quick                                a small version on simulated data

A run that is done is not made again unless its command or its data have changed; an interrupted one
goes on where it was. Writes <out>/<table>.md, .csv and .json, after every run. A run that fails
does not stop the others; if any has, the exit code is 2 at the end.
"""

import argparse
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from preprocess import preprocess
from skeleton_reid.common.command_line import devices, script_parser
from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.common.numbers import positive_int
from skeleton_reid.data import datasets
from skeleton_reid.reproduction.experiments import COLUMNS, METHODS, jobs, plan
from skeleton_reid.reproduction.jobs import FAILED, Runs, make_all, make_data, overview, slurm
from skeleton_reid.reproduction.tables import write_all

SIZES = "sizes"  # the table that needs neither data nor runs
KNOWN = {"tables": (*COLUMNS, SIZES), "datasets": tuple(datasets.DATASETS), "methods": METHODS}


def main() -> None:
    args = parse_arguments()
    out = args.out or Path("results/quick" if args.quick else "results")
    if not args.list and not args.slurm:
        devices(args.device)  # refuses one that is not there before every run would
    tables = [table for table in args.tables if table != SIZES]
    cells = plan(tables, args.datasets, args.methods, args.seeds, thin=args.quick)
    if tables and not cells:
        raise InputError("no table has a row and a column for these methods and data sets")
    data = args.data or (out / "Datasets" if args.quick else Path("Datasets"))
    epochs = args.epochs or (1 if args.quick else None)
    quiet = args.quiet or args.quick or args.jobs > 1
    runs = Runs(data, out / "runs", args.device, epochs, quiet, args.quick, args.jobs)
    if args.quick:
        make_data(cells, out / "raw", data, preprocess)
    work = jobs(cells)
    outcomes = {job.path: runs.record(job) or runs.obstacle(job) for job in work}
    print("\n".join(overview(args.tables, work, outcomes)), flush=True)
    if args.list:
        return
    if SIZES in args.tables:
        from skeleton_reid.reproduction import \
            sizes  # here, so that --list and --help need no model

        sizes.write(out)
    write_all(out, cells, outcomes)
    with ThreadPoolExecutor(args.jobs) as pool:
        begin = slurm(args.slurm, runs) if args.slurm else partial(pool.submit, runs.make)
        make_all(work, runs, outcomes, begin, lambda: write_all(out, cells, outcomes))
    print("wrote " + ", ".join(str(out / f"{table}.md") for table in args.tables))
    if failed := [reason for reason in map(str, outcomes.values()) if reason.startswith(FAILED)]:
        first = failed[0].removeprefix(FAILED)
        raise InputError(f"{len(failed)} of {len(work)} runs failed, the first with: {first}")


def names(known: Collection[str], text: str) -> list[str]:
    """Those of the known names that stand, separated by commas and in any case, in a text."""
    words = {word.strip() for word in text.lower().split(",")}
    wanted = [name for name in known if name.lower() in words]
    if len(wanted) < len(words):
        raise argparse.ArgumentTypeError(f"expected {', '.join(known)}, found {text!r}")
    return wanted


def parse_arguments() -> argparse.Namespace:
    parser = script_parser(__doc__)
    for name, known in KNOWN.items():
        few = [*known[:5], "..."] if len(known) > 6 else known
        parser.add_argument(f"--{name}", type=partial(names, known), default=list(known),
                            metavar="A,B", help=f"some of {', '.join(few)} (all)")
    number = {"type": positive_int, "metavar": "N"}
    parser.add_argument("--seeds", default=1, help="seeds 0 to N - 1 (1)", **number)
    parser.add_argument("--quick", action="store_true", help="few small runs on simulated data")
    parser.add_argument("--list", "--dry_run", action="store_true", help="only say what would run")
    parser.add_argument("--data", type=Path, help="folder that preprocess.py wrote (Datasets)")
    parser.add_argument("--out", type=Path, help="folder of tables and runs (results)")
    parser.add_argument("--epochs", help="at most; the tables say so", **number)
    parser.add_argument("--jobs", default=1, help="runs at once, sharing the cores (1)", **number)
    parser.add_argument("--slurm", metavar="PARTITION[,OPTION=VALUE,...]",
                        help="each run is a job of Slurm; options of sbatch (docs/13-scale.md)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--quiet", action="store_true", help="no output of the runs")
    args = parser.parse_args()
    if args.quick and args.data:
        raise InputError("--quick makes its own simulated data: leave out --data")
    if args.data and not args.data.is_dir():  # else tables would be replaced by empty ones
        raise InputError(f"--data: expected a folder of preprocess.py, found no {args.data}")
    return args


if __name__ == "__main__":
    run_command(main, go_on="the same command goes on where it was")
