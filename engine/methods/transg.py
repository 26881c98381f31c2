"""TranSG: its settings, those it shares with MoCos, and what the released code sets."""

from dataclasses import dataclass

from skeleton_reid.common.command_line import SWITCH, option, positive, positive_int, share
from skeleton_reid.engine.methods.base import LearningSettings, Method, check_masks
from skeleton_reid.engine.options import TrainingOptions

ERRORS = ("l1", "MSE", "l2", "0")


@dataclass(frozen=True)
class GraphTransformerSettings(LearningSettings):
    """Graph transformer (models/graph_transformer.py)."""

    supervision = "identities"
    released_order = "later"

    H: int = option(128, "feature size", type=positive_int)
    n_heads: int = option(8, "heads of the attention", type=positive_int)
    L_transformer: int = option(2, "layers of the attention", type=positive_int)
    pos_enc: int = option(1, "nodes have positions", **SWITCH)
    enc_k: int = option(10, "eigenvectors in a position", type=positive_int)
    basis: str = option("canonical", "of equal eigenvalues' positions, or what LAPACK gives here",
                        choices=("canonical", "lapack"))
    rand_flip: int = option(1, "random signs of the positions in training", **SWITCH)
    batch_norm: str = option("frozen", "in evaluation: as at first, or running averages",
                             choices=("frozen", "running"))


@dataclass(frozen=True)
class TranSGSettings(GraphTransformerSettings):
    """TranSG (models/transg.py)."""

    level: str = option("J", "nodes: joints, parts or bodies", choices=("J", "P", "B"))
    seq_lambda: float = option(0.5, "alpha, weight of sequences beside skeletons", type=share)
    prompt_lambda: float = option(0.5, "beta, weight of structure beside trajectories", type=share)
    GPC_lambda: float = option(0.5, "lambda, weight of GPC beside STPR", type=share)
    t_1: float = option(0.07, "temperature of sequences", type=positive)
    t_2: float = option(14.0, "temperature of skeletons", type=positive)
    St_mask_num: int = option(10, "nodes that a mask leaves out", type=positive_int)
    Tr_mask_num: int = option(2, "frames that a mask leaves out", type=int)
    St_prompt_type: int = option(3, "of these nodes, 3: any, 1: no neighbours, 2: as many as 1",
                                 type=int, choices=(1, 2, 3))
    S_prompt: str = option("l1", "error of rebuilt skeletons", choices=ERRORS)
    T_prompt: str = option("l1", "error of rebuilt trajectories", choices=ERRORS)

    def check(self, options: TrainingOptions) -> None:
        check_masks("--Tr_mask_num", options.length, self.Tr_mask_num)


METHOD = Method(
    name="TranSG", model="transg.TranSG", script="train_transg.py", settings=TranSGSettings,
    options=TrainingOptions, small={"H": 8, "n_heads": 2, "batch_size": 32}, published={
        (): {"patience": 120}, ("KGBD",): {"rand_flip": 0, "patience": 60},
        ("CASIA_B",): {"rand_flip": 0, "patience": 60, "Tr_mask_num": 10, "seq_lambda": 1.0},
    }, released={(): {"basis": "lapack"}})  # fmt: skip
