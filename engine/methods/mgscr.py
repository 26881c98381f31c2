"""MG-SCR: its settings and what the paper and the released code set."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import FLAG, not_negative, option, positive, positive_int
from skeleton_reid.common.errors import InputError
from skeleton_reid.data.sampling import subset_sizes
from skeleton_reid.engine.methods.base import LearningSettings, Method
from skeleton_reid.engine.options import PhaseOptions


@dataclass(frozen=True)
class MGSCRSettings(LearningSettings):
    """MG-SCR (models/mgscr.py)."""

    supervision = "identities"
    at_first = "pre-trained encoder"

    c_lambda: float = option(0.3, "weight of the coarse levels", type=not_negative)
    D_h: int = option(128, "units of every LSTM layer", type=positive_int)
    frames: str = option("subset", "tiled: as released", choices=("subset", "tiled"))
    prefixes: str = option("f-1", "frames of the longest prefix", choices=("f-1", "f"))
    subsets: str = option("resample", "for every batch, or once", choices=("resample", "fixed"))
    feature: str = option("nodes", "feature for retrieval", choices=("nodes", "state"))
    decay_all: bool = option(False, "L2 also of weights that no score uses", **FLAG)
    recognition_lr: float | None = option(None, "after pre-training (the same)", type=positive)
    pre_epochs: int = option(150, "epochs of pre-training", type=positive_int)
    recognition_epochs: int = option(10_000, "epochs of recognition", type=positive_int)

    @property
    def variant(self) -> str:
        return self.frames

    def check(self, options: PhaseOptions) -> None:
        subset_sizes(options.length, "all", bi=False, pred_margin=1)
        if options.task == "none" and "pre_epochs" in options.overrides:
            raise InputError("--task none has no pre-training: leave out --pre_epochs")


@dataclass(frozen=True)
class MGSCROptions(PhaseOptions):
    """Files."""

    encoder: None = None  # one of other persons does not fit: the recogniser is a part of it
    task: str = option("pre", "none: labels alone; retrieval: the training split alone",
                       choices=("pre", "none", "retrieval"))


METHOD = Method(
    name="MG-SCR",
    model="mgscr.MGSCR",
    script="train_mgscr.py",
    settings=MGSCRSettings,
    options=MGSCROptions,
    small={"D_h": 8, "batch_size": 20, "lr": 0.01},
    published={
        (): {"lr": 0.005},
        ("KS20",): {"pre_epochs": 300},
        ("CASIA_B",): {"batch_size": 128, "D_h": 256, "lr": 0.0005, "pre_epochs": 160},
        ("CASIA_B", "test"): {"pre_epochs": 300},  # cross-view
    },
    released={(): {"frames": "tiled", "subsets": "fixed", "decay_all": True}})  # fmt: skip
