"""Train SGELA (T-PAMI 2021): AGE's encoders on other pretext tasks, with contrast of neighbours.

    python train_sgela.py --dataset IAS                             both phases; splits A and B
    python train_sgela.py --dataset IAS --model rev_rec_plus        three tasks side by side
    python train_sgela.py --dataset KS20 --view 2                   cross-view: frontal
    python train_sgela.py --dataset KS20 --task retrieval           encoders alone; --source SGELA
    python train_sgela.py --dataset CASIA_B --task retrieval --probe cl.nm --length 50
    python train_sgela.py --dataset IAS --encoder FILE              encoders of another data set
"""

from skeleton_reid.engine.parsing import run_training

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    run_training("SGELA", __doc__)

import numpy as np
import torch
from torch import Tensor

from skeleton_reid.data import Sequences
from skeleton_reid.engine import recognition, runs
from skeleton_reid.engine.loop import Epochs, divide
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.engine.options import PhaseOptions
from skeleton_reid.engine.run import Run
from skeleton_reid.models.age import CLIP
from skeleton_reid.models.sgela import CAGE, pretext


def train(run: Run, options: PhaseOptions, device: torch.device) -> None:
    """Self-supervised encoders of the pretext tasks, then recognition on their frozen CAGEs."""
    s, released = options.settings, options.protocol == "released"
    sets = runs.load_task(options, s)
    rng, N = np.random.RandomState(options.seed), len(sets.train)
    generator = torch.Generator().manual_seed(options.seed)
    first = N - -(-N // 3) if s.two_thirds else N  # windows of the file that encoders learn
    x = torch.from_numpy(sets.train.skeletons[:first]).to(device)  # (N, f, J, 3), in file order
    follows = torch.from_numpy(neighbours(sets.train, s.neighbours)[:first - 1]).to(device)
    # The released Rev. Rec. Plus has one encoder's CAGEs three times.
    tasks, repeat = (s.tasks[:1], len(s.tasks)) if released else (s.tasks, 1)
    encoders = {task: s.encoder(task, options.length, released) for task in tasks}
    model = CAGE(len(options.dataset.skeleton), encoders, repeat, not s.norm, generator).to(device)
    if not s.norm:
        model.ranges[0], model.ranges[1] = x.amin(dim=0), x.amax(dim=0) - x.amin(dim=0)
    phase, epoch, untrained = runs.begin(run, model, np.arange(N), sets)
    if epoch is None:
        epoch = train_encoders(phase, model, model.scale(x), follows, rng)
    metrics = {}
    if options.task == "recognition":
        rule = recognition.SelectionRule(s.recognition_lr, ties=True,
                                         batch_size=s.recognition_batch)
        metrics = recognition.train_on_features(run, model, sets, np.arange(N), rule, generator,
                                                "mean", rng)
    runs.report(run, model, epoch, metrics, untrained, sets=sets)


def neighbours(windows: Sequences, within: str) -> np.ndarray:
    """Whether window i + 1 goes on window i, (N-1,) bool: in the file every one does."""
    source = windows.labels if windows.recordings is None else windows.recordings
    return (source[1:] == source[:-1]) | (within == "file")


def train_encoders(run: Run, model: CAGE, x: Tensor, follows: Tensor,
                   rng: np.random.RandomState) -> int:
    """Pretext tasks and contrast on windows x (N, f, J, 3) in file order. Returns the epochs."""
    s, released, size = run.settings, run.options.protocol == "released", run.settings.batch_size
    batches = recognition.split_batches(np.arange(len(x)), size, released, "sequences", x.device)
    optimizer = TFAdam(model.parameters(), s.lr)
    goals = {}
    if released:  # drawn once, for each axis by itself
        for task in model.encoders:
            axes = zip(*(pretext(axis, task, rng) for axis in x.split(1, dim=3)), strict=True)
            goals[task] = [torch.cat(parts, dim=3) for parts in axes]
    has_next = torch.cat([follows, follows.new_full((1,), s.neighbours == "file")])  # (N,)
    epochs = Epochs(
        run, model, limit=s.pre_epochs, save_seconds=runs.SAVE_SECONDS,
        changeable=(*recognition.CHANGEABLE, "manner", "recognition_lr", "recognition_batch"),
        optimizer=optimizer, rng=rng)
    for epoch in epochs:
        order = np.arange(len(batches)) if released else rng.permutation(len(batches))
        with epoch.stage("learn"):
            if not released:
                goals = {task: pretext(x, task, rng) for task in model.encoders}
            for own in (batches[number] for number in order):
                losses = {}
                for task, encoder in model.encoders.items():
                    goal = (windows[own] for windows in goals[task])
                    # A recording's last window has no next one to predict.
                    rebuilt = has_next[own] if task == "prediction" else None
                    terms = encoder.losses(*goal, follows=follows[own[:-1]], rebuilt=rebuilt,
                                           copies=s.copies, contrast_weight=s.contrast_weight)
                    losses |= {f"{task}_{name}": term for name, term in terms.items()}
                losses["total"] = sum(losses[f"{task}_total"] for task in model.encoders)
                epoch.step(optimizer, losses, divide(own, tied=True), clip=CLIP)
    return epochs.number
