"""The graphs' nodes of skeletons, by matrices that lie where the model does."""

import torch
from torch import Tensor, nn

from skeleton_reid.data.skeleton import Skeleton, averaging


class Scales(nn.Module):
    """Skeletons (B, f, J, 3) -> node positions by scale, (B, f, nodes, 3), as of
    data.skeleton.scales. sizes: the numbers of nodes.
    """
    def __init__(self, names: str, skeleton: Skeleton):
        super().__init__()
        self.sizes = {}
        for scale in names:
            matrix = torch.from_numpy(averaging(scale, skeleton)).float()
            self.sizes[scale] = len(matrix)
            self.register_buffer(scale, matrix, persistent=False)

    def forward(self, skeletons: Tensor) -> dict[str, Tensor]:
        return {scale: matrix @ skeletons for scale, matrix in self.named_buffers()}
