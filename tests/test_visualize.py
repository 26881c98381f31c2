"""visualize.py: runs of every method in one report, what is left out, and the page in a browser."""

import base64
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import error_of, run
from PIL import Image

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.skeleton import adjacency, get
from skeleton_reid.models.himpc import contrast
from skeleton_reid.pictures import figures
from skeleton_reid.pictures.comparison import Group
from skeleton_reid.pictures.plots import training, tsne, walk
from skeleton_reid.pictures.runs import SavedRun
from skeleton_reid.reid import cluster_quality, ranking

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ("--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom")  # fmt: skip
# How large every picture is, how many traces every plot has, the walker at two times, and what
# a switch leaves to see.
MEASURE = """<script type="module">
  const plots = [...document.querySelectorAll(".plot")]
  while (!plots.every(plot => plot.data)) await new Promise(done => setTimeout(done, 50))
  const walker = plots.find(plot => plot.data[0].type === "scatter3d")
  const poses = [[...walker.data[0].x]]
  await new Promise(done => setTimeout(done, 500))
  poses.push([...walker.data[0].x])
  const sizes = [...document.images].map(image => [image.naturalWidth, image.naturalHeight])
  const traces = plots.map(plot => plot.data.length)
  document.querySelector("button[data-run]").click()
  const shown = plots.flatMap(plot => plot.data).filter(trace => trace.visible !== false)
  const left = [...new Set(shown.map(trace => trace.meta ?? "-"))].sort()
  const figures = [...document.querySelectorAll("figure[data-run]")].map(figure => figure.hidden)
  const found = {sizes, poses, traces, left, figures}
  document.body.textContent = "FOUND" + JSON.stringify(found) + "END"
</script>"""


@pytest.fixture(scope="module")
def runs(once):
    """A small run of each method that has pictures of its own."""
    found = {}
    for method in ("AGE", "SM-SGE", "SimMC"):
        training, _ = once(method, "--epochs", 2)
        found[method] = SavedRun(training.path(), training.data)
    return found


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    """The folder with a report of the runs on IAS, whose data are the same."""
    out = tmp_path_factory.mktemp("report")
    folders = [runs[method].folder for method in ("AGE", "SM-SGE")]
    assert run("visualize", *folders, "--data", runs["AGE"].data, "--out", out) == 0
    return out


def changed(own: SavedRun, **content) -> SavedRun:
    """The same run with other results."""
    other = SavedRun(own.folder, own.data)
    other.content.update(content)
    return other


def pictures(out: Path) -> dict[str, Image.Image]:
    """The pictures beside the page by name; those in the page must be the same."""
    page = (out / "report.html").read_text()
    for name, data in re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)"', page):
        assert (out / f"{name}.png").read_bytes() == base64.b64decode(data)
    return {path.stem: Image.open(path).convert("RGB") for path in out.glob("*.png")}


def plots(out: Path) -> dict[str, list[dict]]:
    """The plots of the page by figure."""
    page = (out / "report.html").read_text()
    found = {}
    for name, figure in re.findall(r'<figure id="([^"]*)-figure"(.*?)</figure>', page, re.DOTALL):
        texts = re.findall(r'<script type="application/json">(.*?)</script>', figure)
        found |= {name: [json.loads(text) for text in texts]} if texts else {}
    return found


def test_every_picture_is_in_the_page_and_has_marks(report):
    found = pictures(report)
    each = ("ranked-lists", "worst-probes")
    names = {f"{name}-{number}" for name in each for number in (1, 2)} | {"relations-2"}
    assert found.keys() == names
    for name, picture in found.items():
        marks = (np.asarray(picture) < 200).any(axis=2).mean()
        assert 0.004 < marks < 0.8, (name, marks)
    page = (report / "report.html").read_text()
    assert plots(report).keys() == {"training", "cmc", "attention", "walk", "tsne-1", "tsne-2"}
    assert "left out" not in page and len(page) < 4e6
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    for anchor in re.findall(r'href="#([^"]*)"', page):
        assert f'id="{anchor}"' in page


def words(page: str) -> str:
    """The text of a page, with | for every tag."""
    return re.sub(r"<[^>]*>", "|", page)


def test_table(report, runs):
    text = words((report / "report.html").read_text())
    assert "|Recognition: IAS, A|" in text and "|Recognition: IAS, B|" in text  # of the cards
    for method in ("AGE", "SM-SGE"):
        own = runs[method].content
        for test, part, key in (("A", own["retrieval"], "top1"), ("B", own["tests"]["B"], "rank1")):
            kind = "Retrieval" if key == "top1" else "Recognition"
            table = text.split(f"{kind}: IAS, {test}, f = 6")[1]
            row = table.split("|Methods, best epoch|")[1].split(f"|{method}||")[1]
            assert row.strip("|").startswith(f"{100 * part['best'][key]:.1f}|"), (method, row[:50])


