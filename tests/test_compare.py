"""Runs side by side: which are averaged, what tells the others apart, and their table."""

import re
import shutil
from statistics import mean, stdev

import pytest
from commands import error_of, run

from skeleton_reid.pictures import comparison
from skeleton_reid.pictures.runs import SavedRun


@pytest.fixture
def saved(tmp_path):
    """saved(seed, top1, **record): a run that is done, of SimMC on KS20."""
    def save(seed: int, top1: float, folder: str = "", **record) -> SavedRun:
        run = SavedRun(tmp_path / (folder or f"seed{seed}"), tmp_path)
        figures = {"top1": top1, "top5": 0.8, "top10": 0.9, "mAP": 0.2}
        own = {"method": "SimMC", "dataset": "KS20", "probe": "probe", "length": 6}
        own |= {"protocol": "full", "seed": seed, "supervision": "none", "revision": "a" * 40}
        own |= {"settings": {"eps": 0.8}, "data": {"simulated": False, "digest": "12ab"}}
        own |= {"best": {**figures, "epoch": 7 + seed}, "last": {**figures, "top1": 0.1}}
        own |= {"untrained": figures, "baselines": {"D-13": figures, "D-16": {"missing": "joints"}}}
        vars(run)["content"] = own | record
        return run

    return save


def test_runs_that_differ_by_the_seed_alone_are_averaged(saved):
    runs = [saved(seed, 0.5 + seed / 10) for seed in range(3)]
    (group,) = comparison.group(runs)
    assert group == ("SimMC", runs)
    rows = {(row["section"], row["method"]): row for row in comparison.score([group])}
    best, shares = rows["best", "SimMC"], [0.5, 0.6, 0.7]
    assert best["top1"] == pytest.approx(mean(shares))
    assert best["top1_std"] == pytest.approx(stdev(shares))
    assert (best["runs"], best["epoch"], best["supervision"]) == (3, "7-9", "none")
    assert rows["published", "SimMC, published"]["top1"] == pytest.approx(0.664)
    assert ("baselines", "D-13") in rows and ("baselines", "D-16") not in rows


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"settings": {"eps": 0.5}}, ("eps 0.8", "eps 0.5")),
        ({"settings": {}}, ("eps 0.8", "")),  # as if made before there was such a setting
        ({"data": {"simulated": False, "digest": "34cd"}},
         ("data digest 12ab", "data digest 34cd")),
        ({"dataset": "IAS", "data": {"simulated": False, "digest": "34cd"}},
         ("dataset KS20", "dataset IAS")),
        ({"revision": "b" * 40}, ("revision aaaaaaa…", "revision bbbbbbb…")),
        ({"revision": "a" * 40 + "-dirty"}, ("revision aaaaaaa…", "revision aaaaaaa…dirty")),
        ({"changes": "0f"}, ("", "changes 0f")),
        ({"epoch_limit": 5}, ("", "epoch_limit 5")),
        ({"name": "with hands"}, (None, None)),
        ({"supervision": "tracklets"}, (None, None))
    ])
def test_other_runs_stand_alone_and_say_what_differs(saved, other, words):
    """Whatever their seeds are."""
    groups = comparison.group([saved(0, 0.5), saved(1, 0.6, **other)])
    labels = ["SimMC", {"name": "with hands"}.get(next(iter(other)), "SimMC")]
    if words == (None, None):
        labels[1] = other.get("name", "SimMC (tracklets)")
    else:
        labels = [", ".join(filter(None, each)) for each in zip(labels, words, strict=True)]
    assert [group.label for group in groups] == labels
    assert [row["runs"] for row in comparison.score(groups) if row["section"] == "best"] == [1, 1]


def test_runs_of_one_seed_are_never_averaged(saved):
    """Something that is not recorded tells them apart."""
    runs = [saved(0, 0.5, "first"), saved(1, 0.6, "second"), saved(0, 0.7, "third")]
    labels = [group.label for group in comparison.group(runs)]
    assert labels == [f"SimMC ({run.folder})" for run in runs]


