"""Linear: one linear map of a frame, drawn to prototypes as in SimMC. An example of a method."""

from torch import Tensor, nn

from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.simmc import prototype_contrast


class Linear(EmbeddingModel):
    def __init__(self, inputs: int, H: int = 64):
        super().__init__()
        self.arguments = {"inputs": inputs, "H": H}
        self.layer = nn.Linear(inputs, H)

    def encode(self, skeletons: Tensor) -> Tensor:
        return self.layer(skeletons.flatten(2))  # (B, f, J, 3) -> (B, f, H)

    def losses(self, skeletons: Tensor, labels: Tensor, prototypes: Tensor) -> dict[str, Tensor]:
        v = self.encode(skeletons).mean(dim=1)  # (B, H)
        return {"total": prototype_contrast(v, labels, prototypes, temperature=0.1)}
