"""Tables of reproduced figures beside the published ones, against a small case by hand."""

import csv
import json

import pytest
from commands import run

from skeleton_reid.reproduction import tables as comparison
from skeleton_reid.reproduction.experiments import jobs, plan


def entry(*outcomes: dict | str, **more) -> dict:
    """SimMC's on KS20, of outcomes by seed."""
    ((cell, own),) = plan(["retrieval"], ["KS20"], ["SimMC"], len(outcomes), **more).items()
    by_run = {job.folder: outcome for job, outcome in zip(own, outcomes, strict=True)}
    return comparison.compare(*cell, own, by_run)


def record(best: float, last: float, epoch: int, simulated: bool = False) -> dict:
    def figures(share: float) -> dict:
        return {"top1": share, "top5": share + 0.1, "top10": share + 0.2, "mAP": share / 2}

    result = {
        **figures(best), "best": figures(best) | {"epoch": epoch}, "last": figures(last),
        "untrained": figures(0.3), "settings": {"lr": 0.1}, "data": {"simulated": simulated}
    }  # fmt: skip
    made_by = {"machine": "a machine", "device": "cpu"}
    return {"seconds": 90.0, "made_by": made_by, "result": result}


def test_table_by_hand(tmp_path):
    outcomes = (record(0.60, 0.50, 7), "failed: x", record(0.70, 0.60, 9))
    own = entry(*outcomes)
    assert own["published"] == [66.4, 80.7, 87.0, 22.3]
    assert own["best"] == pytest.approx([65, 75, 85, 32.5])
    assert own["spread"] == pytest.approx([50**0.5, 50**0.5, 50**0.5, 12.5**0.5])
    assert own["last"] == pytest.approx([55, 65, 75, 27.5])
    assert own["difference"] == pytest.approx([-1.4, -5.7, -2.0, 10.2])
    assert own["untrained"] == pytest.approx([30, 40, 50, 15])
    cells = plan(["retrieval"], ["KS20"], ["SimMC"], seeds=3)
    by_run = {job.folder: outcome for job, outcome in zip(jobs(cells), outcomes, strict=True)}
    comparison.write_all(tmp_path, cells, by_run)
    text = (tmp_path / "retrieval.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| SimMC"))
    assert line == (
        "| SimMC | 66.4/80.7/87.0/22.3 | 65.0±7.1/75.0±7.1/85.0±7.1/32.5±3.5 | "
        "-1.4/-5.7/-2.0/+10.2 | 55.0/65.0/75.0/27.5 | 30.0/40.0/50.0/15.0 | 7, 9 | 0, 2 | "
        "0:03:00 | centred | failed: x |")
    assert "simulated" not in text.replace("simulated False", "")
    assert "Machine: a machine." in text and "\n- SimMC: lr 0.1\n" in text
    assert "\nData: simulated False.\n" in text
    lines = list(csv.DictReader((tmp_path / "retrieval.csv").read_text().splitlines()))
    assert [line["metric"] for line in lines] == ["top1", "top5", "top10", "mAP"]
    assert float(lines[3]["difference"]) == pytest.approx(10.2)
    assert (lines[0]["seeds"], lines[0]["seconds"]) == ("0 2", "180.0")
    content = json.loads((tmp_path / "retrieval.json").read_text())
    assert content["entries"] == [own]


def test_simulated_figures_say_so_and_have_no_difference(tmp_path):
    own = entry(record(0.60, 0.50, 7, simulated=True))
    assert own["simulated"] and own["difference"] is None and own["spread"] is None
    comparison.write(tmp_path, "retrieval", [own], [], "table.md.jinja")
    text = (tmp_path / "retrieval.md").read_text()
    assert "## KS20 (simulated data: not comparable with published figures)" in text
    assert "best, simulated" in text and "untrained, simulated" in text


def test_what_is_missing_and_a_cap_of_epochs_are_noted():
    assert entry(record(0.60, 0.50, 2), epochs=2)["note"] == "epochs capped at 2"
    assert entry({}, {"seconds": 1.0}, "failed: x")["note"] == "not run yet; failed: x"


def test_a_row_that_is_published_only(tmp_path):
    cells = plan(["retrieval"], ["KS20"], ["published"], 1)
    comparison.write_all(tmp_path, cells, {})
    dashes = " | ".join("-" * 8)
    row = f"| PoseGait | 49.4/80.9/90.2/23.5 | {dashes} | published, not run here |"
    assert row in (tmp_path / "retrieval.md").read_text()


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
