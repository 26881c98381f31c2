"""A published checkpoint as content of this project's own (engine/checkpoint.py).

Its variables tell what it is and its sizes; the command line and the published settings the rest.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from common.command_line import option, output_file, positive_int
from common.errors import InputError
from common.log import log
from data import datasets
from engine import checkpoint, settings
from engine.options import DataOptions, MachineOptions
from models.age import AGE
from models.recognition import RecognitionNetwork
from models.simmc import SimMC
from models.smsge import SMSGE
from tensorflow_v1 import age, bundle

# Variables that each kind has, as regular expressions; the first kind that has all of its own is
# taken. A pre-trained SM-SGE holds a recogniser that was never trained (Variable to _3); a finished
# one uses another, Variable_4 to _7.
KINDS = {
    "SM-SGE recogniser": ("Multi_Scale/.*", "MSR/.*", "Recognition/.*/Variable_4"),
    "SM-SGE": ("Multi_Scale/.*", "MSR/.*"),
    "AGE": ("memory_layer/kernel", "rnn/multi_rnn_cell/.*", "decode/.*"),
    "AGE recogniser": ("W1", "b1", "W", "Variable|b"),
    "SimMC": ("(.*/)?dense/kernel", "(.*/)?dense_1/kernel", "(.*/)?Variable", "(.*/)?Variable_1"),
}
OPTIMISER = re.compile(r"(.*/)?(Adam\d*(_\d+)?|beta[12]_power(_\d+)?|learning_rate|global_step)")

# What --set can give, by method: settings that change the figures and that no variable tells, with
# the texts that stand for their values, or a type.
SWITCH = {"0": False, "1": True}
UNTOLD = {
    "SimMC": {},
    "SM-SGE": {"prefixes": {"f": "f", "f+1": "f+1"}, "fusion_lambda": float, "n_hood": int}
    | dict.fromkeys(("last_pre", "struct_only", "global_att", "reverse"), SWITCH),
    "AGE": {"centred": SWITCH, "decoder_input": {"zeros": "zeros", "previous": "previous"}},
}


@dataclass(frozen=True)
class PublishedOptions(MachineOptions, DataOptions):
    """Published TensorFlow checkpoints (docs/6-formats.md)."""

    view: int | None = option(
        None, "cross-view test set (CASIA_B), also with --recognise", type=int, metavar="V"
    )
    batch_size: int | None = option(
        None, "only --protocol released needs it", type=positive_int, metavar="N"
    )
    encoder: Path | None = option(
        None,
        "encoders of AGE's recogniser, without _x, _y, _z (default: those beside it)",
        type=Path,
        metavar="FOLDER",
    )
    set: list[str] | None = option(
        None,
        "settings that variables do not tell: prefixes=f fusion_lambda=0.5 centred=1 ...",
        nargs="+",
        metavar="NAME=VALUE",
    )
    export: Path | None = option(
        None, "write it as a checkpoint of this project", type=output_file, metavar="FILE"
    )


def refuse_options(
    options: PublishedOptions, path: Path | None = None, view_allowed: bool = False
) -> None:
    """InputError for an option that only a published checkpoint takes. path: what is no such."""
    for name in ("encoder", "set", "export", *(() if view_allowed else ("view",))):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} goes with a TensorFlow checkpoint, found {path or 'none'}")


def open_checkpoint(path: Path, options: PublishedOptions) -> tuple[Path, dict[str, Any]]:
    """The path and content of a checkpoint, of this project or published.

    path: of a published one its prefix, such as best.ckpt, one of its files, its folder, or AGE's
    encoders without _x, _y, _z. The path returned is then the prefix.
    """
    prefix = bundle.find(path) or bundle.find(path.with_name(f"{path.name}_x"))
    if prefix is None:
        refuse_options(options, path)
        return path, checkpoint.load(path)
    if options.dataset is None:
        raise InputError(f"expected --dataset with the published checkpoint {path}, found none")
    content = convert(prefix, options)
    if options.export and "model" not in content:
        raise InputError(f"--export needs the encoders of {prefix}: name them with --encoder")
    return prefix, content


def convert(prefix: Path, options: PublishedOptions) -> dict[str, Any]:
    """The content of a published checkpoint as engine.checkpoint.load would give it.

    Nothing tells its epoch, which is None; so are the "persons" of a recogniser until
    `name_persons`. Without the encoders of an AGE recogniser there is no "model". Raises InputError
    for damaged files and other models.
    """
    kind, variables = read_variables(prefix)
    method, row = kind.removesuffix(" recogniser"), datasets.get(options.dataset)
    probe, length = options.probe or next(iter(row.gallery_of)), row.default_length
    if options.view is not None:
        probe, length = "test", row.view_length
    values = settings_of(method, probe, options)
    content = {
        "method": method,
        "dataset": options.dataset,
        "length": options.length or length,
        "protocol": options.protocol,
        "seed": options.seed,
        "settings": values,
        "epoch": None,
        "figures": {"epoch": None, "step": None},
    }
    if kind == method:
        content["probe"] = probe
    else:
        part = recogniser_part(method, variables, values)
        content |= {"task": "recognition", "view": options.view, "recogniser": part}
    encoders = prefix
    if kind == "AGE recogniser":
        frames = part["arguments"]["inputs"] // (3 * part["arguments"]["hidden"])  # in a row
        values["manner"] = "ap" if frames == 1 else "sc"
        content["length"] = frames if frames > 1 else content["length"]
        encoders = options.encoder or age.encoders_beside(prefix)
        if encoders is None:
            return content
    model = build(method, encoders, variables, values)
    if kind == "AGE recogniser" and model.arguments["hidden"] != part["arguments"]["hidden"]:
        raise InputError(
            f"{prefix} needs encoders of {part['arguments']['hidden']} units, {encoders} have "
            f"{model.arguments['hidden']}: name others with --encoder"
        )
    sizes = {**model.arguments, "P": model.arguments.get("heads")}
    values.update({name: sizes[name] for name in values if name in sizes})
    return content | {"model": model.state_dict(), "arguments": model.arguments}


def read_variables(prefix: Path) -> tuple[str, dict[str, np.ndarray]]:
    """The kind of a checkpoint and its variables, without the optimiser's and those not of numbers.

    Raises InputError for a damaged checkpoint, and for one of another model.
    """
    entries = {
        name: entry
        for name, entry in bundle.load(prefix).items()
        if entry.dtype is not None and not OPTIMISER.fullmatch(name)
    }
    kind = detect(entries)
    if kind is None:
        names = [f"{name} {list(entry.shape)}" for name, entry in entries.items()]
        raise InputError(
            f"{prefix} is no checkpoint of SimMC, SM-SGE or AGE: found {len(names)} variables: "
            f"{', '.join(names[:8])}"
        )
    return kind, bundle.read(entries)


def detect(names: Collection[str]) -> str | None:
    """The kind of a checkpoint with variables of these names; None if it is none of KINDS."""
    for kind, patterns in KINDS.items():
        if all(any(re.fullmatch(pattern, name) for name in names) for pattern in patterns):
            return kind
    return None


def settings_of(method: str, probe: str, options: PublishedOptions) -> dict[str, Any]:
    """The published settings of a method, and over them --batch_size and --set."""
    values = {"batch_size": options.batch_size}
    for text in options.set or ():
        name, _, value = text.partition("=")
        try:
            kind = UNTOLD[method][name]
            values[name] = kind[value] if isinstance(kind, dict) else kind(value)
        except (KeyError, ValueError) as error:
            untold = UNTOLD[method].items()
            known = (f"{n}={'|'.join(k) if isinstance(k, dict) else 'NUMBER'}" for n, k in untold)
            known = ", ".join(known) or "nothing, its variables tell all"
            raise InputError(f"--set {text}: expected for {method} {known}") from error
    return asdict(settings.choose(method, options.protocol, options.dataset, probe, values))


def recogniser_part(
    method: str, variables: Mapping[str, np.ndarray], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The recogniser in the content of a checkpoint. values: the settings."""
    if method == "SM-SGE" and values["prefixes"] == "f":
        log.info(
            "published recognisers of SM-SGE were trained with f+1 prefixes and lose points with "
            "f: --protocol released, or --set prefixes=f+1"
        )
    network = RecognitionNetwork.from_published(variables)
    combine = "mean" if method == "AGE" else "last" if values["last_pre"] else "sum"
    return {
        "model": {f"network.{name}": tensor for name, tensor in network.state_dict().items()},
        "arguments": {**network.arguments, "combine": combine},
        "test": None,
        "persons": None,
    }


