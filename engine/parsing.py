"""The command line of a training script: options, and the method's settings."""

import sys
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from skeleton_reid.common.command_line import add_options, script_parser
from skeleton_reid.common.errors import InputError, run_command
from skeleton_reid.data import datasets
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.methods.base import Method
from skeleton_reid.engine.options import DataOptions, PhaseOptions

# By what the command line asks for.
PACKAGES = {"tensorboard": "tensorboard", "faiss": "faiss-cpu (for a GPU faiss-gpu)"}
FILES = "Data come from preprocess.py. docs/02-training.md says where a run's files lie."


def run_training(name: str, doc: str) -> None:
    """Run the script of a method, or a changed copy of it, whose docstring is `doc`: parse the
    command line, then import that script and with it PyTorch, and run its function `train`.
    """
    def main() -> None:
        options = parse_training(doc, name)
        train = import_module(Path(sys.argv[0]).stem).train
        from skeleton_reid.engine import runs

        runs.run_script(name, options, train)

    run_command(main)


def parse_training(doc: str, name: str) -> Any:
    """The options of the script of a method, among them `settings`. --help shows the settings that
    are published for the --dataset.
    """
    method = METHODS[name]
    early = script_parser("", add_help=False, allow_abbrev=False)  # decides what is published
    add_options(early, DataOptions)
    named = DataOptions(**vars(early.parse_known_args()[0]))
    dataset = named.dataset and named.dataset.name
    published = method.choose(named.protocol, dataset, named.probe,
                              of_data(named.dataset, named.protocol))
    of = f" of {dataset}" if dataset else "; --dataset NAME shows its own"
    parser = script_parser(f"{doc}\n\n{FILES}")
    first = ("dataset", "probe", "seed", "epochs", "resume", "mode")
    add_options(parser, method.options, first=first)
    add_options(parser, method.settings, f"{name} (published settings{of})", published)
    return resolve(method, vars(parser.parse_args()))


def of_data(dataset: datasets.Dataset | None, protocol: str) -> dict[str, bool]:
    """Settings that depend on the data set, whatever the method."""
    unbalanced = protocol == "full" and dataset is not None and not dataset.balanced
    return {"balance": False} if unbalanced else {}


def resolve(method: Method, words: Mapping[str, Any]) -> Any:
    """Options from the values of the command line, by name, with what follows from the data set.
    InputError for options that do not go together, or not with the data set.
    """
    if "dataset" not in words:
        raise InputError(f"expected --dataset with one of {', '.join(datasets.DATASETS)}")
    if "seed" in words and "seeds" in words:
        raise InputError("expected --seed or --seeds, found both")
    row, view = words["dataset"], words.get("view")
    has_phases = issubclass(method.options, PhaseOptions) and (view is not None or row.recognition)
    usual = method.options.__dataclass_fields__["task"].default or "recognition"
    task = words.get("task", usual if has_phases else "retrieval")
    if view is not None and ("probe" in words or task == "retrieval"):
        raise InputError("--view is recognition with one test set: leave out --probe and --task")
    if view is None and not row.recognition and task != "retrieval":
        raise InputError(
            f"recognition on {row.name} needs --view 0 to {row.views - 1}; or --task retrieval")
    probe = "test" if view is not None else words.get("probe") or next(iter(row.gallery_of))
    if view is None:
        row.pair(probe)
    length = words.get("length", row.default_length if view is None else row.view_length)
    for package in PACKAGES.keys() & {*words, words.get("search")}:
        if find_spec(package) is None:
            name = PACKAGES[package]
            raise InputError(f"expected a package more, found none: pip install {name}")
    epochs = dict.fromkeys(("pre_epochs", "recognition_epochs"), words.get("epochs"))
    protocol = words.get("protocol", "full")
    settings = method.choose(protocol, row.name, probe,
                             of_data(row, protocol) | epochs | dict(words))
    if "search_eps" in words and settings.supervision != "none":
        raise InputError("--search_eps looks for clusters: leave out --tracklets and --labels")
    resolved = {**words, "probe": probe, "length": length, "task": task, "settings": settings}
    known = {each.name for each in fields(method.options)}
    options = method.options(**{n: x for n, x in resolved.items() if n in known}, overrides=words)
    settings.check(options)
    return options
