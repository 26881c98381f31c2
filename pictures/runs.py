"""A run as its folder tells it: results, histories, and its probes and gallery, encoded again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from torch import Tensor, nn

from skeleton_reid.common.command_line import pick_device
from skeleton_reid.common.errors import InputError, in_words
from skeleton_reid.data import Retrieval, datasets
from skeleton_reid.data.files import broken
from skeleton_reid.engine import checkpoint, features, retrieval
from skeleton_reid.engine.encoding import encode_set, load_model
from skeleton_reid.engine.methods import settings_of
from skeleton_reid.engine.options import DataOptions
from skeleton_reid.engine.released import cut
from skeleton_reid.engine.results import RETRIEVAL
from skeleton_reid.reid import ranking

# Of run.json, what decides the metrics beside settings, data and seed.
RECORDED = ("name", "method", "dataset", "probe", "length", "protocol", "supervision", "source",
            "source_digest", "encoder", "task", "view", "epoch_limit", "device", "revision",
            "changes", "begun_with", "python", "torch", "numpy")
SHARES = (*RETRIEVAL, *(f"recording_{key}" for key in RETRIEVAL), "rank1", "nAUC_roc", "nAUC_cmc")
Scores = msgspec.defstruct("Scores", [(key, float | None, None) for key in SHARES])


class Stages(msgspec.Struct, kw_only=True):
    """What tables read of a protocol in results.json."""

    best: Scores | None = None
    last: Scores | None = None
    untrained: Scores | None = None
    baselines: dict[str, Scores] = {}


class Content(Stages, kw_only=True):
    """What is read of run.json and results.json, whose values are checked by it."""

    method: str
    dataset: str
    probe: str
    length: int
    protocol: str
    seed: int
    settings: dict[str, Any]
    data: dict[str, Any]
    name: str | None = None
    device: str = ""
    retrieval: Stages | None = None
    tests: dict[str, Stages] = {}


class Encoded(NamedTuple):
    """Probes and gallery of a run as its model sees them, in the order of the files."""

    model: nn.Module
    sets: Retrieval  # skeletons, hip-centred
    probe: Tensor  # (P, d) features
    gallery: Tensor  # (G, d)
    ranks: np.ndarray  # (P,) of each probe's nearest match, inf if its person is not in the gallery


@dataclass(frozen=True)
class SavedRun:
    """A training run."""

    folder: Path  # of its files; of CASIA_B, whose files begin with the probe, folder and probe
    data: Path  # the folder of all data sets
    device: str = "auto"  # that encodes

    def path(self, file: str) -> Path:
        """The path of one of the run's files."""
        dotted = self.folder.parent / f"{self.folder.name}_{file}"
        return self.folder / file if self.folder.is_dir() else dotted

    @cached_property
    def content(self) -> dict[str, Any]:
        """run.json and, over it, results.json of a run that is done. InputError if there is none,
        or it is not whole.
        """
        files = [*filter(Path.is_file, map(self.path, ("run.json", "results.json")))]
        if not files:
            raise InputError(f"{self.folder}: expected a run with results.json or run.json, found "
                             "neither; name a folder that a training script has written")
        content: dict[str, Any] = {}
        try:
            for file in files:
                content |= msgspec.json.decode(file.read_bytes(), type=dict)
            msgspec.convert(content, Content)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise broken(file, "what a training run says of itself", in_words(error)) from error
        return content

    @property
    def configuration(self) -> dict[str, Any]:
        """What is recorded that decides the metrics, but for the seed."""
        own = self.content
        data = {f"data {name}": value for name, value in own["data"].items()}
        recorded = {name: own[name] for name in RECORDED if own.get(name) is not None}
        if "device" in recorded:  # whichever GPU it was
            recorded["device"] = own["device"].partition(":")[0]
        return {**recorded, **own["settings"], **data}

    def data_title(self, probe: str = "") -> str:
        """What the run is scored on, of several tests the named one; whether it is simulated."""
        own = self.content
        simulated = " (simulated)" if own["data"]["simulated"] else ""
        return f"{own['dataset']}{simulated}, {probe or own['probe']}, f = {own['length']}"

    def person(self, label: int) -> str:
        """The name of a person, as far as it is known."""
        names = self.encoded.sets.names
        return names.get(int(label), f"person {label}")

    @cached_property
    def histories(self) -> dict[str, np.ndarray]:
        """Every history.csv by phase ("" of a run without), NaN where an epoch has no value."""
        files = {"": self.path("history.csv"), "encoder": self.path("encoder/history.csv")}
        phases = sorted(self.folder.glob("*/history.csv"))
        files |= {each.parent.name: each for each in phases if "seed-" not in each.parent.name}
        tables = {}
        for phase, file in files.items():
            try:
                if file.is_file():
                    table = np.genfromtxt(file, delimiter=",", names=True, deletechars="")
                    tables[phase] = np.atleast_1d(table)  # (epochs,), structured
                    table["epoch"]  # ValueError if there is no such column
            except (ValueError, IndexError) as error:
                found = str(error).splitlines()[0]
                raise broken(file, "a line of figures an epoch", found) from error
        return tables

    @cached_property
    def encoded(self) -> Encoded:
        """By the best model. InputError if the model, the data or a gallery are not there."""
        path = self.path("encoder/best.pt")
        path = path if path.is_file() else self.path("best.pt")
        saved, device = checkpoint.load(path), pick_device(self.device)
        settings = settings_of(saved)
        own = {name: self.content[name] for name in ("probe", "length", "protocol")}
        options = DataOptions(datasets.restore(saved), data=self.data, **own)
        source = features.find_source(saved.get("source_file"), options, device,
                                      saved["arguments"].get("inputs"))
        sets = retrieval.load_in_order(options, train=False)
        sets = cut(sets, settings.batch_size, options.protocol)
        inputs = retrieval.load(options, settings, source)
        model, _ = load_model(path, sets.skeleton, sets.length, device, source, saved)
        probe = encode_set(model, inputs.probe.skeletons).cpu()
        gallery = encode_set(model, inputs.gallery.skeletons).cpu()
        where = probe, sets.probe.labels, gallery, sets.gallery.labels, sets.same_set
        ranks, _ = ranking.ranks(*where)
        return Encoded(model, sets, probe, gallery, ranks)


def find(folders: Sequence[Path], data: Path = Path(), device: str = "auto") -> list[SavedRun]:
    """The runs of folders, and of their other seeds; InputError if there is none."""
    found: dict[Path, SavedRun] = {}  # each once, also where a seed's folder is named beside
    for folder in folders:
        seeds = sorted(folder.parent.glob(f"seed-*/{folder.name}_run.json"))
        places = [
            folder, *sorted(folder.glob("seed-*")), *(file.parent / folder.name for file in seeds)
        ]
        runs = [SavedRun(place, data, device) for place in places]
        runs = [run for run in runs if run.path("run.json").is_file()] or runs[:1]
        found |= {run.folder.resolve(): run for run in runs}
    return list(found.values())
