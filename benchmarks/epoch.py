"""Where the time of a SimMC epoch on KGBD goes: read off the history of a run of train_simmc.py.

An epoch encodes 31,500 training sequences whole and under two masks, ranks 31,000 gallery sequences
for each of 15,600 probes, clusters twice and learns. Without --data, simulated KGBD of that size is
made (--full).
"""

import csv
import json

from benchmarks.harness import Options, Report, SkippedError, run_script
from benchmarks.inputs import simulated_raw
from data.datasets import DATASETS


def run(options: Options) -> Report:
    data, source = options.data, "KGBD"
    if data is None:
        if not options.full and not options.quick:
            raise SkippedError("give --data DIR that holds KGBD at f = 6, or --full to simulate it")
        # Five recordings a person, two of them for training: 164 persons of 600 frames are KGBD's
        # size.
        raw = simulated_raw(
            options, *((12, 120) if options.quick else (DATASETS["KGBD"].persons, 600))
        )
        data, source = options.work / "Datasets", "simulated KGBD"
        run_script("preprocess.py", "6", "--dataset", "KGBD", "--raw", raw, "--out", data)
    out = options.work / "ReID_Models"
    run_of = (
        "--dataset",
        "KGBD",
        "--probe",
        "probe",
        "--length",
        "6",
        "--data",
        data,
        "--out",
        out,
    )
    usage = run_script(
        "train_simmc.py",
        *run_of,
        "--epochs",
        "2",
        "--device",
        options.device,
        "--seed",
        "0",
        "--quiet",
    )
    with (out / "KGBD" / "probe" / "history.csv").open() as file:
        first, second, _ = csv.DictReader(file)
    results = json.loads((out / "KGBD" / "probe" / "results.json").read_text())["last"]
    report = Report(f"An epoch of train_simmc.py on {source}, by stage ({options.device})")
    stages = [name for name in second if name.startswith("s_")]
    total = sum(float(second[name]) for name in stages)
    for name in stages:
        report.rows.append(
            {
                "stage": name.removeprefix("s_"),
                "epoch 0 s": float(first[name]),
                "epoch 1 s": float(second[name]),
                "share of epoch 1": float(second[name]) / total,
            }
        )
    epoch_0 = sum(float(first[name]) for name in stages)
    report.rows.append(
        {"stage": "all", "epoch 0 s": epoch_0, "epoch 1 s": total, "share of epoch 1": 1.0}
    )
    report.numbers = {"probes": results["probes"], "gallery": results["gallery"], "command": usage}
    report.notes = [
        f"{results['probes']:,} probes, {results['gallery']:,} gallery, {second['outliers']} noise",
        f"with a third evaluation: {usage['wall s']:.0f} s, {usage['cpu s']:.0f} CPU s, "
        f"peak {usage['peak MiB']:,.0f} MiB",
    ]
    return report
