"""The options of the scripts: which data, how to run, how to learn."""

import argparse

from common.command_line import output_file, positive, positive_int, script_parser, seed_number
from data.datasets import DATASETS
from engine.settings import PROTOCOLS


def training_parser(doc: str) -> argparse.ArgumentParser:
    """The parser of a training script, with the options that all of them have."""
    parser = script_parser(doc)
    add_data_arguments(parser)
    add_run_arguments(parser)
    return parser


def add_data_arguments(parser: argparse.ArgumentParser, dataset_required: bool = True) -> None:
    """Which data to use: shared by training and evaluation."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset", choices=DATASETS, required=dataset_required, help="name of the data set"
    )
    group.add_argument(
        "--probe",
        "--split",
        "--probe_type",
        help="test split whose sequences are looked for in the gallery: probe (KS20, KGBD; default), A or B (IAS), "
        "Walking or Still (BIWI), nm.nm, cl.cl, bg.bg, cl.nm or bg.nm (CASIA_B)",
    )
    group.add_argument(
        "--length", type=positive_int, help="frames f in a sequence (default: 6; CASIA_B 40)"
    )
    group.add_argument(
        "--data",
        default="Datasets",
        metavar="DIR",
        help="folder that preprocess.py wrote (%(default)s)",
    )
    group.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="full",
        help="full: every sequence counts (default); released: as in the published code (docs/FIDELITY.md)",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """How to run: shared by the training scripts."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--mode",
        choices=("Train", "Eval"),
        default="Train",
        help="Eval: score the saved best model",
    )
    group.add_argument(
        "--out", default="ReID_Models", metavar="DIR", help="folder of checkpoints (%(default)s)"
    )
    group.add_argument(
        "--epochs",
        type=positive_int,
        metavar="N",
        help="stop after N epochs (default: early stopping)",
    )
    group.add_argument(
        "--resume", action="store_true", help="continue from the last finished epoch"
    )
    group.add_argument(
        "--save_features",
        type=output_file,
        metavar="FILE.npz",
        help="write features of the best model: FILE.train.npz, FILE.probe.npz, FILE.gallery.npz, after recognition "
        "FILE.test.npz too; .npz may be left out",
    )
    group.add_argument(
        "--model_size", type=int, choices=(0, 1), default=0, help="1: print parameters and FLOPs"
    )
    add_machine_arguments(group)


def add_learning_arguments(group, phase: str, better: str, balance: str) -> None:
    """How a method learns: shared by the training scripts, in each one's own group.

    phase: what --lr is of, where not of all. better: what --patience waits for. balance: what the
    help adds to --balance.
    """
    group.add_argument("--lr", type=positive, help="learning rate" + phase)
    group.add_argument("--batch_size", type=positive_int, help="sequences in a batch")
    group.add_argument(
        "--patience",
        type=positive_int,
        help=f"epochs without a better {better} until training stops",
    )
    group.add_argument(
        "--balance",
        action=argparse.BooleanOptionalAction,
        help=f"resample training sequences to equal class shares, {balance}",
    )


def add_machine_arguments(group) -> None:
    """Seed, device and output: shared by all scripts that compute."""
    group.add_argument(
        "--seed",
        type=seed_number,
        default=0,
        help="the same seed on a CPU gives the same numbers (%(default)s)",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    group.add_argument("--gpu", metavar="N", help="short for --device cuda:N")
    group.add_argument("--json", type=output_file, metavar="FILE", help="write the results as JSON")
    group.add_argument("--quiet", action="store_true", help="print the results only")
