"""SGELA: A Self-Supervised Gait Encoding Approach with Locality-Awareness for 3D Skeleton Based
Person Re-Identification.

Rao, Wang, Hu, Tan, Guo, Cheng, Liu, Hu. IEEE T-PAMI 2021. https://arxiv.org/abs/2009.03671
(TensorFlow code: https://github.com/Kali-Hac/Locality-Awareness-SGE)

AGE (models/age.py) with other pretext tasks and a contrastive loss: windows that follow each other
should look alike to a projection head on the context vectors. The feature is AGE's (CAGE).

B windows that are neighbours in the files, f frames, J joints, H units.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from skeleton_reid.models.age import AGE, Linear, concatenated
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.tensorflow_v1.variables import pick


class SGELA(AGE):
    """AGE's three axes, each with a projection head of its own on all f context vectors.

    length: f, to which the head belongs. temperature: t of the contrastive loss. Options: as AGE's;
    `target` says where the locality mask looks and, by default, what is rebuilt.
    """
    def __init__(self, joints: int, hidden: int = 256, length: int = 6, temperature: float = 0.1,
                 generator: torch.Generator | None = None, **options):
        generator = generator or torch.Generator().manual_seed(0)
        super().__init__(joints, hidden, generator=generator, **options)
        self.temperature = temperature
        self.arguments |= {"length": length, "temperature": temperature}
        layers = {"hidden": Linear(length * hidden, hidden), "output": Linear(hidden, hidden)}
        for layer in layers.values():
            nn.init.normal_(layer.weight, generator=generator)
        self.head = nn.ModuleDict(layers)

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray], **options) -> "SGELA":
        """As AGE.from_published; the head's size tells f."""
        rows, hidden = pick(variables, "x/W1").shape
        return super().from_published(variables, length=rows // hidden, **options)

    def encode(self, skeletons: Tensor) -> dict[str, Tensor]:
        """AGE.encode's output and projections (3, B, H)."""
        out = super().encode(skeletons)
        hidden = self.head["hidden"](out["contexts"].flatten(2)).relu()  # (3, B, H)
        return out | {"projections": self.head["output"](hidden)}

    def losses(self, skeletons: Tensor, targets: Tensor | None = None, *,
               follows: Tensor | None = None, rebuilt: Tensor | None = None, copies: bool = True,
               contrast_weight: float = 1.0) -> dict[str, Tensor]:
        """reconstruction, locality, contrastive, l2 and total of each axis, (3,) each.

        skeletons: (B, f, J, 3), in file order. targets: what is rebuilt; by default the reversed
        windows. follows: (B-1,) bool, whether window i + 1 goes on window i, all by default.
        rebuilt: (B,) bool, windows whose reconstruction counts. copies: as of `contrast`.
        """
        out = self.encode(skeletons)
        targets = self.targets(skeletons) if targets is None else targets
        if rebuilt is not None:
            kept = out["reconstruction"].permute(1, 2, 3, 0)
            targets = torch.where(rebuilt[:, None, None, None], targets, kept)  # no error
        terms = self.terms(out, targets)
        contrastive = contrast(out["projections"], self.temperature, follows, copies)
        terms = {**terms, "contrastive": contrast_weight * contrastive}
        return terms | {"total": sum(terms.values())}


class CAGE(EmbeddingModel):
    """The encoders of one or several pretext tasks, side by side; of three: Rev. Rec. Plus.

    encoders: by task, SGELA's arguments beside the number of joints. repeat: how often their CAGEs
    stand side by side. scaled: hold minimum and range of every number of a window, by which the
    encoders' input is scaled.
    """
    def __init__(self, joints: int, encoders: Mapping[str, Mapping[str, Any]], repeat: int = 1,
                 scaled: bool = False, generator: torch.Generator | None = None):
        super().__init__()
        generator = generator or torch.Generator().manual_seed(0)
        self.encoders = nn.ModuleDict(
            {task: SGELA(joints, **own, generator=generator) for task, own in encoders.items()})
        own = {task: dict(arguments) for task, arguments in encoders.items()}
        self.arguments = {"joints": joints, "encoders": own, "repeat": repeat, "scaled": scaled}
        if scaled:
            f = next(iter(self.encoders.values())).arguments["length"]
            self.register_buffer("ranges", torch.zeros(2, f, joints, 3))

    def scale(self, skeletons: Tensor) -> Tensor:
        """What the encoders are given of windows (B, f, J, 3): (x - min) / (max - min + 1)."""
        least, width = self.ranges if self.arguments["scaled"] else (0, 0)
        return (skeletons - least) / (width + 1)

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray], repeat: int = 1,
                       **options) -> "CAGE":
        """The encoder of published variables, as of SGELA.from_published."""
        encoder = SGELA.from_published(variables, **options)
        model = cls(encoder.arguments.pop("joints"), {"rev_rec": encoder.arguments}, repeat)
        model.encoders["rev_rec"] = encoder
        return model

    def embed(self, skeletons: Tensor) -> Tensor:
        """CAGEs (B, f, 3 T H): of each axis in turn those of all T tasks."""
        x = self.scale(skeletons)
        contexts = [encoder.encode(x)["contexts"] for encoder in self.encoders.values()]
        return torch.cat(contexts * self.arguments["repeat"], dim=3).permute(1, 2, 0, 3).flatten(2)

    def recogniser_rows(self, skeletons: Tensor, settings: Any) -> Tensor:
        """What is recognised, (B, R, d): each row of CAGEs ("ap"), or all of them in one ("sc")."""
        frames = self.embed(skeletons)
        return concatenated(frames)[:, None] if settings.manner == "sc" else frames


