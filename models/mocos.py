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
from torch import Tensor, nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.skeleton import Skeleton, motifs
from skeleton_reid.models.graph_transformer import PrototypeEncoder
from skeleton_reid.models.simmc import masked_mean, prototype_contrast


class Motifs(nn.Module):
    """What heads 1 to 5 of every layer make of their scores: each has a motif, the others see all.

    As released, scores outside a motif are 0 and keep the weight exp(0) in the softmax. With `hide`
    they have none; a joint without a motif sees all evenly.
    """
    def __init__(self, joints: int | Skeleton, n_heads: int, hide: bool):
        super().__init__()
        own = torch.stack([torch.from_numpy(motif) for motif in motifs(joints).values()])
        others = torch.ones(n_heads - 5, *own.shape[1:])
        seen = torch.cat([others[:1], own, others[1:]])  # (heads, J, J)
        self.register_buffer("seen", seen.float(), persistent=False)
        hidden = (seen == 0) & seen.any(dim=-1, keepdim=True) & hide
        self.register_buffer("hidden", hidden, persistent=False)

    def forward(self, scores: Tensor) -> Tensor:
        return (scores * self.seen).masked_fill(self.hidden, -torch.inf)


class MoCos(PrototypeEncoder):
    """joints None: the skeleton is that of the first data seen. motif: "factor" as released, or
    "mask": Motifs hide. InputError for fewer than 6 heads.
    """
    def __init__(self, joints: int | Skeleton | None, H: int = 128, n_heads: int = 8,
                 layers: int = 2, k: int = 10, *, motif: str = "factor", batch_norm: str = "frozen",
                 generator: torch.Generator | None = None):
        if n_heads < 6:
            raise InputError(f"--n_heads: motifs guide heads 1 to 5 of at least 6, found {n_heads}")
        self.motif = motif
        super().__init__(joints, H, n_heads, layers, k, batch_norm, generator)
        self.arguments |= {"motif": motif, "batch_norm": batch_norm}

    def take(self, joints: int | Skeleton, basis: str = "canonical") -> None:
        super().take(joints, basis)
        own = Motifs(joints, self.arguments["n_heads"], self.motif == "mask")
        self.transformer.guide = own.to(self.F_1.device)

    def draw_masks(self, rng: np.random.RandomState, f: int, released: bool, prob_t: float,
                   prob_s: float) -> tuple[np.ndarray, np.ndarray]:
        """A batch's masks (f,) and (J,) bool: each frame but with probability prob_t, each joint
        but with prob_s, at least one.
        """
        # docs/05-fidelity.md, unused-mask-draw
        frames, *_ = [draw_mask(rng, f, prob_t) for _ in range(1 + released)]
        return frames, draw_mask(rng, len(self.positions), prob_s)

    def losses(self, skeletons: Tensor, labels: Tensor, prototypes: Tensor, frame_mask: Tensor,
               node_mask: Tensor, positions: Tensor | None = None, *, fusion_lambda: float = 0.5,
               t_1: float = 0.1, t_2: float = 10.0) -> dict[str, Tensor]:
        """STr, SSk and total = lambda STr + (1 - lambda) SSk of a batch; arguments as TranSG's."""
        _, h, _ = self.relate(skeletons, positions)  # (B, f, J, H)
        g = masked_mean(h, node_mask)  # sub-skeletons (B, f, H)
        v = masked_mean(g, frame_mask)  # sub-tracklets (B, H)
        STr = prototype_contrast(v, labels, prototypes, t_1)
        SSk = self.skeleton_contrast(g, labels, prototypes, t_2)
        return {"STr": STr, "SSk": SSk, "total": fusion_lambda * STr + (1 - fusion_lambda) * SSk}


def draw_mask(rng: np.random.RandomState, n: int, p: float) -> np.ndarray:
    while not (mask := rng.uniform(size=n) >= p).any():
        pass
    return mask
