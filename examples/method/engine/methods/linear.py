"""Linear: its settings."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import FLAG, option
from skeleton_reid.engine.methods.base import ClusterSettings, Method
from skeleton_reid.engine.options import ClusterOptions


@dataclass(frozen=True)
class LinearSettings(ClusterSettings):
    H: int = option(64, "feature size", type=int)
    eps: float = option(0.6, "DBSCAN: Jaccard distance of neighbours", type=float)
    min_samples: int = option(2, "DBSCAN: neighbours of a core", type=int)
    lr: float = option(0.001, "learning rate", type=float)
    batch_size: int = option(64, "sequences in a batch", type=int)
    balance: bool = option(True, "resample training to equal class shares", **FLAG)


METHOD = Method(name="Linear", model="linear.Linear", script="train_linear.py",
                settings=LinearSettings, options=ClusterOptions, small={"H": 8},
                published={("KGBD",): {"min_samples": 4}})  # fmt: skip
