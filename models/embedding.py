"""What the rest of the project asks of a model that turns windows into embeddings."""

from typing import Any

from torch import Tensor, nn


class EmbeddingModel(nn.Module):
    """A model of skeletons (B, f, J, 3), or of another model's frame features (B, f, d).

    A subclass has `arguments`, with which it is built again: `Model(**arguments)` if "joints" or
    "inputs" is among them, else `Model(skeleton, **arguments)`. It has `encode`, `losses` (a dict
    of scalars, `total` among them) and, if checkpoints are published, `from_published`.
    """

    arguments: dict[str, Any]
    frames_at_a_time = 24_576  # that are encoded: 4,096 windows of 6; bounds memory

    def embed(self, skeletons: Tensor) -> Tensor:
        """Embeddings of the frames, (B, f, d), or of the window, (B, 1, d)."""
        return self.encode(skeletons)

    def source_frames(self, skeletons: Tensor) -> Tensor:
        """What a model on this one's features is given of the frames, (B, f, d)."""
        return self.embed(skeletons)

    def pool(self, frames: Tensor) -> Tensor:
        """The embedding of a window (B, d) from those of its frames (B, f, d)."""
        return frames.mean(dim=1)
