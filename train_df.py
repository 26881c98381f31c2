"""Train "X + DF": a small network with labels on the frozen frame features of X, scored by
retrieval.

    python train_df.py --source SM-SGE --dataset KS20                on the encoder of train_smsge.py --task retrieval
    python train_df.py --source AGE --dataset IAS --probe A          on that of train_age.py --task retrieval
    python train_df.py --source FILE.npz --dataset KS20              on feature files of any model
    python train_df.py --source SM-SGE --dataset KS20 --resume       go on after an interruption
    python train_df.py --source SM-SGE --dataset KS20 --mode Eval    score the saved best network

The mean of its hidden layer over the frames is the feature of a sequence (models/df.py). Evaluated
before every epoch; the best top-1 is kept, and the last stands beside it. Files of a run, in
<out>/<source>+DF/<dataset>/<probe>/: best.pt, last.pt (to resume), history.csv, log.txt,
results.json.
"""

import argparse

import numpy as np
import torch

from common import command_line
from common.errors import run_command
from engine import options, recognition_training, results, retrieval_training, sources
from engine.encoding import score_encoder
from engine.optimizer import TFAdam
from engine.run import Best, Run
from engine.settings import choose
from engine.sources import Source
from engine.timer import Stages
from models.df import DF


def main() -> None:
    args = parse_arguments()
    settings = choose("DF", args.protocol, args.dataset, args.probe, vars(args))
    retrieval_training.carry_out("DF", args, settings, train)


def train(run: Run, source: Source, device: torch.device) -> None:
    """Evaluate and learn, until the best top-1 is `patience` epochs old."""
    args, settings = run.args, run.settings
    sets = sources.load(args, settings["batch_size"], source, np.random.RandomState(args.seed))
    frames = torch.from_numpy(sets.train.skeletons).to(device)  # (N, f, d)
    persons, classes = np.unique(sets.train.labels, return_inverse=True)
    classes = torch.from_numpy(classes).to(device)
    generator = torch.Generator().manual_seed(args.seed)
    model = DF(frames.shape[2], len(persons), settings["H"], generator).to(device)
    optimizer = TFAdam(model.parameters(), settings["lr"])
    best = Best(settings["patience"])
    parts = {"model": model, "optimizer": optimizer, "best": best}
    epoch = run.resume(parts)
    retrieval_training.describe(run, model, sets)
    stages = Stages(args.epochs, epoch, args.quiet, device)
    while True:
        with stages("evaluate"):
            figures = score_encoder(model, sets, args.protocol)
        if best.update(epoch, figures):
            run.save_best(model, epoch, figures)
        row = {"epoch": epoch, **figures}
        line = "  ".join(
            f"{title} {100 * row[key]:.1f}" for key, title in results.RETRIEVAL.items()
        )
        stop = retrieval_training.stop_reason(epoch, args.epochs, best)
        if stop is not None:
            run.end_epoch(row, line, stages.end_epoch())
            break
        with stages("learn"):
            row["loss"] = learn(model, optimizer, frames, classes, settings["batch_size"])
        run.end_epoch(row, f"{line}  loss {row['loss']:.3f}", stages.end_epoch())
        epoch += 1
        run.save_last(epoch, parts)
    retrieval_training.report(run, source, best, figures, epoch, stop)


def learn(
    model: DF, optimizer: TFAdam, frames: torch.Tensor, classes: torch.Tensor, batch_size: int
) -> float:
    """One Adam step a batch on the cross entropy, in the fixed order of frames (N, f, d). Returns
    the mean loss.
    """
    batches = zip(frames.split(batch_size), classes.split(batch_size), strict=True)
    losses = [recognition_training.learn_batch(model, optimizer, x, y) for x, y in batches]
    return torch.stack(losses).mean().item()


def parse_arguments() -> argparse.Namespace:
    parser = options.training_parser(__doc__)
    sources.add_argument(parser, "the frame features to train on", required=True)
    group = parser.add_argument_group("DF (default: engine/settings.py)")
    group.add_argument("--H", type=command_line.positive_int, help="units of the hidden layer")
    options.add_learning_arguments(group, "", "top-1", "as for the other methods")
    args = parser.parse_args()
    retrieval_training.check(args)
    return args


if __name__ == "__main__":
    run_command(main)
