"""Hi-MPC: its settings and what the paper sets."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import FLAG, option
from skeleton_reid.common.numbers import below_one, positive, positive_int
from skeleton_reid.engine.methods.base import ClusterSettings, Method
from skeleton_reid.engine.options import ClusterOptions


@dataclass(frozen=True)
class HiMPCSettings(ClusterSettings):
    """Hi-MPC (models/himpc.py)."""

    H: int = option(256, "feature size of a level", type=positive_int)
    M: int = option(8, "meta-transformations of a level", type=positive_int)
    focus: int = option(1, "mine hard (1) or easy (-1) skeletons, or none (0)", type=int,
                        choices=(1, -1, 0))
    cluster_on: str = option("levels", "features of the levels, or what is scored, MSMR",
                             choices=("levels", "MSMR"))
    eps: float = option(0.8, "DBSCAN: Jaccard distance of neighbours", type=below_one)
    min_samples: int = option(2, "DBSCAN: neighbours of a core sequence", type=positive_int)
    k1: int = option(20, "Jaccard distance: neighbours", type=positive_int)
    k2: int = option(6, "Jaccard distance: neighbours of the query expansion", type=positive_int)
    lr: float = option(0.00035, "learning rate", type=positive)
    batch_size: int = option(256, "sequences in a batch", type=positive_int)
    patience: int = option(50, "end after so many epochs without better top-1", type=positive_int)
    balance: bool = option(True, "resample training to equal class shares (uses labels)", **FLAG)


METHOD = Method(name="Hi-MPC", model="himpc.HiMPC", script="train_himpc.py", settings=HiMPCSettings,
                options=ClusterOptions, small={"H": 8, "M": 2, "batch_size": 32}, published={
                    ("KGBD",): {"eps": 0.6, "min_samples": 4}, ("BIWI", "Still"): {"eps": 0.6},
                    ("CASIA_B",): {"eps": 0.75},
                })  # fmt: skip
