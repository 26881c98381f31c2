"""The table of sizes: parameters and operations of each method beside the published figures."""

from functools import partial
from pathlib import Path

import torch
from torch import nn

from skeleton_reid.engine.encoding import count_operations, count_parameters, encode_set
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.results import write_csv, write_json, write_text
from skeleton_reid.models.recognition import RecognitionNetwork
from skeleton_reid.reproduction.experiments import published
from skeleton_reid.reproduction.tables import markdown_table

JOINTS, LENGTH, PERSONS = 20, 6, 11  # IAS
ABOUT = f"""# Sizes

{JOINTS} joints, {LENGTH} frames, {PERSONS} persons (IAS). Operations: the encoder's matrix products
for one sequence, two a multiply-add; published ones: of a whole training graph, by a profiler.
"""


def models() -> dict[str, tuple[nn.Module, nn.Module | None]]:
    """The encoder of each row, and what is trained on top of it, with the published settings."""
    build = {name: method.model_class for name, method in METHODS.items()}
    simmc = build["SimMC"]
    encoders = {
        "AGE": build["AGE"](JOINTS), "SM-SGE": build["SM-SGE"](JOINTS),
        "SGELA": build["SGELA"](JOINTS, {"rev_rec": {}}), "MG-SCR": build["MG-SCR"](JOINTS,
                                                                                    persons=PERSONS)
    }  # fmt: skip
    frame = torch.zeros(1, LENGTH, JOINTS, 3)
    widths = {name: model.source_frames(frame).shape[2] for name, model in encoders.items()}
    states = encoders["SM-SGE"].embed(frame).shape[2]
    on_axes = RecognitionNetwork(widths["AGE"], PERSONS, widths["AGE"] // 3)
    networks = {"AGE": on_axes, "SGELA": on_axes}
    networks["SM-SGE"] = RecognitionNetwork(states, PERSONS, states)
    rows = {"SimMC": (simmc(3 * JOINTS), None)}
    for name, encoder in encoders.items():
        rows[name] = encoder, networks.get(name)
        rows[f"{name} + SimMC"] = encoder, simmc(widths[name])
    df = METHODS["DF"].settings()
    rows["SM-SGE + DF"] = encoders["SM-SGE"], build["DF"](widths["SM-SGE"], PERSONS, df.H)
    for name in ("SPC-MGR", "Hi-MPC", "MoCos"):
        rows[name] = build[name](JOINTS), None
    rows["TranSG"] = build["TranSG"](JOINTS, LENGTH), None
    return rows


def write(folder: Path) -> None:
    """Write sizes.md, sizes.csv and sizes.json, a row a method.

    encoder, network: parameters of it, and of what is on top. operations: to encode one sequence.
    published: millions of parameters, billions of operations of a whole training graph.
    """
    skeletons, sizes, papers = torch.zeros(1, LENGTH, JOINTS, 3).numpy(), [], published()["sizes"]
    for name, (encoder, network) in models().items():
        counts = count_parameters(encoder), count_parameters(network) if network else 0
        size = {"row": name, "encoder": counts[0], "network": counts[1], "all": sum(counts)}
        size["operations"] = count_operations(partial(encode_set, encoder, skeletons))
        size["published"] = papers["rows"].get(name, {}).get("size", "-")
        sizes.append(size)
    rows = [{n: f"{x:,}" if isinstance(x, int) else str(x) for n, x in row.items()}
            for row in sizes]
    text = ABOUT + f"Published: {papers['source']}.\n\n" + "\n".join(markdown_table(rows)) + "\n"
    write_text(folder / "sizes.md", text)
    write_csv(folder / "sizes.csv", sizes)
    content = {"table": "sizes", "source": papers["source"], "entries": sizes}
    write_json(folder / "sizes.json", content)
