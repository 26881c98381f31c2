"""PoseGait, in this project's own reading: its settings."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import not_negative, option
from skeleton_reid.engine.methods.base import LearningSettings, Method
from skeleton_reid.engine.options import TrainingOptions


@dataclass(frozen=True)
class PoseGaitSettings(LearningSettings):
    """PoseGait, own reading (models/posegait.py)."""

    supervision = "identities"

    centre_weight: float = option(0.0, "weight of the centre loss; centres learn at 5 lr",
                                  type=not_negative)


METHOD = Method(name="PoseGait-own-reading", model="posegait.PoseGait", script="train_posegait.py",
                settings=PoseGaitSettings, options=TrainingOptions, small={"batch_size": 8},
                published={(): {"lr": 0.0001, "batch_size": 8, "patience": 20,
                                "balance": False}}, released={(): {"lr": 0.000001}})  # fmt: skip
