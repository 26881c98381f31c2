"""Train SM-SGE (ACM MM 2021): a multi-scale graph encoder without labels, then a recogniser on it.

    python train_smsge.py --dataset KS20                          both phases
    python train_smsge.py --dataset IAS --split A                 A's setting; metrics of A and B
    python train_smsge.py --dataset IAS --split B --pre_train 0   the same encoder, B's setting
    python train_smsge.py --dataset KS20 --resume                 after an interruption
    python train_smsge.py --dataset KS20 --mode Eval              score the saved best models
    python train_smsge.py --dataset CASIA_B --view 0              cross-view recognition, 20 frames
    python train_smsge.py --dataset KS20 --task retrieval         encoder from the training split

--split selects the settings, and the test that is shown first.
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("SM-SGE", __doc__)

from functools import partial

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.common import processes
from skeleton_reid.data.sampling import draw_subsets, training_order
from skeleton_reid.engine import recognition, runs
from skeleton_reid.engine.loop import Epochs
from skeleton_reid.engine.methods.smsge import SMSGEOptions
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.run import Run
from skeleton_reid.models.prefix_lstm import prefix_tree
from skeleton_reid.models.smsge import SMSGE, Graphs, Subsets


def train(run: Run, options: SMSGEOptions, device: torch.device) -> None:
    """Multi-scale graph encoding without labels, then recognition on frozen states (Section 3)."""
    settings = options.settings
    sets = runs.load_task(options, settings)
    rng = np.random.RandomState(options.seed)
    size, released = settings.batch_size, options.protocol == "released"
    # Permuted once; as released (docs/05-fidelity.md, kgbd-resampled) not.
    order = training_order(sets.train.labels, size, rng, settings.balance, shuffle=not released)
    skeletons = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    batches = recognition.split_batches(order, size, released, "sequences", device)
    generator = torch.Generator().manual_seed(options.seed)
    skeleton = options.dataset.skeleton
    model = SMSGE(len(skeleton), heads=settings.P, skeleton=skeleton.values(), generator=generator,
                  **settings.of(SMSGE)).to(device)
    phase, epoch, untrained = runs.begin(run, model, order, sets, reload=not options.pre_train)
    if epoch is None:
        epoch = train_encoder(phase, model, skeletons, batches, rng)
    metrics = {}
    if options.task == "recognition":
        rule = recognition.SelectionRule(settings.recognition_lr, best_from=settings.best_from,
                                         save=bool(options.save_flag))
        combine = "last" if settings.last_pre else "sum"
        metrics = recognition.train_on_features(run, model, sets, order, rule, generator, combine)
    runs.report(run, model, epoch, metrics, untrained, sets=sets)


def train_encoder(run: Run, model: SMSGE, skeletons: Tensor, batches: list[Tensor],
                  rng: np.random.RandomState) -> int:
    """Rebuild the graphs of sequences (N, f, J, 3). Returns the last weights' epoch."""
    settings, f = run.settings, skeletons.shape[1]
    graphs = model.graphs(skeletons)  # by scale, (N, f, nodes, 3)
    step = JointStep(model, settings.lr)
    draw = partial(draw_subsets, rng, f, **settings.of(draw_subsets))
    fixed = draw() if settings.subsets == "fixed" else None
    # The recogniser's settings, under which an encoder can be gone on with.
    others = ("prefixes", "last_pre", "recognition_lr", "best_from")
    epochs = Epochs(run, model, limit=settings.pre_epochs, save_seconds=runs.SAVE_SECONDS,
                    changeable=(*recognition.CHANGEABLE, *others), rng=rng, **step.optimisers)
    for epoch in epochs:
        with epoch.stage("learn"):
            drawn = [fixed or draw() for _ in batches]
            # Here, because a step would wait until they are on the device.
            trees = [prefix_tree(subsets, skeletons.device) for subsets in drawn]
            for batch, tree in zip(batches, trees, strict=True):
                losses = step({scale: x[batch] for scale, x in graphs.items()}, tree)
                epoch.steps.append({f"loss_{name}": loss for name, loss in losses.items()})
    return epochs.number


class JointStep:
    """One step on the four losses: losses = step(graphs, subsets) for every batch.

    Each loss has an Adam of its own over every variable that it reaches, and all gradients are
    taken at the weights before the step. The losses meet only in the structural relations of the
    coarser scales (the loss of J reaches those of J, P and B). So, if each loss gets its own copy
    of their weights, one backward pass gives every gradient; and one optimiser does for the rest
    what four would.
    """
    def __init__(self, model: SMSGE, lr: float):
        self.model = model
        # The structural parameters that each scale's loss reaches.
        self.structure = {
            scale: [
                p for s, r in model.read if s == scale for p in model.structure[r].parameters()
            ] for scale in model.scales
        }
        # Of a weight that stacks the scales, each loss reaches its own slice: one Adam serves all.
        self.rest = [p for name, p in model.named_parameters() if "structure." not in name]
        groups = {"rest": self.rest, **self.structure}
        self.optimisers = {name: TFAdam(parameters, lr) for name, parameters in groups.items()}

    def __call__(self, graphs: Graphs, subsets: Subsets) -> dict[str, Tensor]:
        """Train on one batch, as of SMSGE.losses; returns the losses before the step, detached."""
        model, (own, weight) = self.model, processes.part(len(next(iter(graphs.values()))))
        if model.loss == "l2":  # a sum over the sequences
            weight = float(weight > 0)
        model.zero_grad()
        copies = [each.detach().requires_grad_() for each in model.structure_weights(model.read)]
        losses = model.losses({scale: x[own] for scale, x in graphs.items()}, subsets, copies)
        torch.stack([*losses.values()]).sum().backward()
        losses = processes.average_gradients(losses, self.rest, weight)
        self.optimisers["rest"].step()
        for scale, parameters in self.structure.items():
            of_scale = [number for number, (s, _) in enumerate(model.read) if s == scale]
            gradients = [copy.grad[number] for number in of_scale for copy in copies]
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            processes.average_gradients({}, parameters, weight)
            self.optimisers[scale].step()
        return losses
