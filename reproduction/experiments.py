"""The papers' tables as experiments: which command gives which figure.

experiments.yaml is the whole declaration, of COLUMNS and ROWS by table. What the papers print
stands in published_results.json by table, row and column; rows that stand only there are not run.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from skeleton_reid.data import datasets
from skeleton_reid.data.descriptors import DESCRIPTORS
from skeleton_reid.engine import methods

PUBLISHED_ONLY = "published"  # what --methods calls the rows without a command
UNSEEDED = (*DESCRIPTORS, "session", "D-13+KNN")  # methods of which the seed changes nothing
# Columns of a data set share an encoder: options of those after the first, by script.
SHARED = {"train_smsge.py": "--pre_train 0", "train_age.py --task retrieval": "--resume"}
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
    command: str = ""  # but for data, seed and files; none: published figures only

    @property
    def script(self) -> str:
        return self.command.partition(" ")[0]

    @property
    def options(self) -> list[str]:
        """Of the script; {source} stands for the encoder of another row."""
        return re.sub(r"\{.*?\}", "{source}", self.command).split()[1:]

    @property
    def source(self) -> tuple[str, str]:
        """The row whose encoder this one uses, and the column that is trained on, if it is not the
        own one; or "" and "".
        """
        found = re.search(r"\{(.*?)(?: on (.*?))?\}", self.command)
        return (found[1], found[2] or "") if found else ("", "")

    @property
    def method(self) -> str:
        """What --methods calls it."""
        if not self.command:
            return PUBLISHED_ONLY
        if self.script == "evaluate.py":
            return self.options[1]
        name = next(own.name for own in methods.METHODS.values() if own.script == self.script)
        if "--encoder" in self.options:
            return f"{name}-transfer"
        return f"{self.source[0]}+{name}" if self.source[0] else name

    @property
    def again(self) -> str:
        """Options of the columns that share the encoder of a data set's first one."""
        return next((words for own, words in SHARED.items() if self.command.startswith(own)), "")

    @property
    def of_dataset(self) -> bool:
        """Whether one run has the figures of every column of a data set: recognisers."""
        phases = ("train_age.py", "train_mgscr.py", "train_sgela.py")
        retrieval = "--task" in self.options
        return "--recognise" in self.options or (self.script in phases and not retrieval)

    @property
    def trained(self) -> bool:
        """Whether it is trained in epochs."""
        return self.script.startswith("train_") or self.method.startswith("LSTM")

    @property
    def positions(self) -> str:
        """Whether it sees where a person stands before the sensor, or centred skeletons alone."""
        absolute = self.method.startswith(("AGE", "session", "SGELA"))
        return "-" if not self.script else "absolute" if absolute else "centred"


def _declared() -> tuple[dict[str, tuple[Column, ...]], dict[str, tuple[Row, ...]]]:
    """Columns and rows by table."""
    content = yaml.safe_load(Path(__file__).with_name("experiments.yaml").read_text())
    columns, rows = {}, {}
    for table, own in content["tables"].items():
        data = own["columns"]
        if not isinstance(data, dict):
            data = {name: content["columns"][name] for name in data}
        columns[table] = tuple(Column(str(name), *where) for name, where in data.items())
        rows[table] = tuple(Row(name, command) for name, command in own["rows"].items())
    return columns, rows


COLUMNS, ROWS = _declared()
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
        return words + self.row.options + (self.row.again.split() if self.needs else [])

    @property
    def needs(self) -> "list[Job]":
        """The run whose encoder this one uses, which comes before it, if there is one."""
        row, column = self.row, self.column
        name, data = row.source
        if name:
            row = next(row for row in ROWS[self.table] if row.name == name)
            column = next((c for c in COLUMNS["recognition"] if c.name == data), column)
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


def plan(tables: Names, names: Names, chosen: Names, seeds: int, thin: bool = False) -> list[Cell]:
    """The cells of the tables, for these data sets and the chosen methods.

    seeds: 0 ... seeds - 1. thin: of each table the first column, of each method run the first row.
    """
    cells: dict[tuple, Cell] = {}
    for table in tables:
        columns = [column for column in COLUMNS[table] if column.dataset in names]
        for row in (row for row in rows_of(table) if row.method in chosen):
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
