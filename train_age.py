"""Train AGE (IJCAI 2020): encoder-decoders without labels, then a recogniser on them.

    python train_age.py --dataset IAS                                both phases; splits A and B
    python train_age.py --dataset BIWI --attention LA --manner ap    the published options
    python train_age.py --dataset IAS --resume --manner sc           the same encoders
    python train_age.py --dataset IAS --mode Eval                    score the saved best models
    python train_age.py --dataset KS20 --task retrieval              encoders alone
    python train_age.py --dataset CASIA_B --view 3 --length 20       cross-view recognition
    python train_age.py --dataset IAS --encoder FILE                 encoders of another data set

--task retrieval trains on the training split alone.
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("AGE", __doc__)

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.data.sampling import training_order
from skeleton_reid.engine import recognition, runs
from skeleton_reid.engine.loop import Epochs, divide
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import PhaseOptions
from skeleton_reid.engine.run import Run
from skeleton_reid.models.age import AGE, AXES, CLIP, attention, stops

VALIDATE_EVERY = 50  # batches of an epoch
TEST_EVERY = 50  # steps of the recognition network


def train(run: Run, options: PhaseOptions, device: torch.device) -> None:
    """Self-supervised gait encoding, then recognition on the frozen encodings (Section 3)."""
    settings = options.settings
    sets = runs.load_task(options, settings)
    rng = np.random.RandomState(options.seed)
    order = training_order(sets.train.labels, settings.batch_size, rng, settings.balance)
    skeletons = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    size, released, N = settings.batch_size, options.protocol == "released", len(skeletons)
    first = order[order < N - -(-N // 3)] if settings.two_thirds else order  # of the files
    batches = recognition.split_batches(first, size, released, "sequences", device)
    generator = torch.Generator().manual_seed(options.seed)
    model = AGE(len(options.dataset.skeleton), count_copies=released, generator=generator,
                **settings.of(AGE)).to(device)
    phase, epoch, untrained = runs.begin(run, model, order, sets)
    if epoch is None:
        epoch = train_encoders(phase, model, skeletons, batches)
    test = next(iter(runs.tests_of(options.probe, sets).values()))
    content, metrics = {}, {}
    if settings.attention != "none":
        mean, near = attention(model, torch.from_numpy(test.skeletons))  # (3, f, f), (3,)
        content["attention"] = {"near_target": near.tolist(), "alignment": mean.tolist()}
    if options.task == "recognition":
        rule = recognition.SelectionRule(settings.lr, test_every=TEST_EVERY, ties=True)
        metrics = recognition.train_on_features(run, model, sets, order, rule, generator, "mean",
                                                rng)
    runs.report(run, model, epoch, metrics, untrained, content, sets)


def train_encoders(run: Run, model: AGE, skeletons: Tensor, batches: list[Tensor]) -> int:
    """Rebuild the sequences (N, f, J, 3) of fixed batches. Returns the last weights' epoch."""
    settings = run.settings
    optimizer, validation = TFAdam(model.parameters(), settings.lr), Validation()
    epochs = Epochs(run, model, limit=settings.pre_epochs, save_seconds=runs.SAVE_SECONDS,
                    changeable=(*recognition.CHANGEABLE, "manner", "feature"),
                    validation=validation, optimizer=optimizer)
    for epoch in epochs:
        with epoch.stage("learn"):
            for number, batch in enumerate(map(divide, batches)):
                losses = model.losses(skeletons[batch.own], batch=len(batch.all))
                totals = zip(AXES, losses["total"], strict=True)
                totals = [x if axis in validation.running else x.detach() for axis, x in totals]
                epoch.step(optimizer, losses | {"total": torch.stack(totals)}, batch, clip=CLIP)
                if number % VALIDATE_EVERY == 0:
                    validation.update(model, skeletons[batches[0]], optimizer)
                if validation.exhausted:
                    break
        means = epoch.mean_losses()  # (3,) each
        if model.attention != "none":
            means["near"] = attention(model, skeletons[batches[0]])[1]
            epoch.line = "near " + " ".join(f"{share:.3f}" for share in means["near"])
        epoch.row = {
            f"{name}_{axis}": x for name, mean in means.items()
            for axis, x in zip(AXES, mean.tolist(), strict=True)
        }
    return epochs.number


class Validation:
    """Reconstruction losses of the first batch by axis, and the axes that have not stopped."""
    def __init__(self):
        self.load_state_dict({"losses": {axis: [] for axis in AXES}, "stopped": ()})

    @property
    def exhausted(self) -> bool:
        """Whether every axis has stopped."""
        return not self.running

    @torch.no_grad()
    def update(self, model: AGE, batch: Tensor, optimizer: TFAdam) -> None:
        """Validate on a batch (B, f, J, 3). An axis that stops has no gradient from then on, and
        here the averages of those before become 0: Adam leaves its weights as they are.
        """
        losses = model.losses(batch)["reconstruction"].tolist()
        for number, (axis, loss) in enumerate(zip(AXES, losses, strict=True)):
            self.losses[axis].append(loss)
            if stops(self.losses[axis]):
                self.running.discard(axis)
                for state in optimizer.state.values():
                    state["exp_avg"][number] = 0

    def state_dict(self) -> dict[str, Any]:
        return {"losses": self.losses, "stopped": sorted(set(AXES) - self.running)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.losses, self.running = state["losses"], set(AXES).difference(state["stopped"])
