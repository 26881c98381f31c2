"""The training step of SM-SGE: four losses, four Adam optimisers, all at once.

Each loss has an Adam of its own over every variable that it reaches. All four gradients are taken
at the weights before the step, then the four updates are added. The losses meet only in the
structural relations of the coarser scales (the loss of J reaches those of J, P and B, for example);
an LSTM, a head, a collaboration matrix belongs to one loss. So, if each loss gets its own copy of
the structural features, one backward pass down to them gives every other gradient and what each
loss asks of them; and one optimiser does for the rest what four would.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engine.capture import Recorded
from engine.optimizer import TFAdam
from models.prefix_lstm import Steps
from models.smsge import SMSGE, Reading


class JointStep:
    """step = JointStep(model, lr); losses = step(graphs, subsets) for every batch.

    capture: record the gradients' computation as a CUDA graph. The losses are then those of the
    last call only, and subsets share no beginnings: a recording needs the same number of LSTM steps
    for all subsets of equal sizes.
    """

    def __init__(self, model: SMSGE, lr: float, capture: bool = False):
        self.model, self.capture = model, capture
        self._compute = (
            Recorded(self._flat_gradients, model.parameters()) if capture else self._flat_gradients
        )
        self.structure = {
            scale: list(layer.parameters()) for scale, layer in model.structure.items()
        }
        structural = {id(p) for parameters in self.structure.values() for p in parameters}
        # Of a weight that stacks the scales, each loss reaches its own slice: one Adam serves them
        # all.
        self.rest = TFAdam([p for p in model.parameters() if id(p) not in structural], lr)
        self.optimisers = {
            scale: TFAdam(
                [p for reached in self._reads(scale) for p in self.structure[reached]], lr
            )
            for scale in model.scales
        }

    def __call__(
        self, graphs: Mapping[str, Tensor], subsets: Sequence[Sequence[int]]
    ) -> dict[str, Tensor]:
        """Train on one batch, with the arguments of SMSGE.losses; returns the losses before the
        step, detached.
        """
        steps, weights = self.model.reading(graphs, subsets, shared=not self.capture)
        losses, gradients = self._compute(
            *steps, weights, *(graphs[scale] for scale in self.model.scales)
        )
        self.rest.step()
        for scale, optimiser in self.optimisers.items():
            for parameter, gradient in gradients[scale].items():
                parameter.grad = gradient
            optimiser.step()
        return losses

    def _flat_gradients(self, frames, parents, levels, weights, *graphs: Tensor):
        """`gradients` of arguments that are tensors each, but for the levels, as Recorded takes
        them.
        """
        named = dict(zip(self.model.scales, graphs, strict=True))
        return self.gradients(named, Reading(Steps(frames, parents, levels), weights))

    def gradients(
        self, graphs: Mapping[str, Tensor], reading: Reading
    ) -> tuple[dict[str, Tensor], dict[str, dict[torch.nn.Parameter, Tensor]]]:
        """The losses, and for each the gradients of the structural relations; those of all else are
        left in .grad.
        """
        model = self.model
        model.zero_grad(set_to_none=True)
        H = model.structural(graphs)
        copies = {
            scale: {reached: H[reached].detach().requires_grad_() for reached in self._reads(scale)}
            for scale in model.scales
        }
        terms = model.loss_terms(copies, graphs, reading)
        losses = {scale: sum(each.values()).mean() for scale, each in terms.items()}
        sum(losses.values()).backward()
        gradients: dict[str, dict[torch.nn.Parameter, Tensor]] = {
            scale: {} for scale in model.scales
        }
        for scale, copy in copies.items():
            for reached, features in copy.items():
                parameters = self.structure[reached]
                found = torch.autograd.grad(
                    H[reached], parameters, features.grad, retain_graph=True
                )
                gradients[scale].update(zip(parameters, found, strict=True))
        return {scale: loss.detach() for scale, loss in losses.items()}, gradients

    def _reads(self, scale: str) -> list[str]:
        """The scales whose structural features a scale's loss depends on."""
        return [scale] if self.model.struct_only else self.model.coarser(scale)

    def state_dict(self) -> dict:
        """The moments of all five optimisers, to go on training from."""
        return {
            "rest": self.rest.state_dict(),
            **{s: o.state_dict() for s, o in self.optimisers.items()},
        }

    def load_state_dict(self, state: Mapping[str, dict]) -> None:
        """The counterpart of state_dict."""
        for name, optimiser in {"rest": self.rest, **self.optimisers}.items():
            optimiser.load_state_dict(state[name])
