"""The graph transformer of TranSG and MoCos, which makes features of the nodes of skeleton graphs,
and what else the two share.

B sequences, f frames, n nodes, H features, k numbers in a node's position, C persons; d = H / heads.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError
from skeleton_reid.models.published import pick

LARGEST_SCORE = 5.0


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

    k: 0: nodes have no position. running: of BatchNorm. Dense layers are Glorot-uniform at first,
    biases 0, attention N(0, 1). InputError if H is no multiple of n_heads.
    """
    def __init__(self, H: int = 128, n_heads: int = 8, layers: int = 2, k: int = 10,
                 running: bool = False, generator: torch.Generator | None = None):
        super().__init__()
        if H % n_heads:
            raise InputError(f"--H: expected a multiple of the {n_heads} heads, found {H}")
        self.embedding = nn.Sequential(nn.Linear(3, H), nn.ReLU(), nn.Linear(H, H))
        self.place = nn.Linear(k, H) if k else None
        self.QKV = nn.Parameter(torch.empty(layers, n_heads, 3, H, H // n_heads))
        self.residual = nn.Linear(H, H)
        self.widen, self.narrow = nn.Linear(H, 2 * H), nn.Linear(2 * H, H)
        self.norm_1, self.norm_2 = BatchNorm(H, running), BatchNorm(H, running)
        self.dropout_1, self.dropout_2 = nn.Dropout(0.5), nn.Dropout(0.5)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.QKV, generator=generator)
        self.register_buffer("factor", None)  # (heads, n, n), on the scores
        self.register_buffer("hidden", None)  # (heads, n, n) bool, what a node does not see

    def forward(self, x: Tensor, positions: Tensor, batch: int | None = None) -> Tensor:
        """Features (B, f, n, H) of nodes x (B, f, n, 3) at positions (n, k).

        batch: sequences of the training batch in all, if these are this process's part of it.
        """
        def tied(work: nn.Module, rows: Tensor) -> Tensor:  # by drawn numbers, by statistics
            return processes.on_whole_batch(work, rows, batch)

        h_0 = self.embed(x, positions)
        h = h_0
        for W in self.QKV:
            h = self.attend(h, W)[0]
        h = h_0 + self.residual(tied(self.dropout_1, h))
        n_1 = tied(self.norm_1, h)
        h = n_1 + self.narrow(tied(self.dropout_2, self.widen(n_1).relu()))
        return tied(self.norm_2, h)

    def embed(self, x: Tensor, positions: Tensor) -> Tensor:
        """h_0 (B, f, n, H): the embedding of the nodes plus that of their positions."""
        e = self.embedding(x)
        return e if self.place is None else e + self.place(positions)

    def attend(self, h: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
        """One layer: the heads' values side by side (B, f, n, H) and weights (B, f, heads, n, n).

        a = softmax(clamp(Q K' / sqrt(d), -5, 5)), over the nodes of a frame. W: (heads, 3, H, d).
        """
        heads, _, H, d = W.shape
        QKV = h @ W.permute(2, 1, 0, 3).reshape(H, 3 * H)  # one product for all heads
        Q, K, V = QKV.unflatten(-1, (3, heads, d)).permute(3, 0, 1, 4, 2, 5)  # (B, f, heads, n, d)
        scores = Q @ K.mT / math.sqrt(d)  # (B, f, heads, n, n)
        if self.factor is not None:
            scores = scores * self.factor
        scores = scores.clamp(-LARGEST_SCORE, LARGEST_SCORE)
        if self.hidden is not None:
            scores = scores.masked_fill(self.hidden, -torch.inf)
        a = scores.softmax(dim=-1)
        return (a @ V).transpose(2, 3).flatten(3), a

    def attention(self, x: Tensor, positions: Tensor) -> Tensor:
        """The weights of every layer, (layers, B, f, heads, n, n); for pictures."""
        h, weights = self.embed(x, positions), []
        for W in self.QKV:
            h, a = self.attend(h, W)
            weights.append(a)
        return torch.stack(weights)

    def published(self) -> Iterator[tuple[str, Tensor]]:
        """Each published variable, a method's name left out, and the tensor that it fills."""
        dense = (self.embedding[0], self.embedding[2], self.place, self.residual, self.widen,
                 self.narrow)
        for number, layer in enumerate(dense):
            yield numbered("dense", number) + "/kernel", layer.weight.T
            yield numbered("dense", number) + "/bias", layer.bias
        for number, norm in enumerate((self.norm_1, self.norm_2)):
            name = numbered("batch_normalization", number)
            yield f"{name}/gamma", norm.weight
            yield f"{name}/beta", norm.bias
            yield f"{name}/moving_mean", norm.running_mean
            yield f"{name}/moving_variance", norm.running_var
        for number, matrix in enumerate(self.QKV.flatten(0, 2)):  # number 3 (layer heads + head)
            yield numbered("Variable", number), matrix


class SkeletonContrast(nn.Module):
    """GPC_ske: cross entropy of softmax((g F_1) (c F_2)' / t) with the persons, nothing normalised,
    summed over the frames. F_1, F_2 are N(0, 1) at first.
    """
    def __init__(self, H: int, generator: torch.Generator | None = None):
        super().__init__()
        self.F_1, self.F_2 = (nn.Parameter(torch.randn(H, H, generator=generator)) for _ in "12")

    def forward(self, g: Tensor, labels: Tensor, prototypes: Tensor, t: float) -> Tensor:
        """g: frame features (B, f, H). labels: (B,). prototypes c: (C, H), constants."""
        logits = (g @ self.F_1) @ (prototypes.detach() @ self.F_2).T / t  # (B, f, C)
        each = cross_entropy(logits.flatten(0, 1), labels.repeat_interleave(g.shape[1]),
                             reduction="none")
        return each.sum() / len(g)


def numbered(name: str, number: int) -> str:
    """TensorFlow's names of equals: x, x_1, x_2."""
    return f"{name}_{number}" if number else name


def published_sizes(variables: Mapping[str, np.ndarray], method: str,
                    more: int) -> dict[str, int]:
    """H, n_heads, layers and k of a method's variables, which has `more` matrices after those of
    the attention. InputError for other variables.

    Others below "Variable_n/" are twins, which a matrix was copied from: they have no effect.
    """
    H, d = pick(variables, f"{method}/{method}/Variable").shape
    matrices = sum(re.fullmatch(rf"{method}/{method}/Variable(_\d+)?", name) is not None
                   for name in variables)
    k = len(pick(variables, f"{method}/dense_2/kernel"))
    return {"H": H, "n_heads": H // d, "layers": (matrices - more) * d // (3 * H), "k": k}


def fill_published(tensors: Iterable[tuple[str, Tensor]], variables: Mapping[str, np.ndarray],
                   method: str) -> None:
    """Copy the published variables into a model's tensors; InputError if one is missing."""
    for name, tensor in tensors:
        below = f"{method}/{method}" if name.startswith("Variable") else method
        tensor.data.copy_(pick(variables, f"{below}/{name}", tensor.shape))
