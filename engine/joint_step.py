"""The training step of SM-SGE: four losses, four Adam optimisers, all at once.

Each loss has an Adam of its own over every variable that it reaches. All gradients are taken at the
weights before the step, then the four updates are added. The losses meet only in the structural
relations of the coarser scales (the loss of J reaches those of J, P and B). So, if each loss gets
its own copy of the structural features, one backward pass down to them gives every other gradient
and what each loss asks of them; and one optimiser does for the rest what four would.
"""

import torch
from torch import Tensor, nn

from skeleton_reid.common import processes
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.smsge import SMSGE, Graphs, Subsets


class JointStep:
    """step = JointStep(model, lr); losses = step(graphs, subsets) for every batch."""
    def __init__(self, model: SMSGE, lr: float):
        self.model = model
        # The structural parameters that each scale's loss reaches.
        self.structure: dict[str, list[nn.Parameter]] = {
            scale: [p for read in model.reads(scale) for p in model.structure[read].parameters()]
            for scale in model.scales
        }
        # Of a weight that stacks the scales, each loss reaches its own slice: one Adam serves all.
        self.rest = [p for name, p in model.named_parameters() if "structure." not in name]
        groups = {"rest": self.rest, **self.structure}
        self.optimisers = {name: TFAdam(parameters, lr) for name, parameters in groups.items()}

    def __call__(self, graphs: Graphs, subsets: Subsets) -> dict[str, Tensor]:
        """Train on one batch, as of SMSGE.losses; returns the losses before the step, detached."""
        own, weight = processes.part(len(next(iter(graphs.values()))))
        if self.model.loss == "l2":  # a sum over the sequences
            weight = float(weight > 0)
        losses, gradients = self.gradients({scale: x[own] for scale, x in graphs.items()}, subsets)
        losses = processes.average_gradients(losses, self.rest, weight)
        self.optimisers["rest"].step()
        for scale, parameters in self.structure.items():
            for parameter, gradient in zip(parameters, gradients[scale], strict=True):
                parameter.grad = gradient
            processes.average_gradients({}, parameters, weight)
            self.optimisers[scale].step()
        return losses

    def gradients(self, graphs: Graphs,
                  subsets: Subsets) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, ...]]]:
        """The losses, and of each the gradients of `structure`; all others are left in .grad."""
        model = self.model
        model.zero_grad()
        H = model.structural(graphs)
        copies = {
            scale: {read: H[read].detach().requires_grad_() for read in model.reads(scale)}
            for scale in model.scales
        }
        losses = model.losses(graphs, subsets, copies)
        sum(losses.values()).backward()
        gradients: dict[str, list[Tensor]] = {scale: [] for scale in model.scales}
        for read in model.scales:  # in one pass for all losses that reach it
            reaching = [scale for scale, copy in copies.items() if read in copy]
            asked = torch.stack([copies[scale][read].grad for scale in reaching])
            found = torch.autograd.grad(H[read], list(model.structure[read].parameters()), asked,
                                        is_grads_batched=True)
            for number, scale in enumerate(reaching):
                gradients[scale] += [each[number] for each in found]
        return {scale: loss.detach() for scale, loss in losses.items()}, gradients
