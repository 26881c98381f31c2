"""Claim: a pre-training step of SM-SGE is at least 3 times faster than plain, losses the same.

Plain (tests/reference/smsge.py): dense attention, one LSTM call for each subset and
scale, four backward passes, four Adam optimisers. KS20's published setting: 64 sequences of 6
frames and 25 joints, D_h = 256.
"""

import copy

import numpy as np
import torch

from benchmarks.harness import Options, Report, alternate, compare
from skeleton_reid.data.sampling import draw_subsets
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.models.smsge import SMSGE
from tests.reference.smsge import PlainStep
from train_smsge import JointStep

JOINTS, LENGTH = 25, 6
PLAIN, OURS = "plain", "train_smsge.JointStep"


def run(options: Options) -> Report:
    settings = METHODS["SM-SGE"].choose("full", "KS20", "probe", {})
    batch, D_h = (4, 8) if options.quick else (settings.batch_size, settings.D_h)
    model = SMSGE(JOINTS, D_h)
    slow = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    graphs = model.graphs(torch.randn(batch, LENGTH, JOINTS, 3, generator=generator))
    steps = {PLAIN: PlainStep(slow, settings.lr), OURS: JointStep(model, settings.lr)}
    subsets = {name: np.random.RandomState(0) for name in steps}  # each draws the same
    losses = {name: [] for name in steps}

    def step(name: str) -> None:
        drawn = draw_subsets(subsets[name], LENGTH)
        losses[name].append(torch.stack(list(steps[name](graphs, drawn).values())))

    for name in steps:  # the first step makes the optimisers' state
        step(name)
    _, times = alternate({name: lambda name=name: step(name) for name in steps}, options.rounds)
    expected, own = (torch.stack(losses[name]) for name in steps)
    error = ((own - expected).abs() / expected).max().item()
    if error > 1e-4:
        raise AssertionError(f"losses differ by {error:.1e} of their size")
    report = Report(f"A pre-training step of SM-SGE, {batch} sequences, D_h {D_h}")
    report.rows = compare(times, PLAIN)
    report.notes = [f"losses of {len(own)} steps from the same weights are equal to {error:.1e}"]
    row = report.rows[1]
    report.require("at least 3 times faster", min(row["wall ratio"], row["cpu ratio"]) >= 3)
    return report
