"""The papers' tables as experiments: which command gives which figure.

COLUMNS and ROWS are the whole declaration. What the papers print stands in published_results.json
by table, row and column; rows that stand only there are not run.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from skeleton_reid.data import datasets
from skeleton_reid.data.descriptors import DESCRIPTORS

PUBLISHED_ONLY = "published"  # what --methods calls the rows without a command
UNSEEDED = (*DESCRIPTORS, "session", "D-13+KNN")  # methods of which the seed changes nothing
Names = Iterable[str]


@dataclass(frozen=True)
class Column:
    """A column of a table: the data that its figures are from."""

    name: str
    dataset: str
    probe: str  # as on the command line; a view's is "test"
    view: int | None = None

    @property
    def length(self) -> int:
        """Frames of the published windows."""
        row = datasets.get(self.dataset)
        return row.default_length if self.view is None else row.view_length


@dataclass(frozen=True)
class Row:
    """A row of a table, and the command that gives its figures."""

    name: str  # as published
    options: str = ""  # but for data, seed and files
    method: str = PUBLISHED_ONLY  # what --methods calls it
    script: str = ""  # none: published figures only
    of_dataset: bool = False  # one run has the figures of every column of a data set
    again: str = ""  # columns of a data set share an encoder: options of those after the first
    source: str = ""  # the row whose encoder takes the place of {source} in the options
    source_data: Column | None = None  # what that encoder is trained on, if not on the column's

    @property
    def trained(self) -> bool:
        """Whether it is trained in epochs."""
        return self.script.startswith("train_") or self.method.startswith("LSTM")

    @property
    def positions(self) -> str:
        """Whether it sees where a person stands before the sensor, or centred skeletons alone."""
        absolute = self.method.startswith(("AGE", "session", "SGELA"))
        return "-" if not self.script else "absolute" if absolute else "centred"


def _classifier(name: str, method: str) -> Row:
    return Row(name, f"--recognise {method}", method, "evaluate.py", of_dataset=True)


# AGE for recognition: neither encoders nor recogniser depend on the split.
_age = partial(Row, method="AGE", script="train_age.py", of_dataset=True)
# SM-SGE: an encoder a data set, and a recogniser with settings of its own a split.
_smsge = partial(Row, method="SM-SGE", script="train_smsge.py", again="--pre_train 0")
_mgscr = partial(Row, method="MG-SCR", script="train_mgscr.py")
_sgela = partial(Row, method="SGELA", script="train_sgela.py")
_IAS = (Column("IAS-A", "IAS", "A"), Column("IAS-B", "IAS", "B"))
_KGBD, _KS20 = Column("KGBD", "KGBD", "probe"), Column("KS20", "KS20", "probe")
_BIWI_W, _BIWI_S = Column("BIWI-W", "BIWI", "Walking"), Column("BIWI-S", "BIWI", "Still")
_BIWI = Column("BIWI", "BIWI", "Walking")
# AGE's Table 3: recognisers on encoders of KGBD (the paper names no source).
_transfer = partial(_age, method="AGE-transfer", source_data=_KGBD)
_CASIA_B = datasets.get("CASIA_B")
_PAIRS = tuple(Column(pair, "CASIA_B", pair) for pair in _CASIA_B.gallery_of)
COLUMNS = {
    "retrieval": (_KS20, _KGBD, *_IAS, _BIWI_W, _BIWI_S),
    "recognition": (_KGBD, _BIWI, *_IAS, _KS20),
    "cross_view": tuple(Column(str(18 * v), "CASIA_B", "test", v)
                        for v in range(_CASIA_B.views)), "ks20_cross_view": tuple(
                            Column(angle, "KS20", "test", view)
                            for view, angle in enumerate(("0", "30", "90", "130", "180"))),
    "matching": _PAIRS, "matching_rank1": _PAIRS, "ablation_age": (_BIWI,),
    "transfer_age": (_BIWI, *_IAS), "ablation_components": _IAS, "ablation_scales": _IAS
}
_DESCRIPTORS = {
    name: Row(name, f"--features {name}", name, "evaluate.py")
    for name in (*DESCRIPTORS, "session", "untrained")
}
# Methods that need no options.
_PLAIN = {"SimMC": "simmc", "SPC-MGR": "spcmgr", "Hi-MPC": "himpc", "TranSG": "transg"}
_PLAIN |= {"MoCos": "mocos", "PoseGait-own-reading": "posegait"}
_MODELS = (Row("AGE", "--task retrieval", "AGE", "train_age.py",
               again="--resume"), _smsge("SM-SGE",
                                         "--task retrieval"), _sgela("SGELA", "--task retrieval"),
           _mgscr("MG-SCR", "--task retrieval"), *(Row(name, "", name, f"train_{script}.py")
                                                   for name, script in _PLAIN.items()))
# A method on the frame features of another row's encoder in place of coordinates.
_ON_FEATURES = [
    Row(f"{source} + {method}", "--source {source}", f"{source}+{method}",
        f"train_{method.lower()}.py", source=source) for method in ("SimMC", "DF")
    for source in ("AGE", "SM-SGE", "SGELA", "MG-SCR")
]
_LSTMS = (_classifier("Single-layer LSTM", "LSTM"), _classifier("Multi-layer LSTM", "LSTM-2"))
_SGELA = (_sgela("SGELA", of_dataset=True),
          _sgela("SGELA (Rev. Rec. Plus)", "--model rev_rec_plus", of_dataset=True))
_TRAINED = (*_LSTMS, _age("AGE"), _smsge("SM-SGE"), _mgscr("MG-SCR", of_dataset=True), *_SGELA)
# SM-SGE's components, and what leaves them out: multi-scale graphs (else the joint scale alone),
# structural and collaborative relations, cross-scale inference, subsequence reconstruction.
_SMSGE_PARTS = {"MG": "--scales J", "SR": "--embedding_only", "CR": "--struct_only"}
_SMSGE_PARTS |= {"CSI": "--same_scale", "SSR": "--s_range f"}
_SMSGE_ROWS = [(name, [own for part, own in _SMSGE_PARTS.items() if part not in name.split()])
               for name in ("none", "SR", "MG + SR", "MG + SR + CSI", "MG + SR + CSI + SSR",
                            "MG + SR + CR", "MG + SR + CR + CSI", "MG + SR + CR + CSI + SSR")]
# AGE's Table 2: encoder GE and decoder GD; Rev: the frames are rebuilt in reverse; basic, masked or
# locality-aware scores of attention; AGEs: the encodings are recognised, else the encoder's states.
# fmt: off
_AGE_PARTS = {
    "GE + GD": "--attention none --target same",
    "GE + GD + Rev": "--attention none",
    "GE + GD + BAS + AGEs": "--attention BA --target same",
    "GE + GD + Rev + BAS": "--attention BA --feature states",
    "GE + GD + Rev + BAS + AGEs": "--attention BA",
    "GE + GD + Rev + MBAS": "--attention MBA --feature states",
    "GE + GD + MBAS + AGEs": "--attention MBA --target same",
    "GE + GD + Rev + MBAS + AGEs": "--attention MBA",
    "GE + GD + Rev + LAS": "--feature states",
    "GE + GD + LAS + AGEs": "--target same",
    "GE + GD + Rev + LAS + AGEs": ""
}
ROWS = {
    "retrieval": (*_DESCRIPTORS.values(), *_MODELS, *_ON_FEATURES),
    "recognition": (_classifier("D-13 + KNN", "D-13+KNN"),
                    _classifier("D-16 + AdaBoost", "D-16+AdaBoost"), *_TRAINED),
    "cross_view": _TRAINED,
    "ks20_cross_view": _SGELA,
    "matching_rank1": (_sgela("SGELA", "--task retrieval"),),
    "matching": (_DESCRIPTORS["mean-pose"], _DESCRIPTORS["untrained"], *_MODELS),
    "ablation_age": (_classifier("GE", "LSTM-2"), *(_age(*parts) for parts in _AGE_PARTS.items())),
    "transfer_age": (
        _age("BAS", "--attention BA"),
        _transfer("BAS, transfer", "--encoder {source} --attention BA", source="BAS"),
        _age("LAS"), _transfer("LAS, transfer", "--encoder {source}", source="LAS")),
    "ablation_components": tuple(_smsge(name, " ".join(own)) for name, own in _SMSGE_ROWS),
    "ablation_scales": tuple(_smsge(s, f"--scales {s}") for s in ("B", "PB", "JPB", "IJPB"))
}
# fmt: on
METHODS = (*dict.fromkeys(row.method for rows in ROWS.values() for row in rows), PUBLISHED_ONLY)


@dataclass(frozen=True)
class Job:
    """One run of a script."""

    table: str
    row: Row
    column: Column
    seed: int

    @property
    def folder(self) -> Path:
        """Where its files lie, below the folder of all runs."""
        row, column = self.row, self.column
        shared = column.view is None and (row.of_dataset or row.again)
        data = column.dataset if shared else column.name
        return Path(self.table, row.name.replace(" ", ""), data, f"seed{self.seed}")

    @property
    def path(self) -> Path:
        """What a run is known by, and the beginning of its files' names. Cells can share a run."""
        return self.folder / ("all" if self.row.of_dataset else self.column.name)

    @property
    def words(self) -> list[str]:
        """The script's options but for data, files and device."""
        column, words = self.column, ["--dataset", self.column.dataset]
        if column.view is not None:
            words += ["--view", str(column.view)]
        elif not self.row.of_dataset:
            words += ["--probe", column.probe]
        words += ["--length", str(column.length), "--seed", str(self.seed)]
        return words + self.row.options.split() + self.row.again.split() * bool(self.needs)

    @property
    def needs(self) -> "list[Job]":
        """The run whose encoder this one uses, which comes before it, if there is one."""
        row, column = self.row, self.column
        if row.source:
            column = row.source_data or column
            row = next(row for row in ROWS[self.table] if row.name == self.row.source)
        if row.again and column.view is None:  # the first of the data set trains the encoder
            column = next(c for c in COLUMNS[self.table] if c.dataset == column.dataset)
        job = Job(self.table, row, column, self.seed)
        return [job] if job != self else []


