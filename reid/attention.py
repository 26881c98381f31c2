"""AGE's attention: how near to its target it is, its mean over a test set, and a picture of that."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.age import AGE, locality_mask
from reid import pictures

BATCH = 512  # sequences; bounds memory


def near_target(alignment: Tensor, target: str) -> Tensor:
    """Share of the attention within one frame of the frame that the step rebuilds: (3, f, f) -> (3,)."""
    f = alignment.shape[2]
    rebuilt = locality_mask(f, target).argmax(dim=1)
    near = (torch.arange(f) - rebuilt[:, None]).abs() <= 1
    return (alignment * near.to(alignment)).sum(dim=2).mean(dim=1)


@torch.no_grad()
def mean_alignment(model: AGE, skeletons: np.ndarray | Tensor) -> Tensor:
    """The alignment of each axis averaged over skeletons (N, f, J, 3): (3, f, f) on the model's device."""
    device = next(model.parameters()).device
    parts = torch.as_tensor(skeletons).split(BATCH)
    sums = [model.encode(part.to(device))["alignment"].sum(dim=1) for part in parts]
    return torch.stack(sums).sum(dim=0) / len(skeletons)


def draw(path: Path, model: AGE, skeletons: np.ndarray, title: str) -> dict[str, list]:
    """Draw the mean alignment over a test set beside the locality target. Returns it and its share near that."""
    mean = mean_alignment(model, skeletons)
    target = locality_mask(mean.shape[1], model.target).numpy()
    pictures.alignment(path, mean.cpu().numpy(), target, f"{title}, mean of {len(skeletons)} sequences")
    return {"near_target": near_target(mean, model.target).tolist(), "alignment": mean.tolist()}
