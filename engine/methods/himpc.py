"""Hi-MPC: its settings and what the paper sets."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import option, positive_int
from skeleton_reid.engine.methods.base import ContrastSettings, Method
from skeleton_reid.engine.options import ClusterOptions


@dataclass(frozen=True)
class HiMPCSettings(ContrastSettings):
    """Hi-MPC (models/himpc.py)."""

    released_order = "later"

    H: int = option(256, "feature size of a level", type=positive_int)
    M: int = option(8, "meta-transformations of a level", type=positive_int)
    focus: int = option(1, "mine hard (1) or easy (-1) skeletons, or none (0)", type=int,
                        choices=(1, -1, 0))
    cluster_on: str = option("levels", "features of the levels, or the scored ones (MSMR)",
                             choices=("levels", "MSMR"))
    k1: int = option(20, "Jaccard distance: neighbours", type=positive_int)
    k2: int = option(6, "Jaccard distance: neighbours of the query expansion", type=positive_int)


METHOD = Method(name="Hi-MPC", model="himpc.HiMPC", script="train_himpc.py", settings=HiMPCSettings,
                options=ClusterOptions, small={"H": 8, "M": 2, "batch_size": 32}, published={
                    (): {"patience": 50}, ("KGBD",): {"eps": 0.6, "min_samples": 4},
                    ("BIWI", "Still"): {"eps": 0.6}, ("CASIA_B",): {"eps": 0.75},
                })  # fmt: skip
