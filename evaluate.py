"""Evaluate a saved model, feature files, or a baseline: recognisers by recognition, all else by
retrieval.

    python evaluate.py --checkpoint ReID_Models/KS20/probe/best.pt --dataset KS20       a checkpoint
    python evaluate.py --checkpoint ReID_Models/AGE/IAS/LA/ap/best_A.pt --dataset IAS   a recogniser, on every split
    python evaluate.py --checkpoint RN/KS20_87.5_95.8_formal.ckpt --dataset KS20        a published TensorFlow one
    python evaluate.py --probe FILE.probe.npz --gallery FILE.gallery.npz                feature files of any model
    python evaluate.py --features D-13 --dataset KS20 --probe probe                     a baseline
    python evaluate.py --recognise LSTM --dataset IAS                                   a baseline of recognition

A checkpoint of "X + SimMC" or "X + DF" is given the features that it was trained on; --source names
them where they are not at their place of then.

A wrong pairing (a checkpoint of 25 joints on 20-joint data, another length) is refused. --json FILE
writes the figures; shares are fractions in [0, 1] there, percent in the printed table.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import command_line
from common.errors import InputError, run_command
from data import Retrieval, datasets, provenance
from data.descriptors import DESCRIPTORS
from data.loader import LOST, warn_of_lost
from engine import (
    checkpoint,
    classifiers,
    features,
    options,
    recognisers,
    recognition_training,
    results,
    sources,
)
from engine import evaluation as protocol
from engine.encoding import load_model, load_retrieval, score_encoder
from engine.settings import SIMMC_DEFAULT
from models.simmc import SimMC
from reid import ranking
from tensorflow_v1 import age, convert
from tensorflow_v1.convert import PublishedOptions


def main() -> None:
    args = parse_arguments()
    command_line.start_log(args.quiet)
    saved = {}
    if args.checkpoint:
        published = PublishedOptions.of(args)
        args.checkpoint, saved = convert.open_checkpoint(args.checkpoint, published)
    args.seed = saved.get("seed", args.seed)
    kind = "recognition" if args.recognise or "recogniser" in saved else "retrieval"
    if args.recognise:
        name, figures = train_classifier(args)
        print(classifiers.table(figures["tests"], name, where(args)))
    elif kind == "recognition":
        name, figures = score_recogniser(args, saved)
        rows = ((f"{name} {test}", row) for test, row in figures["tests"].items())
        print(results.recognition_table(rows, where(args)))
    else:
        name, figures = score_files(args) if args.gallery else score_model(args, saved)
        print(results.retrieval_table([(name, figures)], where(args)))
    if args.export:
        checkpoint.save(args.export, {**saved, "figures": figures})
    if args.json:
        results.write_json(args.json, {"kind": kind, "method": name, **describe(args), **figures})


def score_files(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Feature files: --probe FILE --gallery FILE."""
    probe, gallery = (features.read(Path(path)) for path in (args.probe, args.gallery))
    if not np.isin(probe.labels, gallery.labels).any():
        raise InputError(
            f"expected persons of {args.probe} in {args.gallery}, found no label that both have; "
            "give files of one data set"
        )
    warn_of_lost(probe.labels, gallery.labels, LOST)
    figures = ranking.evaluate(
        probe.features,
        probe.labels,
        gallery.features,
        gallery.labels,
        exclude_self=args.exclude_self,
    )
    return "features", figures


