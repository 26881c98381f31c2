"""The settings of a run: the table's, unless the command line says otherwise, and what may change
on --resume.
"""

import importlib
import sys
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
from commands import error_of, run

from skeleton_reid.data.datasets import DATASETS
from skeleton_reid.engine import options, settings

SCRIPTS = {
    "SimMC": ("train_simmc", "SimMCOptions"), "DF": ("train_df", "RetrievalOptions"),
    "AGE": ("train_age", "PhaseOptions"), "SM-SGE": ("train_smsge", "SMSGEOptions")
}


@pytest.mark.parametrize("method", SCRIPTS)
def test_the_command_line_wins_over_the_published_settings(method, monkeypatch):
    script, declared = SCRIPTS[method]
    declared = getattr(importlib.import_module(script), declared)
    words = ("--dataset", "KS20")
    monkeypatch.setattr(sys, "argv", [script, *words])
    published = options.parse_training("", method, declared).settings
    assert published == settings.choose(method, "full", "KS20", "probe", {})
    monkeypatch.setattr(sys, "argv", [script, *words, "--lr", "0.25", "--no-balance"])
    parsed = options.parse_training("", method, declared)
    assert parsed.settings == replace(published, lr=0.25, balance=False)
    with pytest.raises(FrozenInstanceError):
        parsed.seed = 1


@pytest.mark.parametrize("method", SCRIPTS)
@pytest.mark.parametrize("protocol", settings.PROTOCOLS)
@pytest.mark.parametrize("name", DATASETS)
def test_every_published_setting_is_a_field(method, protocol, name):
    for probe in (*DATASETS[name].gallery_of, "test"):
        settings.choose(method, protocol, name, probe, {})
    names = {each.name for each in fields(settings.SETTINGS[method])}
    for table in (settings.PUBLISHED, settings.RELEASED):
        assert all(set(row) <= names for key, row in table.items() if key[0] == method)


def test_help_shows_the_published_value_of_the_data_set(monkeypatch, capsys):
    for name, value in (("KS20", "0.8"), ("KGBD", "0.6")):
        monkeypatch.setattr(sys, "argv", ["train_simmc.py", "--dataset", name, "--help"])
        with pytest.raises(SystemExit):
            options.parse_training("What it does.", "SimMC", options.TrainingOptions)
        said = " ".join(capsys.readouterr().out.split())
        assert said.count("What it does.") == 1
        assert f"published settings of {name}" in said
        assert f"Jaccard distance of neighbours ({value})" in said


@pytest.mark.parametrize("name", DATASETS)
def test_the_second_mask_of_simmc_is_the_first_one_s_size_unless_given(name):
    probe = next(iter(DATASETS[name].gallery_of))
    published = settings.choose("SimMC", "full", name, probe, {})
    assert published.mask_x_2 == published.mask_x == (10 if name == "CASIA_B" else 2)
    assert settings.choose("SimMC", "full", name, probe, {"mask_x": 3}).mask_x_2 == 3
    assert settings.choose("SimMC", "full", name, probe, {"mask_x_2": 0}).mask_x_2 == 0


@pytest.mark.parametrize(("script", "option", "small"),
                         [("train_age", "--balance", ("--hidden", 4)),
                          ("train_smsge", "--no-balance", ("--D_h", 4, "--P", 1, "--scales", "B"))])
def test_a_run_is_not_gone_on_with_in_another_order(tmp_path, write_dataset, capsys, script, option,
                                                    small):
    """--balance decides which sequences are trained, in which order."""
    write_dataset(tmp_path / "data", "IAS", 4, 3, 8, np.random.RandomState(0))
    words = ("--dataset", "IAS", "--length", 4, "--data", tmp_path / "data", "--out",
             tmp_path / "out")
    words += (*small, "--task", "retrieval", "--batch_size", 12, "--quiet")
    assert run(script, *words, "--epochs", 1) == 0
    error = error_of(capsys, script, *words, "--epochs", 2, "--resume", option)
    assert "balance" in error
    assert run(script, *words, "--epochs", 2, "--resume") == 0