def test_the_page_says_how_a_run_is_made(report, runs):
    text = html.unescape(words((report / "report.html").read_text()))
    for method in ("AGE", "SM-SGE"):
        assert runs[method].content["command"] in text
    assert "|attention| LA|" in text and "|scales| IJPB|" in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_page_in_a_browser(report, tmp_path):
    """No error on the console, pictures of their sizes, plots, a walker, a switch for each run."""
    page = tmp_path / "measured.html"
    page.write_text((report / "report.html").read_text() + MEASURE)
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}",
         page.as_uri()], capture_output=True, text=True, timeout=300)
    assert not re.search("CONSOLE.*Error", done.stderr)
    found = json.loads(re.search(r"FOUND(.*?)END", done.stdout)[1])
    sizes = {tuple(size) for size in found["sizes"]}
    assert sizes <= {picture.size for picture in pictures(report).values()} and len(sizes) > 1
    assert found["traces"] == [len(own["data"]) for each in plots(report).values() for own in each]
    first, second = found["poses"]
    assert first != second and len(first) == len(second)
    assert found["left"] == ["-", 1] or found["left"] == [1, "-"]
    assert found["figures"] == [True, False] * (len(found["figures"]) // 2) + [False]


def test_seeds_are_a_mean_with_a_band(runs):
    """Up to the end of the shorter run."""
    own = runs["SimMC"]
    other = changed(own, seed=1)
    table = own.histories[""].copy()
    table["top1"] += 0.1
    vars(other)["histories"] = {"": table[:2]}
    (plot,) = [each for each in training([Group("SimMC", (own, other))]) if titled(each) == "top-1"]
    line, band = plot["data"]
    assert plot["layout"]["xaxis"]["title"]["text"] == "epoch" and line["x"] == [0, 1]
    assert plot["layout"]["yaxis"]["title"]["text"] == "%"
    np.testing.assert_allclose(line["y"], 100 * own.histories[""]["top1"][:2] + 5)
    np.testing.assert_allclose(band["y"][:2], np.array(line["y"]) + 10 / 2**0.5)
    np.testing.assert_allclose(band["y"][:1:-1], np.array(line["y"]) - 10 / 2**0.5)


def titled(plot: dict) -> str:
    return plot["layout"]["title"]["text"]


def test_a_column_of_zeros_has_no_plot(runs):
    table = runs["SimMC"].histories[""].copy()
    table["clusters_1"] = table["clusters_2"] = 0
    other = changed(runs["SimMC"])
    vars(other)["histories"] = {"": table}
    titles = [titled(plot) for plot in training([Group("SimMC", (other,))])]
    assert "clusters" not in titles and "AMI" in titles


def test_points_and_lists_carry_the_names_of_persons(runs):
    own = changed(runs["SimMC"])
    sets = replace(own.encoded.sets, names={0: "anna"})
    vars(own)["encoded"] = own.encoded._replace(sets=sets)
    (plot,) = tsne([Group("SimMC", (own,))])
    texts = [text for dots in plot["data"] for text in dots["text"]]
    assert {"anna, probe", "anna, gallery", "person 1, probe"} <= {*texts}
    (place,) = figures.ranked_lists([Group("SimMC", (own,))]).axes
    assert any(text.get_text().startswith("probe, anna") for text in place.texts)


@pytest.mark.parametrize("draw", [figures.ranked_lists, figures.worst_probes])
def test_every_title_says_that_data_are_simulated(runs, draw):
    own = changed(runs["SimMC"], data={"simulated": True})
    title = draw([Group("SimMC", (own,))]).get_suptitle()
    assert "KS20 (simulated), probe, f = 6" in title and ": SimMC" in title


@pytest.mark.parametrize("method", ["AGE", "SM-SGE", "SimMC"])
def test_ranks_are_those_of_the_results(runs, method):
    own, ranks = runs[method].content, runs[method].encoded.ranks
    for k in (1, 5, 10):
        assert (ranks <= k).mean() == pytest.approx(own.get("retrieval", own)["best"][f"top{k}"])


def test_ranked_lists_are_the_nearest(runs):
    """Persons, distances and colours against all distances at once."""
    encoded = runs["SimMC"].encoded
    (place,) = figures.ranked_lists([Group("SimMC", (runs["SimMC"],))]).axes
    texts = iter([(text.get_text(), text.get_color()) for text in place.texts])
    distances = torch.cdist(encoded.probe.double(), encoded.gallery.double()).numpy()
    persons = encoded.sets.gallery.labels
    for number in (0, 21, 42, 63):
        person = encoded.sets.probe.labels[number]
        first = encoded.ranks[number]
        assert next(texts)[0] == f"probe, person {person}\nfound at rank {first:.0f}"
        for other in np.argsort(distances[number])[:10]:
            right = persons[other] == person
            said, color = next(texts)
            assert said.startswith(f"{'✓' if right else '✗'} person {persons[other]}\ndistance ")
            assert float(said.split()[-1]) == pytest.approx(distances[number, other], rel=0.01)
            assert color == (figures.RIGHT if right else figures.WRONG)
    assert next(texts, None) is None


def test_worst_probes_are_those_found_last(runs):
    ranks = runs["SimMC"].encoded.ranks
    (place,) = figures.worst_probes([Group("SimMC", (runs["SimMC"],))]).axes
    said = [text.get_text() for text in place.texts[::11]]
    assert [int(each.split()[-1]) for each in said] == sorted(ranks.astype(int))[:-5:-1]


def test_walk_has_every_frame_of_a_person(runs):
    """8 windows of 6 frames; 24 bones of two ends and a gap, as high as 1."""
    (drawn,) = walk([Group("SimMC", (runs["SimMC"],))])
    poses = drawn["poses"]
    assert len(poses) == 48 and all(len(pose["x"]) == 3 * 24 for pose in poses)
    assert all(None not in pose["z"][:2] and pose["z"][2] is None for pose in poses)
    heights = [z for pose in poses for z in pose["z"] if z is not None]
    assert max(heights) - min(heights) == pytest.approx(1, abs=0.01)
    assert titled(drawn) == "person 0"


@pytest.mark.parametrize("joints", [14, 20, 25])
def test_bones(joints):
    found = {tuple(bone) for bone in get(joints).bone_numbers()}
    matrix = adjacency("J", joints)
    assert len(found) == joints - 1 and all(matrix[i, j] and i < j for i, j in found)


def test_importance_of_the_frames_is_that_of_hard_skeleton_mining(once):
    """Of the first probe, by the definition: the persons' mean features in the gallery as
    prototypes.
    """
    training, _ = once("Hi-MPC", "--epochs", 2)
    saved = SavedRun(training.path(), training.data, "cpu")
    texts = [
        text.get_text() for text in figures.importance([Group("Hi-MPC", (saved,))]).axes[0].texts
    ]
    model, sets = saved.encoded.model, saved.encoded.sets
    persons = np.unique(sets.gallery.labels)
    shown = []
    for level, probe in model.encode(torch.from_numpy(sets.probe.skeletons[:1])).items():
        u = model.encode(torch.from_numpy(sets.gallery.skeletons))[level].mean(dim=1)
        C = torch.stack([u[sets.gallery.labels == person].mean(dim=0) for person in persons])
        label = torch.tensor([list(persons).index(sets.probe.labels[0])])
        _, weights = contrast(probe, model.A[level], label, C, focus=1)
        shown.append([f"{level} {100 * w:.0f} %" for w in weights[:, 0].mean(dim=0)])
    assert len(texts) == 4 * sets.length
    assert texts[:sets.length] == ["\n".join(words) for words in zip(*shown, strict=True)]


@pytest.mark.parametrize("method", ["TranSG", "MoCos"])
def test_attention_of_joints(once, method):
    """Every head has the lines from each joint to the three that it attends to most."""
    training, _ = once(method, "--epochs", 2)
    saved = SavedRun(training.path(), training.data, "cpu")
    places = figures.joint_attention([Group(method, (saved,))]).axes
    model, sets = saved.encoded.model, saved.encoded.sets
    with torch.no_grad():
        x = torch.from_numpy(sets.probe.skeletons)
        weights = torch.stack(model.transformer(x,
                                                model.positions)[1]).mean(dim=(1, 2)).flatten(0, 1)
    assert len(places) == len(weights)
    for place, a in zip(places, weights.numpy(), strict=True):
        np.fill_diagonal(a, 0)
        alpha = place.collections[1].get_alpha().reshape(a.shape)
        strongest = a * (a >= np.sort(a, axis=1)[:, -3:][:, :1])
        np.testing.assert_allclose(alpha, strongest / strongest.max(), atol=1e-5)
    titles = [place.get_title() for place in places]
    assert ("layer 1, head 4: arms" in titles) == (method == "MoCos")


def test_relations_are_the_darker_the_stronger(runs):
    figure = figures.relations([Group("SM-SGE", (runs["SM-SGE"],))])
    titles = [place.get_title() for place in figure.axes if place.get_title()]
    assert len(titles) == 4 + 10 and titles[:2] == [
        "structural, I from I", "collaborative, I from I"
    ]
    nodes = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 1]])
    weights = np.array([[6, 2, 1, 3, 0.5], [0, 1, 0, 0, 0], [4, 1, 5, 0, 2]])
    place = figure.add_subplot()
    figures.draw_relation(place, nodes[:3], nodes, weights, "black", nodes[None, :2], "title")
    expected = np.array([[0, 2, 1, 3, 0], [0, 0, 0, 0, 0], [4, 1, 0, 0, 2]]) / 4
    np.testing.assert_allclose(place.collections[1].get_alpha(), expected.ravel())


