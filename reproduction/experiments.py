"""The papers' tables as experiments: which command gives which figure.

ROWS and COLUMNS are the whole declaration. A new row of a table is a line of ROWS; what the papers
print for it stands in published_results.json, under the same table, row and column.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from data import datasets

PUBLISHED = Path(__file__).with_name("published_results.json")
VIEW_DEGREES = 18


@dataclass(frozen=True)
class Column:
    """A column of a table: the data that its figures are from. probe: as on the command line; a
    view's is "test".
    """

    name: str
    dataset: str
    probe: str
    view: int | None = None

    @property
    def length(self) -> int:
        """Frames of the published windows."""
        row = datasets.get(self.dataset)
        return row.default_length if self.view is None else row.view_length

    @property
    def words(self) -> tuple[str, ...]:
        """The column on a command line."""
        where = ("--probe", self.probe) if self.view is None else ("--view", str(self.view))
        return ("--dataset", self.dataset, *where)


_IAS = (Column("IAS-A", "IAS", "A"), Column("IAS-B", "IAS", "B"))
_KGBD, _KS20 = Column("KGBD", "KGBD", "probe"), Column("KS20", "KS20", "probe")
COLUMNS = {
    "retrieval": (
        *(_KS20, _KGBD, *_IAS),
        *(Column("BIWI-W", "BIWI", "Walking"), Column("BIWI-S", "BIWI", "Still")),
    ),
    "recognition": (Column("BIWI", "BIWI", "Walking"), *_IAS, _KGBD, _KS20),
    "cross_view": tuple(
        Column(str(VIEW_DEGREES * view), "CASIA_B", "test", view)
        for view in range(datasets.get("CASIA_B").views)
    ),
    "matching": tuple(Column(pair, "CASIA_B", pair) for pair in datasets.get("CASIA_B").gallery_of),
    "ablation_age": (Column("BIWI", "BIWI", "Walking"),),
    "ablation_scales": _IAS,
}
TITLES = {
    "retrieval": "Retrieval",
    "recognition": "Recognition",
    "cross_view": "CASIA-B, cross-view recognition, by view in degrees",
    "matching": "CASIA-B, condition-based matching, probe.gallery",
    "ablation_age": "AGE's ablation",
    "ablation_scales": "SM-SGE's ablation of scales",
}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    name: as published. method: what --methods calls it. script, words: the command but for data,
    seed and files. trained: whether it is trained in epochs. seeded: whether the seed matters.
    of_dataset: one run has the figures of every column of a data set. again: where the columns of a
    data set share an encoder, the words with which a column after the first uses it. source: the
    row whose encoder its features come from ({source} in the words). encoder: where the run leaves
    its encoder, below the folder of its files. home: where a run by hand with the published
    settings leaves its results, below ReID_Models.
    """

    table: str
    name: str
    method: str
    script: str
    words: tuple[str, ...] = ()
    trained: bool = True
    seeded: bool = True
    of_dataset: bool = False
    again: tuple[str, ...] | None = None
    source: str | None = None
    encoder: str | None = None
    home: str | None = None


def _descriptor(table: str, name: str, seeded: bool = False) -> Row:
    return Row(table, name, name, "evaluate.py", ("--features", name), trained=False, seeded=seeded)


def _classifier(table: str, name: str, method: str) -> Row:
    lstm = method.startswith("LSTM")
    options = {"trained": lstm, "seeded": method != "D-13+KNN", "of_dataset": True}
    return Row(table, name, method, "evaluate.py", ("--recognise", method), **options)


def _age(table: str, name: str = "AGE", words: tuple[str, ...] = (), variant: str = "LA") -> Row:
    """AGE's encoders do not depend on the probe: a second column only scores them."""
    if table in ("retrieval", "matching"):
        words, variant, shared = (
            ("--task", "retrieval", *words),
            f"{variant}_retrieval",
            {"again": ("--resume",)},
        )
    else:
        variant, shared = (
            f"{'view_{view}_' * (table == 'cross_view')}{variant}",
            {"of_dataset": True},
        )
    encoder, home = (
        f"AGE/{{dataset}}/{variant}/{file}" for file in ("encoder/best.pt", "results.json")
    )
    return Row(table, name, "AGE", "train_age.py", words, encoder=encoder, home=home, **shared)


