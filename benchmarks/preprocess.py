"""Claim: preprocess.py makes KGBD's files for f = 6 in under 60 s and 4 GiB.

Its reader is also compared with a plain line-by-line one that checks nothing, on the files of a few
persons. Without --raw, these are simulated; the whole set is simulated with --full.
"""

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import Options, Report, alternate, compare, run_script
from benchmarks.inputs import simulated_raw
from skeleton_reid.data.datasets import DATASETS
from skeleton_reid.data.raw.formats import find
from skeleton_reid.data.raw.kgbd import read_recording
from tests.reference import kgbd

PERSONS = 10  # whose files both readers read


def run(options: Options) -> Report:
    raw, source, whole = options.raw, "KGBD", True
    if raw is None:
        whole = options.full and not options.quick
        raw = simulated_raw(options, DATASETS["KGBD"].persons if whole else PERSONS, 600)
        source = "simulated KGBD"
    files = sorted(find(DATASETS["KGBD"], raw).glob("[Pp]erson*/*.txt"))
    folders = sorted({file.parent for file in files})[:PERSONS]
    few = [file for file in files if file.parent in folders]
    versions = {
        "read, plain line by line": partial(read_plain, few),
        "read, data.raw.kgbd": partial(read_checked, few)
    }
    read, times = alternate(versions, 1 if options.quick else max(5, options.rounds))
    for a, b in zip(*read.values(), strict=True):
        np.testing.assert_array_equal(a, b)
    report = Report(f"Reading and preprocessing {source}")
    report.rows = compare(times, "read, plain line by line")
    report.notes.append(f"read: {len(few)} files of {len(folders)} persons; the arrays are equal")
    usage = run_script("preprocess.py", "6", "--dataset", "KGBD", "--raw", raw, "--out",
                       options.work / "files")
    report.numbers = {"files read": len(few), "files": len(files), "preprocess.py": usage}
    report.notes.append(f"preprocess.py 6 on {len(files):,} files: {usage['wall s']:.1f} s "
                        f"({usage['cpu s']:.1f} CPU s), peak {usage['peak MiB']:,.0f} MiB")
    if whole:
        report.require("under 60 s", usage["wall s"] < 60)
        report.require("under 4 GiB", usage["peak MiB"] < 4096)
    return report


def read_plain(files: list[Path]) -> list[np.ndarray]:
    return [kgbd.read_file(file) for file in files]


def read_checked(files: list[Path]) -> list[np.ndarray]:
    return [read_recording(file)[1] for file in files]
