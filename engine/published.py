"""A published checkpoint as content of this project's own (engine/checkpoint.py).

Its variables tell what it is and its sizes; the command line and the published settings the rest.
AGE is in several files: encoders of the axes, a recogniser and its test rows (docs/06-formats.md).
"""

import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.log import log
from skeleton_reid.data import datasets
from skeleton_reid.engine import checkpoint
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.methods.sgela import PLUS
from skeleton_reid.engine.options import PublishedOptions, refuse_options
from skeleton_reid.models.age import AXES
from skeleton_reid.models.graph_transformer import PrototypeEncoder
from skeleton_reid.models.recognition import Recogniser, RecognitionNetwork
from skeleton_reid.reid.recognition import evaluate
from skeleton_reid.tensorflow_v1 import bundle

# Variables that each kind has, as regular expressions; the first kind with all of its own is taken.
# A pre-trained SM-SGE holds an untrained recogniser (Variable to _3), a finished one another.
# fmt: off
KINDS = {
    "SM-SGE recogniser": ("Multi_Scale/.*", "MSR/.*", "Recognition/.*/Variable_4"),
    "SM-SGE": ("Multi_Scale/.*", "MSR/.*"),
    "Hi-MPC": ("W_1_P", "Hi_MPC/Hi_MPC/Variable"),
    "SPC-MGR": ("MG/MG/Variable", "MG/conv1d/.*"),
    "TranSG": ("TranSG/TranSG/Variable", "TranSG/dense_2/kernel"),
    "MoCos": ("MoCos/MoCos/Variable", "MoCos/dense_2/kernel"),
    "MG-SCR recogniser": ("Multi_Level/.*", "Recognition/.*"),
    "SGELA": ("memory_layer/kernel", "rnn/multi_rnn_cell/.*", "decode/.*", "W1"),
    "AGE": ("memory_layer/kernel", "rnn/multi_rnn_cell/.*", "decode/.*"),
    "AGE recogniser": ("W1", "b1", "W", "Variable|b"),
    "SimMC": ("(.*/)?dense/kernel", "(.*/)?dense_1/kernel", "(.*/)?Variable", "(.*/)?Variable_1")
}
# fmt: on
WEIGHTS = Path(__file__).parents[1] / "weights"  # what `make weights` writes
OPTIMISER = re.compile(r"(.*/)?(Adam\d*(_\d+)?|beta[12]_power(_\d+)?|learning_rate|global_step)")

# What --set can give, by method: settings that no variable tells, with the texts of their values.
SWITCH, NUMBER, COUNT = {"0": False, "1": True}, {"NUMBER": float}, {"NUMBER": int}
SETTABLE = {
    "SimMC": {}, "TranSG": {}, "MoCos": {}, "Hi-MPC": {},
    "SPC-MGR": {"fusion_lambda": NUMBER, "struct_only": SWITCH},
    "SM-SGE": {"prefixes": {"f": "f", "f+1": "f+1"}, "fusion_lambda": NUMBER, "n_hood": COUNT}
    | dict.fromkeys(("last_pre", "struct_only", "global_att", "reverse"), SWITCH),
    "MG-SCR": {"c_lambda": NUMBER, "frames": {"subset": "subset",
                                              "tiled": "tiled"}}, "SGELA": {"centred": SWITCH},
    "AGE": {"centred": SWITCH, "decoder_input": {"zeros": "zeros", "previous": "previous"}}
}
OF_EVALUATION = ("prefixes", "last_pre", "centred")  # the others are options of the models


