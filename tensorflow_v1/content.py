"""A published checkpoint as content of this project's own (reid/checkpoint.py), for evaluation and
export.

Sizes come from the arrays. What no array tells comes from the command line and the table of
settings.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from common import command_line
from common.command_line import log
from common.errors import InputError
from data import datasets
from engine import checkpoint, settings
from engine.recognisers import Recogniser
from models.recognition import RecognitionNetwork
from models.simmc import SimMC
from models.smsge import SMSGE
from tensorflow_v1 import age, kinds, tf_checkpoint


def one_of(*names: str) -> Callable[[str], str]:
    """A converter that admits these texts only."""

    def convert(text: str) -> str:
        if text not in names:
            raise ValueError(f"expected one of {', '.join(names)}")
        return text

    return convert


def switch(text: str) -> bool:
    """A converter of 0 and 1."""
    return one_of("0", "1")(text) == "1"


# Settings that change the figures and that no variable tells: what --set can give, by method.
UNTOLD: dict[str, dict[str, Callable[[str], Any]]] = {
    "SimMC": {},
    "SM-SGE": {
        "prefixes": one_of("f", "f+1"),
        "last_pre": switch,
        "fusion_lambda": float,
        "struct_only": switch,
        "n_hood": int,
        "global_att": switch,
        "reverse": switch,
    },
    "AGE": {"centred": switch, "decoder_input": one_of("zeros", "previous")},
}

OPTIONS = ("encoder", "set", "export")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that go with published checkpoints: what their variables do not tell, and
    --export.
    """
    group = parser.add_argument_group("published TensorFlow checkpoints (docs/FORMATS.md)")
    group.add_argument(
        "--encoder",
        type=Path,
        metavar="FOLDER",
        help="encoders of AGE's recogniser: the folders of the axes without _x, _y, _z (default: "
        "Gait_Encoding_models/... beside the recogniser's, or feature rows val_X.npy beside it)",
    )
    group.add_argument(
        "--set",
        nargs="+",
        metavar="NAME=VALUE",
        help="settings that differ from the table's, such as prefixes=f fusion_lambda=0.5 centred=1",
    )
    group.add_argument(
        "--export",
        type=command_line.output_file,
        metavar="FILE",
        help="write it as a checkpoint of this project",
    )


def open_checkpoint(args: argparse.Namespace) -> dict[str, Any]:
    """The content of args.checkpoint, of this project or published; a published one's path becomes
    its prefix.
    """
    prefix = find(args.checkpoint)
    if prefix is None:
        refuse_options(args)
        return checkpoint.load(args.checkpoint)
    args.checkpoint = prefix
    found = read(prefix, args)
    if args.export and "model" not in found:
        raise InputError(
            f"--export needs the encoders of {prefix}: name them with --encoder FOLDER"
        )
    return found


