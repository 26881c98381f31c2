"""The table of sizes: parameters and operations of each method, beside the published figures.
Nothing is trained.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from engine.encoding import encode_set
from engine.model_size import count_operations, count_parameters
from engine.results import write_csv, write_json, write_text
from engine.settings import AGE_DEFAULT, DF_DEFAULT, SIMMC_DEFAULT, SMSGE_DEFAULT
from models.age import AGE
from models.df import DF
from models.recognition import RecognitionNetwork
from models.simmc import SimMC
from models.smsge import SMSGE
from reproduction.experiments import published

JOINTS, LENGTH, PERSONS = 20, 6, 11  # IAS


@dataclass(frozen=True)
class Size:
    """Parameters of the encoder and of the network on top, operations to encode one sequence, and
    as published.

    published: millions of parameters, and billions of operations of a whole training graph.
    """

    row: str
    encoder: int
    network: int
    operations: int
    published: list[float] | None


def measure() -> list[Size]:
    """The sizes at 20 joints, 6 frames and 11 persons (IAS), with the published settings."""
    width = 4 * SMSGE_DEFAULT["D_h"]
    smsge, age, simmc = (
        SMSGE(JOINTS),
        AGE(JOINTS),
        SimMC(3 * JOINTS, SIMMC_DEFAULT["H"], SIMMC_DEFAULT["D"]),
    )
    networks = {
        "AGE": RecognitionNetwork(3 * AGE_DEFAULT["hidden"], PERSONS, AGE_DEFAULT["hidden"]),
        "SM-SGE": RecognitionNetwork(width, PERSONS, width),
        "SM-SGE + DF": DF(width, PERSONS, DF_DEFAULT["H"]),
        "SM-SGE + SimMC": SimMC(width, SIMMC_DEFAULT["H"], SIMMC_DEFAULT["D"]),
    }
    encoders: dict[str, nn.Module] = {"SimMC": simmc, "AGE": age}
    encoders |= dict.fromkeys(("SM-SGE", "SM-SGE + DF", "SM-SGE + SimMC"), smsge)
    skeletons = torch.zeros(1, LENGTH, JOINTS, 3).numpy()
    figures = published()["sizes"]["rows"]
    return [
        Size(
            name,
            count_parameters(encoder),
            count_parameters(networks[name]) if name in networks else 0,
            count_operations(lambda encoder=encoder: encode_set(encoder, skeletons)),
            figures.get(name, {}).get("size"),
        )
        for name, encoder in encoders.items()
    ]


def write(folder: Path) -> None:
    """Write sizes.md, sizes.csv and sizes.json."""
    sizes, source = measure(), published()["sizes"]["source"]
    lines = [
        "# Sizes",
        "",
        f"{JOINTS} joints, {LENGTH} frames, {PERSONS} persons (IAS). Operations: the encoder's matrix products for",
        "one sequence, two for a multiply-add. The published ones are another quantity: those of a whole training",
        f"graph, by a profiler. Published: {source}.",
        "",
        "| method | encoder | network on top | all | operations | published parameters, operations |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for size in sizes:
        papers = [f"{size.published[0]} M, {size.published[1]} G" if size.published else "-"]
        counts = [f"{n:,}" for n in (size.encoder, size.network, size.encoder + size.network)]
        cells = [size.row, *counts, f"{size.operations / 1e6:.2f} M", *papers]
        lines.append("| " + " | ".join(cells) + " |")
    write_text(folder / "sizes.md", "\n".join(lines) + "\n")
    rows = [asdict(size) for size in sizes]
    papers = (" ".join(map(str, size.published)) if size.published else None for size in sizes)
    write_csv(
        folder / "sizes.csv",
        [row | {"published": text} for row, text in zip(rows, papers, strict=True)],
    )
    write_json(folder / "sizes.json", {"table": "sizes", "source": source, "entries": rows})
