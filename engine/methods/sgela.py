"""SGELA: its settings and what the paper and the released code set."""

from dataclasses import dataclass
from typing import Any

from skeleton_reid.common.command_line import (FLAG, SWITCH, not_negative, option, positive,
                                               positive_int)
from skeleton_reid.engine.methods.age import AxesSettings
from skeleton_reid.engine.methods.base import Method
from skeleton_reid.engine.options import PhaseOptions

PLUS = ("rev_rec", "prediction", "sorting")
TASKS = (*PLUS, "reconstruction", "rev_rec_plus")


@dataclass(frozen=True)
class SGELASettings(AxesSettings):
    """SGELA (models/sgela.py)."""

    model: str = option("rev_rec", "pretext task", choices=TASKS)
    attention: str | None = option(None, "LA (with --model prediction and sorting BA)",
                                   choices=("LA", "BA", "MBA"))
    norm: int = option(1, "0: scale each coordinate to its range in training", **SWITCH)
    t: float = option(0.1, "temperature of the contrastive loss", type=positive)
    contrast_weight: float = option(1.0, "weight of the contrastive loss", type=not_negative)
    neighbours: str = option(
        "recording", "windows that follow each other: in a recording, or as "
        "released in the file", choices=("recording", "file"))
    copies: bool = option(True, "copies of windows among the negatives, as released", **FLAG)
    recognition_lr: float = option(0.0005, "learning rate of the recogniser", type=positive)
    recognition_batch: int = option(128, "rows in a batch of the recogniser", type=positive_int)

    def __post_init__(self):
        if self.attention is None:
            alone = self.model in ("prediction", "sorting")
            object.__setattr__(self, "attention", "BA" if alone else "LA")

    @property
    def variant(self) -> str:
        return self.model + ("" if self.attention == "LA" else f"_{self.attention}")

    @property
    def tasks(self) -> tuple[str, ...]:
        """The pretext tasks, an encoder each."""
        return PLUS if self.model == "rev_rec_plus" else (self.model,)

    def encoder(self, task: str, length: int, released: bool) -> dict[str, Any]:
        """The arguments of a task's encoder. In Rev. Rec. Plus the others have basic attention."""
        plus = len(self.tasks) > 1 and task != "rev_rec"
        ordered = task in ("sorting", "reconstruction") and not released  # step t rebuilds frame t
        return {
            "hidden": self.hidden, "length": length, "temperature": self.t,
            "attention": "BA" if plus else self.attention,
            "target": "same" if ordered else "reverse", "count_copies": released
        }


METHOD = Method(
    name="SGELA",
    model="sgela.CAGE",
    script="train_sgela.py",
    settings=SGELASettings,
    options=PhaseOptions,
    small={"hidden": 8, "batch_size": 16, "lr": 0.01},
    published={
        ("BIWI",): {"two_thirds": True},
        ("KGBD",): {"t": 0.5, "pre_epochs": 150, "recognition_epochs": 200},
        ("KS20",): {"recognition_epochs": 800},
        ("CASIA_B",): {"t": 0.15, "pre_epochs": 100, "centred": True, "manner": "sc"},
        ("CASIA_B", "test"): {  # cross-view
            "manner": "ap", "recognition_epochs": 1000, "recognition_lr": 0.005,
            "recognition_batch": 1280
        },
    },
    released={(): {"attention": "LA", "neighbours": "file"}})  # fmt: skip
