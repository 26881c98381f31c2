"""The graph transformer of TranSG and MoCos, and the encoder with prototypes around it.

B sequences, f frames, J joints, n nodes of a graph, H features, k numbers in a node's position,
C persons.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import skeleton as graphs
from skeleton_reid.data.skeleton import Skeleton
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.published import numbered, pick


class BatchNorm(nn.BatchNorm1d):
    """Over all axes but the last. Unless `running` its averages stay 0 and 1, as released, and
    nothing is normalised in evaluation (docs/5-fidelity.md, batch-norm-never-updated).
    """
    def __init__(self, H: int, running: bool):
        super().__init__(H, eps=0.001, momentum=0.01 if running else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view_as(x)


class GraphTransformer(nn.Module):
    """Layers of attention with nothing between them, then one residual and one feed-forward block.

    k: 0 for nodes without positions. running: of BatchNorm. Dense layers are Glorot-uniform at
    first, attention N(0, 1). InputError if H is no multiple of n_heads.
    """
    def __init__(self, H: int, n_heads: int, layers: int, k: int, running: bool = False,
                 generator: torch.Generator | None = None):
        super().__init__()
        if H % n_heads:
            raise InputError(f"--H: expected a multiple of the {n_heads} heads, found {H}")
        self.embedding = nn.Sequential(nn.Linear(3, H), nn.ReLU(), nn.Linear(H, H))
        self.position = nn.Linear(k, H) if k else None
        self.QKV = nn.Parameter(torch.empty(layers, n_heads, 3, H, H // n_heads))
        self.residual = nn.Linear(H, H)
        self.widen, self.narrow = nn.Linear(H, 2 * H), nn.Linear(2 * H, H)
        self.norm_1, self.norm_2 = BatchNorm(H, running), BatchNorm(H, running)
        self.dropout_1, self.dropout_2 = nn.Dropout(0.5), nn.Dropout(0.5)
        for layer in filter(lambda each: isinstance(each, nn.Linear), self.modules()):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.QKV, generator=generator)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features (B, f, n, H) of nodes x (B, f, n, 3) at positions (n, k), and the weights
        (B, f, heads, n, n) of every layer.
        """
        h_0 = self.embedding(x)  # (B, f, n, H)
        if self.position is not None:
            h_0 = h_0 + self.position(positions)
        h, weights = h_0, []
        for W in self.QKV:
            h, a = self.attend(h, W)
            weights.append(a)
        n_1 = self.norm_1(h_0 + self.residual(self.dropout_1(h)))
        h = n_1 + self.narrow(self.dropout_2(self.widen(n_1).relu()))
        return self.norm_2(h), weights

    def attend(self, h: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
        """A layer: the heads side by side (B, f, n, H), and their weights (B, f, heads, n, n):
        softmax over the nodes of a frame of clamp(Q K' / sqrt(d), -5, 5). W: (heads, 3, H, d).
        """
        heads, _, H, d = W.shape
        QKV = h @ W.permute(2, 1, 0, 3).reshape(H, 3 * H)  # one product for all heads
        Q, K, V = QKV.unflatten(-1, (3, heads, d)).permute(3, 0, 1, 4, 2, 5)  # (B, f, heads, n, d)
        a = self.clamped(Q @ K.transpose(-1, -2) / math.sqrt(d)).softmax(dim=-1)
        return (a @ V).transpose(2, 3).flatten(3), a

    def clamped(self, scores: Tensor) -> Tensor:
        """What the softmax gets of the scores (B, f, heads, n, n)."""
        return scores.clamp(-5, 5)


class PrototypeEncoder(EmbeddingModel):
    """A graph transformer whose features are drawn to prototypes, the mean features of persons.

    joints: the skeleton, J of published data, or None: that of the first skeletons seen. level: the
    nodes, joints J, parts P or bodies B. batch_norm: frozen or running (averages for evaluation).
    positions: a buffer (n, k), k at most n - 1, by default data.skeleton.positions.
    """
    frames_at_a_time = 1_536  # with 20 joints 8 heads have 5 million scores a layer
    transformer_class = GraphTransformer
    more = 2  # published matrices than those of the attention
    told: tuple[int, ...] = ()  # whose third is J, f: biases, counted from the last matrix

    def __init__(self, joints: int | Skeleton | None, H: int, n_heads: int, layers: int, k: int,
                 batch_norm: str, generator: torch.Generator | None, level: str = "J"):
        super().__init__()
        self.arguments = {"H": H, "n_heads": n_heads, "layers": layers, "k": k}
        self.arguments |= {"batch_norm": batch_norm}
        self.level, running = level, batch_norm == "running"
        self.k = k if joints is None else graphs.positions(joints, k, level).shape[1]
        self.transformer = self.transformer_class(H, n_heads, layers, self.k, running, generator)
        self.F_1, self.F_2 = (nn.Parameter(torch.randn(H, H, generator=generator)) for _ in "12")
        self.heads: tuple[nn.Linear, ...] = ()
        self.register_buffer("positions", None)
        if joints is not None:
            self.take(joints)

    def take(self, joints: int | Skeleton) -> None:
        """Take the skeleton and the positions of its nodes."""
        self.skeleton = graphs.get(joints)
        positions = graphs.positions(self.skeleton, self.k, self.level)
        self.positions = torch.from_numpy(positions).to(self.F_1)

    def relate(self, skeletons: Tensor,
               positions: Tensor | None = None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The nodes (B, f, n, 3) of skeletons (B, f, J, 3), and what GraphTransformer makes of them
        at positions (n, k), by default the model's.
        """
        if self.positions is None:
            self.take(skeletons.shape[2])
        x = graphs.scales(skeletons, self.level, self.skeleton)[self.level]
        return x, *self.transformer(x, self.positions if positions is None else positions)

    def encode(self, skeletons: Tensor, positions: Tensor | None = None) -> Tensor:
        """Frame features (B, f, H) of skeletons (B, f, J, 3): the mean of the nodes' features."""
        return self.relate(skeletons, positions)[1].mean(dim=2)

    def skeleton_contrast(self, g: Tensor, labels: Tensor, prototypes: Tensor, t: float) -> Tensor:
        """Cross entropy of softmax((g F_1) (c F_2)' / t) with the persons (B,), nothing normalised,
        summed over the frames. g: (B, f, H). prototypes c: (C, H), constants.
        """
        logits = (g @ self.F_1) @ (prototypes.detach() @ self.F_2).T / t  # (B, f, C)
        y = labels.repeat_interleave(g.shape[1])
        return cross_entropy(logits.flatten(0, 1), y, reduction="sum") / len(g)

    def published(self) -> Iterator[tuple[str, Tensor]]:
        """The published variables, without the method's name, and their places."""
        own = self.transformer
        dense = (*own.embedding[::2], own.position, own.residual, own.widen, own.narrow)
        for number, layer in enumerate(dense):
            yield numbered("dense", number) + "/kernel", layer.weight.T
            yield numbered("dense", number) + "/bias", layer.bias
        for number, norm in enumerate((own.norm_1, own.norm_2)):
            parts = {"gamma": norm.weight, "beta": norm.bias}
            parts |= {"moving_mean": norm.running_mean, "moving_variance": norm.running_var}
            for part, tensor in parts.items():
                yield f"{numbered('batch_normalization', number)}/{part}", tensor
        heads = [part for layer in self.heads for part in (layer.weight.T, layer.bias)]
        # Of the attention number 3 (layer n_heads + head) is Q, then K and V.
        for number, matrix in enumerate((*own.QKV.flatten(0, 2), *heads, self.F_1, self.F_2)):
            yield numbered("Variable", number), matrix

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray]) -> Self:
        """Model of published variables, arrays by their names without ":0", or InputError. What
        lies below Variable_n, which that was copied from, has no effect.
        """
        method, own = cls.__name__, f"{cls.__name__}/{cls.__name__}"
        count = sum(
            re.fullmatch(f"{own}/Variable(_[0-9]+)?", name) is not None for name in variables)
        H, d = pick(variables, f"{own}/Variable").shape
        k = len(pick(variables, f"{method}/dense_2/kernel"))
        told = [len(pick(variables, f"{own}/Variable_{count - n}")) // 3 for n in cls.told]
        layers = (count - cls.more) * d // (3 * H)
        model = cls(*told or [None], H=H, n_heads=H // d, layers=layers, k=k)
        for name, tensor in model.published():
            name = f"{own if name.startswith('Variable') else method}/{name}"
            tensor.data.copy_(pick(variables, name, tensor.shape))
        return model


def mean_of_kept(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of what the mask keeps, (..., m, H), (m,) bool -> (..., H)."""
    return (mask / mask.sum()) @ x
