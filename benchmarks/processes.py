"""Claim: two processes with one thread each cluster and rank with at least 80 % of twice the speed
of one such process, with the same results to the bit.

Also AGE's and SimMC's training steps, whose batch is divided. Efficiency is the time of one process
over that of all together: by wall time (of an idle machine with two cores), and by CPU time, which
what else the machine does hardly changes.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import inputs
from benchmarks.harness import Options, Report, timed
from benchmarks.jaccard import EPS, MIN_SAMPLES
from benchmarks.ranking import random_sets
from skeleton_reid.common import processes
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.age import AGE
from skeleton_reid.models.simmc import SimMC
from skeleton_reid.reid import ranking
from skeleton_reid.reid.jaccard import cluster
from tests.several import start


def run(options: Options) -> Report:
    report = Report("Two processes with one thread each against one: seconds and efficiency")
    times: dict[str, list] = {}
    for _ in range(options.rounds):
        one, two = measure(1, options.quick), measure(2, options.quick)
        for name, (wall, cpu, result) in one[0].items():
            others = [each[name] for each in two]
            if "training" not in name and any(other[2] != result for other in others):
                raise AssertionError(f"{name}: the results of one and two processes differ")
            slowest, cpu_of_two = max(other[0] for other in others), sum(x[1] for x in others)
            times.setdefault(name, []).append((wall, slowest, cpu, cpu_of_two))
    for name, rounds in times.items():
        wall, wall_of_two, cpu, cpu_of_two = np.median(rounds, axis=0).tolist()
        ratios = [(a / b / 2, c / d) for a, b, c, d in rounds]
        efficiency, cpu_efficiency = np.median(ratios, axis=0).tolist()
        row = {"work": name, "one: wall s": wall, "cpu s": cpu, "two: wall s": wall_of_two}
        row |= {"both: cpu s": cpu_of_two, "efficiency": efficiency, "of cpu": cpu_efficiency}
        report.rows.append(row)
        if "training" not in name:
            report.require(f"{name}: efficiency above 80 % (idle machine)", efficiency > 0.8)
    report.notes.append("clusters and metrics are equal to the bit")
    return report


def measure(count: int, quick: bool) -> list[dict[str, list]]:
    """Wall and CPU seconds and the result of each work, of each of `count` processes."""
    words = ("-m", "benchmarks.processes", *["--quick"] * quick)
    group = start(count, *words, stdout=subprocess.PIPE)
    outputs = [process.communicate()[0] for process in group]
    if any(process.returncode for process in group):
        raise RuntimeError(f"one of {count} processes failed")
    return [json.loads(output) for output in outputs]


def works(quick: bool) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    sizes = (2000, 1000, 2) if quick else (30_000, 8000, 10)
    x, sets = torch.from_numpy(inputs.clustered(sizes[0])), random_sets(sizes[1], sizes[1])
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 50, (2, 256), generator=rng)
    prototypes = [torch.randn(50, 256, generator=rng) for _ in range(2)]
    masks = torch.tensor([[True] * 4 + [False] * 2] * 2)
    age, simmc = AGE(20), SimMC(60, generator=rng)
    poses = torch.randn(256, 6, 20, 3, generator=rng)

    def age_losses(own: slice, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        losses = age.losses(batch[own], batch=len(batch))
        return losses | {"total": losses["total"].sum()}

    def simmc_losses(own: slice, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        return simmc.losses(batch[own], masks, labels[:, own], prototypes, 0.08, 0.5)

    return {
        f"clustering of {sizes[0]:,}": partial(cluster, x, EPS, MIN_SAMPLES),
        f"ranking of {sizes[1]:,} x {sizes[1]:,}": partial(ranking.evaluate, *sets),
        "training of AGE, batch 128": partial(train, age, age_losses, poses[:128], sizes[2]),
        "training of SimMC, batch 256": partial(train, simmc, simmc_losses, poses, 10 * sizes[2]),
    }


def train(model: nn.Module, losses_of: Callable, batch: torch.Tensor, steps: int) -> float:
    """Steps on one batch, divided as in the training scripts. Returns the last loss."""
    optimizer = TFAdam(model.parameters(), 1e-4)
    own, weight = processes.part(len(batch))
    for _ in range(steps):
        losses = losses_of(own, batch)
        model.zero_grad()
        losses["total"].backward()
        losses = processes.average_gradients(losses, model.parameters(), weight)
        optimizer.step()
    return losses["total"].item()


def main() -> None:
    """Time each work in this process, one of several, and print what it took as JSON."""
    torch.set_num_threads(1)
    cluster(inputs.clustered(100), EPS, MIN_SAMPLES)  # compiles
    times = {}
    for name, work in works("--quick" in sys.argv).items():
        processes.wait()
        result, seconds = timed(work)
        content = result.tobytes() if isinstance(result, np.ndarray) else repr(result).encode()
        times[name] = seconds.wall, seconds.cpu, hashlib.sha256(content).hexdigest()
    print(json.dumps(times))


if __name__ == "__main__":
    main()
