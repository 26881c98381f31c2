"""PoseGait, in this project's own reading: a model-based gait recognition method with body pose and
human prior knowledge.

Liao, Yu, An, Huang. Pattern Recognition 98, 2020. https://doi.org/10.1016/j.patcog.2019.107069
(PyTorch code: https://github.com/RijunLiao/PoseGait)

A CNN on a matrix of hand-made pose features (data.descriptors.posegait), a column a frame, trained
with labels. The released code has the CNN for 126 rows and 17 columns; with windows of few frames
its convolutions need `padding`. The version for Kinect skeletons in the later papers' tables was
never released, so no figure of this model is PoseGait's own (docs/05-fidelity.md).

B sequences, R rows of features, T columns, C persons.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d

from skeleton_reid.data.descriptors import posegait
from skeleton_reid.data.skeleton import Skeleton, get, restore
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.tensorflow_v1.variables import pick

FEATURE = 512


def convolution(inputs: int, outputs: int, padding: int) -> nn.Sequential:
    """3 x 3, without bias, batch norm, ReLU."""
    kernel = nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False)
    return nn.Sequential(kernel, nn.BatchNorm2d(outputs), nn.ReLU())


class PoseGait(EmbeddingModel):
    """The released CNN.

    padding: 0 as released, 1 keeps the size before a pool. centres: hold one for each person, for
    the centre loss. skeleton: its record or plain values, of `encode`; by default that of published
    data with so many joints.
    """
    def __init__(self, rows: int = 126, columns: int = 17, persons: int = 5, padding: int = 0,
                 centres: bool = False, joints: int = 14,
                 skeleton: Skeleton | Mapping[str, Any] | None = None):
        super().__init__()
        held = isinstance(skeleton, Mapping)
        self.skeleton = restore(skeleton) if held else get(skeleton or joints)
        self.arguments = {"rows": rows, "columns": columns, "persons": persons, "padding": padding}
        self.arguments |= {"centres": centres, "joints": len(self.skeleton)}
        self.arguments |= {"skeleton": self.skeleton.values()}
        left = [rows, columns]
        for lost in (4, 2):  # by the unpadded convolutions before each pool
            left = [size - lost * (1 - padding) for size in left]
            left = [size // 2 if size > 1 else size for size in left]
        self.conv1 = convolution(1, 32, padding)
        self.conv2 = convolution(32, 64, padding)
        self.conv2_1 = convolution(64, 64, 1)
        self.conv3 = convolution(64, 128, padding)
        self.conv4 = convolution(128, 128, 1)
        self.conv4_1 = convolution(128, 128, 1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(128 * left[0] * left[1], FEATURE)
        self.fc_cls = nn.Linear(FEATURE, persons)
        self.centres = nn.Parameter(torch.randn(persons, FEATURE)) if centres else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Feature rows (B, R, T) -> features (B, 512) and logits (B, C)."""
        x = _pool(self.conv2(self.conv1(x[:, None])))  # (B, 64, R', T')
        x = x + self.conv2_1(self.conv2_1(x))  # twice with the same weights, as released
        x = _pool(self.conv3(x))
        x = x + self.conv4_1(self.conv4(x))  # (B, 128, R'', T'')
        feature = self.fc(self.dropout(x.flatten(1)))
        return feature, self.fc_cls(feature)

    def encode(self, skeletons: Tensor) -> Tensor:
        """What is retrieved by: skeletons (B, f, J, 3) -> (B, 1, 512)."""
        rows = posegait(skeletons.cpu().numpy(), skeleton=self.skeleton)
        return self(torch.from_numpy(rows).to(skeletons))[0][:, None]

    def losses(self, x: Tensor, labels: Tensor, centre_weight: float = 0.0) -> dict[str, Tensor]:
        """cross_entropy of x (B, R, T) with classes (B,) and, if there are centres, half the mean
        squared distance from the persons' (centre); total: the first plus the weighted second.
        """
        feature, logits = self(x)
        loss = cross_entropy(logits, labels)
        if self.centres is None:
            return {"cross_entropy": loss, "total": loss}
        centre = 0.5 * (feature - self.centres[labels]).square().sum(dim=1).mean()
        return {"cross_entropy": loss, "centre": centre, "total": loss + centre_weight * centre}

    def load_released(self, state: Mapping[str, Tensor | np.ndarray]) -> "PoseGait":
        """Take the weights of a released checkpoint, by its names; running statistics may be
        missing. InputError for others.
        """
        optional = ("running_mean", "running_var", "num_batches_tracked", "centres")
        for name, own in self.state_dict().items():
            if name in state or not name.endswith(optional):
                own.copy_(pick(state, name, own.shape))
        return self


def _pool(x: Tensor) -> Tensor:
    """The maximum of 2 x 2; an axis of one is left as it is."""
    return max_pool2d(x, [2 if size > 1 else 1 for size in x.shape[2:]])
