"""Tables of reproduced figures beside the published ones, against a small case by hand."""

import csv
import json

import pytest
from commands import run

from skeleton_reid.reproduction import tables as comparison
from skeleton_reid.reproduction.experiments import plan

(CELL,) = plan(["retrieval"], ["KS20"], ["SimMC"], seeds=1)
(CELL3,) = plan(["retrieval"], ["KS20"], ["SimMC"], seeds=3)


def record(best: float, last: float, epoch: int, simulated: bool = False) -> dict:
    def figures(share: float) -> dict:
        return {"top1": share, "top5": share + 0.1, "top10": share + 0.2, "mAP": share / 2}

    result = {
        **figures(best), "best": figures(best) | {"epoch": epoch}, "last": figures(last),
        "untrained": figures(0.3), "settings": {"lr": 0.1}, "data": {"simulated": simulated}
    }  # fmt: skip
    made_by = {"machine": "a machine", "device": "cpu"}
    return {"key": {"epochs": None}, "seconds": 90.0, "made_by": made_by, "result": result}


def test_table_by_hand(tmp_path):
    outcomes = {0: record(0.60, 0.50, 7), 1: "failed: x", 2: record(0.70, 0.60, 9)}
    entry = comparison.compare(CELL, outcomes)
    assert entry.published == [66.4, 80.7, 87.0, 22.3]
    assert entry.best == pytest.approx([65, 75, 85, 32.5])
    assert entry.spread == pytest.approx([50**0.5, 50**0.5, 50**0.5, 12.5**0.5])
    assert entry.last == pytest.approx([55, 65, 75, 27.5])
    assert entry.difference == pytest.approx([-1.4, -5.7, -2.0, 10.2])
    assert entry.untrained == pytest.approx([30, 40, 50, 15])
    comparison.write_all(tmp_path, [CELL3], {job.path: outcomes[job.seed] for job in CELL3.jobs})
    text = (tmp_path / "retrieval.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| SimMC"))
    assert line == (
        "| SimMC | 66.4/80.7/87.0/22.3 | 65.0±7.1/75.0±7.1/85.0±7.1/32.5±3.5 | "
        "-1.4/-5.7/-2.0/+10.2 | 55.0/65.0/75.0/27.5 | 30.0/40.0/50.0/15.0 | 7, 9 | 0, 2 | "
        "0:03:00 | centred | seed 1: failed: x |")
    assert "simulated" not in text.replace("simulated False", "")
    assert "Machine: a machine." in text and "- SimMC: lr 0.1" in text
    lines = list(csv.DictReader((tmp_path / "retrieval.csv").read_text().splitlines()))
    assert [line["metric"] for line in lines] == ["top1", "top5", "top10", "mAP"]
    assert float(lines[3]["difference"]) == pytest.approx(10.2)
    assert (lines[0]["seeds"], lines[0]["seconds"]) == ("0 2", "180.0")
    content = json.loads((tmp_path / "retrieval.json").read_text())
    assert content["entries"][0]["best"] == entry.best


def test_simulated_figures_say_so_and_have_no_difference(tmp_path):
    entry = comparison.compare(CELL, {0: record(0.60, 0.50, 7, simulated=True)})
    assert entry.simulated and entry.difference is None and entry.spread is None
    text = comparison.as_markdown([entry])
    assert "## KS20 (simulated data: not comparable with published figures)" in text
    assert "best, simulated" in text and "untrained, simulated" in text


def test_a_cap_of_epochs_is_noted():
    capped = record(0.60, 0.50, 2)
    capped["key"]["epochs"] = 2
    assert comparison.compare(CELL, {0: capped}).note == "epochs capped at 2"


def test_a_row_that_is_published_only():
    (cell,) = (c for c in plan(["retrieval"], ["KS20"], ["published"], 1)
               if c.row.name == "PoseGait")
    text = comparison.as_markdown([comparison.compare(cell, {})])
    dashes = " | ".join("-" * 8)
    assert f"| PoseGait | 49.4/80.9/90.2/23.5 | {dashes} | published, not run here |" in text


def test_figures_of_a_split_among_several():
    tests = {
        name: {"best": {"rank1": share}, "last": {"rank1": 0.1}}
        for name, share in (("A", 0.5), ("B", 0.6))
    }
    assert comparison.figures({"tests": tests, "rank1": 0.5}, "B")["best"] == {"rank1": 0.6}
    baseline = {"top1": 0.2}
    assert comparison.figures(baseline,
                              "A") == {"best": baseline, "last": baseline, "untrained": None}


def test_sizes(tmp_path, capsys):
    assert run("reproduce", "--tables", "sizes", "--out", tmp_path) == 0
    rows = {e["row"]: e for e in json.loads((tmp_path / "sizes.json").read_text())["entries"]}
    assert rows["SimMC"]["encoder"] == (60 + 1) * 256 + 2 * (256 + 1) * 256
    assert rows["SM-SGE"]["encoder"] + rows["SM-SGE"]["network"] == 5_582_030  # published: 5.58 M
    assert rows["SM-SGE"]["published"] == [5.58, 22.61]
    for name, width in (("SM-SGE", 592), ("SGELA", 768), ("MG-SCR", 160)):  # numbers a frame
        assert rows[f"{name} + SimMC"]["network"] == (width + 1) * 256 + 2 * (256 + 1) * 256
    assert rows["SimMC"]["operations"] == 2 * 6 * (60 * 256 + 256 * 256)
    assert "| SimMC | 147,200 | 0 | 147,200 |" in (tmp_path / "sizes.md").read_text()
    assert len((tmp_path / "sizes.csv").read_text().splitlines()) == 1 + len(rows)
