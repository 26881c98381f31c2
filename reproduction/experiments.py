"""The papers' tables: the runs that give the figures (experiments.yaml), and the published ones."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from skeleton_reid.data import datasets
from skeleton_reid.engine.methods import METHODS

SMALL = {method.script: method.small for method in METHODS.values()}  # tiny networks


class Column(msgspec.Struct, frozen=True):
    """A column of a table: the data that its figures are from."""

    name: str
    dataset: str
    probe: str = "test"
    view: int | None = None
    length: int = 6


class Row(msgspec.Struct, frozen=True):
    """A row of a table; the head of experiments.yaml says what the fields mean."""

    name: str
    script: str = ""
    options: str = ""
    method: str = "published"
    random: bool = True
    positions: str = "centred"
    of_dataset: bool = False
    again: str = ""
    source: str = ""
    source_data: Column | None = None


class Table(msgspec.Struct):
    """A table of the papers."""

    columns: list[Column] = []
    rows: list[Row] = []
    models: dict[str, list[list[Any]]] = {}


_FOLDER = Path(__file__).parent
TABLES = msgspec.yaml.decode((_FOLDER / "experiments.yaml").read_bytes(), type=dict[str, Table])
OF_OWN_DATA = ("retrieval", "recognition")
METHOD_NAMES = list(dict.fromkeys(row.method for own in TABLES.values() for row in own.rows))
# In percent: table -> title, source, metrics, rows -> column -> a figure for each metric.
PUBLISHED = json.loads((_FOLDER / "published_results.json").read_text())


class Job(msgspec.Struct, frozen=True):
    """One run of a script."""

    table: str
    row: Row
    column: Column
    seed: int
    epochs: int | None = None  # at most
    small: bool = False

    @property
    def folder(self) -> Path:
        """Where it lies, below the folder of all runs; cells of one folder share a run."""
        of_dataset = self.row.of_dataset and self.column.view is None
        data = Path(self.column.dataset).stem if of_dataset else self.column.name
        return Path(self.table, self.row.name.replace(" ", ""), data, f"seed{self.seed}")

    @property
    def words(self) -> list[str]:
        """The script's options but for data, files and device."""
        column, options = self.column, {"dataset": self.column.dataset}
        if column.view is not None:
            options["view"] = column.view
        elif not self.row.of_dataset:
            options["probe"] = column.probe
        options |= {"length": column.length, "seed": self.seed}
        options |= {"epochs": self.epochs} if self.epochs else {}
        options |= SMALL.get(self.row.script, {}) if self.small else {}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return words + self.row.options.split() + (self.row.again.split() if self.needs else [])

    @property
    def needs(self) -> "list[Job]":
        """The run whose encoder this one uses, which comes before it, if there is one."""
        table, row, column = TABLES[self.table], self.row, self.column
        if row.source:
            column = row.source_data or column
            row = next(row for row in table.rows if row.name == self.row.source)
        if row.again and column.view is None:  # the first of the data set trains the encoder
            column = next((own for own in table.columns if own.dataset == column.dataset), column)
        job = msgspec.structs.replace(self, row=row, column=column)
        return [job] if job != self else []


Cells = dict[tuple[str, Row, Column], list[Job]]  # the runs of a figure, one a seed


def plan(tables: Collection[str], names: Collection[str], methods: Collection[str], seeds: int,
         epochs: int | None = None, thin: bool = False) -> Cells:
    """The cells of the tables, by table, row and column, for these data sets and methods. Data of
    one's own, FILE.yaml, are a column of the tables OF_OWN_DATA, without published figures.

    epochs: at most. thin: small runs, of a table's first column, of each method the first row.
    """
    cells: Cells = {}
    for table in tables:
        columns = [column for column in TABLES[table].columns if column.dataset in names]
        if table in OF_OWN_DATA:
            own = [name for name in names if name not in datasets.DATASETS]
            columns += [Column(datasets.get(name).name, name, "probe") for name in own]
        rows = [row for row in TABLES[table].rows if row.method in methods]
        if thin:
            columns = columns[:1]
            rows = list({row.method: row for row in reversed(rows) if row.script}.values())
        for row in rows:
            runs = range(seeds if row.random else 1) if row.script else ()
            cap = epochs if row.script in SMALL or "LSTM" in row.method else None
            for column in columns:
                own = [Job(table, row, column, seed, cap, thin) for seed in runs]
                cells[table, row, column] = own
    return cells


def jobs(cells: Cells) -> list[Job]:
    """Every run that the cells need, once, each after the one it needs, which needs nothing."""
    ordered = [each for own in cells.values() for job in own for each in (*job.needs, job)]
    return list({job.folder: job for job in ordered}.values())
