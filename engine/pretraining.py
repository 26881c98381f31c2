"""Runs of AGE and SM-SGE: encoders without labels, then a recogniser on their frozen features.

--task recognition trains both, on the recognition training set, and shows retrieval by the same
encoders beside it. --task retrieval trains encoders only, on the training split alone, as the
retrieval tables ask. Phases of a run: "encoder", and the recogniser's, which the script names.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import data
from common import command_line
from common.command_line import log
from common.errors import InputError
from data import datasets
from engine import checkpoint, model_size, recognisers, results
from engine import encoding as saved
from engine import evaluation as protocol
from engine.run import Run, load_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of both scripts, beside those of all scripts (reid.cli)."""
    group = parser.add_argument_group("phases")
    group.add_argument(
        "--task",
        choices=("recognition", "retrieval"),
        help="recognition: encoders and recogniser (default, but for CASIA_B without --view); retrieval: encoders "
        "from the training split alone",
    )
    group.add_argument(
        "--view", type=int, metavar="V", help="test view of the cross-view protocol (CASIA_B)"
    )
    group.add_argument(
        "--pre_epochs",
        type=command_line.positive_int,
        metavar="N",
        help="epochs of the encoders (or --epochs)",
    )
    group.add_argument(
        "--recognition_epochs",
        type=command_line.positive_int,
        metavar="N",
        help="of the recogniser (or --epochs)",
    )


def check(args: argparse.Namespace) -> None:
    """Fill in what follows from the data set. Raises InputError for options that do not go
    together.
    """
    row = datasets.get(args.dataset)
    if args.task is None:
        args.task = "recognition" if args.view is not None or row.recognition else "retrieval"
    if args.view is not None and (args.probe or args.task == "retrieval"):
        raise InputError(
            "--view is a recognition protocol with one test set: leave out --probe and --task retrieval"
        )
    if args.view is None and not row.recognition and args.task == "recognition":
        raise InputError(
            f"recognition on {row.name} needs --view 0 to {row.views - 1}; without one, --task retrieval"
        )
    args.probe = "test" if args.view is not None else args.probe or next(iter(row.gallery_of))
    if args.view is None:
        row.pair(args.probe)
    args.length = args.length or (row.default_length if args.view is None else row.view_length)
    args.pre_epochs = args.pre_epochs or args.epochs
    args.recognition_epochs = args.recognition_epochs or args.epochs


def carry_out(
    method: str,
    args: argparse.Namespace,
    settings: dict[str, Any],
    variant: str,
    recogniser: str,
    train: Callable[[Run, torch.device], None],
) -> None:
    """What the command line asks for: train, or score the saved best models; then write features if
    wanted.

    variant: names the run's folder. recogniser: name of its phase.
    """
    device = command_line.pick_device(args)
    run = start(method, args, settings, variant)
    with run.lock:
        if args.mode == "Train":
            train(run, device)
        else:
            evaluate(run, recogniser, device)
        if args.save_features:
            write_features(run, device)


def start(method: str, args: argparse.Namespace, settings: dict[str, Any], variant: str) -> Run:
    """The run in <out>/<method>/<dataset>/<variant>, where a view stands before the variant and the
    task after.
    """
    view = "" if args.view is None else f"view_{args.view}_"
    task = "_retrieval" if args.task == "retrieval" else ""
    return Run(
        method,
        args,
        settings,
        args.probe,
        Path(args.out) / method / args.dataset / f"{view}{variant}{task}",
    )


def phase(run: Run, name: str) -> Run:
    """One of the two phases. Its checkpoints say what they were trained for."""
    return run.part(name, task=run.args.task, view=run.args.view)


def reload_encoder(run: Run, model: nn.Module) -> None:
    """Put the weights of the encoder phase `run`, trained before, into a model (--pre_train 0).

    Raises InputError if there are none, or they were trained on other data or for another model.
    """
    path = run.path("best.pt")
    content = checkpoint.load(path, run.method)
    names = ("dataset", "length", "protocol", "task", "view")
    checkpoint.expect(path, content, {name: run.identity[name] for name in names})
    checkpoint.expect(path, content["arguments"], model.arguments)
    load_weights(model, content["model"], path)
    log.info(f"encoder of {path}, epoch {content['epoch']}")


def load(run: Run) -> data.Recognition | data.Retrieval:
    """The data of the task, the training set in the order of the files.

    Raises InputError, before training, also for test sets that are smaller than the released
    protocol's batches.
    """
    args, centred = run.args, run.settings.get("centred", True)
    if args.task == "recognition":
        sets = recognisers.load(args, centred)
        for test in sets.tests.values() if args.protocol == "released" else ():
            saved.METHODS[run.method].released_test(test.labels, run.settings, args.length)
        return sets
    sets = saved.load_stored(args, centred)
    protocol.cut(replace(sets, train=None), run.settings["batch_size"], args.protocol)
    return sets