def test_the_gpu_is_no_difference(saved):
    assert len(comparison.group([saved(0, 0.5, device="cuda:0"),
                                 saved(1, 0.5, device="cuda:1")])) == 1
    assert len(comparison.group([saved(0, 0.5, device="cuda:0"), saved(1, 0.5, device="cpu")])) == 2


def test_nothing_is_published_for_simulated_data_or_other_supervision(saved):
    for other in ({"data": {"simulated": True}}, {"supervision": "tracklets"}, {"length": 8}):
        rows = comparison.score(comparison.group([saved(0, 0.5, **other)]))
        assert "published" not in {row["section"] for row in rows}
    simulated = comparison.group([saved(0, 0.5, data={"simulated": True})])
    (title,) = comparison.by_table(comparison.score(simulated))
    assert title == "Retrieval: KS20 (simulated), probe, f = 6"


def test_cells(saved):
    groups = comparison.group([saved(0, 0.5), saved(1, 0.7), saved(2, 0.4, name="a_b & $c")])
    rows = comparison.score(groups, ("published", "best"))
    published, ours, named = comparison.cells(rows, "markdown")
    assert ours == {
        "method": "SimMC", "supervision": "none", "epoch": "7-8", "runs": "2",
        "top-1": "**60.0 ± 14.1**", "top-5": "**80.0**", "top-10": "**90.0**", "mAP": "**20.0**"
    }  # fmt: skip
    assert (published["top-1"], named["top-1"], named["method"]) == ("66.4", "40.0", "a_b & $c")
    lines = comparison.latex(comparison.cells(rows, "latex")).splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrrrrr}" and lines[-1] == r"\end{tabular}"
    assert (r"SimMC & \textbf{60.0 $\pm$ 14.1} & \textbf{80.0} & \textbf{90.0} & \textbf{20.0} & "
            r"none & 7-8 & 2 \\") in lines
    assert lines[-3].startswith(r"a\_b \& \$c & 40.0 & ")
    (page,) = comparison.cells(rows[2:], "html")
    assert page["top-1"] == "<b>40.0</b>" and hasattr(page["top-1"], "__html__")


@pytest.mark.parametrize(
    ("form", "line"),
    [((), r"SimMC +\d+\.\d\*? .* none +\d +1"), (("--latex",), r"SimMC & .* & none & \d & 1 \\\\"),
     (("--markdown",), r"\| SimMC \| .* \| none \| \d \| 1 \|"),
     (("--csv",), r'Retrieval,"KS20, probe, f = 6",best,SimMC,none,0\.\d+,.*'),])  # fmt: skip
def test_the_command(once, capsys, form, line):
    training, result = once("SimMC", "--epochs", 2)
    capsys.readouterr()
    assert run("compare", training.path(), *form) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.fullmatch(line, each) for each in lines)
    assert max(map(len, lines)) <= 80 or form
    assert f"{100 * result['best']['top1']:.1f}" in "".join(lines) or form == ("--csv",)


def test_a_seed_that_is_named_beside_its_run_counts_once(training, capsys):
    train = training("SimMC")
    assert run(train.script.name, *train.words("--epochs", 1, "--seeds", 2)) == 0
    capsys.readouterr()
    printed = []
    for more in ((), (train.path("seed-1"), train.path("..", "probe"))):
        assert run("compare", train.path(), *more) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and " ± " in printed[0]


def test_the_command_without_a_run_that_is_done(once, tmp_path, capsys):
    training, _ = once("SimMC", "--epochs", 2)
    shutil.copy(training.path("run.json"), tmp_path)
    assert "expected runs that are done, found none" in error_of(capsys, "compare", tmp_path)
    assert run("compare", training.path(), tmp_path) == 0
    assert capsys.readouterr().err == f"warning: left out, as they are not done: {tmp_path}\n"
