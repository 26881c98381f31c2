"""The papers' tables from what data there are: run what is missing, and write published figures
beside ours.

    python reproduce.py                                                 every table, what data there are, one seed
    python reproduce.py --tables retrieval --datasets KGBD --seeds 3
    python reproduce.py --tables recognition --methods AGE,SM-SGE --list   what would run, and what is missing
    python reproduce.py --quick                                         a small version of all on simulated data

A run that is done is not made again; an interrupted one goes on where it was. Runs that the
training scripts have left in ReID_Models (--models) count where their settings, seed and data are
the same. A run is made again when its command or its data have changed; if only the code has, the
table says so (--again makes such runs again).

Writes <out>/<table>.md, .csv and .json, after every run. Runs lie in <out>/runs. What cannot run is
marked with the reason. An experiment that fails does not stop the others; if any has, the exit code
is 2 at the end.
"""

import argparse
from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from common.command_line import pick_device, positive_int, script_parser
from common.errors import InputError, run_command
from data import datasets
from data.raw.formats import find
from data.simulate import simulate
from engine.lock import hold
from preprocess import preprocess
from reproduction import jobs as execution
from reproduction import tables as comparison
from reproduction.experiments import COLUMNS, METHODS, Cell, Job, jobs, plan
from reproduction.jobs import Place

# Simulated data of --quick: persons, frames, recordings; windows for a batch of 256 in every
# training set.
QUICK_SIZES = {
    "BIWI": (6, 60, 1),
    "IAS": (5, 50, 1),
    "KGBD": (6, 50, 4),
    "KS20": (5, 20, 5),
    "CASIA_B": (8, 80, 1),
}
QUICK_EPOCHS = 1
SIZES = "sizes"
Key = tuple[Path, str]


def main() -> None:
    args = parse_arguments()
    writes = args.quick or not args.list
    with hold(args.out / "reproduce.lock") if writes else nullcontext():
        reproduce(args)


def reproduce(args: argparse.Namespace) -> None:
    """Make what is missing and write the tables, or with --list say what that would be."""
    if not args.list:
        pick_device(args)  # refuses one that is not there before every run would
    if args.quick:
        make_quick_data(args)
    if SIZES in args.tables and not args.list:
        write_sizes(args.out)
    if SIZES in args.tables and args.list:
        print(f"{'to run':28} {SIZES:16} (needs no data)")
    cells = plan(args.tables, args.datasets, args.methods, args.seeds, thin=args.quick)
    if not cells and args.tables == [SIZES]:
        return
    if not cells:
        raise InputError(
            "no table has a row and a column for these methods and data sets: see --help"
        )
    place = Place(
        args.data, args.out / "runs", args.models, args.device, args.epochs, args.quiet, args.quick
    )
    work = jobs(cells)
    records, reasons = look(work, place, args.again)
    if args.list:
        lines = [describe(job, records, reasons) for job in work]
        print("\n".join([*lines, *dict.fromkeys(reasons.values())]))
        return
    try:
        failed = run_all(
            work, place, records, reasons, lambda: write_tables(args.out, cells, records, reasons)
        )
    finally:
        write_tables(args.out, cells, records, reasons)
    print("wrote " + ", ".join(str(args.out / f"{table}.md") for table in tables_of(cells)))
    if failed:
        raise InputError(f"{len(failed)} of {len(work)} runs failed, the first with: {failed[0]}")


def write_sizes(out: Path) -> None:
    """The table that needs neither data nor runs."""
    from reproduction import sizes  # here, so that --list and --help need no model

    sizes.write(out)
    print(f"wrote {out / SIZES}.md", flush=True)


def key(job: Job) -> Key:
    """What a run is called here: seeds, columns and rows can share one."""
    return job.folder, job.name


def look(work: list[Job], place: Place, again: bool) -> tuple[dict[Key, Any], dict[Key, str]]:
    """The records of the runs that are done, and the reasons why others cannot be. again: not by
    other code.
    """
    records, reasons = {}, {}
    for job in work:
        record = execution.finished(job, place)
        if record and not (again and record["made_by"].get("code") != execution.code_state()):
            records[key(job)] = record
        elif reason := execution.missing(job, place):
            reasons[key(job)] = reason
    return records, reasons


def describe(job: Job, records: dict[Key, Any], reasons: dict[Key, str]) -> str:
    """A line of --list."""
    if key(job) in records:
        by_hand = records[key(job)]["made_by"].get("file")
        state = f"done ({by_hand})" if by_hand else "done"
    else:
        state = comparison.shorten(reasons[key(job)]) if key(job) in reasons else "to run"
    command = " ".join([job.row.script, *job.words])
    return f"{state:28} {job.row.table:16} {job.row.name:20} {command}"


