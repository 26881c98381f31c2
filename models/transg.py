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

import torch
from torch import Tensor, nn

from skeleton_reid.data.skeleton import Skeleton
from skeleton_reid.models.graph_transformer import PrototypeEncoder
from skeleton_reid.models.simmc import prototype_contrast


class TranSG(PrototypeEncoder):
    """The encoder and the heads that rebuild skeletons and trajectories (N(0, 1), biases 0)."""
    matrices = 10

    def __init__(self, joints: int | Skeleton, f: int, H: int = 128, n_heads: int = 8,
                 layers: int = 2, k: int = 10, *, level: str = "J", running: bool = False,
                 generator: torch.Generator | None = None):
        super().__init__(joints, H, n_heads, layers, k, running, generator, level)
        self.arguments |= {"f": f, "level": level}
        n = len(self.positions)
        self.structure = nn.Sequential(nn.Linear(H, H), nn.ReLU(), nn.Linear(H, 3 * n))
        self.trajectory = nn.Sequential(nn.Linear(H, H // 2), nn.ReLU(), nn.Linear(H // 2, 3 * f))
        for layer in (*self.structure[::2], *self.trajectory[::2]):
            nn.init.normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    @classmethod
    def told_by(cls, shapes: list[torch.Size]) -> dict[str, int | None]:
        return {"joints": shapes[-7][0] // 3, "f": shapes[-3][0] // 3}

    def heads(self) -> list[Tensor]:
        layers = (*self.structure[::2], *self.trajectory[::2])
        return [part for layer in layers for part in (layer.weight.T, layer.bias)]

    def losses(self, skeletons: Tensor, labels: Tensor, prototypes: Tensor, frame_mask: Tensor,
               node_mask: Tensor, positions: Tensor | None = None, *, seq_lambda: float = 0.5,
               prompt_lambda: float = 0.5, GPC_lambda: float = 0.5, t_1: float = 0.07,
               t_2: float = 14.0, S_prompt: str = "l1", T_prompt: str = "l1",
               batch: int | None = None) -> dict[str, Tensor]:
        """structure, trajectory, STPR, GPC_seq, GPC_ske, GPC and total of a batch.

        skeletons: (B, f, J, 3). labels: (B,). prototypes: (C, H), constants. frame_mask: (f,) bool,
        node_mask: (n,) bool, what is kept. positions: (n, k), by default the model's. batch: as of
        GraphTransformer.
        """
        x = self.nodes(skeletons)  # (B, f, n, 3)
        h, _ = self.transformer(x, self.positions if positions is None else positions, batch)
        graph = h.mean(dim=2)  # (B, f, H)
        GPC_seq = prototype_contrast(graph.mean(dim=1), labels, prototypes, t_1)
        GPC_ske = self.skeleton_contrast(graph, labels, prototypes, t_2)
        GPC = seq_lambda * GPC_seq + (1 - seq_lambda) * GPC_ske

        skeleton = self.structure(h[:, :, node_mask].mean(dim=2))  # (B, f, 3 n)
        way = self.trajectory(h[:, frame_mask].mean(dim=1))  # (B, n, 3 f)
        structure = error(skeleton - x.flatten(2), S_prompt, batch)
        trajectory = error(way - x.transpose(1, 2).flatten(2), T_prompt, batch)
        # As released: without trajectories the rest has no weight.
        weight = 1.0 if T_prompt == "0" else prompt_lambda
        STPR = weight * structure + (1 - weight) * trajectory
        total = GPC_lambda * GPC + (1 - GPC_lambda) * STPR
        return {
            "structure": structure, "trajectory": trajectory, "STPR": STPR, "GPC_seq": GPC_seq,
            "GPC_ske": GPC_ske, "GPC": GPC, "total": total
        }


def error(difference: Tensor, kind: str, batch: int | None = None) -> Tensor:
    """Mean absolute (l1) or squared (MSE) error, once more divided by the batch's B (docs/
    5-fidelity.md, reconstruction-over-batch-twice), half the summed square by B (l2), or 0.
    """
    B = len(difference)
    if kind == "l2":
        return difference.square().sum() / 2 / B
    if kind == "0":
        return difference.new_zeros(())
    each = difference.abs() if kind == "l1" else difference.square()
    return each.mean() / (batch or B)
