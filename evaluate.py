"""Evaluate a saved model, feature files or a baseline: recognisers by recognition, else retrieval.

    python evaluate.py --checkpoint ReID_Models/KS20/probe/best.pt                a checkpoint
    python evaluate.py --checkpoint ReID_Models/AGE/IAS/LA/ap/best_A.pt           a recogniser
    python evaluate.py --checkpoint …/best_A.pt --retrieval                       its encoder alone
    python evaluate.py --checkpoint RN/KS20_87.5_95.8_formal.ckpt --dataset KS20  a TensorFlow one
    python evaluate.py --probe FILE.probe.npz --gallery FILE.gallery.npz          feature files
    python evaluate.py --features D-13 --dataset KS20 --probe probe               a baseline
    python evaluate.py --recognise LSTM --dataset IAS                             of recognition

A checkpoint names its data set, probe and length. --json FILE writes the metrics: fractions in
[0, 1] there, percent in the printed table.
"""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skeleton_reid.common.command_line import add_options, option, positive_int, script_parser
from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.engine.options import BASELINES, CLASSIFIERS, PublishedOptions, refuse_options

EVALUATED = ("checkpoint", "features", "recognise", "gallery")  # one of them is evaluated


@dataclass(frozen=True)
class EvaluationOptions(PublishedOptions):
    """Evaluation."""

    checkpoint: Path | None = option(None, "ours or TensorFlow's", type=Path, metavar="FILE")
    features: str | None = option(None, "a baseline", choices=(*BASELINES, "session", "untrained"))
    recognise: str | None = option(None, "a baseline of recognition", choices=CLASSIFIERS)
    gallery: Path | None = option(None, "features, with --probe FILE", type=Path, metavar="FILE")
    retrieval: bool = option(False, "only the encoder of a recogniser", action="store_true")
    exclude_self: bool = option(False, "probe and gallery are the same set", action="store_true")
    source: str | None = option(None, "AGE, SM-SGE, FILE.pt or FILE.npz, if it has moved")
    out: Path = option(Path("ReID_Models"), "folder of --source", type=Path, metavar="DIR")
    epochs: int | None = option(None, "most epochs of the LSTMs", type=positive_int, metavar="N")
    neighbours: int | None = option(None, "of D-13+KNN (5)", type=positive_int, metavar="N")


def parse() -> EvaluationOptions:
    """The options of evaluate.py. InputError for those that do not go together, or lack one."""
    parser = script_parser(__doc__)
    add_options(parser, EvaluationOptions, first=(*EVALUATED, "dataset", "probe"))
    options = EvaluationOptions(**vars(parser.parse_args()))
    names = [f"--{name}" for name in EVALUATED if getattr(options, name)]
    if len(names) != 1:
        words = " and ".join(names) or "none"
        raise InputError(f"expected one of --{', --'.join(EVALUATED)}, found {words}")
    if not options.checkpoint:
        refuse_options(options, view=options.recognise is not None)
    o, released = options, options.protocol == "released"
    problems = {
        "--gallery FILE needs --probe FILE": o.gallery and not o.probe,
        f"expected --dataset with {names[0]}": (o.features or o.recognise) and not o.dataset,
        "--epochs, --neighbours need --recognise": (o.epochs or o.neighbours) and not o.recognise,
        "no code was released for --recognise": o.recognise and released,
        "--source goes with --checkpoint": o.source and not o.checkpoint,
        "--retrieval goes with --checkpoint": o.retrieval and not o.checkpoint,
        "--exclude_self goes with feature files": o.exclude_self and not o.gallery,
    }
    for message, is_wrong in problems.items():
        if is_wrong:
            raise InputError(message)
    return options


if __name__ == "__main__":  # --help and wrong use need no torch, which takes seconds to import
    run_command(parse)

import numpy as np
import torch

from skeleton_reid.common.command_line import pick_device
from skeleton_reid.common.log import start_log
from skeleton_reid.data import datasets
from skeleton_reid.data.descriptors import DESCRIPTORS
from skeleton_reid.data.files import provenance
from skeleton_reid.data.loader import LOST, DataWarning, warn_of_lost
from skeleton_reid.engine import (baselines, checkpoint, features, published, recognition, results,
                                  retrieval)
from skeleton_reid.engine.encoding import load_model
from skeleton_reid.engine.methods import settings_of
from skeleton_reid.engine.methods.simmc import SimMCSettings
from skeleton_reid.engine.released import cut
from skeleton_reid.models.simmc import SimMC
from skeleton_reid.reid import ranking

Result = tuple[EvaluationOptions, str, dict[str, Any]]  # options as resolved, name and metrics


def main() -> None:
    options = parse()
    start_log(options.quiet)
    saved: dict[str, Any] = {}
    if options.checkpoint:
        path, saved = published.open_checkpoint(options.checkpoint, options)
        row = options.dataset or datasets.restore(saved)
        options = replace(options, checkpoint=path, dataset=row, seed=saved["seed"])
    if options.gallery:
        options, name, metrics = score_files(options)
    elif options.recognise:
        options, name, metrics = train_classifier(options)
    elif options.features:
        options, name, metrics = score_baseline(options)
    elif "recogniser" in saved and not options.retrieval:
        options, name, metrics = score_recogniser(options, saved)
    else:
        options, name, metrics = score_encoder(options, saved)
    content = {"kind": "recognition" if "rank" in metrics else "retrieval", "method": name}
    content |= {n: getattr(options, n) for n in ("probe", "length", "protocol", "seed")}
    content |= {"dataset": options.dataset and options.dataset.name, "epoch": None}
    corner = ""
    if options.view is not None:
        content["view"] = options.view
    if options.dataset:
        data = provenance(options.dataset, options.length, options.data, options.view)
        corner = f"{options.dataset.name} simulated" if data["simulated"] else options.dataset.name
        content["data"] = data
        if saved and saved["dataset"] == options.dataset.name:
            checkpoint.expect_windows(options.checkpoint, saved, data)
    if "tests" in metrics:
        print(results.recognition_table(metrics["tests"], name, corner))
    else:
        print(results.retrieval_table({name: metrics}, corner))
    if options.export:
        checkpoint.save(options.export, {**saved, "metrics": metrics})
    if options.json:
        results.write_json(options.json, content | metrics)


