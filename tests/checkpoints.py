"""Checkpoints of small models with random weights, as training scripts leave them."""

from pathlib import Path

import torch

from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.models.age import AGE
from skeleton_reid.models.simmc import SimMC
from skeleton_reid.models.smsge import SMSGE
from skeleton_reid.models.statistics import Statistics

# All of 20 joints, as data set IAS has.
MODELS = {
    "SimMC": lambda: SimMC(60, 16), "statistics": lambda: Statistics(20, 16, 8),
    "AGE": lambda: AGE(20, 8), "SM-SGE": lambda: SMSGE(20, 4, heads=2, hidden=4)
}


def write(path: Path, method: str, **content) -> Path:
    """Write best.pt of a method's model; content: what it says otherwise. Returns the path."""
    torch.manual_seed(0)
    model = MODELS[method]()
    for buffer in ("mean", "deviation") if method == "statistics" else ():
        getattr(model.statistics, buffer).uniform_(0.5, 1.5)
    about = {"dataset": "IAS", "probe": "A", "length": 6, "protocol": "full", "seed": 0}
    about |= {"settings": vars(METHODS[method].settings()), "epoch": 1, "metrics": {}}
    weights = {"model": model.state_dict(), "arguments": model.arguments}
    checkpoint.save(path, {"method": method, **about, **weights, **content})
    return path
