"""DF: its settings."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import FLAG, option
from skeleton_reid.common.numbers import positive, positive_int
from skeleton_reid.engine.methods.base import Method, Settings
from skeleton_reid.engine.options import SourceOptions


@dataclass(frozen=True)
class DFSettings(Settings):
    """DF (models/recognition.py)."""

    supervision = "identities"

    H: int = option(640, "units of the hidden layer", type=positive_int)
    lr: float = option(0.0005, "learning rate", type=positive)
    batch_size: int = option(256, "sequences in a batch", type=positive_int)
    patience: int = option(20, "end after so many epochs without better top-1", type=positive_int)
    balance: bool = option(True, "resample training to equal class shares (uses labels)", **FLAG)


METHOD = Method(name="DF", model="recognition.DF", script="train_df.py", settings=DFSettings,
                options=SourceOptions, small={"H": 16, "batch_size": 16})
