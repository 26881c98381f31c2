"""Window statistics: label-free person re-identification from distances of joints and their spread.

Frame: the distances of all joint pairs and the joints relative to their centroid, so that no joint
has a name and any skeleton in any order will do. Window: mean and standard deviation of these over
its frames, standardised with the training set. An encoder on them learns classes of windows, by
cross entropy of the cosine with class vectors; the classes are clusters, first of window LDA's
features, which need no learning, then of the encoder's own.

B windows, f frames, J joints, d = J (J - 1) / 2 + 3 J numbers a frame, K classes, t temperature.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.simmc import mean_of_clusters

BATCH = 24_576  # frames described at a time
LARGEST = 10.0  # standard deviations; beyond them lies a lost joint, not a person
SMALLEST = 1e-6  # deviation of a number that does not vary, in the unit of the skeletons


def frame_size(joints: int) -> int:
    """Numbers d in the descriptor of a frame."""
    return joints * (joints - 1) // 2 + 3 * joints


def frame_descriptor(skeletons: Tensor) -> Tensor:
    """Distances of joint pairs (0, 1), (0, 2) ... (J - 2, J - 1), then joints minus their centroid.

    (..., J, 3) -> (..., d), in the unit of the skeletons.
    """
    first, second = torch.from_numpy(np.stack(np.triu_indices(skeletons.shape[-2], 1)))
    between = skeletons[..., first, :] - skeletons[..., second, :]  # (..., pairs, 3)
    distances = between.square().sum(dim=-1).sqrt()
    joints = skeletons - skeletons.mean(dim=-2, keepdim=True)
    return torch.cat([distances, joints.flatten(-2)], dim=-1)


def describe_windows(skeletons: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the descriptor over the frames, (B, f, J, 3) -> two (B, d)."""
    size = max(1, BATCH // skeletons.shape[1])
    if len(skeletons) > size:
        parts = zip(*map(describe_windows, skeletons.split(size)), strict=True)
        return tuple(map(torch.cat, parts))
    frames = frame_descriptor(skeletons)  # (B, f, d)
    return frames.mean(dim=1), frames.std(dim=1, correction=0)


class WindowStatistics(nn.Module):
    """Means and deviations of a window, each number standardised with the training set and clipped.

    To standardise the frames before would change nothing: both are linear in a number's scale.
    parts: 2, or 1 for the means alone.
    """
    def __init__(self, joints: int, parts: int = 2):
        super().__init__()
        self.parts = parts
        self.register_buffer("mean", torch.zeros(parts * frame_size(joints)))
        self.register_buffer("deviation", torch.ones(parts * frame_size(joints)))

    @torch.no_grad()
    def fit(self, skeletons: Tensor) -> "WindowStatistics":
        """Take mean and deviation of every number from training windows (N, f, J, 3)."""
        windows = torch.cat(describe_windows(skeletons)[:self.parts], dim=1).double()
        self.mean.copy_(windows.mean(dim=0))
        self.deviation.copy_(windows.std(dim=0, correction=0).clamp(min=SMALLEST))
        return self

    @torch.no_grad()
    def forward(self, skeletons: Tensor) -> Tensor:
        """(B, f, J, 3) -> (B, parts d), at most 10 in size."""
        windows = torch.cat(describe_windows(skeletons)[:self.parts], dim=1)
        return ((windows - self.mean) / self.deviation).clamp(-LARGEST, LARGEST)


class WindowLDA(nn.Module):
    """Linear discriminant analysis in which every window is a class and its frames the samples.

    Directions v with B v = lambda (W + r I) v and the largest lambda, v' (W + r I) v = 1, where the
    frames are standardised, W is their covariance within windows, B that of the windows' means:
    what changes within a window is not the person. r bounds the weight of what hardly varies there.
    """
    def __init__(self, joints: int, directions: int = 80, r: float = 0.01):
        super().__init__()
        d, self.r = frame_size(joints), r
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("directions", torch.zeros(d, min(directions, d)))

    @torch.no_grad()
    def fit(self, skeletons: Tensor) -> "WindowLDA":
        """Find the directions from training windows (N, f, J, 3)."""
        means = describe_windows(skeletons)[0].double()  # (N, d)
        self.mean.copy_(means.mean(dim=0))
        between = torch.cov(means.T, correction=0)
        within = torch.zeros_like(between)
        for batch in skeletons.split(max(1, BATCH // skeletons.shape[1])):
            frames = frame_descriptor(batch)  # (b, f, d)
            spread = (frames - frames.mean(dim=1, keepdim=True)).flatten(0, 1)
            within += (spread.T @ spread).double()
        within /= skeletons.shape[0] * skeletons.shape[1]
        # The covariance of all frames is the sum of both: its diagonal standardises them.
        scale = (within + between).diagonal().sqrt().clamp(min=SMALLEST)
        within, between = (c / scale / scale[:, None] for c in (within, between))
        noise = within + self.r * torch.eye(len(scale), dtype=within.dtype, device=within.device)
        inverse = torch.linalg.inv(torch.linalg.cholesky(noise))  # inverse noise inverse' = I
        _, vectors = torch.linalg.eigh(inverse @ between @ inverse.T)  # lambda ascending
        count = self.directions.shape[1]
        self.directions.copy_((inverse.T @ vectors[:, -count:].flip(1)) / scale[:, None])
        return self

    @torch.no_grad()
    def forward(self, skeletons: Tensor) -> Tensor:
        """(B, f, J, 3) -> (B, 80) of unit length."""
        return functional.normalize((describe_windows(skeletons)[0] - self.mean) @ self.directions)


class Statistics(nn.Module):
    """Encoder of window statistics: two hidden layers and, beside them, a linear path.

    joints: J. H: units of a hidden layer. D_out: feature size. dropout: share of units dropped.
    """
    def __init__(self, joints: int, H: int = 1024, D_out: int = 128, dropout: float = 0.4):
        super().__init__()
        self.arguments = {"joints": joints, "H": H, "D_out": D_out, "dropout": dropout}
        self.statistics = WindowStatistics(joints)
        inputs = 2 * frame_size(joints)
        layers = []
        for size in (inputs, H):
            layers += [nn.Linear(size, H), nn.BatchNorm1d(H), nn.ReLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers, nn.Linear(H, D_out))
        self.linear = nn.Linear(inputs, D_out, bias=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Features of unit length (B, D_out) of standardised window statistics (B, 2 d)."""
        return functional.normalize(self.hidden(windows) + self.linear(windows))

    def encode(self, skeletons: Tensor) -> Tensor:
        """(B, f, J, 3) -> (B, 1, D_out): a window has one feature."""
        return self(self.statistics(skeletons))[:, None]


def class_contrast(features: Tensor, labels: Tensor, vectors: Tensor, t: float) -> Tensor:
    """Cross entropy of softmax(cos(v, c) / t) with the classes.

    v: features of unit length (B, D_out). labels: (B,). c: class vectors (K, D_out), learned.
    """
    return functional.cross_entropy(features @ functional.normalize(vectors).T / t, labels)


def join_nearest(features: Tensor, labels: Tensor) -> Tensor:
    """Labels (N,) of windows in which two classes are one if their mean features are each other's
    nearest by cosine. features: (N, D_out).
    """
    means = functional.normalize(mean_of_clusters(features, labels))  # (K, D_out)
    nearest = (means @ means.T).fill_diagonal_(-2).argmax(dim=1)
    own = torch.arange(len(means), device=means.device)
    joined = torch.where(nearest[nearest] == own, torch.minimum(own, nearest), own)
    return joined.unique(return_inverse=True)[1][labels]