def open_checkpoint(path: Path, options: PublishedOptions) -> tuple[Path, dict[str, Any]]:
    """The path and content of a checkpoint, ours (also by the run's folder) or published. Of a
    published one `path` is the prefix, such as best.ckpt, a file, its folder, or AGE's encoders
    without _x, _y, _z; of one of weights/ its name, such as kgbd-statistics.
    """
    if re.fullmatch("kgbd-[a-z]+", str(path)):
        path = WEIGHTS / f"{path}.pt"
        if not path.is_file():
            raise InputError(f"no weights at {path}: make weights RAW=DIR trains them from KGBD, "
                             "which is free to download (docs/01-data.md)")
    if (path / "best.pt").is_file():
        path /= "best.pt"
    prefix = bundle.find(path) or bundle.find(path.parent / f"{path.name}_x")
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

    Its epoch, and the "persons" of a recogniser (name_persons), are None. An AGE recogniser without
    encoders has no "model". Raises InputError for damaged and other files.
    """
    kind, variables = read_variables(prefix)
    method, row = kind.removesuffix(" recogniser"), options.dataset
    if re.search("_RN_(ap|sc)_", prefix.parent.name):  # the variables are those of AGE's
        method = "SGELA"
    probe, length = options.probe or next(iter(row.gallery_of)), row.default_length
    if options.view is not None:
        probe, length = "test", row.view_length
    values = settings_of(method, probe, options)
    content = {"method": method, "dataset": row.name, "length": options.length or length}
    content |= {"protocol": options.protocol, "seed": options.seed, "settings": values}
    content |= {"epoch": None, "metrics": {"epoch": None, "step": None}}
    if kind == method:
        return content | {"probe": probe} | encoder_part(method, prefix, variables, values, options)
    part = recogniser_part(method, variables, values)
    content |= {"task": "recognition", "view": options.view, "recogniser": part}
    if method in ("SM-SGE", "MG-SCR"):
        return content | encoder_part(method, prefix, variables, values, options)
    hidden, tasks = part["arguments"]["hidden"], 1
    if prefix.parent.name.endswith("pre_rev_rec_plus"):
        values["model"], tasks = "rev_rec_plus", len(PLUS)
    frames = part["arguments"]["inputs"] // (3 * hidden * tasks)  # in a row
    values["manner"] = "ap" if frames == 1 else "sc"
    content["length"] = frames if frames > 1 else content["length"]
    folder, name = prefix.parent.parent, re.sub("_RN_(ap|sc)", "_x", prefix.parent.name)
    beside = [place / name for place in (folder.parent / "Gait_Encoding_models", folder)]
    path = options.encoder or next(filter(Path.is_dir, beside), None)
    if path is None:
        return content
    encoder = encoder_part(method, path, variables, values, options)
    if (units := values["hidden"]) != hidden:
        raise InputError(f"{prefix} needs an --encoder of {hidden} units, found {units}")
    return content | encoder


def read_variables(prefix: Path) -> tuple[str, dict[str, np.ndarray]]:
    """The kind of a checkpoint and its variables but for the optimiser's, or InputError."""
    entries = bundle.load(prefix)
    entries = {n: e for n, e in entries.items() if e.dtype and not OPTIMISER.fullmatch(n)}
    kind = detect(entries)
    if kind is None:
        names = ", ".join(f"{name} {list(entry.shape)}" for name, entry in entries.items())
        found = f"found {len(entries)} variables: {names:.300}"
        raise InputError(f"{prefix} is no checkpoint of {', '.join(SETTABLE)}: {found}")
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
            kind = SETTABLE[method][name]
            values[name] = kind["NUMBER"](value) if "NUMBER" in kind else kind[value]
        except (KeyError, ValueError) as error:
            known = ", ".join(f"{n}={'|'.join(kind)}" for n, kind in SETTABLE[method].items())
            known = known or "nothing, its variables tell all"
            raise InputError(f"--set {text}: expected for {method} {known}") from error
    return asdict(METHODS[method].choose(options.protocol, options.dataset.name, probe, values))


def encoder_part(method: str, path: Path, variables: Mapping[str, np.ndarray],
                 values: dict[str, Any], options: PublishedOptions) -> dict[str, Any]:
    """The encoder in a checkpoint's content; sizes go into `values`. path: as open_checkpoint's."""
    if method in ("AGE", "SGELA"):
        prefix = bundle.find(path)
        path, variables = prefix.parent if prefix else path.with_name(f"{path.name}_x"), {}
        for axis in AXES:
            place = path.with_name(re.sub("_[xyz](?=_|$)", f"_{axis}", path.name))
            if (prefix := bundle.find(place)) is None:
                raise InputError(f"{method} has encoders of x, y and z, found none in {place}")
            own = read_variables(prefix)[1]
            variables |= {f"{axis}/{name}": array for name, array in own.items()}
    given = {name: values[name] for name in SETTABLE[method] if name not in OF_EVALUATION}
    if values.get("model") == "rev_rec_plus":  # docs/05-fidelity.md, plus-restores-rev-rec
        given["repeat"] = len(PLUS)
    model = METHODS[method].model_class.from_published(variables, **given)
    if isinstance(model, PrototypeEncoder):
        take_positions(model, path, options)
    elif options.positions:
        raise InputError(f"--positions goes with TranSG and MoCos, {path} is of {method}")
    sizes = {**model.arguments.get("encoders", {}).get("rev_rec", {}), **model.arguments}
    sizes |= {"P": model.arguments.get("heads")}
    sizes |= {"L_transformer": sizes.get("layers"), "enc_k": sizes.get("k")}
    values.update({name: sizes[name] for name in values if name in sizes})
    return {"model": model.state_dict(), "arguments": model.arguments}


