"""DF: its settings."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import option, positive_int
from skeleton_reid.common.errors import InputError
from skeleton_reid.engine.methods.base import LearningSettings, Method
from skeleton_reid.engine.options import SourceOptions


@dataclass(frozen=True)
class DFSettings(LearningSettings):
    """DF (models/recognition.py)."""

    supervision = "identities"

    H: int = option(640, "units of the hidden layer", type=positive_int)

    def check(self, options: SourceOptions) -> None:
        if options.source is None:
            raise InputError("expected --source with a method, FILE.pt or FILE.npz, found none")


METHOD = Method(name="DF", model="recognition.DF", script="train_df.py", settings=DFSettings,
                options=SourceOptions, small={"H": 16, "batch_size": 16},
                published={(): {"lr": 0.0005, "patience": 20}})  # fmt: skip
