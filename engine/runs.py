"""What a training script runs: a training scored by retrieval before every epoch, or two phases, an
encoder and, unless the task is retrieval, a recogniser on it. --mode Eval, features.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from skeleton_reid.common.command_line import pick_device
from skeleton_reid.common.errors import InputError
from skeleton_reid.common.log import fit, log
from skeleton_reid.data import Recognition, Retrieval, Sequences
from skeleton_reid.engine import baselines, checkpoint, features, recognition, results, retrieval
from skeleton_reid.engine.encoding import load_model, log_sizes
from skeleton_reid.engine.methods import METHODS, settings_of
from skeleton_reid.engine.options import PhaseOptions, TrainingOptions
from skeleton_reid.engine.released import cut, released_test
from skeleton_reid.engine.run import Run, execute

SAVE_SECONDS = 30  # between two states of the encoders, 70 MB each


def run_script(method: str, options: TrainingOptions, train: Callable[..., None]) -> None:
    """Train, or score the saved best model; then write its features if wanted."""
    data, variant = options.dataset.name, options.settings.variant
    source = features.find_source(options.source, options, pick_device(options.device))
    states = getattr(options, "source_features", "nodes") == "states"
    if states and not (source and source.name.endswith("-states")):
        raise InputError("--source_features states: expected --source SM-SGE or a file of it, "
                         f"found {options.source or 'no --source'}")
    if isinstance(options, PhaseOptions):
        view = "" if options.view is None else f"view_{options.view}_"
        transfer = "_transfer" if options.encoder else ""
        task = "" if options.task in ("recognition", "pre") else f"_{options.task}"
        run = Run(method, options, options.out / method / data / f"{view}{variant}{transfer}{task}")
    elif source is None:
        folder, prefix = METHODS[method].run_folder(variant, data, options.probe)
        run = Run(method, options, options.out / folder, prefix)
    else:
        folder = options.out / f"{source.name}+{method}{variant}" / data / options.probe
        run = Run(f"{source.name} + {method}", options, folder, source=source)
    execute(run, train, evaluate_phases if run.in_phases else evaluate, write_features)


def evaluate(run: Run, options: TrainingOptions, device: torch.device) -> None:
    """Score the saved best model (--mode Eval)."""
    path = run.path("best.pt")
    run = run.with_settings_of(path)
    sets = retrieval.load(run.options, run.settings, run.source)
    model, content = load_model(path, sets.skeleton, sets.length, device, run.source)
    metrics = retrieval.score_encoder(model, sets, options.protocol)
    metrics |= {"epoch": content["epoch"], "supervision": run.settings.supervision}
    print(fit(run.title) + "\n" + results.retrieval_table({run.method: metrics}))
    run.write_results(metrics)


def load_task(options: PhaseOptions, settings: Any) -> Recognition | Retrieval:
    """The data of the task in the order of the files; InputError if tests lack a released batch."""
    if options.task == "retrieval":
        sets = retrieval.load_in_order(options, settings.centred)
        cut(replace(sets, train=None), settings.batch_size, options.protocol)
        return sets
    sets = recognition.load(options, settings.centred)
    if options.protocol == "released":
        for test in sets.tests.values():
            released_test(settings, test.labels, options.length)
    return sets


def tests_of(probe: str, sets: Recognition | Retrieval) -> dict[str, Sequences]:
    """The test sets of the task by name, that of --probe first."""
    tests = {probe: sets.probe} if isinstance(sets, Retrieval) else sets.tests
    return {name: tests[name] for name in sorted(tests, key=lambda name: name != probe)}


def begin(run: Run, model: nn.Module, order: np.ndarray, sets: Recognition | Retrieval,
          reload: bool = False) -> tuple[Run, int | None, nn.Module]:
    """Open the run, and the phase of its encoder: with the epoch of the weights, if it is reloaded
    (from --encoder, or if `reload` from the phase's folder), and a copy of the model as it was.
    order: of the training windows. InputError if there are no weights, or others than the model's.
    """
    options, phase, untrained = run.options, run.phase("encoder"), copy.deepcopy(model)
    other, epoch = options.encoder, None
    if other or reload:
        path = other or phase.path("best.pt")
        content = checkpoint.load(path, run.method)
        names = () if other else ("dataset", "length", "protocol", "task", "view")
        checkpoint.expect(path, content, {name: phase.identity.get(name) for name in names})
        made, own = (of_features(arguments) | {"centred": settings.centred}
                     for arguments, settings in ((content["arguments"], settings_of(content)),
                                                 (model.arguments, run.settings)))
        checkpoint.expect(path, made, own)
        checkpoint.load_weights(model, content["model"], path)
        epoch = content["epoch"]
        log.info(f"encoder of {path}, {content['dataset']}, epoch {epoch}")
    run.open()
    if other:
        phase.save_model(model, epoch, {})
    sizes = {name: len(test) for name, test in tests_of(options.probe, sets).items()}
    log_sizes(options, model, {"train": len(order), **sizes}, sets.train.skeletons)
    return phase, epoch, untrained


def of_features(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A model's arguments without the one that only a loss depends on."""
    return {
        name: of_features(value) if isinstance(value, Mapping) else value
        for name, value in arguments.items() if name != "temperature"
    }


def evaluate_phases(run: Run, options: PhaseOptions, device: torch.device) -> None:
    """Score the saved best models, by recognition and by retrieval (--mode Eval)."""
    row, path, metrics = options.dataset, run.phase("encoder").path("best.pt"), {}
    if options.task == "retrieval":
        run = run.with_settings_of(path)
    else:
        names = row.recognition or ("test",)
        folder = run.phase(options.settings.recogniser(options.probe))
        first = options.probe if options.probe in names else names[0]
        run = run.with_settings_of(folder.path(f"best_{first}.pt"))
        sets = load_task(run.options, run.settings)
        for name, test in tests_of(options.probe, sets).items():
            best, own = folder.path(f"best_{name}.pt"), replace(sets, tests={name: test})
            metrics |= recognition.score_saved(best, own, device, options.protocol)
    model, saved = load_model(path, row.skeleton, options.length, device)
    report(run, model, saved["epoch"], metrics)


def report(run: Run, model: nn.Module, epoch: int, metrics: dict[str, Any],
           untrained: nn.Module | None = None, content: dict[str, Any] | None = None,
           sets: Recognition | Retrieval | None = None) -> None:
    """Print and write retrieval metrics, and those of recognition by test. content: what else.
    sets: what the encoder was trained on, as it is read.
    """
    encoder, probe, content = run.options.encoder, run.options.probe, dict(content or {})
    if encoder:
        content["encoder"] = str(encoder)
    if metrics:
        content |= recognition.summary(metrics, probe if probe in metrics else next(iter(metrics)))
        print(fit(run.title) + "\n" + results.recognition_table(metrics, run.method))
    found = score_retrieval(run, model, epoch, untrained, sets)
    run.write_results(content | {"retrieval": found} if metrics else content | found)


def score_retrieval(run: Run, model: nn.Module, epoch: int, untrained: nn.Module | None,
                    stored: Recognition | Retrieval | None) -> dict[str, Any]:
    """Print retrieval metrics, beside untrained ones if any; JSON content, {} without gallery."""
    options, protocol = run.options, run.options.protocol
    if not isinstance(stored, Retrieval):
        stored = _gallery(options, run.settings.centred, train=untrained is not None)
    if stored is None:
        return {}
    try:
        sets = cut(replace(stored, train=None), run.settings.batch_size, protocol)
    except InputError as error:
        if options.task == "retrieval":
            raise
        log.info(f"no retrieval metrics: {error}")  # those of recognition are there
        return {}
    metrics = {**retrieval.score_encoder(model, sets, protocol), "epoch": epoch}
    added = options.dataset.recognition_train if options.task != "retrieval" else ()
    trained = ["train", *added]
    content = {"kind": "retrieval", **metrics, "trained_on": trained}
    rows = {run.settings.at_first if run.settings.supervision else run.method: metrics}
    if untrained is not None:
        initial = retrieval.score_encoder(untrained, sets, protocol)
        rows = baselines.score_all(options, stored) | {"untrained encoder": initial} | rows
        # The last weights count: no epoch is chosen by its metrics.
        content |= {"best": metrics, "last": metrics, "untrained": initial, "baselines": rows}
    print(f"retrieval of {options.probe}, encoders trained on {' + '.join(trained)}")
    print(results.retrieval_table(rows))
    return content


def _gallery(options: TrainingOptions, centred: bool, train: bool = True) -> Retrieval | None:
    """The retrieval sets; None where the task is another one and they are not there."""
    if options.view is not None:
        return None
    try:
        return retrieval.load_in_order(options, centred, train)
    except InputError as error:
        if options.task == "retrieval":
            raise
        log.info(f"no retrieval metrics: {error}")
        return None


def write_features(run: Run, options: TrainingOptions, device: torch.device) -> None:
    """Write the best model's features, in the order of the files: train, probe, gallery (if there
    is one), of recognition also test.
    """
    path = (run.phase("encoder") if run.in_phases else run).path("best.pt")
    model, saved = load_model(path, options.dataset.skeleton, options.length, device, run.source)
    settings, parts = settings_of(saved), {}
    if stored := _gallery(options, (run.source or settings).centred):
        stored = run.source.frames(stored) if run.source else stored
        parts = {name: getattr(stored, name) for name in features.PARTS}
    if options.task != "retrieval":
        sets = load_task(options, settings)
        own = {"train": sets.train, "test": next(iter(tests_of(options.probe, sets).values()))}
        # Classes back to the labels of the data files.
        own = {n: replace(part, labels=sets.persons[part.labels]) for n, part in own.items()}
        parts = own | parts
    features.write_features(options.save_features, model, parts)