def test_what_is_missing_is_left_out(runs, tmp_path, capsys):
    """No history, no results, no data: a sentence each."""
    folder = tmp_path / "run"
    folder.mkdir()
    for file in ("best.pt", "run.json"):
        shutil.copy(runs["SimMC"].path(file), folder)
    assert run("visualize", folder, "--data", tmp_path / "none") == 0
    assert capsys.readouterr().out == f"{folder / 'report' / 'report.html'}\n"
    page = (folder / "report" / "report.html").read_text()
    assert "training is left out: no history.csv" in page
    assert "The table is left out" in page
    for name in ("cmc", "walk", "tsne", "ranked-lists", "worst-probes"):
        assert f"{name} is left out: no KS20 data of length 6" in page
    assert [path.name for path in (folder / "report").iterdir()] == ["report.html"]


def test_a_probe_of_casia_b_is_a_run(tmp_path):
    own = SavedRun(tmp_path / "nm.nm", tmp_path)
    assert own.path("best.pt") == tmp_path / "nm.nm_best.pt"
    (tmp_path / "nm.nm_history.csv").write_text("epoch,top1\n0,\n1,0.5\n")
    history = own.histories[""]
    assert np.isnan(history["top1"][0]) and history["top1"][1] == 0.5


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [("other.txt", "", "expected a run with results.json or run.json, found neither"),
     ("results.json", '{"method": ', "results.json: expected what a training run says of itself"),
     ("run.json", "3", "run.json: expected what a training run says of itself"),
     ("run.json", '{"method": "SimMC"}', "found Object missing required field `dataset`"),
     ("run.json", '{"best": {"top1": "high"}}', "found Expected `float | null`, got `str`"),
     ("run.json", '{"baselines": 3}', "found Expected `object`, got `int`"),
     ("run.json", '{"name": [1]}', "found Expected `str | null`, got `array`"),
     ("run.json", '{"best": {"top1": NaN}}', "run.json: expected what a training run says")])
