"""Runs of AGE and SM-SGE: encoders without labels, then a recogniser on their frozen features.

--task recognition trains both, on the recognition training set, and shows retrieval by the same
encoders beside it. --task retrieval trains encoders only, on the training split alone.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from common.command_line import pick_device
from common.errors import InputError
from common.log import log, start_log
from data import Recognition, Retrieval, datasets
from engine import checkpoint, evaluation, features, model_size, recogniser, results
from engine.encoding import is_centred, load_model, settings_of
from engine.options import PhaseOptions
from engine.recognition_training import summary, table
from engine.run import Run, execute

SAVE_SECONDS = 30  # between two states of the encoders, 70 MB each


def run_phases(method: str, options: PhaseOptions, variant: str, phase: str,
               train: Callable[[Run, PhaseOptions, torch.device], None]) -> None:
    """Train, or score the saved best models; then write features if wanted.

    variant: names the folder, with the view before it and the task after. phase: of the recogniser.
    """
    device = pick_device(options.device)
    start_log(options.quiet)
    view = "" if options.view is None else f"view_{options.view}_"
    task = "_retrieval" if options.task == "retrieval" else ""
    folder = options.out / method / options.dataset / f"{view}{variant}{task}"
    run = Run(method, options, folder)
    execute(run, options, device, train, partial(evaluate, phase=phase), write_features)


def load(options: PhaseOptions, settings: Any) -> Recognition | Retrieval:
    """The data of the task in the order of the files; InputError if tests lack a released batch."""
    centred, released = is_centred(settings), options.protocol == "released"
    if options.task == "recognition":
        sets = recogniser.load(options, centred)
        for test in sets.tests.values() if released else ():
            evaluation.released_test(settings, test.labels, options.length)
        return sets
    sets = evaluation.load_in_order(options, centred)
    evaluation.cut(replace(sets, train=None), settings.batch_size, options.protocol)
    return sets


def tests_of(probe: str, sets: Recognition | Retrieval | dict[str, Any]) -> dict[str, Any]:
    """The test sets of the task by name, or what stands for them, that of --probe first."""
    if isinstance(sets, Retrieval):
        return {probe: sets.probe}
    tests = sets if isinstance(sets, dict) else sets.tests
    return {name: tests[name] for name in sorted(tests, key=lambda name: name != probe)}


def describe(options: PhaseOptions, model: nn.Module, order: np.ndarray,
             sets: Recognition | Retrieval) -> None:
    """Log how many sequences there are (training ones as resampled), and the model's size."""
    sizes = "  ".join(f"{name} {len(test)}" for name, test in tests_of(options.probe, sets).items())
    parameters = model_size.count_parameters(model)
    log.info(f"train {len(order)}  {sizes} sequences  {parameters:,} parameters")
    if options.model_size:
        model_size.describe(model, sets.train.skeletons)


def reload_encoder(run: Run, model: nn.Module) -> int:
    """Put the weights of the phase `run` into a model (--pre_train 0). Returns their epoch.

    Raises InputError if there are none, or they are of other data or for another model.
    """
    path = run.path("best.pt")
    content = checkpoint.load(path, run.method)
    names = ("dataset", "length", "protocol", "task", "view")
    checkpoint.expect(path, content, {name: run.identity[name] for name in names})
    checkpoint.expect(path, content["arguments"], model.arguments)
    checkpoint.load_weights(model, content["model"], path)
    log.info(f"encoder of {path}, epoch {content['epoch']}")
    return content["epoch"]