def _smsge(
    table: str, name: str = "SM-SGE", words: tuple[str, ...] = (), variant: str = "IJPB"
) -> Row:
    """SM-SGE has one encoder a data set, and a recogniser with settings of its own for every
    split.
    """
    if table in ("retrieval", "matching"):
        words, variant = ("--task", "retrieval", *words), f"{variant}_retrieval"
    elif table == "cross_view":
        variant = f"view_{{view}}_{variant}"
    encoder, home = (
        f"SM-SGE/{{dataset}}/{variant}/{file}" for file in ("encoder/best.pt", "results.json")
    )
    again = ("--pre_train", "0")
    return Row(
        table, name, "SM-SGE", "train_smsge.py", words, again=again, encoder=encoder, home=home
    )


def _on_features(name: str, script: str) -> Row:
    """Another model's frame features in place of coordinates, of its encoder in the same table."""
    source = name.partition(" + ")[0]
    return Row(
        "retrieval", name, name.replace(" ", ""), script, ("--source", "{source}"), source=source
    )


ROWS = (
    *(_descriptor("retrieval", name) for name in ("D-13", "D-16", "mean-pose")),
    _descriptor("retrieval", "untrained", seeded=True),
    _age("retrieval"),
    _smsge("retrieval"),
    Row("retrieval", "SimMC", "SimMC", "train_simmc.py", home="{dataset}/{probe}/results.json"),
    _on_features("AGE + SimMC", "train_simmc.py"),
    _on_features("SM-SGE + SimMC", "train_simmc.py"),
    _on_features("AGE + DF", "train_df.py"),
    _on_features("SM-SGE + DF", "train_df.py"),
    _classifier("recognition", "D-13 + KNN", "D-13+KNN"),
    _classifier("recognition", "D-16 + AdaBoost", "D-16+AdaBoost"),
    _classifier("recognition", "Single-layer LSTM", "LSTM"),
    _classifier("recognition", "Multi-layer LSTM", "LSTM-2"),
    _age("recognition"),
    _smsge("recognition"),
    _classifier("cross_view", "Single-layer LSTM", "LSTM"),
    _classifier("cross_view", "Multi-layer LSTM", "LSTM-2"),
    _age("cross_view"),
    _smsge("cross_view"),
    _descriptor("matching", "mean-pose"),
    _descriptor("matching", "untrained", seeded=True),
    _age("matching"),
    _smsge("matching"),
    Row("matching", "SimMC", "SimMC", "train_simmc.py", home="{dataset}/{probe}_results.json"),
    _classifier("ablation_age", "GE", "LSTM-2"),
    _age("ablation_age", "GE + GD + BAS + AGEs", ("--attention", "BA", "--target", "same"), "BA"),
    _age("ablation_age", "GE + GD + Rev + BAS", ("--attention", "BA", "--feature", "states"), "BA"),
    _age("ablation_age", "GE + GD + Rev + BAS + AGEs", ("--attention", "BA"), "BA"),
    _age("ablation_age", "GE + GD + Rev + LAS", ("--feature", "states")),
    _age("ablation_age", "GE + GD + LAS + AGEs", ("--target", "same")),
    _age("ablation_age", "GE + GD + Rev + LAS + AGEs"),
    *(
        _smsge("ablation_scales", scales, ("--scales", scales), scales)
        for scales in ("B", "PB", "JPB", "IJPB")
    ),
)
METHODS = tuple(dict.fromkeys(row.method for row in ROWS))


