"""The report of runs: one HTML page that opens offline, and its pictures as files beside it."""

import base64
import gzip
import io
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from inspect import getdoc
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure
from PIL import Image
from plotly.offline import get_plotlyjs
from tqdm import tqdm

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import write_whole
from skeleton_reid.engine.results import as_csv, write_text
from skeleton_reid.pictures import comparison, figures, plots
from skeleton_reid.pictures.comparison import Group
from skeleton_reid.pictures.runs import SavedRun

# A picture is named like its function, whose docstring says what it shows. EACH: of every group of
# runs one. METHODS: that alone have it.
TOGETHER = (plots.training, plots.cmc, plots.attention, plots.walk)
EACH = (plots.tsne, figures.ranked_lists, figures.worst_probes, figures.relations,
        figures.importance, figures.joint_attention)
METHODS = {
    plots.attention: ("AGE",), figures.relations: ("SM-SGE",), figures.importance: ("Hi-MPC",),
    figures.joint_attention: ("TranSG", "MoCos")
}
HEADINGS = {"cmc": "Cumulative matching", "tsne": "Features by t-SNE"}  # else the function's name


def write(folders: Sequence[SavedRun], out: Path) -> Path:
    """Write the report of some runs, and its pictures, into `out`. Returns the report's path."""
    groups = comparison.group(folders)
    sections: dict[str, dict[str, Any]] = {}
    for draw in tqdm((*TOGETHER, *EACH), unit="picture", disable=None, leave=False):
        name = draw.__name__.replace("_", "-")
        heading = HEADINGS.get(name, name.replace("-", " ").capitalize())
        for number, own in enumerate([[g] for g in groups] if draw in EACH else [groups]):
            methods = [run.content["method"] for _, runs in own for run in runs]
            if draw not in METHODS or {*methods} & {*METHODS[draw]}:
                part = {"name": name, "group": number if draw in EACH else None}
                part["name"] += f"-{number + 1}" if draw in EACH and len(groups) > 1 else ""
                section = {"heading": heading, "says": getdoc(draw), "parts": []}
                part |= show(draw, own, out / f"{part['name']}.png")
                sections.setdefault(name, section)["parts"].append(part)
    rows = comparison.score(groups)
    page = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    html = page.get_template("report.html").render(
        title="; ".join(dict.fromkeys(run.data_title() for run in folders)), groups=groups,
        colors=plots.COLORS, date=datetime.now().isoformat(" ", "minutes"), sections=sections,
        tables=comparison.by_table(rows), headings=comparison.SECTIONS, cells=comparison.cells,
        latex=comparison.latex, csv=packed(as_csv(rows).encode()),
        plotly=packed(gzip.compress(get_plotlyjs().encode())))
    write_text(out / "report.html", html)
    return out / "report.html"


def show(draw: Callable, groups: Sequence[Group], path: Path) -> dict[str, Any]:
    """What a function draws: plots for the page, or an image, also in a file; or what the runs lack
    for it.
    """
    try:
        drawn = draw(groups)
    except InputError as error:
        return {"missing": str(error)}
    if not isinstance(drawn, Figure):
        return {"plots": drawn}
    png = io.BytesIO()
    drawn.savefig(png)
    small = Image.open(png).convert("RGB").quantize()
    write_whole(path, partial(small.save, format="PNG"))
    return {"image": packed(path.read_bytes())}


def packed(content: bytes) -> str:
    """Bytes as text of a page."""
    return base64.b64encode(content).decode()
