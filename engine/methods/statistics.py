"""Window statistics: the settings, of no paper."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import (FLAG, below_one, not_negative, option, positive,
                                               positive_int)
from skeleton_reid.engine.methods.base import ClusterSettings, Method
from skeleton_reid.engine.options import ClusterOptions


@dataclass(frozen=True)
class StatisticsSettings(ClusterSettings):
    """Window statistics (models/statistics.py)."""

    H: int = option(1024, "units of a hidden layer", type=positive_int)
    D_out: int = option(128, "feature size", type=positive_int)
    dropout: float | None = option(None, "share of units dropped (0.2, with --no-link 0.4)",
                                   type=below_one)
    raw_weight: float = option(
        0.4, "weight of the standardised window means that are appended to "
        "the embedding", "--beside", type=not_negative)
    align: bool = option(False, "rotate each skeleton onto the mean pose (Kabsch): view-invariant",
                         "--turned", action="store_true")
    noise: float = option(0.1, "deviation of the noise on the input", type=not_negative)
    t: float | None = option(None, "temperature (0.15, with --no-link 0.1)", type=positive)
    link: bool = option(True, "chain consecutive windows into tracklets before clustering",
                        "--linked", **FLAG)
    eps: float = option(0.6, "DBSCAN: largest Jaccard distance of neighbours", type=below_one)
    min_samples: int | None = option(
        None, "DBSCAN: neighbours of a core, itself included (2, with "
        "--no-link 4)", type=positive_int)
    rounds: int = option(3, "rounds; each clusters again", type=positive_int)
    round_epochs: int = option(10, "epochs of a round", type=positive_int)
    lr: float | None = option(None, "learning rate (0.003, with --no-link 0.001)", type=positive)
    weight_decay: float = option(0.01, "weight decay of the encoder (AdamW)", type=not_negative)
    batch_size: int = option(256, "sequences in a batch", type=positive_int)

    def __post_init__(self):
        # Clusters of windows, a part of which are wrong, need more regularisation than others.
        sure = self.link or self.supervision != "none"
        defaults = {"dropout": (0.4, 0.2), "t": (0.1, 0.15), "min_samples": (4, 2)}
        for name, values in (defaults | {"lr": (0.001, 0.003)}).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, values[sure])

    @property
    def variant(self) -> str:
        return super().variant + ("" if self.link else "-no-link")


METHOD = Method(name="statistics", model="statistics.Statistics", script="train_statistics.py",
                settings=StatisticsSettings, options=ClusterOptions,
                small={"H": 16, "batch_size": 32, "rounds": 2, "round_epochs": 2, "eps": 0.4})