def score_files(options: EvaluationOptions) -> Result:
    """Feature files: --probe FILE --gallery FILE."""
    probe, gallery = (features.read(Path(path)) for path in (options.probe, options.gallery))
    if not np.isin(probe.labels, gallery.labels).any():
        raise InputError(f"expected persons of {options.probe} in {options.gallery}, found none")
    warn_of_lost(probe.labels, gallery.labels, LOST)
    if np.array_equal(probe.features, gallery.features) and not options.exclude_self:
        warnings.warn(
            "probe and gallery are one set, in which every probe finds itself: "
            "--exclude_self leaves that out", DataWarning, stacklevel=1)
    metrics = ranking.evaluate(probe.features, probe.labels, gallery.features, gallery.labels,
                               exclude_self=options.exclude_self)
    return options, "features", metrics


def score_recogniser(options: EvaluationOptions, saved: dict[str, Any]) -> Result:
    """A recogniser on every test split; the metrics of --probe, or of its own split, on top."""
    path, part = options.checkpoint, saved["recogniser"]
    if saved["dataset"] != options.dataset.name:
        raise InputError(f"{path} names persons of {saved['dataset']}, found --dataset "
                         f"{options.dataset.name}: score its encoder/best.pt there")
    options = replace(options, view=saved.get("view"), length=options.length or saved["length"])
    device = pick_device(options.device)
    if "model" in saved:
        sets = recognition.load(options, settings_of(saved).centred)
        test = pick_test(options.probe, sets.tests, part["test"])
        if part["persons"] is None:
            published.name_persons(saved, path, sets.persons)
        metrics = recognition.score_saved(path, sets, device, options.protocol, saved)
    else:  # AGE's published recogniser without its encoders
        metrics = published.score_rows(saved, path, options.protocol, device)
        test = pick_test(options.probe, metrics, part["test"])
    return replace(options, probe=test), saved["method"], {**metrics[test], "tests": metrics}


def train_classifier(options: EvaluationOptions) -> Result:
    """A classifier trained on the recognition protocol's sets; the metrics of --probe on top."""
    row, name = options.dataset, options.recognise
    default = row.default_length if options.view is None else row.view_length
    options = replace(options, length=options.length or default)
    sets = recognition.load(options)
    options = replace(options, probe=pick_test(options.probe, sets.tests))
    settings, chosen = baselines.SETTINGS[name], {"epochs", "neighbours"}
    settings = settings | {n: getattr(options, n) or settings[n] for n in chosen & settings.keys()}
    device = pick_device(options.device)
    metrics = baselines.recognise(name, sets, settings, options.seed, device, options.quiet)
    return options, name, recognition.summary(metrics, options.probe) | {"settings": settings}


def pick_test(probe: str | None, tests: Collection[str], own: str | None = None) -> str:
    """The test split of --probe, or a checkpoint's own, or the first. InputError for others."""
    test = probe or own or next(iter(tests))
    if test not in tests:
        raise InputError(f"unknown test split {test!r}; choose one of {', '.join(tests)}")
    return test


def score_encoder(options: EvaluationOptions, saved: dict[str, Any]) -> Result:
    """A checkpoint, which fills in what the command line lacks."""
    options, device = resolved(options, saved), pick_device(options.device)
    settings = settings_of(saved)
    settings = replace(settings, batch_size=options.batch_size or settings.batch_size)
    source = features.find_source(options.source or saved.get("source_file"), options, device,
                                  saved.get("arguments", {}).get("inputs"))
    sets = retrieval.load(options, settings, source)
    model, _ = load_model(options.checkpoint, sets.skeleton, sets.length, device, source, saved)
    metrics = retrieval.score_encoder(model, sets, options.protocol)
    metrics |= {"epoch": saved.get("epoch"), "supervision": settings.supervision or "none"}
    return options, saved["method"], metrics


def score_baseline(options: EvaluationOptions) -> Result:
    """A descriptor, a discriminant of the training set, or SimMC's initial weights of --seed."""
    options, name, protocol = resolved(options, {}), options.features, options.protocol
    fitted = name not in (*DESCRIPTORS, "session", "untrained")
    sets = retrieval.load_in_order(options, name != "session", train=fitted)
    sets = cut(sets, options.batch_size or SimMCSettings.batch_size, protocol)
    if name != "untrained":
        return options, name, baselines.score_descriptor(sets, name, protocol)
    generator = torch.Generator().manual_seed(options.seed)
    model = SimMC(len(sets.skeleton) * 3, SimMCSettings.H, SimMCSettings.D, generator)
    metrics = retrieval.score_encoder(model.to(pick_device(options.device)), sets, protocol)
    return options, name, metrics | {"epoch": None, "supervision": "none"}


def resolved(options: EvaluationOptions, saved: Mapping[str, Any]) -> EvaluationOptions:
    """The options with the probe and length of a checkpoint, or else of the data set."""
    row, own = options.dataset, saved.get("probe")
    probe = options.probe or (own if own in row.gallery_of else next(iter(row.gallery_of)))
    length = options.length or saved.get("length") or row.default_length
    return replace(options, probe=probe, length=length)


if __name__ == "__main__":
    run_command(main, go_on="run again")