def evaluate(run: Run, recogniser: str, device: torch.device) -> None:
    """Score the saved best models, by recognition and by retrieval (--mode Eval). recogniser: name
    of the phase.
    """
    args, found = run.args, {}
    if args.task == "retrieval":
        run.adopt(phase(run, "encoder").path("best.pt"))
    else:
        tests = datasets.get(args.dataset).recognition or ("test",)
        run.adopt(phase(run, recogniser).path(f"best_{headline(args, dict.fromkeys(tests))}.pt"))
        sets = load(run)
        for name, test in sets.tests.items():
            path = phase(run, recogniser).path(f"best_{name}.pt")
            found |= recognisers.score_saved(
                path, replace(sets, tests={name: test}), device, args.protocol
            )
        rows = [(f"{run.method} {name}", figures) for name, figures in found.items()]
        print(f"{run.title}\n" + results.recognition_table(rows))
    retrieval = score_retrieval(run, device)
    if found:
        shown = found[headline(args, found)]
        run.write_results({"kind": "recognition", **shown, "tests": found, "retrieval": retrieval})
    else:
        run.write_results(retrieval)


def describe(
    run: Run, model: nn.Module, order: np.ndarray, sets: data.Recognition | data.Retrieval
) -> None:
    """Log how many sequences there are (training ones as resampled) and how large the encoder is
    (--model_size).
    """
    tests = sets.tests if run.args.task == "recognition" else {run.args.probe: sets.probe}
    sizes = "  ".join(f"{name} {len(test)}" for name, test in tests.items())
    log.info(
        f"train {len(order)}  {sizes} sequences  {model_size.count_parameters(model):,} parameters"
    )
    if run.args.model_size:
        model_size.describe(run.method, model, sets.train.skeletons)


def headline(args: argparse.Namespace, tests: dict[str, Any]) -> str:
    """The test split that the results begin with: --probe, if it is one."""
    return args.probe if args.probe in tests else next(iter(tests))


def score_retrieval(
    run: Run, device: torch.device, untrained: nn.Module | None = None
) -> dict[str, Any]:
    """Retrieval figures of the saved encoders, as JSON content; printed as a table.

    untrained: encoders with their initial weights, which stand beside them with the descriptors. A
    recognition run on data without probes and gallery gives {} and a line in the log.
    """
    args, row = run.args, datasets.get(run.args.dataset)
    if args.view is not None:
        return {}
    batch_size, centred = run.settings["batch_size"], run.settings.get("centred", True)
    try:
        sets = saved.load_retrieval(args, batch_size, centred=centred)
    except InputError as error:
        if args.task == "retrieval":
            raise
        log.info(f"no retrieval figures: {error}")
        return {}
    figures = saved.score_checkpoint(
        phase(run, "encoder").path("best.pt"), sets, args.protocol, device
    )
    trained = ["train", *(row.recognition_train if args.task == "recognition" else ())]
    content = {"kind": "retrieval", **figures, "trained_on": trained}
    rows = {run.method: figures}
    if untrained is not None:
        rows = {"untrained encoder": saved.score_encoder(untrained, sets, args.protocol), **rows}
        rows = protocol.baselines(saved.load_retrieval(args, batch_size), args.protocol) | rows
        # The last weights count: no epoch is chosen by its figures.
        content |= {
            "best": figures,
            "last": figures,
            "untrained": rows["untrained encoder"],
            "baselines": rows,
        }
    print(f"retrieval of {args.probe}, encoders trained on {' + '.join(trained)}")
    print(results.retrieval_table(rows.items()))
    return content


def write_features(run: Run, device: torch.device) -> None:
    """Write the encoders' features of train, probe and gallery; after recognition those of the
    test, too.

    The test is the split that the results begin with. Data without probes and gallery (a view, a
    download with one test set) have train and test alone.
    """
    args, row, parts = run.args, datasets.get(run.args.dataset), {}
    if args.view is None:
        try:
            stored = saved.load_stored(args, run.settings.get("centred", True))
            parts = {"train": stored.train, "probe": stored.probe, "gallery": stored.gallery}
        except InputError as error:
            if args.task == "retrieval":
                raise
            log.info(f"no features of probe and gallery: {error}")
    if args.task == "recognition":
        sets = load(run)
        found = {"train": sets.train, "test": sets.tests[headline(args, sets.tests)]}
        # Classes back to the labels of the data files.
        parts = {
            name: replace(part, labels=sets.persons[part.labels]) for name, part in found.items()
        } | parts
    model, _ = saved.load_model(
        phase(run, "encoder").path("best.pt"), row.joints, args.length, device
    )
    saved.write_features(args.save_features, model, parts)
