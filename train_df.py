"""Train "X + DF": a small network with labels on the frozen frame features of an encoder X.

    python train_df.py --source SM-SGE --dataset KS20                on train_smsge.py's encoder
    python train_df.py --source AGE --dataset IAS --probe A          on train_age.py's
    python train_df.py --source FILE.npz --dataset KS20              on feature files of any model
    python train_df.py --source SM-SGE --dataset KS20 --resume       after an interruption
    python train_df.py --source SM-SGE --dataset KS20 --mode Eval    score the saved best network

The encoders are those of --task retrieval; a run's files lie in <out>/<source>+DF/
(docs/2-training.md).
"""

from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.engine.options import RetrievalOptions, parse_training

if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(lambda: parse_training(__doc__, "DF", RetrievalOptions))

import numpy as np
import torch

from skeleton_reid.engine import features, results
from skeleton_reid.engine.epochs import EarlyStopping, Timer
from skeleton_reid.engine.evaluation import score_encoder
from skeleton_reid.engine.optimizer import TFAdam, train_batch
from skeleton_reid.engine.retrieval import describe, report, run_retrieval, stop_reason
from skeleton_reid.engine.run import Run
from skeleton_reid.models.recognition import DF


def main() -> None:
    options = parse_training(__doc__, "DF", RetrievalOptions)
    if options.source is None:
        raise InputError("expected --source with AGE, SM-SGE, FILE.pt or FILE.npz, found none")
    run_retrieval("DF", options, train)


def train(run: Run, options: RetrievalOptions, device: torch.device) -> None:
    """Evaluate and learn, until the best top-1 is `patience` epochs old."""
    settings = options.settings
    sets = features.load(options, settings, run.source, np.random.RandomState(options.seed))
    run.open()
    frames = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, d)
    persons, classes = np.unique(sets.train.labels, return_inverse=True)
    classes = torch.from_numpy(classes).to(device)
    generator = torch.Generator().manual_seed(options.seed)
    model = DF(frames.shape[2], len(persons), settings.H, generator).to(device)
    optimizer = TFAdam(model.parameters(), settings.lr)
    best = EarlyStopping(settings.patience)
    parts = {"model": model, "optimizer": optimizer, "best": best}
    epoch = run.resume(parts)
    describe(run, model, sets)
    with Timer(options.epochs, epoch, options.quiet, device, best) as timer:
        while True:
            with timer("evaluate"):
                figures = score_encoder(model, sets, options.protocol)
            if best.update(epoch, figures):
                run.save_best(model, epoch, figures)
            reason, losses = stop_reason(epoch, options.epochs, best), {}
            if reason is None:
                with timer("learn"):
                    size = settings.batch_size
                    batches = zip(frames.split(size), classes.split(size), strict=True)
                    steps = [train_batch(model, optimizer, x, y) for x, y in batches]
                    losses["loss"] = torch.stack(steps).mean().item()
            line = results.retrieval_line(figures)
            run.end_epoch(epoch, figures, losses, line, timer.end_epoch(epoch))
            if reason is not None:
                break
            epoch += 1
            run.save_last(epoch, parts)
    report(run, best.figures, figures, epoch, reason)


if __name__ == "__main__":
    run_command(main)
