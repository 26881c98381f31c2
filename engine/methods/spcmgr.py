"""SPC-MGR: its settings and what the paper sets."""

from dataclasses import dataclass
from pathlib import Path

from skeleton_reid.common.command_line import FLAG, SWITCH, option
from skeleton_reid.common.numbers import below_one, not_negative, positive, positive_int
from skeleton_reid.engine.methods.base import ClusterSettings, Method
from skeleton_reid.engine.options import ClusterOptions


@dataclass(frozen=True)
class SPCMGRSettings(ClusterSettings):
    """SPC-MGR (models/spcmgr.py)."""

    heads: int = option(8, "of the graph attention", "--m", type=positive_int)
    fusion_lambda: float = option(1.0, "weight of the collaborative relations", type=not_negative)
    struct_only: int = option(0, "no collaborative relations", **SWITCH)
    t: float = option(0.08, "temperature", type=positive)
    eps: float = option(0.8, "DBSCAN: Jaccard distance of neighbours", type=below_one)
    min_samples: int = option(2, "DBSCAN: neighbours of a core sequence", type=positive_int)
    k1: int = option(20, "Jaccard distance: neighbours", type=positive_int)
    k2: int = option(6, "Jaccard distance: neighbours of the query expansion", type=positive_int)
    lr: float = option(0.00035, "learning rate", type=positive)
    batch_size: int = option(128, "sequences in a batch", type=positive_int)
    patience: int = option(200, "end after so many epochs without better top-1", type=positive_int)
    balance: bool = option(True, "resample training to equal class shares (uses labels)", **FLAG)


@dataclass(frozen=True)
class SPCMGROptions(ClusterOptions):
    """Start."""

    start: Path | None = option(
        None, "go on from a trained model, of other data too (the released "
        "--mode DG)", type=Path, metavar="FILE.pt")


METHOD = Method(
    name="SPC-MGR", model="spcmgr.SPCMGR", script="train_spcmgr.py", settings=SPCMGRSettings,
    options=SPCMGROptions, small={"heads": 2, "batch_size": 32}, published={
        ("KGBD",): {"t": 0.06, "eps": 0.6, "min_samples": 4, "heads": 16, "batch_size": 256},
        ("BIWI",): {"t": 0.07, "eps": 0.6}, ("CASIA_B",): {"t": 0.075, "eps": 0.75},
    })  # fmt: skip
