"""Where the time of a SimMC epoch on KGBD goes: read off the history of a run of train_simmc.py.

An epoch encodes 31,500 training sequences whole and under two masks, ranks 31,000 gallery sequences
for each of 15,600 probes, clusters twice and learns. Without --data, simulated KGBD of that size is
made (--full).
"""

import csv
import json

from benchmarks.harness import Options, Report, SkippedError, run_script
from benchmarks.inputs import simulated_raw
from skeleton_reid.data.datasets import DATASETS


def run(options: Options) -> Report:
    data, source, device = options.data, "KGBD", options.device
    if data is None:
        if not options.full and not options.quick:
            raise SkippedError("give --data DIR that holds KGBD at f = 6, or --full to simulate it")
        # Five recordings a person, two for training: 164 persons of 600 frames are KGBD's size.
        sizes = (12, 120) if options.quick else (DATASETS["KGBD"].persons, 600)
        raw = simulated_raw(options, *sizes)
        data, source = options.work / "Datasets", "simulated KGBD"
        run_script("preprocess.py", "6", "--dataset", "KGBD", "--raw", raw, "--out", data)
    out = options.work / "ReID_Models"
    where = ("--dataset", "KGBD", "--probe", "probe", "--length", "6", "--data", data, "--out", out)
    how = ("--epochs", "2", "--device", device, "--seed", "0", "--quiet")
    usage = run_script("train_simmc.py", *where, *how)
    folder = out / "KGBD" / "probe"
    with (folder / "history.csv").open() as file:
        first, second, _ = csv.DictReader(file)
    results = json.loads((folder / "results.json").read_text())["last"]
    report = Report(f"An epoch of train_simmc.py on {source}, by stage ({device})")
    stages = {
        name[2:]: (float(first[name]), float(second[name])) for name in second if name[:2] == "s_"
    }
    stages["all"] = tuple(map(sum, zip(*stages.values(), strict=True)))
    for name, (zero, one) in stages.items():
        row = {"stage": name, "epoch 0 s": zero, "epoch 1 s": one}
        report.rows.append(row | {"share of epoch 1": one / stages["all"][1]})
    report.numbers = {"probes": results["probes"], "gallery": results["gallery"], "command": usage}
    report.notes = [
        f"{results['probes']:,} probes, {results['gallery']:,} gallery, {second['outliers']} noise",
        f"with a third evaluation: {usage['wall s']:.0f} s, {usage['cpu s']:.0f} CPU s, "
        f"peak {usage['peak MiB']:,.0f} MiB"
    ]
    return report
