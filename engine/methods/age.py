"""AGE: its settings and what the paper sets."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import FLAG, option, positive, positive_int
from skeleton_reid.common.errors import InputError
from skeleton_reid.engine.methods.base import Method, Settings
from skeleton_reid.engine.options import PhaseOptions


@dataclass(frozen=True)
class AxesSettings(Settings):
    """Encoders of the three axes, and a recogniser of their rows: AGE's and SGELA's."""

    feature = "encodings"  # input of the recogniser

    manner: str = option("ap", "ap: mean of the rows' predictions, sc: of all rows in one",
                         choices=("ap", "sc"))
    centred: bool = option(False, "hip centre as the origin", **FLAG)
    two_thirds: bool = option(False, "encoders train on the first two thirds", **FLAG)
    hidden: int = option(256, "units of every layer", type=positive_int)
    lr: float = option(0.0005, "learning rate", type=positive)
    batch_size: int = option(128, "sequences in a batch", type=positive_int)
    pre_epochs: int = option(400, "epochs of the encoders", type=positive_int)
    recognition_epochs: int = option(300, "epochs of the recogniser", type=positive_int)
    patience: int | None = option(None, "stop after N epochs without a better test",
                                  type=positive_int)

    def recogniser(self, probe: str) -> str:
        return self.manner + ("" if self.feature == "encodings" else f"_{self.feature}")

    def check(self, options: PhaseOptions) -> None:
        if options.length < 2:
            raise InputError(f"expected windows of at least 2 frames, found {options.length}")


@dataclass(frozen=True)
class AGESettings(AxesSettings):
    """AGE (models/age.py)."""

    attention: str = option("LA", "locality-aware, basic, ...", choices=("LA", "BA", "MBA", "none"))
    feature: str = option("encodings", "input of the recogniser", choices=("encodings", "states"))
    decoder_input: str = option("zeros", "input of a step", choices=("zeros", "previous"))
    target: str = option("reverse", "order of the rebuilt frames", choices=("reverse", "same"))
    balance: bool = option(False, "balance the persons in training (uses labels)", **FLAG)

    @property
    def variant(self) -> str:
        return self.attention + ("_same" if self.target == "same" else "")

    def check(self, options: PhaseOptions) -> None:
        super().check(options)
        if self.balance and options.protocol == "released":
            raise InputError("the released AGE does not resample: leave out --balance")


METHOD = Method(name="AGE", model="age.AGE", script="train_age.py", settings=AGESettings,
                options=PhaseOptions, small={"hidden": 8, "batch_size": 16, "lr": 0.01}, published={
                    ("KGBD",): {"recognition_epochs": 150}, ("BIWI",): {"two_thirds": True},
                })  # fmt: skip
