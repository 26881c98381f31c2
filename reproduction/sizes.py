"""The table of sizes: parameters and operations of each method beside the published figures."""

from functools import partial
from pathlib import Path

import torch

from skeleton_reid.engine.encoding import count_operations, count_parameters, encode_set
from skeleton_reid.engine.methods.age import AGESettings
from skeleton_reid.engine.methods.df import DFSettings
from skeleton_reid.engine.methods.simmc import SimMCSettings
from skeleton_reid.engine.methods.smsge import SMSGESettings
from skeleton_reid.engine.results import write_csv, write_json, write_text
from skeleton_reid.models.age import AGE
from skeleton_reid.models.himpc import HiMPC
from skeleton_reid.models.mgscr import MGSCR
from skeleton_reid.models.mocos import MoCos
from skeleton_reid.models.recognition import DF, RecognitionNetwork
from skeleton_reid.models.sgela import CAGE
from skeleton_reid.models.simmc import SimMC
from skeleton_reid.models.smsge import SMSGE
from skeleton_reid.models.spcmgr import SPCMGR
from skeleton_reid.models.transg import TranSG
from skeleton_reid.reproduction.experiments import published
from skeleton_reid.reproduction.tables import markdown_table

JOINTS, LENGTH, PERSONS = 20, 6, 11  # IAS
ABOUT = f"""# Sizes

{JOINTS} joints, {LENGTH} frames, {PERSONS} persons (IAS). Operations: the encoder's matrix products
for one sequence, two a multiply-add; published ones: of a whole training graph, by a profiler.
"""


def write(folder: Path) -> None:
    """Write sizes.md, sizes.csv and sizes.json: a row a method, with the published settings.

    encoder, network: parameters of it, and of what is on top. operations: to encode one sequence.
    published: millions of parameters, billions of operations of a whole training graph.
    """
    simmc, hidden = (SimMCSettings.H, SimMCSettings.D), AGESettings.hidden
    smsge, states = SMSGE(JOINTS), 4 * SMSGESettings.D_h
    nodes = 8 * sum(smsge.nodes_of.values())
    sgela, mgscr = CAGE(JOINTS, {"rev_rec": {}}), MGSCR(JOINTS, persons=PERSONS)
    on_smsge, on_sgela = SimMC(nodes, *simmc), SimMC(3 * hidden, *simmc)
    models = {
        "SimMC": (SimMC(3 * JOINTS,
                        *simmc), None), "AGE": (AGE(JOINTS),
                                                RecognitionNetwork(3 * hidden, PERSONS, hidden)),
        "SM-SGE": (smsge, RecognitionNetwork(states, PERSONS,
                                             states)), "SM-SGE + SimMC": (smsge, on_smsge),
        "SM-SGE + DF": (smsge, DF(nodes, PERSONS, DFSettings.H)),
        "SGELA": (sgela, RecognitionNetwork(3 * hidden, PERSONS,
                                            hidden)), "SGELA + SimMC": (sgela, on_sgela),
        "MG-SCR": (mgscr, None), "MG-SCR + SimMC": (mgscr, SimMC(8 * JOINTS, *simmc)),
        "SPC-MGR": (SPCMGR(JOINTS), None), "Hi-MPC": (HiMPC(JOINTS), None),
        "TranSG": (TranSG(JOINTS, LENGTH), None), "MoCos": (MoCos(JOINTS), None),
    }  # fmt: skip
    skeletons, sizes, papers = torch.zeros(1, LENGTH, JOINTS, 3).numpy(), [], published()["sizes"]
    for name, (encoder, network) in models.items():
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
    write_json(folder / "sizes.json",
               {"table": "sizes", "source": papers["source"], "entries": sizes})