def run_all(
    work: list[Job],
    place: Place,
    records: dict[Key, Any],
    reasons: dict[Key, str],
    after_each: Callable[[], None],
) -> list[str]:
    """Run what is neither done nor impossible. Adds to records and reasons; returns the reasons of
    failures.
    """
    failed = []
    left = [job for job in work if key(job) not in records and key(job) not in reasons]
    print(
        f"{len(work)} runs: {len(records)} done, {len(reasons)} without data, {len(left)} to run",
        flush=True,
    )
    for number, job in enumerate(left, start=1):
        title = f"{job.row.table}, {job.row.name}, {job.column.name}, seed {job.seed}"
        print(f"[{number}/{len(left)}] {title}", flush=True)
        lacking = next(
            (reasons[key(needed)] for needed in job.needs if key(needed) in reasons), None
        )
        try:
            if lacking:
                raise InputError(f"it needs the encoder of another run: {lacking}")
            records[key(job)] = execution.perform(job, place)
        except InputError as error:
            reasons[key(job)] = f"failed: {error}"
            failed.append(str(error))
            print(f"    failed: {error}", flush=True)
        after_each()
    return failed


def tables_of(cells: Collection[Cell]) -> list[str]:
    """The names of the tables, in order."""
    return list(dict.fromkeys(cell.row.table for cell in cells))


def write_tables(
    out: Path, cells: Collection[Cell], records: dict[Key, Any], reasons: dict[Key, str]
) -> None:
    """Write every table with what is done so far."""
    for table in tables_of(cells):
        entries = []
        for cell in (cell for cell in cells if cell.row.table == table):
            done = {job.seed: records[key(job)] for job in cell.jobs if key(job) in records}
            lacking = [
                f"seed {job.seed}: " * bool(done) + reasons.get(key(job), "not run yet")
                for job in cell.jobs
                if key(job) not in records
            ]
            entries.append(comparison.compare(cell, done, lacking, execution.code_state()))
        comparison.write(out, table, entries)


def make_quick_data(args: argparse.Namespace) -> None:
    """Simulated raw files and windows of the chosen data sets, in <out>; made once."""
    for name in args.datasets:
        lengths = {
            c.length for table in args.tables for c in COLUMNS.get(table, ()) if c.dataset == name
        }
        done = args.data / f".{name}.done"
        if lengths and not done.is_file():
            simulate(name, args.out / "raw", *QUICK_SIZES[name])
            preprocess(name, find(name, args.out / "raw"), sorted(lengths), args.data)
            done.touch()


def listed(known: Collection[str]) -> Callable[[str], list[str]]:
    """argparse type: names separated by commas, in any case, or `all`."""

    def parse(text: str) -> list[str]:
        wanted = {word.strip().lower() for word in text.split(",")}
        found = [name for name in known if name.lower() in wanted or wanted == {"all"}]
        unknown = wanted - {name.lower() for name in known} - {"all"}
        if unknown or not found:
            raise argparse.ArgumentTypeError(
                f"unknown {', '.join(sorted(unknown)) or repr(text)}; choose some of {', '.join(known)}"
            )
        return found

    return parse


def parse_arguments() -> argparse.Namespace:
    parser = script_parser(__doc__)
    what = parser.add_argument_group("what to reproduce (default: all)")
    for name, known in (
        ("tables", (*COLUMNS, SIZES)),
        ("datasets", datasets.DATASETS),
        ("methods", METHODS),
    ):
        text = f"some of {', '.join(known)}"
        what.add_argument(
            f"--{name}", type=listed(list(known)), default=list(known), metavar="A,B", help=text
        )
    what.add_argument(
        "--seeds", type=positive_int, default=1, metavar="N", help="seeds 0 to N - 1 (1)"
    )
    what.add_argument(
        "--quick", action="store_true", help="few runs of few epochs on simulated data"
    )
    run = parser.add_argument_group("run")
    run.add_argument("--data", type=Path, help="folder that preprocess.py wrote (Datasets)")
    run.add_argument(
        "--out", type=Path, help="folder of tables and runs (results; with --quick, results/quick)"
    )
    run.add_argument(
        "--models", type=Path, default=Path("ReID_Models"), help="runs by hand (%(default)s)"
    )
    run.add_argument("--epochs", type=positive_int, metavar="N", help="at most; the tables say so")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    run.add_argument(
        "--again", action="store_true", help="also runs that another state of the code has made"
    )
    run.add_argument(
        "--list", "--dry_run", action="store_true", help="say what would run, and run nothing"
    )
    run.add_argument("--quiet", action="store_true", help="no output of the runs")
    args = parser.parse_args()
    if args.quick and args.data:
        raise InputError("--quick makes its own simulated data: leave out --data")
    if (
        args.data and not args.data.is_dir()
    ):  # else tables that are there would be replaced by empty ones
        raise InputError(
            f"--data: expected a folder that preprocess.py wrote, found none at {args.data}"
        )
    args.out = args.out or Path("results/quick" if args.quick else "results")
    args.data = args.data or (args.out / "Datasets" if args.quick else Path("Datasets"))
    if args.quick:
        args.epochs, args.quiet = args.epochs or QUICK_EPOCHS, True
    return args


if __name__ == "__main__":
    run_command(main, go_on="the same command goes on where it was")
