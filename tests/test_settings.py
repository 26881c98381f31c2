"""The settings of a run: the table's, unless the command line says otherwise, and what may change
on --resume.
"""

import importlib
import sys

import numpy as np
import pytest
from commands import error_of, run

from data.datasets import DATASETS
from engine import settings

SCRIPTS = {
    "SimMC": ("train_simmc", settings.SIMMC_DEFAULT),
    "DF": ("train_df", settings.DF_DEFAULT),
    "AGE": ("train_age", settings.AGE_DEFAULT),
    "SM-SGE": ("train_smsge", settings.SMSGE_DEFAULT),
}


@pytest.mark.parametrize("method", SCRIPTS)
def test_options_that_are_not_given_leave_the_table_alone(method, monkeypatch):
    script, default = SCRIPTS[method]
    words = ("--dataset", "KS20") + (("--source", "X.npz") if method == "DF" else ())
    monkeypatch.setattr(sys, "argv", [script, *words])
    args = vars(importlib.import_module(script).parse_arguments())
    assert {name: args.get(name) for name in default} == dict.fromkeys(default)
    chosen = settings.choose(method, "full", "KS20", args["probe"], args)
    monkeypatch.setattr(sys, "argv", [script, *words, "--lr", "0.25", "--no-balance"])
    given = vars(importlib.import_module(script).parse_arguments())
    assert settings.choose(method, "full", "KS20", given["probe"], given) == chosen | {
        "lr": 0.25,
        "balance": False,
    }


@pytest.mark.parametrize("name", DATASETS)
def test_the_second_mask_of_simmc_is_the_first_one_s_size_unless_given(name):
    probe = next(iter(DATASETS[name].gallery_of))
    chosen = settings.choose("SimMC", "full", name, probe, {})
    assert chosen["mask_x_2"] == chosen["mask_x"] == (10 if name == "CASIA_B" else 2)
    assert settings.choose("SimMC", "full", name, probe, {"mask_x": 3})["mask_x_2"] == 3
    assert settings.choose("SimMC", "full", name, probe, {"mask_x_2": 0})["mask_x_2"] == 0


@pytest.mark.parametrize(
    ("script", "option", "small"),
    [
        ("train_age", "--balance", ("--hidden", 4)),
        ("train_smsge", "--no-balance", ("--D_h", 4, "--P", 1, "--scales", "B")),
    ],
)
def test_a_run_is_not_gone_on_with_in_another_order(
    tmp_path, write_dataset, capsys, script, option, small
):
    """--balance decides which sequences are trained, in which order."""
    write_dataset(tmp_path / "data", "IAS", 4, 3, 8, np.random.RandomState(0))
    words = (
        "--dataset",
        "IAS",
        "--length",
        4,
        "--data",
        tmp_path / "data",
        "--out",
        tmp_path / "out",
    )
    words += (*small, "--task", "retrieval", "--batch_size", 12, "--quiet")
    assert run(script, *words, "--epochs", 1) == 0
    error = error_of(capsys, script, *words, "--epochs", 2, "--resume", option)
    assert "balance" in error
    assert run(script, *words, "--epochs", 2, "--resume") == 0
