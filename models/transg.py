"""TranSG: Transformer-Based Skeleton Graph Prototype Contrastive Learning with
Structure-Trajectory Prompted Reconstruction for Person Re-Identification.

Rao, Miao. CVPR 2023. https://arxiv.org/abs/2303.06819
(TensorFlow code: https://github.com/Kali-Hac/TranSG)

A graph transformer (models/graph_transformer.py) relates the joints of a skeleton. Graph prototype
contrast (GPC) draws sequences and skeletons to the mean features of their persons, which are known.
Structure-trajectory prompted reconstruction (STPR) rebuilds a skeleton from some of its joints, and
the way of a joint from some of the frames.

B sequences, f frames, J joints, n nodes of a graph, H features, C persons; t_1, t_2 temperatures.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import skeleton as graphs
from skeleton_reid.data.skeleton import Skeleton
from skeleton_reid.models.graph_transformer import (GraphTransformer, SkeletonContrast,
                                                    fill_published, numbered, published_sizes)
from skeleton_reid.models.published import pick
from skeleton_reid.models.simmc import prototype_contrast

ERRORS = ("l1", "MSE", "l2", "0")


class TranSG(nn.Module):
    """The encoder and its reconstruction heads (N(0, 1), biases 0).

    joints: the skeleton, or J of published data. level: the graph's nodes, joints J, parts P or
    bodies B. k: numbers in a position, at most n - 1. running: of batch norm. positions: a buffer
    (n, k), which may be assigned.
    """
    def __init__(self, joints: int | Skeleton, f: int, H: int = 128, n_heads: int = 8,
                 layers: int = 2, k: int = 10, *, level: str = "J", running: bool = False,
                 generator: torch.Generator | None = None):
        super().__init__()
        self.arguments = {"f": f, "H": H, "n_heads": n_heads, "layers": layers, "k": k,
                          "level": level, "running": running}
        self.skeleton, self.level = graphs.get(joints), level
        positions = graphs.positions(self.skeleton, k, level).astype(np.float32)
        n, k = positions.shape
        self.register_buffer("positions", torch.from_numpy(positions))
        self.transformer = GraphTransformer(H, n_heads, layers, k, running, generator)
        self.contrast = SkeletonContrast(H, generator)
        self.structure = nn.Sequential(nn.Linear(H, H), nn.ReLU(), nn.Linear(H, 3 * n))
        self.trajectory = nn.Sequential(nn.Linear(H, H // 2), nn.ReLU(), nn.Linear(H // 2, 3 * f))
        for layer in (*self.structure[::2], *self.trajectory[::2]):
            nn.init.normal_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def nodes(self, skeletons: Tensor) -> Tensor:
        """The nodes (B, f, n, 3) of skeletons (B, f, J, 3)."""
        return graphs.scales(skeletons, self.level, self.skeleton)[self.level]

    def encode(self, skeletons: Tensor, positions: Tensor | None = None) -> Tensor:
        """Frame features (B, f, H) of skeletons (B, f, J, 3): the mean of the nodes' features."""
        positions = self.positions if positions is None else positions
        return self.transformer(self.nodes(skeletons), positions).mean(dim=2)

    def losses(self, skeletons: Tensor, labels: Tensor, prototypes: Tensor, frame_mask: Tensor,
               node_mask: Tensor, positions: Tensor | None = None, *, seq_lambda: float = 0.5,
               prompt_lambda: float = 0.5, GPC_lambda: float = 0.5, t_1: float = 0.07,
               t_2: float = 14.0, S_prompt: str = "l1", T_prompt: str = "l1",
               batch: int | None = None) -> dict[str, Tensor]:
        """structure, trajectory, STPR, GPC_seq, GPC_ske, GPC and the total of a batch.

        skeletons: (B, f, J, 3). labels: (B,). prototypes: (C, H), constants. frame_mask: (f,) bool
        and node_mask: (n,) bool, what is kept. positions: (n, k), by default the model's. batch:
        sequences of the batch in all, if these are this process's part of it.
        """
        x = self.nodes(skeletons)  # (B, f, n, 3)
        positions = self.positions if positions is None else positions
        h = self.transformer(x, positions, batch)  # (B, f, n, H)
        graph = h.mean(dim=2)  # (B, f, H)
        GPC_seq = prototype_contrast(graph.mean(dim=1), labels, prototypes, t_1)
        GPC_ske = self.contrast(graph, labels, prototypes, t_2)
        GPC = seq_lambda * GPC_seq + (1 - seq_lambda) * GPC_ske

        rebuilt = self.structure(h[:, :, node_mask].mean(dim=2))  # (B, f, 3 n)
        structure = error(rebuilt - x.flatten(2), S_prompt, batch)
        rebuilt = self.trajectory(h[:, frame_mask].mean(dim=1))  # (B, n, 3 f)
        trajectory = error(rebuilt - x.transpose(1, 2).flatten(2), T_prompt, batch)
        STPR = prompt_lambda * structure + (1 - prompt_lambda) * trajectory
        if T_prompt == "0":  # the structure term alone, unweighted
            STPR = structure
        return {
            "structure": structure, "trajectory": trajectory, "STPR": STPR, "GPC_seq": GPC_seq,
            "GPC_ske": GPC_ske, "GPC": GPC, "total": GPC_lambda * GPC + (1 - GPC_lambda) * STPR
        }

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray]) -> "TranSG":
        """Model of published variables, arrays by their names without ":0", or InputError."""
        sizes = published_sizes(variables, "TranSG", more=10)
        P = 3 * sizes["layers"] * sizes["n_heads"]
        joints, f = (len(pick(variables, f"TranSG/TranSG/Variable_{P + number}")) // 3
                     for number in (3, 7))
        model = cls(joints, f, **sizes)
        fill_published(model.published(), variables, "TranSG")
        return model

    def published(self) -> Iterator[tuple[str, Tensor]]:
        """Each published variable, "TranSG" left out, and the tensor that it fills."""
        yield from self.transformer.published()
        parts = []
        for layer in (*self.structure[::2], *self.trajectory[::2]):
            parts += [layer.weight.T, layer.bias]
        parts += [self.contrast.F_1, self.contrast.F_2]
        for number, part in enumerate(parts, self.transformer.QKV.flatten(0, 2).shape[0]):
            yield numbered("Variable", number), part


def error(difference: Tensor, kind: str, batch: int | None = None) -> Tensor:
    """Mean absolute (l1) or squared (MSE) error, divided by B once more as released
    (docs/5-fidelity.md, reconstruction-over-batch-twice), or half the summed square by B (l2).
    difference: (B, ...). batch: B, if these are a part of the batch.
    """
    B = batch or len(difference)
    if kind == "l1":
        return difference.abs().mean() / B
    if kind == "MSE":
        return difference.square().mean() / B
    if kind == "l2":
        return difference.square().sum() / 2 / len(difference)
    if kind == "0":
        return difference.new_zeros(())
    raise InputError(f"unknown error {kind!r}; choose one of {', '.join(ERRORS)}")