def test_what_is_no_run_is_refused(tmp_path, capsys, file, content, said):
    (tmp_path / file).write_text(content)
    assert said in error_of(capsys, "visualize", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("content", ["epoch,top1\n1,2,3\n", "1,0.5\n2,0.5\n"])
def test_a_damaged_history_is_refused(tmp_path, content):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(InputError, match=r"history\.csv: expected a line of figures an epoch"):
        training([Group("SimMC", (SavedRun(tmp_path, tmp_path),))])


def test_ranks_against_a_loop():
    rng = np.random.RandomState(4)
    probe, gallery = rng.normal(size=(30, 3)).round(), rng.normal(size=(50, 3)).round()
    probe_ids, gallery_ids = rng.randint(0, 6, size=30), rng.randint(1, 9, size=50)
    found, _ = ranking.ranks(probe, probe_ids, gallery, gallery_ids)
    for row, person, rank in zip(probe, probe_ids, found, strict=True):
        order = np.argsort(((gallery - row)**2).sum(axis=1), kind="stable")
        own = np.flatnonzero(gallery_ids[order] == person)
        assert rank == (own[0] + 1 if len(own) else np.inf)


def test_purity_and_sizes_against_a_loop():
    rng = np.random.RandomState(5)
    persons, clusters = rng.randint(0, 5, size=60), rng.randint(-1, 7, size=60)
    row = cluster_quality.metrics([clusters], torch.zeros(60, 2), persons, tight=False)
    members = [persons[clusters == c] for c in range(7)]
    sizes = [len(each) for each in members]
    assert (row["size_1"], row["largest_1"]) == (np.median(sizes), max(sizes))
    best = [max(np.sum(each == person) for person in range(5)) for each in members]
    assert row["purity_1"] == pytest.approx(sum(best) / sum(sizes))
    row = cluster_quality.metrics([np.full(60, -1)], torch.zeros(60, 2), persons, tight=False)
    assert "purity_1" not in row
