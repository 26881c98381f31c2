"""The settings of a run: the table's, unless the command line says otherwise, and what may change
on --resume.
"""

import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from commands import error_of, run

from skeleton_reid.data.datasets import DATASETS
from skeleton_reid.engine.methods import METHODS
from skeleton_reid.engine.options import PROTOCOLS
from skeleton_reid.engine.parsing import parse_training


@pytest.mark.parametrize("method", METHODS)
def test_the_command_line_wins_over_the_published_settings(method, monkeypatch):
    words = ("--dataset", "KS20", *(("--source", "AGE") if method == "DF" else ()))
    monkeypatch.setattr(sys, "argv", [method, *words])
    published = parse_training("", method).settings
    assert published == METHODS[method].choose("full", "KS20", "probe", {})
    monkeypatch.setattr(sys, "argv", [method, *words, "--lr", "0.25", "--batch_size", "7"])
    parsed = parse_training("", method)
    assert parsed.settings == replace(published, lr=0.25, batch_size=7)
    with pytest.raises(FrozenInstanceError):
        parsed.seed = 1


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", DATASETS)
def test_every_published_setting_is_a_field_and_every_key_a_data_set_and_probe(
        method, protocol, name):
    probes = (*DATASETS[name].gallery_of, "test")
    for probe in probes:
        options = method.options(length=DATASETS[name].default_length, protocol=protocol,
                                 **{"source": "AGE"} if method.name == "DF" else {})
        method.choose(protocol, name, probe, {}).check(options)
    for table in (method.published, method.released):
        for key, values in table.items():
            assert set(values) <= method.settings.__dataclass_fields__.keys()
            assert not key or key[0] in DATASETS
            assert key[:1] != (name,) or key[1:] == () or key[1] in probes


def test_help_shows_the_published_value_of_the_data_set(monkeypatch, capsys):
    for name, value in (("KS20", "0.8"), ("KGBD", "0.6")):
        monkeypatch.setattr(sys, "argv", ["train_simmc.py", "--dataset", name, "--help"])
        with pytest.raises(SystemExit):
            parse_training("What it does.", "SimMC")
        said = " ".join(capsys.readouterr().out.split())
        assert said.count("What it does.") == 1
        assert f"published settings of {name}" in said
        assert f"Jaccard distance of neighbours ({value})" in said


@pytest.mark.parametrize("name", DATASETS)
def test_the_second_mask_of_simmc_is_the_first_one_s_size_unless_given(name):
    probe = next(iter(DATASETS[name].gallery_of))
    published = METHODS["SimMC"].choose("full", name, probe, {})
    assert published.mask_x_2 == published.mask_x == (10 if name == "CASIA_B" else 2)
    assert METHODS["SimMC"].choose("full", name, probe, {"mask_x": 3}).mask_x_2 == 3
    assert METHODS["SimMC"].choose("full", name, probe, {"mask_x_2": 0}).mask_x_2 == 0


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
