"""MoCos: its settings and what the released code sets."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import option, positive, probability, share
from skeleton_reid.engine.methods.base import Method
from skeleton_reid.engine.methods.transg import GraphTransformerSettings
from skeleton_reid.engine.options import TrainingOptions


@dataclass(frozen=True)
class MoCosSettings(GraphTransformerSettings):
    """MoCos (models/mocos.py)."""

    prob_s: float = option(0.5, "probability that a mask leaves out a joint", type=probability)
    prob_t: float = option(0.0, "probability that it leaves out a frame", type=probability)
    fusion_lambda: float = option(0.5, "lambda, weight of STr beside SSk", type=share)
    t_1: float = option(0.1, "temperature of sub-tracklets", type=positive)
    t_2: float = option(10.0, "temperature of sub-skeletons", type=positive)
    motif: str = option("factor", "on the scores, or mask: only what lies within is attended to",
                        choices=("factor", "mask"))


PUBLISHED = {
    (): {"patience": 150}, ("KS20",): {"prob_s": 0.25, "prob_t": 0.25, "fusion_lambda": 0.9},
    ("KGBD",): {"prob_t": 0.25, "fusion_lambda": 0.9, "rand_flip": 0},
    ("IAS",): {"prob_s": 0.25, "prob_t": 0.25,
               "fusion_lambda": 0.75, "rand_flip": 0}, ("IAS", "A"): {"prob_s": 0.5, "prob_t": 0.1},
    ("BIWI",): {"prob_s": 0.25,
                "prob_t": 0.25, "fusion_lambda": 0.9}, ("BIWI", "Still"): {"fusion_lambda": 0.25},
    ("CASIA_B",): {"fusion_lambda": 1.0, "rand_flip": 0, "patience": 100},
}
METHOD = Method(name="MoCos", model="mocos.MoCos", script="train_mocos.py", settings=MoCosSettings,
                options=TrainingOptions, small={"H": 12, "n_heads": 6, "batch_size": 32},
                published=PUBLISHED, released={(): {"basis": "lapack"}})
