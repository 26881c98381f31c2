"""Window statistics: label-free person re-identification from distances of joints and their spread.

No joint has a name: any skeleton in any order will do. Windows that go on in one another are linked
to tracklets. An encoder of what describes a window learns classes by cross entropy of the cosine
with class vectors: clusters of the tracklets' mean features, first of linear discriminants, which
need no learning, then of its own, those nearest to each other joined.

B windows, f frames, J joints, d = J (J - 1) / 2 + 3 J numbers a frame, K classes, t temperature.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from skeleton_reid.common import processes
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.simmc import mean_of_clusters

BATCH = 24_576  # frames described at a time
LARGEST = 10.0  # standard deviations; beyond them lies a lost joint, not a person
RIDGE = 0.01  # of linear discriminants: bounds the weight of what hardly varies within a class
SMALLEST = 1e-6  # deviation of a number that does not vary, in the unit of the skeletons


def frame_size(joints: int) -> int:
    """Numbers d in the descriptor of a frame."""
    return joints * (joints - 1) // 2 + 3 * joints


def turn(skeletons: Tensor, reference: Tensor) -> Tensor:
    """Skeletons (..., J, 3) about their centroids, rotated onto a reference (J, 3): Kabsch 1976."""
    joints = skeletons - skeletons.mean(dim=-2, keepdim=True)
    u, _, v = torch.linalg.svd(joints.transpose(-1, -2) @ reference)  # u s v, (..., 3, 3)
    u[..., 2] *= torch.det(u @ v).sign()[..., None]  # a rotation, never a mirror
    return joints @ (u @ v)


def mean_pose(skeletons: Tensor) -> Tensor:
    """The mean (J, 3) of skeletons (..., J, 3) rotated onto it: five steps from the plain mean."""
    skeletons = skeletons.flatten(0, -3)
    reference = (skeletons - skeletons.mean(dim=-2, keepdim=True)).mean(dim=0)
    for _ in range(5):
        reference = turn(skeletons, reference).mean(dim=0)
    return reference


def frame_descriptor(skeletons: Tensor, reference: Tensor | None = None) -> Tensor:
    """Distances of joint pairs (0, 1), (0, 2) ... (J - 2, J - 1), then joints minus their centroid.

    (..., J, 3) -> (..., d), in the unit of the skeletons. reference: turn the joints onto it.
    """
    axes = torch.stack(skeletons.unbind(dim=-1))  # (3, ..., J)
    squares = [(axes[..., i, None] - axes[..., i + 1:]).square().sum(dim=0)
               for i in range(axes.shape[-1] - 1)]  # of joint i to those after it
    joints = skeletons - skeletons.mean(dim=-2, keepdim=True)
    if reference is not None:
        joints = turn(joints, reference)
    return torch.cat([torch.cat(squares, dim=-1).sqrt(), joints.flatten(-2)], dim=-1)


def describe_windows(skeletons: Tensor, reference: Tensor | None = None) -> Tensor:
    """Mean and standard deviation of the descriptor over the frames, (B, f, J, 3) -> (B, 2 d)."""
    size = max(1, BATCH // skeletons.shape[1])
    if len(skeletons) > size:
        return torch.cat([describe_windows(part, reference) for part in skeletons.split(size)])
    frames = frame_descriptor(skeletons, reference)  # (B, f, d)
    means = frames.mean(dim=1)
    # Ten times as fast as Tensor.std over a middle dimension.
    return torch.cat([means, (frames - means[:, None]).square().mean(dim=1).sqrt()], dim=1)


class WindowStatistics(nn.Module):
    """What describes a window, each number standardised with the training set and clipped.

    To standardise the frames before would change nothing: all is linear in a number's scale.
    align: rotate skeletons onto the training set's mean pose.
    """
    def __init__(self, joints: int, align: bool = False):
        super().__init__()
        self.register_buffer("reference", torch.zeros(joints, 3) if align else None)
        self.register_buffer("mean", torch.zeros(2 * frame_size(joints)))
        self.register_buffer("deviation", torch.ones(2 * frame_size(joints)))

    def fit(self, skeletons: Tensor) -> "WindowStatistics":
        """Take mean and deviation of every number from training windows (N, f, J, 3)."""
        if self.reference is not None:
            self.reference.copy_(mean_pose(skeletons))
        windows = describe_windows(skeletons, self.reference).double()
        self.mean.copy_(windows.mean(dim=0))
        self.deviation.copy_(windows.std(dim=0, correction=0).clamp(min=SMALLEST))
        return self

    def forward(self, skeletons: Tensor) -> Tensor:
        """(B, f, J, 3) -> (B, 2 d), at most 10 in size."""
        windows = describe_windows(skeletons, self.reference)
        return ((windows - self.mean) / self.deviation).clamp(-LARGEST, LARGEST)


def discriminants(within: Tensor, between: Tensor, count: int) -> Tensor:
    """Directions of linear discriminant analysis, (d, count), by the covariances (d, d).

    Directions v with B v = lambda (W + r I) v and the largest lambda, v' (W + r I) v = 1, where W
    is the covariance within classes, B that of their means, both of samples standardised by W + B.
    """
    scale = (within + between).diagonal().sqrt().clamp(min=SMALLEST)
    within, between = (c / scale / scale[:, None] for c in (within, between))
    noise = within + RIDGE * torch.eye(len(scale), dtype=within.dtype, device=within.device)
    inverse = torch.linalg.inv(torch.linalg.cholesky(noise))  # inverse noise inverse' = I
    _, vectors = torch.linalg.eigh(inverse @ between @ inverse.T)  # lambda ascending
    return (inverse.T @ vectors.flip(1)[:, :count]) / scale[:, None]


def window_lda(skeletons: Tensor, reference: Tensor | None = None, count: int = 80) -> Callable:
    """Linear discriminants with every window a class: what changes within it is not the person.

    skeletons: training set (N, f, J, 3). Returns windows (B, f, J, 3) -> unit features (B, count).
    """
    means, within = [], 0
    for batch in skeletons.split(max(1, BATCH // skeletons.shape[1])):
        frames = frame_descriptor(batch, reference)  # (b, f, d)
        means.append(frames.mean(dim=1))
        spread = (frames - means[-1][:, None]).flatten(0, 1)
        within = within + (spread.T @ spread).double()
    means = torch.cat(means).double()  # (N, d)
    within /= skeletons.shape[0] * skeletons.shape[1]
    count = min(count, len(means) - 1)  # the others would be any: the means do not differ in them
    directions = discriminants(within, torch.cov(means.T, correction=0), count).float()
    mean = means.mean(dim=0).float()

    def encode(windows: Tensor) -> Tensor:
        own = describe_windows(windows, reference)[:, :len(mean)]
        return functional.normalize((own - mean) @ directions)

    return encode


def recording_lda(skeletons: Tensor, recordings: Tensor, align: bool = False,
                  count: int = 40) -> Callable:
    """The same with every recording (N,), 0 to R - 1, a class, whose windows' statistics are the
    samples: features (B, count).
    """
    statistics = WindowStatistics(skeletons.shape[2], align).to(skeletons.device).fit(skeletons)
    windows = statistics(skeletons)  # (N, 2 d)
    means = mean_of_clusters(windows, recordings)[recordings]  # (N, 2 d)
    spread = (windows - means).double()
    between = torch.cov(means.double().T, correction=0)
    count = min(count, int(recordings.max()))
    directions = discriminants(spread.T @ spread / len(windows), between, count).float()
    return lambda windows: functional.normalize(statistics(windows) @ directions)


class Statistics(EmbeddingModel):
    """Encoder of window statistics: two hidden layers and, beside them, a linear path.

    joints: J. H: units of a hidden layer. D_out: size of the learned feature. dropout: share of
    units dropped. raw_weight: weight of the standardised means, of unit length, appended to the
    learned feature: they separate persons whom the pseudo-classes merged. align: WindowStatistics.
    """
    def __init__(self, joints: int, H: int = 1024, D_out: int = 128, dropout: float = 0.4,
                 raw_weight: float = 0.4, align: bool = False):
        super().__init__()
        self.arguments = {"joints": joints, "H": H, "D_out": D_out, "dropout": dropout}
        self.arguments |= {"raw_weight": raw_weight, "align": align}
        self.d, self.raw_weight = frame_size(joints), raw_weight
        self.statistics = WindowStatistics(joints, align=align)
        layers = []
        for size in (2 * self.d, H):
            layers += [nn.Linear(size, H), nn.BatchNorm1d(H), nn.ReLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers, nn.Linear(H, D_out))
        self.linear = nn.Linear(2 * self.d, D_out, bias=False)

    def forward(self, windows: Tensor, batch: int | None = None) -> Tensor:
        """Learned features (B, D_out), whose length is not used, of standardised windows (B, 2 d).
        batch: windows of the training batch in all, if these are this process's part of it.
        """
        h = windows
        for linear, *tied in (self.hidden[:4], self.hidden[4:8]):
            h = processes.on_whole_batch(nn.Sequential(*tied), linear(h), batch)  # (B, H)
        return self.hidden[8](h) + self.linear(windows)

    def encode(self, skeletons: Tensor) -> Tensor:
        """(B, f, J, 3) -> (B, 1, D_out + d): a window has one feature."""
        windows = self.statistics(skeletons)
        learned, means = map(functional.normalize, (self(windows), windows[:, :self.d]))
        return torch.cat([learned, self.raw_weight * means], dim=1)[:, None]


def join_nearest(features: Tensor, labels: Tensor) -> Tensor:
    """Labels (N,) of windows, -1 for noise, in which two classes are one if their mean features are
    each other's nearest by cosine. features: (N, D_out).
    """
    if (labels < 0).all():
        return labels
    means = functional.normalize(mean_of_clusters(features, labels))  # (K, D_out)
    nearest = (means @ means.T).fill_diagonal_(-2).argmax(dim=1)
    own = torch.arange(len(means), device=means.device)
    joined = torch.where(nearest[nearest] == own, torch.minimum(own, nearest), own)
    return torch.where(labels < 0, labels, joined.unique(return_inverse=True)[1][labels])
