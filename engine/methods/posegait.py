"""PoseGait, in this project's own reading: its settings."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import FLAG, option
from skeleton_reid.common.numbers import not_negative, positive, positive_int
from skeleton_reid.engine.methods.base import Method, Settings
from skeleton_reid.engine.options import TrainingOptions


@dataclass(frozen=True)
class PoseGaitSettings(Settings):
    """PoseGait, own reading (models/posegait.py)."""

    supervision = "identities"

    centre_weight: float = option(0.0, "weight of the centre loss", type=not_negative)
    lr: float = option(0.0001, "learning rate; five times that for the centres", type=positive)
    batch_size: int = option(8, "sequences in a batch", type=positive_int)
    patience: int = option(20, "end after so many epochs without better top-1", type=positive_int)
    balance: bool = option(True, "resample training to equal class shares (uses labels)", **FLAG)


METHOD = Method(name="PoseGait-own-reading", model="posegait.PoseGait", script="train_posegait.py",
                settings=PoseGaitSettings, options=TrainingOptions, small={"batch_size": 16},
                released={(): {"lr": 0.000001}})  # fmt: skip
