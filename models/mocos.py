"""MoCos: Motif Guided Graph Transformer with Combinatorial Skeleton Prototype Learning for
Skeleton-Based Person Re-Identification.

Rao, Miao. AAAI 2025. (TensorFlow code: https://github.com/Kali-Hac/MoCos)

The graph transformer of TranSG (models/graph_transformer.py), in which motifs guide five heads:
joints at most one, two, three bones apart, and limbs as arms and as legs see them. Combinatorial
skeleton prototype learning draws random sub-skeletons (some joints) and sub-tracklets (of these
some frames) to the mean features of their persons, who are known.

B sequences, f frames, J joints, H features, C persons; t_1, t_2 temperatures.
"""

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import skeleton as graphs
from skeleton_reid.data.skeleton import Skeleton
from skeleton_reid.models.graph_transformer import GraphTransformer, PrototypeEncoder, mean_of_kept
from skeleton_reid.models.simmc import prototype_contrast


class MotifTransformer(GraphTransformer):
    """Heads 1 to 5 of every layer see by a motif (heads, J, J), the others all."""
    hide = False

    def clamped(self, scores: Tensor) -> Tensor:
        """As released, scores outside a motif are 0 and keep the weight exp(0) in the softmax. With
        `hide` they have none; a joint without a motif sees all evenly.
        """
        scores = super().clamped(scores * self.motifs)
        if self.hide:
            hidden = (self.motifs == 0) & self.motifs.any(dim=-1, keepdim=True)
            scores = scores.masked_fill(hidden, -torch.inf)
        return scores


class MoCos(PrototypeEncoder):
    """joints None: the skeleton is that of the first data seen. motif: "factor" as released, or
    "mask": MotifTransformer.hide. InputError for fewer than 6 heads.
    """
    transformer_class = MotifTransformer

    def __init__(self, joints: int | Skeleton | None, H: int = 128, n_heads: int = 8,
                 layers: int = 2, k: int = 10, *, motif: str = "factor", batch_norm: str = "frozen",
                 generator: torch.Generator | None = None):
        if n_heads < 6:
            raise InputError(f"--n_heads: motifs guide heads 1 to 5 of at least 6, found {n_heads}")
        super().__init__(joints, H, n_heads, layers, k, batch_norm, generator)
        self.arguments |= {"motif": motif}
        self.transformer.hide = motif == "mask"

    def take(self, joints: int | Skeleton) -> None:
        super().take(joints)
        motifs = torch.stack([torch.from_numpy(each) for each in graphs.motifs(joints).values()])
        all_joints = torch.ones(self.transformer.QKV.shape[1], *motifs.shape[1:])
        all_joints[1:6] = motifs
        self.transformer.register_buffer("motifs", all_joints.to(self.F_1), persistent=False)

    def draw_masks(self, rng: np.random.RandomState, f: int, released: bool, prob_t: float,
                   prob_s: float) -> tuple[np.ndarray, np.ndarray]:
        """A batch's masks (f,) and (J,) bool: each frame but with probability prob_t, each joint
        but with prob_s, at least one.
        """
        # docs/5-fidelity.md, unused-mask-draw
        frames, *_ = [draw_mask(rng, f, prob_t) for _ in range(1 + released)]
        return frames, draw_mask(rng, len(self.positions), prob_s)

    def losses(self, skeletons: Tensor, labels: Tensor, prototypes: Tensor, frame_mask: Tensor,
               node_mask: Tensor, positions: Tensor | None = None, *, fusion_lambda: float = 0.5,
               t_1: float = 0.1, t_2: float = 10.0) -> dict[str, Tensor]:
        """STr, SSk and total = lambda STr + (1 - lambda) SSk of a batch; arguments as TranSG's."""
        _, h, _ = self.relate(skeletons, positions)  # (B, f, J, H)
        g = mean_of_kept(h, node_mask)  # sub-skeletons (B, f, H)
        v = mean_of_kept(g, frame_mask)  # sub-tracklets (B, H)
        STr = prototype_contrast(v, labels, prototypes, t_1)
        SSk = self.skeleton_contrast(g, labels, prototypes, t_2)
        return {"STr": STr, "SSk": SSk, "total": fusion_lambda * STr + (1 - fusion_lambda) * SSk}


def draw_mask(rng: np.random.RandomState, n: int, p: float) -> np.ndarray:
    while not (mask := rng.uniform(size=n) >= p).any():
        pass
    return mask