def evaluate(run: Run, options: PhaseOptions, device: torch.device, phase: str) -> None:
    """Score the saved best models, by recognition and by retrieval (--mode Eval)."""
    figures = {}
    if options.task == "retrieval":
        run, options = run.load_settings_from(run.phase("encoder").path("best.pt"))
    else:
        names = datasets.get(options.dataset).recognition or ("test",)
        first = options.probe if options.probe in names else names[0]
        folder = run.phase(phase)
        run, options = run.load_settings_from(folder.path(f"best_{first}.pt"))
        sets = load(options, options.settings)
        for name, test in tests_of(options.probe, sets).items():
            path, own = folder.path(f"best_{name}.pt"), replace(sets, tests={name: test})
            figures |= recogniser.score_saved(path, own, device, options.protocol)
        rows = [(f"{run.method} {name}", row) for name, row in figures.items()]
        print(f"{run.title}\n" + results.recognition_table(rows))
    path = run.phase("encoder").path("best.pt")
    joints = datasets.get(options.dataset).joints
    model, saved = load_model(path, joints, options.length, device)
    retrieval = score_retrieval(run.method, options, model, saved["epoch"])
    if figures:
        first = next(iter(figures.values()))
        content = {"kind": "recognition", **first, "tests": figures, "retrieval": retrieval}
        run.write_results(content)
    else:
        run.write_results(retrieval)


def score_retrieval(method: str, options: PhaseOptions, model: nn.Module, epoch: int,
                    untrained: nn.Module | None = None) -> dict[str, Any]:
    """Retrieval figures of the encoders of an epoch as JSON content; printed as a table.

    untrained: stands beside them, with the descriptors. Data without a gallery give {}.
    """
    row, settings = datasets.get(options.dataset), options.settings
    if options.view is not None:
        return {}
    size, protocol = settings.batch_size, options.protocol
    try:
        sets = evaluation.load_retrieval(options, size, centred=is_centred(settings))
    except InputError as error:
        if options.task == "retrieval":
            raise
        log.info(f"no retrieval figures: {error}")
        return {}
    figures = {**evaluation.score_encoder(model, sets, protocol), "epoch": epoch}
    trained = ["train", *(row.recognition_train if options.task == "recognition" else ())]
    content = {"kind": "retrieval", **figures, "trained_on": trained}
    rows = {method: figures}
    if untrained is not None:
        rows = {"untrained encoder": evaluation.score_encoder(untrained, sets, protocol), **rows}
        rows = features.baselines(options, size) | rows
        # The last weights count: no epoch is chosen by its figures.
        content |= {"best": figures, "last": figures, "baselines": rows}
        content["untrained"] = rows["untrained encoder"]
    print(f"retrieval of {options.probe}, encoders trained on {' + '.join(trained)}")
    print(results.retrieval_table(rows.items()))
    return content


def report(run: Run, options: PhaseOptions, model: nn.Module, epoch: int, untrained: nn.Module,
           figures: dict[str, Any], content: dict[str, Any] | None = None) -> None:
    """Print and write what a run has trained: encoders up to an epoch, and their recogniser.

    untrained: encoders with their initial weights. figures: of recognition, best and last by test;
    empty after --task retrieval. content: what else the results say.
    """
    content, retrieval = dict(content or {}), {}
    if figures:
        first = next(iter(tests_of(options.probe, figures)))
        content |= summary(figures, first)
        print(f"{run.title}\n" + table(figures, run.method))
    retrieval = score_retrieval(run.method, options, model, epoch, untrained)
    run.write_results(content | ({"retrieval": retrieval} if figures else retrieval))


def write_features(run: Run, options: PhaseOptions, device: torch.device) -> None:
    """Write the encoders' features of train, probe, gallery; after recognition of the first test.

    Data without a gallery (a view, a download with one test set) have train and test alone.
    """
    row, parts = datasets.get(options.dataset), {}
    path = run.phase("encoder").path("best.pt")
    model, saved = load_model(path, row.joints, options.length, device)
    settings = settings_of(saved)
    if options.view is None:
        try:
            stored = evaluation.load_in_order(options, is_centred(settings))
            parts = {name: getattr(stored, name) for name in features.PARTS}
        except InputError as error:
            if options.task == "retrieval":
                raise
            log.info(f"no features of probe and gallery: {error}")
    if options.task == "recognition":
        sets = load(options, settings)
        own = {"train": sets.train, "test": next(iter(tests_of(options.probe, sets).values()))}
        # Classes back to the labels of the data files.
        own = {n: replace(part, labels=sets.persons[part.labels]) for n, part in own.items()}
        parts = own | parts
    features.write_features(options.save_features, model, parts)
