"""Train MG-SCR (IJCAI 2021): a graph encoder without labels (SSP), then all of it with labels.

    python train_mgscr.py --dataset IAS --split A                 both phases; metrics of A and B
    python train_mgscr.py --dataset KS20 --frames tiled           the frames read as released
    python train_mgscr.py --dataset KS20 --task retrieval         on the training split alone
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("MG-SCR", __doc__)

import copy

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from skeleton_reid.data import Recognition, Retrieval
from skeleton_reid.data.sampling import draw_subsets, training_order
from skeleton_reid.engine import recognition, runs
from skeleton_reid.engine.loop import Epochs, divide
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import PhaseOptions
from skeleton_reid.engine.run import Run
from skeleton_reid.models.mgscr import L2_WEIGHT, MGSCR, tiled
from skeleton_reid.models.prefix_lstm import prefix_tree
from skeleton_reid.models.recognition import Recogniser


def train(run: Run, options: PhaseOptions, device: torch.device) -> None:
    """Sparse sequential prediction without labels, then recognition end to end (Section 3)."""
    s, released = options.settings, options.protocol == "released"
    sets = runs.load_task(options, s)
    rng, size = np.random.RandomState(options.seed), s.batch_size
    # Permuted once; as released (docs/05-fidelity.md, unshuffled) not.
    order = training_order(sets.train.labels, size, rng, s.balance, shuffle=not released)
    x = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, J, 3)
    persons, y = np.unique(sets.train.labels, return_inverse=True)
    y = torch.from_numpy(y).to(device)  # classes (N,)
    batches = recognition.split_batches(order, size, released, "sequences", device)
    generator = torch.Generator().manual_seed(options.seed)
    model = MGSCR(options.dataset.skeleton, s.D_h, len(persons), s.c_lambda, s.frames, s.prefixes,
                  s.feature, s.decay_all, generator).to(device)
    phase, reloaded, _ = runs.begin(run, model, order, sets)
    epochs = pretrain(phase, model, x, batches, rng) if reloaded is None else 0
    whole = EndToEnd(model, s.decay_all, size)
    if options.task == "retrieval":
        learn_to_retrieve(run, whole, x, y, batches, sets)
        return
    pretrained = copy.deepcopy(model)  # what --mode Eval scores by retrieval
    rule = recognition.SelectionRule(s.recognition_lr or s.lr, ties=True)
    tests = recognition.rows_of_tests(whole, sets.tests, s, options.protocol)
    metrics = recognition.train(run.phase("recogniser"), model, whole, sets.persons,
                                recognition.RecognitionSet(x, y), order, tests, rule)
    runs.report(run, pretrained, epochs, metrics)


class EndToEnd(Recogniser):
    """The recogniser of an encoder that is trained with it: rows are skeletons (B, f, J, 3)."""
    def __init__(self, encoder: MGSCR, decay_all: bool, size: int):
        super().__init__(**encoder.recogniser.arguments, combine="sum")
        self.encoder, self.network = encoder, encoder.recogniser
        self.decay_all, self.size, self.tied = decay_all, size, encoder.tiled
        self.frames_at_a_time = encoder.frames_at_a_time

    def recogniser_rows(self, skeletons: Tensor, settings: object) -> Tensor:
        return skeletons

    def forward(self, rows: Tensor) -> Tensor:
        return self.encoder.scores(self.encoder.graphs(rows))

    def losses(self, rows: Tensor, labels: Tensor) -> dict[str, Tensor]:
        loss = cross_entropy(self(rows), labels)
        l2 = L2_WEIGHT * self.encoder.weight_decay(self.decay_all)
        return {"cross_entropy": loss, "l2": l2, "total": loss + l2}


def pretrain(run: Run, model: MGSCR, x: Tensor, batches: list[Tensor],
             rng: np.random.RandomState) -> int:
    """SSP: predict the next skeleton from sparse subsets of x (N, f, J, 3). Returns the epochs."""
    s, f = run.settings, x.shape[1]
    optimizer = TFAdam(model.parameters(), s.lr)
    fixed = draw_subsets(rng, f, pred_margin=1) if s.subsets == "fixed" else None
    limit = 0 if run.options.task == "none" else s.pre_epochs
    changeable = (*recognition.CHANGEABLE, "prefixes", "recognition_lr", "decay_all", "feature")
    epochs = Epochs(run, model, limit=limit, save_seconds=runs.SAVE_SECONDS, changeable=changeable,
                    optimizer=optimizer, rng=rng)
    for epoch in epochs:
        with epoch.stage("learn"):
            drawn = [fixed or draw_subsets(rng, f, pred_margin=1) for _ in batches]
            if model.tiled:
                drawn = [[tiled(subset, len(batch)) for subset in subsets]
                         for subsets, batch in zip(drawn, batches, strict=True)]
            trees = [prefix_tree(subsets, x.device) for subsets in drawn]  # a step would wait
            for numbers, tree in zip(batches, trees, strict=True):
                batch = divide(numbers, model.tiled)
                losses = model.losses(model.graphs(x[batch.own]), tree, len(batch.all))
                epoch.step(optimizer, {"total": losses["total"]}, batch)
    return epochs.number


def learn_to_retrieve(run: Run, whole: EndToEnd, x: Tensor, y: Tensor, batches: list[Tensor],
                      sets: Recognition | Retrieval) -> None:
    """Recognition of the training persons y (N,), scored by retrieval before every epoch."""
    s, model = run.settings, whole.encoder
    optimizer = TFAdam(model.parameters(), s.recognition_lr or s.lr)
    for epoch in Epochs(recognition.with_encoder(run, model), model, sets,
                        limit=s.recognition_epochs, optimizer=optimizer):
        if not epoch.score():
            continue
        with epoch.stage("learn"):
            for batch in (divide(numbers, whole.tied) for numbers in batches):
                epoch.step(optimizer, whole.losses(x[batch.own], y[batch.own]), batch)