def build(
    method: str, path: Path, variables: Mapping[str, np.ndarray], values: Mapping[str, Any]
) -> nn.Module:
    """The encoder of a checkpoint. path: of AGE's encoders. values: the settings."""
    if method == "SimMC":
        return SimMC.from_published(variables)
    if method == "SM-SGE":
        names = ("n_hood", "fusion_lambda", "loss", "pred_margin")
        switches = {name: bool(values[name]) for name in ("global_att", "struct_only", "reverse")}
        return SMSGE.from_published(variables, **{name: values[name] for name in names}, **switches)
    variables = {
        f"{axis}/{name}": array
        for axis, prefix in age.encoder_prefixes(path).items()
        for name, array in read_variables(prefix)[1].items()
    }
    return AGE.from_published(variables, decoder_input=values["decoder_input"])


def name_persons(content: dict[str, Any], path: Path, persons: np.ndarray) -> None:
    """Say which person each class of the recogniser is: the data's labels, from the lowest, as
    released. Raises InputError if the data have another number of persons.
    """
    part = content["recogniser"]
    if part["arguments"]["persons"] != len(persons):
        raise InputError(
            f"{path} recognises {part['arguments']['persons']} persons, these data have "
            f"{len(persons)}: use the data that belong to it"
        )
    part["persons"] = [int(person) for person in persons]
