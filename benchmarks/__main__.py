"""Measure what docs/07-performance.md claims.

    python -m benchmarks                               all that run without data, within minutes
    python -m benchmarks --features FILE.train.npz     clustering on features of a training script
    python -m benchmarks epoch preprocess --data Datasets --raw DIR
    python -m benchmarks --full                        also what takes long, on simulated data
    python -m benchmarks --quick                       tiny sizes: does everything run?

    jaccard        clustering after the neighbour search, against a plain dense version
    jaccard_large  clustering of 30,000 features; its search against plain (--full: 200,000)
    ranking        top-k and mAP against a loop over the probes (--full: 100,000 x 100,000)
    age_step       a training step of AGE against three models with loops of LSTM cells
    smsge_step     a pre-training step of SM-SGE against a plain one
    smsge_recognition   an epoch of SM-SGE's recogniser against one that runs the encoder again
    epoch          an epoch of train_simmc.py on KGBD, by stage
    preprocess     preprocess.py on KGBD, and its reader against a plain one
    window_statistics   features of 78,000 windows; with --data three rounds on KGBD
    gallery        identification among 10,000 persons
    processes      two processes of torchrun against one: clustering, ranking, training
    million        search and clustering of 100,000 features, from end to end (--full: 1,000,000)
    growth         seconds and memory up to 30,000 features (--full: 200,000), and a picture

Times are shown as wall and CPU seconds and compared as ratios within one run. The numbers are also
written to results/benchmarks/<name>.json (with --quick: <name>.quick.json).
"""

import argparse
import importlib
import tempfile
from pathlib import Path

from benchmarks import inputs
from benchmarks.harness import ROOT, Options, SkippedError, conditions, save, show
from skeleton_reid.common.command_line import add_device, pick_device, positive_int, script_parser
from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.data import datasets
from skeleton_reid.data.layouts import locate
from skeleton_reid.data.raw.formats import find

LENGTH = 6  # frames in the sequences of KGBD that are timed
NAMES = ("jaccard", "jaccard_large", "ranking", "age_step", "smsge_step", "smsge_recognition",
         "epoch", "preprocess", "window_statistics", "gallery", "processes", "million", "growth")


def main() -> None:
    parser = script_parser(__doc__)
    parser.prog = "python -m benchmarks"
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--full", action="store_true", help="also what takes long")
    parser.add_argument("--rounds", type=positive_int, default=3, help="repetitions (%(default)s)")
    parser.add_argument("--features", type=Path, metavar="FILE", help="feature file to cluster")
    parser.add_argument("--data", type=Path, metavar="DIR", help="preprocessed data with KGBD")
    parser.add_argument("--raw", type=Path, metavar="DIR", help="raw data with KGBD")
    add_device(parser, "cpu")
    parsed = parser.parse_args()
    pick_device(parsed.device)
    check_paths(parsed)
    args = vars(parsed)
    names = args.pop("names") or NAMES
    for name in names:
        if name not in NAMES:
            parser.error(f"unknown benchmark {name!r}; choose from {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory() as work:
        options = Options(Path(work), **args)
        for name in names:
            before = conditions()
            try:
                report = importlib.import_module(f"benchmarks.{name}").run(options)
            except SkippedError as reason:
                print(f"\n{name}: skipped, {reason}")
                continue
            show(report, options.quick)
            path = save(name, report, before, options.quick)
            print(f"  written to {path.relative_to(ROOT)}", flush=True)


def check_paths(args: argparse.Namespace) -> None:
    """Raises InputError for a path that is not used, or does not hold what it should."""
    if args.quick and (args.data or args.raw):
        raise InputError("--quick makes its own simulated data: leave out --data and --raw")
    if args.data:
        locate(datasets.get("KGBD"), ["train", "gallery", "probe"], LENGTH, args.data)
    if args.raw:
        find(datasets.get("KGBD"), args.raw)
    if args.features:
        inputs.features(args.features, 1)


if __name__ == "__main__":
    run_command(main, go_on="run again")
