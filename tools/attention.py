"""AGE's attention: how near to its target it is, its mean over a test set, and pictures of that.

    python -m tools.attention LA/encoder/best.pt BA/encoder/best.pt --dataset BIWI --out la_ba.png

draws trained models of AGE side by side, a row each, beside the locality mask: their alignment
averaged over a test set (--probe; by default the first) of the data set that they were trained on.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.command_line import add_options, option, output_file, pick_device, script_parser
from common.errors import InputError, run_command
from common.files import write_whole
from common.log import log, start_log
from data import datasets
from engine import checkpoint, pretraining, recogniser, results
from engine.encoding import load_model
from engine.options import DataOptions, MachineOptions
from engine.settings import settings_of
from models.age import AGE, locality_mask

BATCH = 512  # sequences; bounds memory


def near_target(alignment: Tensor, target: str) -> Tensor:
    """Share of the attention within one frame of the one rebuilt: (3, f, f) -> (3,)."""
    f = alignment.shape[2]
    rebuilt = locality_mask(f, target).argmax(dim=1)
    near = (torch.arange(f) - rebuilt[:, None]).abs() <= 1
    return (alignment * near.to(alignment)).sum(dim=2).mean(dim=1)


@torch.no_grad()
def mean_alignment(model: AGE, skeletons: np.ndarray | Tensor) -> Tensor:
    """Alignment of each axis averaged over skeletons (N, f, J, 3): (3, f, f)."""
    device = next(model.parameters()).device
    parts = torch.as_tensor(skeletons).split(BATCH)
    sums = [model.encode(part.to(device))["alignment"].sum(dim=1) for part in parts]
    return torch.stack(sums).sum(dim=0) / len(skeletons)


def draw(path: Path, models: Mapping[str, AGE], skeletons: np.ndarray,
         test: str) -> dict[str, dict[str, Any]]:
    """Draw the mean alignment of models by name over a test set beside the locality mask.

    Returns for each model the mean alignment and its share near the frames rebuilt, by axis.
    """
    means = {name: mean_alignment(model, skeletons).cpu() for name, model in models.items()}
    target = next(iter(models.values())).target
    mask = locality_mask(skeletons.shape[1], target).numpy()
    title = f"Attention of AGE on {test}, mean of {len(skeletons)} sequences"
    picture(path, {name: mean.numpy() for name, mean in means.items()}, mask, title)
    shares = {name: near_target(mean, target).tolist() for name, mean in means.items()}
    return {n: {"near_target": shares[n], "alignment": mean.tolist()} for n, mean in means.items()}


def picture(path: Path, matrices: Mapping[str, np.ndarray], mask: np.ndarray, title: str) -> None:
    """Draw matrices (3, f, f) by model, rows are decoder steps, beside the locality mask (f, f)."""
    from matplotlib.figure import Figure  # here, because it is slow to load

    figure = Figure(figsize=(13, 0.5 + 3.1 * len(matrices)), layout="constrained")
    figure.suptitle(title)
    # One colour scale for all models and axes, so that they compare; the mask is not normalised.
    top = max(matrix.max() for matrix in matrices.values())
    rows = figure.subplots(len(matrices), 4, squeeze=False)
    for places, (model, axes) in zip(rows, matrices.items(), strict=True):
        panels = {f"{model}, axis {a}": (m, top) for a, m in zip("xyz", axes, strict=True)}
        panels["locality mask"] = mask, 1
        for place, (name, (matrix, most)) in zip(places, panels.items(), strict=True):
            image = place.imshow(matrix, vmin=0, vmax=most)
            place.set(title=name, xlabel="frame", ylabel="decoder step")
            figure.colorbar(image, ax=place, fraction=0.046)
    write_whole(path, lambda file: figure.savefig(file, format=path.suffix[1:].lower(), dpi=110))


def picture_file(text: str) -> Path:
    """argparse type: a picture that can be written."""
    path = output_file(text)
    if path.suffix.lower() not in (".pdf", ".png", ".svg"):
        raise argparse.ArgumentTypeError(f"expected FILE.pdf, .png or .svg, found {text!r}")
    return path


@dataclass(frozen=True)
class Options(MachineOptions, DataOptions):
    """Picture."""

    out: Path = option(Path("alignment.png"), "the picture", type=picture_file, metavar="FILE")
    checkpoints: Sequence[Path] = ()
    task: str = "recognition"


def main() -> None:
    parser = script_parser(__doc__, "FILE [FILE ...] [options]", prog="python -m tools.attention")
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="FILE", help="models of AGE")
    add_options(parser, Options)
    options = Options(**vars(parser.parse_args()))
    start_log(options.quiet)
    headers = {path: checkpoint.load(path, "AGE") for path in options.checkpoints}
    first = next(iter(headers.values()))
    own = {name: getattr(options, name) or first[name] for name in ("dataset", "length")}
    if first["task"] == "retrieval":
        own["probe"] = options.probe or next(iter(datasets.get(own["dataset"]).gallery_of))
    options = replace(options, view=first["view"], task=first["task"], **own)
    device = pick_device(options.device)
    check(headers, options.dataset)
    sets = pretraining.load(options, settings_of(first))
    tests = pretraining.tests_of(options.probe, sets)
    name = recogniser.pick_test(options.probe, tests)
    models: dict[str, AGE] = {}
    for path, header in headers.items():
        model, _ = load_model(path, sets.joints, sets.length, device, content=header)
        number = f" ({len(models) + 1})" * (model.attention in models)
        models[f"{model.attention}{number}"] = model
    figures = draw(options.out, models, tests[name].skeletons, f"{options.dataset} {name}")
    print("share of the attention within one frame of the one that is rebuilt: x, y, z")
    for name, row in figures.items():
        print(f"{name:<6}  " + "  ".join(f"{share:.3f}" for share in row["near_target"]))
    log.info(f"wrote {options.out}")
    if options.json:
        content = {"kind": "attention", "dataset": options.dataset}
        results.write_json(options.json, content | {"models": figures})


def check(headers: Mapping[Path, Mapping[str, Any]], dataset: str) -> None:
    """Raises InputError unless the models are of the same test sequences and target."""
    first = next(iter(headers.values()))
    expected = {**first, **first["settings"], "dataset": dataset}
    for path, header in headers.items():
        values = {**header, **header["settings"]}
        for name in ("dataset", "length", "view", "task", "target", "centred"):
            if values[name] != expected[name]:
                found = f"expected {name} {expected[name]}, found {values[name]}"
                raise InputError(
                    f"{path}: {found}; only models of the same test and target compare")
        if values["attention"] == "none":
            raise InputError(f"{path}: expected a model with attention, found --attention none")


if __name__ == "__main__":
    run_command(main, go_on="run again")
