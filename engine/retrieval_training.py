"""Runs that are scored by retrieval before every epoch: what train_simmc.py and train_df.py
share.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common import command_line
from common.command_line import log
from data import Retrieval, datasets
from engine import model_size, results, sources
from engine.encoding import save_features, score_checkpoint
from engine.run import Best, Run
from engine.sources import Source


def check(args: argparse.Namespace) -> None:
    """Fill in probe and length from the data set. Raises InputError for a probe that it does not
    have.
    """
    row = datasets.get(args.dataset)
    args.probe = args.probe or next(iter(row.gallery_of))
    row.pair(args.probe)
    args.length = args.length or row.default_length


def carry_out(
    method: str,
    args: argparse.Namespace,
    settings: dict[str, Any],
    train: Callable[[Run, Source | None, torch.device], None],
) -> None:
    """What the command line asks for: train, or score the saved best model; then write its features
    if wanted.
    """
    args.balance = settings["balance"]
    device = command_line.pick_device(args)
    run, source = start(method, args, settings, device)
    with run.lock:
        if args.mode == "Train":
            train(run, source, device)
        else:
            evaluate(run, source, device)
        if args.save_features:
            save_features(args.save_features, run.path("best.pt"), args, device, source)


def start(
    method: str, args: argparse.Namespace, settings: dict[str, Any], device: torch.device
) -> tuple[Run, Source | None]:
    """The run of a command line and its source of features.

    On skeletons its folder is <out>/<dataset>/<probe>, on features
    <out>/<source>+<method>/<dataset>/<probe>.
    """
    source = sources.find(args.source, args, device)
    if source is None:
        return Run(method, args, settings, args.probe), None
    folder = Path(args.out) / f"{source.name}+{method}" / args.dataset / args.probe
    run = Run(f"{source.name} + {method}", args, settings, args.probe, folder)
    run.identity |= {"source": source.name, "source_digest": source.digest}
    run.notes["source_file"] = str(source.file)
    log.info(f"{source.size} numbers a frame from {source.file} ({source.note})")
    return run, source


def describe(run: Run, model: nn.Module, sets: Retrieval) -> None:
    """Log the sizes of the sets and, with --model_size, of the model."""
    log.info(
        f"train {len(sets.train)}  probe {len(sets.probe)}  gallery {len(sets.gallery)} sequences"
    )
    if run.args.model_size:
        model_size.describe(run.method, model, sets.train.skeletons)


def stop_reason(epoch: int, epochs: int | None, best: Best) -> str | None:
    """Why training ends before this epoch's learning, or None."""
    if epochs is not None and epoch >= epochs:  # more, if a longer run was resumed
        return f"{epoch} epochs done"
    return f"no better top-1 for {best.patience} epochs" if best.exhausted else None


def report(run: Run, source: Source | None, best: Best, last: dict, epoch: int, stop: str) -> None:
    """Print and write the best and the last figures, with those of the untrained model and the
    baselines.
    """
    untrained = {key: run.history[0][key] for key in last}
    rows = sources.baselines(run.args, run.settings["batch_size"], source) | {
        "untrained encoder": untrained,
        f"{run.method} best": best.figures,
        f"{run.method} last": {**last, "epoch": epoch},
    }
    print(f"{run.title}: stopped, {stop}\n" + results.retrieval_table(rows.items()))
    content = {**best.figures, "best": best.figures, "last": rows[f"{run.method} last"]}
    content |= {"untrained": untrained, "baselines": rows, "epochs": epoch, "stopped": stop}
    run.write_results(content)


def evaluate(run: Run, source: Source | None, device: torch.device) -> None:
    """Score the saved best model (--mode Eval)."""
    run.adopt(run.path("best.pt"))
    sets = sources.load(run.args, run.settings["batch_size"], source)
    figures = score_checkpoint(run.path("best.pt"), sets, run.args.protocol, device, source)
    print(f"{run.title}\n" + results.retrieval_table([(run.method, figures)]))
    run.write_results(figures)