@dataclass(frozen=True)
class Cell:
    """A figure of a table, and the runs, one a seed, that it is the mean of."""

    table: str
    row: Row
    column: Column
    jobs: tuple[Job, ...]


def plan(tables: Names, names: Names, methods: Names, seeds: int, thin: bool = False) -> list[Cell]:
    """The cells of the tables, for these data sets and methods.

    seeds: 0 ... seeds - 1. thin: of each table the first column, of each method run the first row.
    """
    cells: dict[tuple, Cell] = {}
    for table in tables:
        columns = [column for column in COLUMNS[table] if column.dataset in names]
        for row in (row for row in rows_of(table) if row.method in methods):
            for column in columns[:1] if thin else columns:
                runs = range(1 if row.method in UNSEEDED else seeds) if row.script else ()
                cell = Cell(table, row, column, tuple(Job(table, row, column, s) for s in runs))
                if runs or (not thin and column.name in published()[table]["rows"][row.name]):
                    cells.setdefault((table, row.method) if thin else cell, cell)
    return list(cells.values())


def rows_of(table: str) -> list[Row]:
    """Our rows of a table, and then those that are published only."""
    ours = [row.name for row in ROWS[table]]
    return [*ROWS[table], *(Row(name) for name in published()[table]["rows"] if name not in ours)]


def jobs(cells: Collection[Cell]) -> list[Job]:
    """Every run that the cells need, once, each after the one it needs, which needs nothing."""
    ordered = [j for cell in cells for job in cell.jobs for j in (*job.needs, job)]
    return list({job.path: job for job in ordered}.values())


@cache
def published() -> Mapping[str, Any]:
    """Published figures in percent: table -> source, metrics, rows -> column -> one a metric."""
    return json.loads(Path(__file__).with_name("published_results.json").read_text())
