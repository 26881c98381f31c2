"""SimMC: its settings and what the paper sets."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import option, positive, positive_int, share
from skeleton_reid.common.errors import InputError
from skeleton_reid.engine.methods.base import ContrastSettings, Method, check_masks
from skeleton_reid.engine.options import ClusterOptions, SourceOptions


@dataclass(frozen=True)
class SimMCSettings(ContrastSettings):
    """SimMC (models/simmc.py)."""

    H: int = option(256, "feature size", type=positive_int)
    D: int = option(1, "hidden layers of the encoder", type=positive_int)
    mask_x: int = option(2, "frames that the first mask leaves out", type=int)
    mask_x_2: int | None = option(None, "frames that the second mask leaves out (as --mask_x)",
                                  type=int)
    mask_lambda: float = option(0.5, "weight of MIC; MPC has the rest", "--lambda", type=share)
    t: float = option(0.08, "temperature", type=positive)

    def __post_init__(self):
        if self.mask_x_2 is None:
            object.__setattr__(self, "mask_x_2", self.mask_x)

    def check(self, options: SourceOptions) -> None:
        super().check(options)
        check_masks("--mask_x", options.length, self.mask_x, self.mask_x_2)


@dataclass(frozen=True)
class SimMCOptions(ClusterOptions, SourceOptions):
    """Files."""

    save_model: int = option(1, "1: keep the best model", type=int, choices=(0, 1))
    save_flag: int = option(0, "1: also mACT, mRCL; metrics as arrays", type=int, choices=(0, 1))

    def __post_init__(self):
        if self.save_features and not self.save_model:
            raise InputError("--save_features takes the best model: it needs --save_model 1")


PUBLISHED = {
    ("KGBD",): {"t": 0.06, "eps": 0.6, "min_samples": 4}, ("IAS", "A"): {"mask_lambda": 0.75},
    ("BIWI",): {"t": 0.07, "mask_lambda": 0.25}, ("BIWI", "Still"): {"eps": 0.6},
    ("CASIA_B",): {"t": 0.075, "eps": 0.75, "mask_lambda": 0.25, "mask_x": 10},
}
METHOD = Method(name="SimMC", model="simmc.SimMC", script="train_simmc.py", settings=SimMCSettings,
                options=SimMCOptions, small={"H": 16, "batch_size": 32}, published=PUBLISHED,
                published_folder=True)
