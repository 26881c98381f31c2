"""Claim: frozen states computed once make an epoch of SM-SGE's recogniser 30 times faster.

Plain (tests/reference/smsge.py): the encoder is run again on every batch of every epoch, with
dense attention and one LSTM call for each prefix and scale. Between the two stands
this project's own encoder. KS20's published setting: batches of 64 sequences of 6 frames and 25
joints, D_h = 256, 20 persons.
"""

import torch

from benchmarks.harness import Options, Report, alternate, compare, timed
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.recognition import Recogniser
from skeleton_reid.models.smsge import SMSGE
from tests.reference.smsge import states as plain_states

JOINTS, LENGTH, PERSONS, BATCHES = 25, 6, 20, 8
PLAIN, AGAIN, ONCE = "plain encoder every epoch", "models.smsge every epoch", "states once"


def run(options: Options) -> Report:
    settings = METHODS["SM-SGE"].choose("full", "KS20", "probe", {})
    size, D_h = (4, 8) if options.quick else (settings.batch_size, settings.D_h)
    generator = torch.Generator().manual_seed(0)
    model = SMSGE(JOINTS, D_h).requires_grad_(False)
    skeletons = torch.randn(BATCHES * size, LENGTH, JOINTS, 3, generator=generator)
    labels = torch.randint(PERSONS, (len(skeletons),), generator=generator)
    graphs = model.graphs(skeletons)
    batches = torch.arange(len(skeletons)).split(size)
    states, seconds = timed(lambda: torch.cat([model.states(_rows(graphs, b)) for b in batches]))
    encoders = {
        PLAIN: lambda batch: plain_states(model, _rows(graphs, batch)),
        AGAIN: lambda batch: model.states(_rows(graphs, batch)), ONCE: lambda batch: states[batch]
    }
    width, losses = states.shape[2], {name: [] for name in encoders}
    # The same initial weights.
    networks = {name: Recogniser(width, PERSONS, width, "sum") for name in encoders}
    lr = settings.recognition_lr
    adams = {name: TFAdam(each.parameters(), lr) for name, each in networks.items()}

    def epoch(name: str) -> None:
        network, adam, encode = networks[name], adams[name], encoders[name]
        each = []
        for batch in batches:
            loss = network.losses(encode(batch), labels[batch])["loss"]
            adam.zero_grad()
            loss.backward()
            adam.step()
            each.append(loss.detach())
        losses[name].append(torch.stack(each).mean().item())

    _, times = alternate({name: lambda name=name: epoch(name) for name in encoders}, options.rounds)
    expected = torch.tensor(losses[ONCE])
    others = torch.tensor([losses[name] for name in encoders])
    error = ((others - expected).abs() / expected).max().item()
    if error > 1e-3:
        raise AssertionError(f"losses differ by {error:.1e} of their size")
    report = Report(f"An epoch of SM-SGE's recogniser, {len(skeletons)} sequences, D_h {D_h}")
    report.rows = compare(times, PLAIN)
    report.notes = [
        f"mean losses of {options.rounds} epochs are equal to {error:.1e} of their size",
        f"the states, once: {seconds.wall:.2f} s ({seconds.cpu:.2f} CPU s)"
    ]
    row = report.rows[-1]
    report.require("at least 30 times faster", min(row["wall ratio"], row["cpu ratio"]) >= 30)
    return report


def _rows(graphs: dict[str, torch.Tensor], batch: torch.Tensor) -> dict[str, torch.Tensor]:
    return {scale: x[batch] for scale, x in graphs.items()}
