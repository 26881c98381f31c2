"""The papers' tables from what data there are: published figures beside ours.

    python reproduce.py                                        every table, all data, one seed
    python reproduce.py --tables retrieval --datasets KGBD --seeds 3
    python reproduce.py --datasets my_data.yaml --methods mean-pose,SimMC    your own data
    python reproduce.py --list --tables recognition            what would run, and what is missing
    python reproduce.py --jobs 4                               four runs at once; see also --slurm
    python reproduce.py --quick                                a small version on simulated data

A run that is done is not made again unless its command or its data have changed; an interrupted one
goes on where it was. Writes <out>/<table>.md, .csv and .json, after every run. A run that fails
does not stop the others; if any has, the exit code is 2 at the end.
"""

import argparse
from functools import partial
from pathlib import Path

from preprocess import preprocess
from skeleton_reid.common.command_line import add_device, devices, positive_int, script_parser
from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.data.datasets import DATASETS
from skeleton_reid.data.raw.formats import find
from skeleton_reid.data.simulate import simulate
from skeleton_reid.reproduction.experiments import METHOD_NAMES, TABLES, jobs, plan
from skeleton_reid.reproduction.jobs import FAILED, Runs, make_all, overview
from skeleton_reid.reproduction.tables import write_all, write_sizes

KNOWN = {"tables": list(TABLES), "datasets": list(DATASETS), "methods": METHOD_NAMES}
# --quick: persons, frames, recordings; windows for a batch of 256 in every training set.
SIMULATED = {"BIWI": (6, 60, 1), "IAS": (5, 50, 1), "KGBD": (6, 50, 4), "KS20": (5, 20, 5)}
SIMULATED["CASIA_B"] = (8, 80, 1)


def main() -> None:
    args = parse_arguments()
    out = args.out or Path("results/quick" if args.quick else "results")
    data = args.data or (out / "Datasets" if args.quick else Path("Datasets"))
    cells = plan(args.tables, args.datasets, args.methods, args.seeds, epochs=args.epochs
                 or (1 if args.quick else None), thin=args.quick)
    if not cells and args.tables != ["sizes"]:
        raise InputError("no table has a row and a column for these methods and data sets")
    limits = f"--time=1-0,partition={args.slurm}".replace(",", ",--").split(",")
    elsewhere = args.list or args.slurm  # else a device that is not there is refused at once
    known = [args.device] if elsewhere else devices(args.device)
    runs = Runs(data, out / "runs", at_once=args.jobs, quiet=args.quiet or args.quick
                or args.jobs > 1, devices=(known * args.jobs)[:args.jobs],
                srun=["srun", "--quit-on-interrupt", *limits] if args.slurm else [])
    work = jobs(cells)
    for name in sorted({job.column.dataset for job in work}) if args.quick else ():
        lengths = sorted({job.column.length for job in work if job.column.dataset == name})
        simulate(name, out / "raw", *SIMULATED[name])
        raw = find(DATASETS[name], out / "raw")
        preprocess(DATASETS[name], raw, lengths, data, seed=0, joint_order="kinect")
    outcomes = {job.folder: runs.record(job) for job in work}
    print("\n".join(overview(args.tables, work, outcomes)), flush=True)
    if args.list:
        return
    if "sizes" in args.tables:
        write_sizes(out)
    write_all(out, cells, outcomes)
    make_all(work, runs, outcomes, after_each=lambda: write_all(out, cells, outcomes))
    written = [table for table in args.tables if (out / f"{table}.md").is_file()]
    print("wrote " + ", ".join(str(out / f"{table}.md") for table in written))
    if failed := [reason for reason in map(str, outcomes.values()) if reason.startswith(FAILED)]:
        first = failed[0].removeprefix(FAILED)
        raise InputError(f"{len(failed)} of {len(work)} runs failed, the first with: {first}")


def names(known: list[str], text: str) -> list[str]:
    """Those of the known names that stand, separated by commas and in any case, in a text, and
    files of one's own data.
    """
    words = {word.strip().lower(): word.strip() for word in text.split(",")}
    wanted = [name for name in known if name.lower() in words]
    if known == KNOWN["datasets"]:
        wanted += [word for word in words.values() if Path(word).suffix in (".yaml", ".yml")]
    if wrong := words.keys() - {name.lower() for name in wanted}:
        raise argparse.ArgumentTypeError(f"expected {', '.join(known)}, found "
                                         f"{words[min(wrong)]!r}")
    return wanted


def parse_arguments() -> argparse.Namespace:
    parser = script_parser(__doc__)
    option = parser.add_argument
    for name, known in KNOWN.items():
        option(f"--{name}", type=partial(names, known), default=known, metavar="A,B",
               help=f"some of {', '.join(known[:5])}, ... (all)")
    option("--seeds", type=positive_int, default=1, metavar="N", help="seeds 0 to N - 1 (1)")
    option("--quick", action="store_true", help="few small runs on simulated data")
    option("--list", "--dry_run", action="store_true", help="only say what would run")
    option("--data", type=Path, help="folder that preprocess.py wrote (Datasets)")
    option("--out", type=Path, help="folder of tables and runs (results)")
    option("--epochs", type=positive_int, metavar="N", help="at most N epochs; the tables say so")
    option("--jobs", type=positive_int, default=1, metavar="N", help="runs at once (1)")
    option("--slurm", default="", metavar="PARTITION[,OPTION=VALUE,...]",
           help="each run is a job of Slurm; options of srun (docs/13-scale.md)")
    add_device(parser)
    option("--quiet", action="store_true", help="no output of the runs")
    args = parser.parse_args()
    if args.quick and (args.data or not {*args.datasets} <= {*DATASETS}):
        raise InputError("--quick makes its own simulated data: leave out --data and FILE.yaml")
    if args.data and not args.data.is_dir():  # else tables would be replaced by empty ones
        raise InputError(f"--data: expected a folder of preprocess.py, found no {args.data}")
    return args


if __name__ == "__main__":
    run_command(main, go_on="the same command goes on where it was")
