"""SPC-MGR: its settings and what the paper sets."""

from dataclasses import dataclass
from pathlib import Path

from skeleton_reid.common.command_line import SWITCH, option, positive, positive_int, share
from skeleton_reid.engine.methods.base import ContrastSettings, Method
from skeleton_reid.engine.options import ClusterOptions


@dataclass(frozen=True)
class SPCMGRSettings(ContrastSettings):
    """SPC-MGR (models/spcmgr.py)."""

    heads: int = option(8, "heads of the graph attention", "--m", type=positive_int)
    fusion_lambda: float = option(1.0, "weight of the collaborative relations", type=share)
    struct_only: int = option(0, "no collaborative relations", **SWITCH)
    t: float = option(0.08, "temperature", type=positive)
    k1: int = option(20, "Jaccard distance: neighbours", type=positive_int)
    k2: int = option(6, "Jaccard distance: neighbours of the query expansion", type=positive_int)


@dataclass(frozen=True)
class SPCMGROptions(ClusterOptions):
    """Start."""

    start: Path | None = option(
        None, "go on from a trained model, of other data too (the released "
        "--mode DG)", type=Path, metavar="FILE.pt")


METHOD = Method(
    name="SPC-MGR", model="spcmgr.SPCMGR", script="train_spcmgr.py", settings=SPCMGRSettings,
    options=SPCMGROptions, small={"heads": 2, "batch_size": 32}, published={
        (): {"batch_size": 128, "patience": 200},
        ("KGBD",): {"t": 0.06, "eps": 0.6, "min_samples": 4, "heads": 16, "batch_size": 256},
        ("BIWI",): {"t": 0.07, "eps": 0.6}, ("CASIA_B",): {"t": 0.075, "eps": 0.75},
    })  # fmt: skip