def take_positions(model: PrototypeEncoder, path: Path, options: PublishedOptions) -> None:
    """Give a model the positions of --positions FILE (.npy, or .npz with `positions`), (J, k), as
    no published checkpoint holds them; without, warn (docs/05-fidelity.md, positions-from-lapack).
    """
    model.take(options.dataset.skeleton)
    wanted, file = tuple(model.positions.shape), options.positions
    if file is None:
        warnings.warn(
            f"{path} lacks the positions it was trained with, those of another machine: "
            "canonical ones take their place and metrics differ; or use --positions", stacklevel=2)
        return
    try:
        found = np.load(file, allow_pickle=False)
        found = found if isinstance(found, np.ndarray) else found["positions"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(f"{file}: expected positions {wanted} as .npy or .npz: {error}") from error
    real = found.dtype.kind in "fiu" and np.isfinite(found).all() and found.any()
    if found.shape != wanted or not real:
        raise InputError(f"{file}: expected positions of shape {wanted}, finite real numbers, not "
                         f"all 0, found {found.dtype} of shape {found.shape}")
    model.positions.copy_(torch.from_numpy(found))


def recogniser_part(method: str, variables: Mapping[str, np.ndarray],
                    values: Mapping[str, Any]) -> dict[str, Any]:
    """The recogniser in the content of a checkpoint. values: the settings."""
    if method == "SM-SGE" and values["prefixes"] == "f":
        log.info("published SM-SGE recognisers know f+1 prefixes, not f: --set prefixes=f+1")
    if method == "MG-SCR" and values["frames"] == "subset":
        log.info("published MG-SCR were trained on tiled frames: --set frames=tiled")
    network = RecognitionNetwork.from_published(variables)
    combine = "mean" if method in ("AGE", "SGELA") else "sum"
    combine = "last" if values.get("last_pre") else combine
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    arguments = {**network.arguments, "combine": combine}
    return {"model": weights, "arguments": arguments, "test": None, "persons": None}


def name_persons(content: dict[str, Any], path: Path, persons: np.ndarray) -> None:
    """Say which person each class of the recogniser is: the data's labels, from the lowest."""
    part = content["recogniser"]
    if (known := part["arguments"]["persons"]) != len(persons):
        raise InputError(f"{path} recognises {known} persons, these data have {len(persons)}")
    part["persons"] = [int(person) for person in persons]


def score_rows(content: Mapping[str, Any], prefix: Path, protocol: str,
               device: torch.device) -> dict[str, dict[str, Any]]:
    """Metrics of AGE's recogniser by test split, on the feature rows that are kept beside it.

    Full: every sequence. Released: those in whole batches. InputError for no rows or others.
    """
    arguments, settings = content["recogniser"]["arguments"], content["settings"]
    recogniser = Recogniser(**arguments).to(device)
    recogniser.load_state_dict(content["recogniser"]["model"])
    f = content["length"] if settings["manner"] == "ap" else 1  # rows of a sequence
    size = settings["batch_size"] if protocol == "released" else 1
    d, persons = arguments["inputs"], arguments["persons"]
    tests, metrics = datasets.get(content["dataset"]).recognition, {}
    for test, name in zip(tests, ("val", "val_2"), strict=False):
        files = [prefix.with_name(f"{name}_{part}.npy") for part in "Xy"]
        if not all(file.is_file() for file in files):
            continue
        try:
            rows, labels = (np.load(file, allow_pickle=False) for file in files)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{files[0]} is no array (a Git LFS pointer?): {error}") from error
        M = len(rows)
        fits = rows.shape == (M, d) and labels.shape[:-1] == (M,) and f <= M
        if not fits or labels.shape[-1] > persons:
            wanted = f"at least {f} rows of {d} numbers with labels of {persons} persons"
            raise InputError(f"{files[0]}: expected {wanted}, found {rows.shape}, {labels.shape}")
        used = (M // size * size or M) // f * f
        rows = rows[:used].reshape(-1, f, d).astype(np.float32)
        labels = labels.argmax(axis=1)[:used].reshape(-1, f)
        one = (labels == labels[:, :1]).all(axis=1)  # as released, should a sequence be cut
        scores = recogniser.scores(torch.from_numpy(rows[one]).to(device))
        metrics[test] = {**evaluate(scores, labels[one, 0]), "epoch": None, "step": None}
    if not metrics:
        need = "name its encoders with --encoder FOLDER, or put its val_X.npy and val_y.npy beside"
        raise InputError(f"{prefix} is AGE's recogniser alone: {need} it")
    return metrics