def score_recogniser(args: argparse.Namespace, saved: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A checkpoint with a recogniser, on every test split; the figures of --probe, or of its own
    split, on top.
    """
    if saved["dataset"] != args.dataset:
        raise InputError(
            f"{args.checkpoint} names persons of {saved['dataset']}, found --dataset {args.dataset}; "
            "of another data set an encoder alone can be scored: encoder/best.pt"
        )
    args.view, args.length = saved["view"], args.length or saved["length"]
    device, part = command_line.pick_device(args), saved["recogniser"]
    if "model" in saved:
        sets = recognisers.load(args, saved["settings"].get("centred", True))
        tests = sets.tests
    else:  # AGE's published recogniser without its encoders
        tests = age.read_rows(args.checkpoint, datasets.get(args.dataset).recognition)
    recognisers.pick_test(args, tests, part["test"])
    if "model" in saved:
        if part["persons"] is None:
            convert.name_persons(saved, args.checkpoint, sets.persons)
        found = recognisers.score_saved(args.checkpoint, sets, device, args.protocol, saved)
    else:
        found = age.score_rows(saved, args.checkpoint, tests, args.protocol, device)
    return saved["method"], {**found[args.probe], "tests": found}


def train_classifier(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """A classifier trained on the recognition protocol's sets; the figures of --probe on top."""
    row = datasets.get(args.dataset)
    args.length = args.length or (row.view_length if args.view is not None else row.default_length)
    sets = recognisers.load(args)
    recognisers.pick_test(args, sets.tests)
    settings = classifiers.settings_of(args.recognise, args.epochs)
    device = command_line.pick_device(args)
    found = classifiers.recognise(args.recognise, sets, settings, args.seed, device, args.quiet)
    return args.recognise, {
        **recognition_training.summary(found, args.probe),
        "settings": vars(settings),
    }


def score_model(args: argparse.Namespace, saved: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A checkpoint, or a baseline, on a data set. What the command line leaves open, a checkpoint
    fills in.
    """
    row = datasets.get(args.dataset)
    own = saved.get("probe")
    args.probe = args.probe or (own if own in row.gallery_of else next(iter(row.gallery_of)))
    args.length = args.length or saved.get("length") or row.default_length
    batch_size = args.batch_size or saved.get("settings", SIMMC_DEFAULT)["batch_size"]
    device = command_line.pick_device(args)
    source = None
    if args.source or "source" in saved:
        source = sources.find(args.source or saved["source_file"], args, device)
        sets = sources.load(args, batch_size, source)
    else:
        sets = load_retrieval(
            args, batch_size, centred=saved.get("settings", {}).get("centred", True)
        )
    if args.checkpoint:
        model, _ = load_model(args.checkpoint, sets.joints, sets.length, device, source, saved)
        return saved["method"], {
            **score_encoder(model, sets, args.protocol),
            "epoch": saved["epoch"],
        }
    if args.features == "untrained":
        return "untrained", score_untrained(sets, args, device)
    return args.features, protocol.score_descriptor(sets, args.features, args.protocol)


def score_untrained(
    sets: Retrieval, args: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """SimMC's encoder with its initial weights of --seed."""
    generator = torch.Generator().manual_seed(args.seed)
    model = SimMC(sets.joints * 3, SIMMC_DEFAULT["H"], SIMMC_DEFAULT["D"], generator).to(device)
    return score_encoder(model, sets, args.protocol)


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """What was evaluated, for the JSON file; None where nothing tells, as the data set of feature
    files.
    """
    names = ("dataset", "probe", "length", "protocol", "seed")
    found = {name: getattr(args, name) for name in names} | {"epoch": None}
    found |= {} if args.view is None else {"view": args.view}
    return found | ({} if args.gallery else {"data": data_of(args)})


def where(args: argparse.Namespace) -> str:
    """The data set, for the printed table; figures from simulated data say so."""
    return "" if args.gallery else args.dataset + " simulated" * data_of(args)["simulated"]


def data_of(args: argparse.Namespace) -> dict[str, Any]:
    """Where the data of the evaluation come from."""
    return provenance.describe(args.dataset, args.length, args.data, args.view)


def parse_arguments() -> argparse.Namespace:
    parser = command_line.script_parser(__doc__)
    what = parser.add_argument_group("what to evaluate (one of the four)")
    what.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="a checkpoint that a training script wrote, or a published one (TensorFlow's .index and .data files)",
    )
    what.add_argument("--features", choices=(*DESCRIPTORS, "untrained"), help="a baseline")
    what.add_argument(
        "--recognise",
        choices=classifiers.NAMES,
        help="a baseline of recognition, trained on the labels",
    )
    what.add_argument(
        "--gallery", metavar="FILE", help="gallery feature file (.npz), with --probe FILE"
    )
    what.add_argument(
        "--exclude_self",
        action="store_true",
        help="the two feature files are one set: no self matches",
    )
    options.add_data_arguments(parser, dataset_required=False)
    parser.add_argument(
        "--view",
        type=int,
        metavar="V",
        help="cross-view test set (CASIA_B), with --recognise or TensorFlow",
    )
    parser.add_argument(
        "--batch_size", type=command_line.positive_int, help="only --protocol released needs it"
    )
    sources.add_argument(
        parser, "frame features that a checkpoint was trained on (default: those that it names)"
    )
    parser.add_argument(
        "--out",
        default="ReID_Models",
        metavar="DIR",
        help="where --source AGE or SM-SGE is (%(default)s)",
    )
    convert.add_arguments(parser)
    run = parser.add_argument_group("run")
    options.add_machine_arguments(run)
    run.add_argument(
        "--epochs",
        type=command_line.positive_int,
        help="--recognise: at most so many, for the LSTMs",
    )
    args = parser.parse_args()
    check(args)
    return args


def check(args: argparse.Namespace) -> None:
    """Raises InputError for options that do not go together, and where one is missing."""
    given = [
        name for name in ("checkpoint", "features", "recognise", "gallery") if getattr(args, name)
    ]
    if len(given) != 1:
        found = " and ".join(f"--{name}" for name in given) or "none"
        raise InputError(
            f"expected one of --checkpoint, --features, --recognise, --gallery, found {found}"
        )
    if not args.checkpoint:
        published = PublishedOptions.of(args)
        convert.refuse_options(published, view_allowed=args.recognise is not None)
    if args.gallery and not args.probe:
        raise InputError("--gallery FILE needs --probe FILE")
    if not args.gallery and args.dataset is None:
        raise InputError(
            "expected --dataset with --checkpoint, --features or --recognise, found none "
            "(see evaluate.py --help)"
        )
    if args.epochs and not args.recognise:
        raise InputError("--epochs go with --recognise")
    if args.recognise and args.protocol == "released":
        raise InputError(
            "--protocol released: no code was released for the baselines of --recognise"
        )
    if args.source and not args.checkpoint:
        raise InputError(
            "--source goes with --checkpoint: it is what the checkpoint's model is given"
        )
    if args.exclude_self and not args.gallery:
        raise InputError(
            "--exclude_self goes with feature files; data sets know where probe and gallery are one set"
        )


if __name__ == "__main__":
    run_command(main, go_on="run again")