def contrast(v: Tensor, t: float, follows: Tensor | None = None, copies: bool = True) -> Tensor:
    """L_C of projections v (3, B, H), (3,): each window of a pair should find the other one.

    With s_ij = cos(v_i, v_j) / t a pair (i, i + 1) adds, for either window a of it and the other
    one b, log sum_j n_aj exp(s_aj) - s_ab. The loss is the mean over the pairs that `follows`
    names. n_aj is 1 for every other window; with `copies`, as in the paper's list of 2 (B - 1)
    rows, window j counts as often as it stands in a pair, and j = a once less.
    """
    B = v.shape[1]
    if B < 2:
        return v.sum(dim=(1, 2)) * 0
    follows = v.new_ones(B - 1) if follows is None else follows.to(v)
    z = normalize(v, dim=2)
    s = z @ z.mT / t  # (3, B, B)
    in_pairs = pad(follows, (1, 0)) + pad(follows, (0, 1))  # 0, 1 or 2
    often = in_pairs.clamp(min=1) if copies else torch.ones_like(in_pairs)
    n = often - torch.eye(B, dtype=v.dtype, device=v.device)  # n[a, j]
    all_rows = (s + n.log()).logsumexp(dim=2)  # (3, B)
    pairs = all_rows[:, :-1] + all_rows[:, 1:] - 2 * s.diagonal(1, dim1=1, dim2=2)
    return (pairs * follows).sum(dim=1) / (2 * follows.sum()).clamp(min=1)


def pretext(windows: Tensor, task: str,
            rng: np.random.RandomState | None = None) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a pretext task for windows (N, f, J, axes) in file order.

    rev_rec: rebuild the window in reverse; prediction: the next window, the last one itself;
    sorting: put shuffled frames in order, one permutation of rng a window; reconstruction: the
    window.
    """
    if task == "sorting":
        rng = rng or np.random.RandomState(0)
        return torch.stack([frames[rng.permutation(len(frames))] for frames in windows]), windows
    others = {"rev_rec": windows.flip(1), "prediction": torch.cat([windows[1:], windows[-1:]])}
    return windows, others.get(task, windows)