@dataclass(frozen=True)
class Job:
    """One run of a script."""

    row: Row
    column: Column
    seed: int

    @property
    def folder(self) -> Path:
        """Where its files lie, below the folder of all runs."""
        row, column = self.row, self.column
        shared = column.view is None and (row.of_dataset or row.again is not None)
        return Path(
            row.table, row.name.replace(" ", ""), column.dataset if shared else column.name
        ) / (f"seed{self.seed}")

    @property
    def name(self) -> str:
        """The run's name, and that of its files."""
        return "all" if self.row.of_dataset else self.column.name

    @property
    def words(self) -> list[str]:
        """The script's arguments but for data, files, device and source."""
        column, row = self.column, self.row
        again = row.again if row.again and self != _first(row, column, self.seed) else ()
        # One run for all splits: the one that is asked for first makes no difference.
        where = (
            ("--dataset", column.dataset)
            if row.of_dataset and column.view is None
            else column.words
        )
        return [
            *where,
            "--length",
            str(column.length),
            "--seed",
            str(self.seed),
            *row.words,
            *again,
        ]

    @property
    def source(self) -> "Job | None":
        """The run whose encoder this one's features come from."""
        if self.row.source is None:
            return None
        row = next(r for r in ROWS if (r.table, r.name) == (self.row.table, self.row.source))
        return _first(row, self.column, self.seed)

    @property
    def needs(self) -> "list[Job]":
        """The runs whose encoders this one uses, which come before it."""
        first = _first(self.row, self.column, self.seed)
        others = [self.source, first if self.row.again and first != self else None]
        return [job for job in others if job is not None]

    def place(self, pattern: str) -> Path:
        """Row.encoder or Row.home of this run."""
        column = self.column
        return Path(pattern.format(dataset=column.dataset, probe=column.probe, view=column.view))


def _first(row: Row, column: Column, seed: int) -> Job:
    """The run of a column, or of the first one that shares its encoder."""
    if row.again is None or column.view is not None:
        return Job(row, column, seed)
    return Job(row, next(c for c in COLUMNS[row.table] if c.dataset == column.dataset), seed)


@dataclass(frozen=True)
class Cell:
    """A figure of a table: what it is by its row and column, and the runs, one a seed, that it is
    the mean of.
    """

    row: Row
    column: Column
    jobs: tuple[Job, ...]


def plan(
    tables: Collection[str],
    names: Collection[str],
    methods: Collection[str],
    seeds: int,
    thin: bool = False,
) -> list[Cell]:
    """The cells of the tables, for these data sets and methods.

    seeds: 0 ... seeds - 1; one where the seed makes no difference. thin: of each method one row of
    a table, and of that one column, in turn.
    """
    cells: list[Cell] = []
    begun: set[tuple[str, str]] = set()
    for number, row in enumerate(ROWS):
        if row.table not in tables or row.method not in methods:
            continue
        if thin and (row.table, row.method) in begun:
            continue
        begun.add((row.table, row.method))
        columns = [column for column in COLUMNS[row.table] if column.dataset in names]
        if thin and columns:
            columns = list({column.dataset: column for column in reversed(columns)}.values())
            columns = [columns[_turn(row, number) % len(columns)]]
        for column in columns:
            runs = range(seeds if row.seeded else 1)
            cells.append(Cell(row, column, tuple(Job(row, column, seed) for seed in runs)))
    return cells


def _turn(row: Row, number: int) -> int:
    """The number of a row, or of the row whose encoder it uses."""
    return next(
        (i for i, r in enumerate(ROWS) if (r.table, r.name) == (row.table, row.source)), number
    )


def jobs(cells: Collection[Cell]) -> list[Job]:
    """Every run that the cells need, once, each after the runs whose encoders it uses."""
    found: dict[tuple[Path, str], Job] = {}

    def add(job: Job) -> None:
        for needed in job.needs:
            add(needed)
        found.setdefault((job.folder, job.name), job)

    for cell in cells:
        for job in cell.jobs:
            add(job)
    return list(found.values())


@cache
def published() -> Mapping[str, Any]:
    """The papers' figures in percent: table -> source, metrics, rows -> column -> a number for each
    metric.
    """
    return json.loads(PUBLISHED.read_text())