def export(path: Path, content: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Write content that was read here, with its figures, as a checkpoint of this project."""
    checkpoint.save(path, {**content, "figures": figures})


def refuse_options(args: argparse.Namespace) -> None:
    """InputError if an option is given that only a published checkpoint takes."""
    options = OPTIONS if args.recognise else (*OPTIONS, "view")
    given = [name for name in options if getattr(args, name) is not None]
    if given:
        raise InputError(
            f"--{given[0]} goes with a TensorFlow checkpoint, found {args.checkpoint or 'none'}"
        )


def find(path: Path) -> Path | None:
    """The prefix of the TensorFlow checkpoint that a path names, None if it names none.

    path: a prefix such as best.ckpt, one of its files, its folder, or AGE's encoders without _x,
    _y, _z.
    """
    return tf_checkpoint.find(path) or tf_checkpoint.find(path.with_name(f"{path.name}_x"))


def read(prefix: Path, args: argparse.Namespace) -> dict[str, Any]:
    """The content of a checkpoint as reid.checkpoint.load would give it; epoch None, since nothing
    tells it.

    args: dataset, probe, view, length, protocol, seed, batch_size, encoder (of an AGE recogniser),
    and set (settings as NAME=VALUE). The "persons" of a recogniser are None until `name_persons`;
    without the encoders of an AGE recogniser there is no "model". Raises InputError for damaged
    files and other models.
    """
    kind, variables = kinds.read(prefix)
    method, row = kind.removesuffix(" recogniser"), datasets.get(args.dataset)
    network = RecognitionNetwork.from_published(variables) if kind != method else None
    chosen = settings_of(method, args)
    content = {
        "method": method,
        "dataset": args.dataset,
        "length": args.length or (row.default_length if args.view is None else row.view_length),
        "protocol": args.protocol,
        "seed": args.seed,
        "settings": chosen,
        "epoch": None,
        "figures": {"epoch": None, "step": None},
    }
    if method == "AGE" and network is not None:
        chosen["manner"], frames = age.manner(network, prefix)
        content["length"] = frames or content["length"]
    model = build(method, prefix, variables, network, chosen, args)
    if model is not None:
        content |= {"model": model.state_dict(), "arguments": model.arguments}
        chosen |= {key: model.arguments[name] for key, name in SIZES[method].items()}
    if network is None:
        return content | {"probe": probe(args)}
    if method == "SM-SGE" and chosen["prefixes"] == "f":
        log.info(
            "published recognisers of SM-SGE were trained with f+1 prefixes and lose points with f: "
            "--protocol released, or --set prefixes=f+1"
        )
    combine = "mean" if method == "AGE" else "last" if chosen["last_pre"] else "sum"
    recogniser = Recogniser(**network.arguments, combine=combine)
    recogniser.network = network
    part = {
        "model": recogniser.state_dict(),
        "arguments": recogniser.arguments,
        "test": None,
        "persons": None,
    }
    return content | {"task": "recognition", "view": args.view, "recogniser": part}


# Settings that the arrays tell, and the arguments of the models that hold them.
SIZES = {
    "SimMC": {"H": "H", "D": "D"},
    "SM-SGE": {"D_h": "D_h", "P": "heads"},
    "AGE": {"hidden": "hidden"},
}


def build(
    method: str,
    prefix: Path,
    variables: Mapping[str, np.ndarray],
    network: RecognitionNetwork | None,
    chosen: Mapping[str, Any],
    args: argparse.Namespace,
) -> nn.Module | None:
    """The encoder of a checkpoint; None for a recogniser of AGE whose encoders are not there."""
    if method == "SimMC":
        return SimMC.from_published(variables)
    if method == "SM-SGE":
        names = ("n_hood", "fusion_lambda", "loss", "pred_margin")
        switches = {name: bool(chosen[name]) for name in ("global_att", "struct_only", "reverse")}
        return SMSGE.from_published(variables, **{name: chosen[name] for name in names}, **switches)
    encoders = prefix if network is None else args.encoder or age.encoders_of(prefix)
    if encoders is None:
        return None
    model = age.read_encoders(encoders, chosen["decoder_input"])
    if network is not None and model.arguments["hidden"] != network.arguments["hidden"]:
        raise InputError(
            f"{prefix} recognises features of {network.arguments['hidden']} units an axis, the encoders "
            f"{encoders} have {model.arguments['hidden']}: name others with --encoder"
        )
    return model


def probe(args: argparse.Namespace) -> str:
    """The probe that the settings are those of."""
    return (
        "test"
        if args.view is not None
        else args.probe or next(iter(datasets.get(args.dataset).gallery_of))
    )


def settings_of(method: str, args: argparse.Namespace) -> dict[str, Any]:
    """The settings of a model: the table's, and over them --batch_size and --set."""
    given = {"batch_size": args.batch_size}
    for text in args.set or ():
        name, _, value = text.partition("=")
        if name not in UNTOLD[method]:
            known = ", ".join(UNTOLD[method]) or "nothing, its variables tell all"
            raise InputError(
                f"--set {text}: expected NAME=VALUE, for {method} with NAME one of {known}"
            )
        try:
            given[name] = UNTOLD[method][name](value)
        except ValueError as error:
            raise InputError(f"--set {text}: {error}") from error
    return settings.choose(method, args.protocol, args.dataset, probe(args), given)


def name_persons(content: dict[str, Any], path: Path, persons: np.ndarray) -> None:
    """Say which person each class of the recogniser is: the labels of the data, from the lowest, as
    released.

    Raises InputError if the data have another number of persons.
    """
    part = content["recogniser"]
    if part["arguments"]["persons"] != len(persons):
        raise InputError(
            f"{path} recognises {part['arguments']['persons']} persons, these data have {len(persons)}: "
            "use the data that belong to it"
        )
    part["persons"] = [int(person) for person in persons]
