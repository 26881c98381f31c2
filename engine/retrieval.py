"""Runs scored by retrieval before every epoch: what train_simmc.py and train_df.py share."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from skeleton_reid.common.command_line import pick_device
from skeleton_reid.common.log import log
from skeleton_reid.common.numbers import counted
from skeleton_reid.data import Retrieval
from skeleton_reid.engine import baselines, evaluation, features, results
from skeleton_reid.engine.encoding import load_model, log_sizes
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.options import TrainingOptions
from skeleton_reid.engine.run import Run, execute

ALL_DONE = "all epochs done"  # why most runs stop


def run_retrieval(method: str, options: TrainingOptions, train: Callable[..., None]) -> None:
    """Train, or score the saved best model; then write its features if wanted."""
    source = features.find_source(options.source, options, pick_device(options.device))
    data, probe, variant = options.dataset.name, options.probe, options.settings.variant
    if source is None:
        folder, prefix = METHODS[method].run_folder(variant, data, probe)
        run = Run(method, options, options.out / folder, prefix)
    else:
        folder = options.out / f"{source.name}+{method}{variant}" / data / probe
        run = Run(f"{source.name} + {method}", options, folder, source=source)
    execute(run, train, evaluate, write_features)


def describe(run: Run, model: nn.Module, sets: Retrieval) -> None:
    """Log the source, and the sizes of the sets and the model."""
    if source := run.source:
        log.info(f"{source.size} numbers a frame from {source.file} ({source.note})")
    sizes = {name: len(getattr(sets, name)) for name in features.PARTS}
    log_sizes(run.options, model, sizes, sets.train.skeletons)


def report(run: Run, sets: Retrieval, untrained: dict[str, Any], best: dict[str, Any],
           last: dict[str, Any], reason: str) -> None:
    """Print and write best and last metrics, with those of the untrained model and baselines."""
    supervision, epochs = {"supervision": run.settings.supervision}, last["epoch"]
    best, last = best | supervision, last | supervision
    rows = baselines.score_all(run.options, sets.stored, run.source)
    rows |= {run.settings.at_first: untrained}
    rows |= {f"{run.method} best": best, f"{run.method} last": last}
    stopped = f"{run.title}: stopped after {counted(epochs, 'epoch')}"
    if reason != ALL_DONE:
        stopped += f" ({reason})"
    print(stopped + "\n" + results.retrieval_table(rows.items()))
    content = {**best, "best": best, "last": last, "untrained": untrained, "baselines": rows}
    run.write_results(content | {"epochs": epochs, "stopped": reason})


def evaluate(run: Run, options: TrainingOptions, device: torch.device) -> None:
    """Score the saved best model (--mode Eval)."""
    path = run.path("best.pt")
    run = run.with_settings_of(path)
    sets = features.load(run.options, run.settings, run.source)
    model, content = load_model(path, sets.skeleton, sets.length, device, run.source)
    metrics = evaluation.score_encoder(model, sets, options.protocol)
    metrics |= {"epoch": content["epoch"], "supervision": run.settings.supervision}
    print(f"{run.title}\n" + results.retrieval_table([(run.method, metrics)]))
    run.write_results(metrics)


def write_features(run: Run, options: TrainingOptions, device: torch.device) -> None:
    """Write the best model's features of train, probe and gallery, in the order of the files."""
    source = run.source
    sets = evaluation.load_in_order(options, source.centred if source else True)
    model, _ = load_model(run.path("best.pt"), sets.skeleton, sets.length, device, source)
    sets = source.frames(sets) if source else sets
    parts = {name: getattr(sets, name) for name in features.PARTS}
    features.write_features(options.save_features, model, parts)
