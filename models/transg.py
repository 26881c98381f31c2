"""TranSG: Transformer-Based Skeleton Graph Prototype Contrastive Learning with
Structure-Trajectory Prompted Reconstruction for Person Re-Identification.

Rao, Miao. CVPR 2023. https://arxiv.org/abs/2303.06819
(TensorFlow code: https://github.com/Kali-Hac/TranSG)

A graph transformer (models/graph_transformer.py) relates the joints of a skeleton. Graph prototype
contrast (GPC) draws sequences and skeletons to the mean features of their persons, who are known.
Structure-trajectory prompted reconstruction (STPR) rebuilds a skeleton from some of its joints and
the way of a joint from some of the frames.

B sequences, f frames, n nodes of a graph, H features, C persons; t_1, t_2 temperatures.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from skeleton_reid.data.skeleton import Skeleton, adjacency
from skeleton_reid.models.graph_transformer import PrototypeEncoder
from skeleton_reid.models.simmc import draw_masks, masked_mean, prototype_contrast

ERRORS = {
    "l1": l1_loss, "MSE": mse_loss, "l2": lambda x, y: mse_loss(x, y, reduction="sum") / 2,
    "0": lambda x, y: 0 * l1_loss(x, y)
}  # of what is rebuilt


class TranSG(PrototypeEncoder):
    """The encoder and the heads that rebuild skeletons and trajectories (N(0, 1), biases 0)."""
    def __init__(self, joints: int | Skeleton, f: int, H: int = 128, n_heads: int = 8,
                 layers: int = 2, k: int = 10, *, level: str = "J", batch_norm: str = "frozen",
                 generator: torch.Generator | None = None):
        super().__init__(joints, H, n_heads, layers, k, batch_norm, generator, level)
        self.arguments |= {"f": f, "level": level, "batch_norm": batch_norm}
        n = len(self.positions)
        self.structure = nn.Sequential(nn.Linear(H, H), nn.ReLU(), nn.Linear(H, 3 * n))
        self.trajectory = nn.Sequential(nn.Linear(H, H // 2), nn.ReLU(), nn.Linear(H // 2, 3 * f))
        self.heads = (*self.structure[::2], *self.trajectory[::2])
        for layer in self.heads:
            nn.init.normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def draw_masks(self, rng: np.random.RandomState, f: int, released: bool, Tr_mask_num: int,
                   St_mask_num: int, St_prompt_type: int) -> tuple[np.ndarray, np.ndarray]:
        """A batch's masks (f,) and (n,) bool: all frames but Tr_mask_num, all nodes but some.

        St_prompt_type: 3 leaves out any St_mask_num nodes (all but one at most); 1 every node, in
        random order, that is no neighbour of one left out; 2 as many as 1 would.
        """
        graph = adjacency(self.level, self.skeleton)
        # docs/05-fidelity.md, unused-mask-draw
        frames = draw_masks(rng, f, [Tr_mask_num] * (1 + released))[0]
        n, apart = len(graph), []
        for node in rng.permutation(n) if St_prompt_type != 3 else ():
            if not graph[node, apart].any():
                apart.append(node)
        count = min(St_mask_num, n - 1) if St_prompt_type == 3 else len(apart)
        left_out = apart if St_prompt_type == 1 else rng.choice(n, count, replace=False)
        return frames, np.isin(np.arange(n), left_out, invert=True)

    def losses(self, skeletons: Tensor, labels: Tensor, prototypes: Tensor, frame_mask: Tensor,
               node_mask: Tensor, positions: Tensor | None = None, *, seq_lambda: float = 0.5,
               prompt_lambda: float = 0.5, GPC_lambda: float = 0.5, t_1: float = 0.07,
               t_2: float = 14.0, S_prompt: str = "l1", T_prompt: str = "l1") -> dict[str, Tensor]:
        """structure, trajectory, STPR, GPC_seq, GPC_ske, GPC and total of a batch.

        skeletons: (B, f, J, 3). labels: (B,). prototypes: (C, H), constants. frame_mask: (f,) bool,
        node_mask: (n,) bool, what is kept. positions: as of `relate`.
        """
        x, h, _ = self.relate(skeletons, positions)  # (B, f, n, 3), (B, f, n, H)
        graph = h.mean(dim=2)  # (B, f, H)
        GPC_seq = prototype_contrast(graph.mean(dim=1), labels, prototypes, t_1)
        GPC_ske = self.skeleton_contrast(graph, labels, prototypes, t_2)
        GPC = seq_lambda * GPC_seq + (1 - seq_lambda) * GPC_ske

        skeleton = self.structure(masked_mean(h, node_mask))  # (B, f, 3 n)
        way = self.trajectory(masked_mean(h.transpose(1, 2), frame_mask))  # (B, n, 3 f)
        # Divided by B once more: docs/05-fidelity.md, reconstruction-over-batch-twice.
        structure = ERRORS[S_prompt](skeleton, x.flatten(2)) / len(x)
        trajectory = ERRORS[T_prompt](way, x.transpose(1, 2).flatten(2)) / len(x)
        both = prompt_lambda * structure + (1 - prompt_lambda) * trajectory
        STPR = structure if T_prompt == "0" else both  # as released
        losses = {"structure": structure, "trajectory": trajectory, "STPR": STPR}
        losses |= {"GPC_seq": GPC_seq, "GPC_ske": GPC_ske, "GPC": GPC}
        return losses | {"total": GPC_lambda * GPC + (1 - GPC_lambda) * STPR}
