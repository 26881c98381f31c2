"""The report of runs: one HTML page that holds its pictures, which also lie beside it as files."""

import base64
import io
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from inspect import getdoc
from pathlib import Path
from string import Template

from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import write_whole
from skeleton_reid.engine.results import write_text
from skeleton_reid.pictures import comparison, figures
from skeleton_reid.pictures.figures import Runs
from skeleton_reid.pictures.importance import importance
from skeleton_reid.pictures.joint_attention import joint_attention
from skeleton_reid.pictures.runs import SavedRun

# A file is named like its function, whose docstring says what the figure shows. METHODS: that alone
# have it.
TOGETHER = (figures.training, figures.cmc, figures.attention, figures.walk)
EACH = (figures.tsne, figures.ranked_lists, figures.worst_probes, figures.relations, importance,
        joint_attention)
METHODS = {figures.attention: ("AGE",), figures.relations: ("SM-SGE",), importance: ("Hi-MPC",)}
METHODS[joint_attention] = ("TranSG", "MoCos")
PAGE = Template(Path(__file__).with_name("report.html").read_text())


def write(folders: Sequence[SavedRun], out: Path) -> Path:
    """Write the pictures and report.html of some runs into `out`. Returns the report's path."""
    groups = comparison.group(folders)
    runs = {}
    for label, own in groups:
        for run in own:
            runs[f"{label}, seed {run.content['seed']}" if len(own) > 1 else label] = run
    jobs = [(draw, runs, "") for draw in TOGETHER]
    for number, (label, run) in enumerate(runs.items(), start=1):
        jobs += [(draw, {label: run}, f"-{number}" * (len(runs) > 1)) for draw in EACH]
    body = [tables(groups)]
    for draw, own, end in tqdm(jobs, unit="picture", disable=None, leave=False):
        methods = [run.content["method"] for run in own.values()]
        if draw not in METHODS or {*METHODS[draw]} & {*methods}:
            body.append(show(draw, own, out, draw.__name__.replace("_", "-") + end))
    title = "; ".join(dict.fromkeys(run.data_title() for run in folders))
    page = PAGE.substitute(title=escape(f"Report: {title}"), body="\n".join(body))
    write_text(out / "report.html", page)
    return out / "report.html"


def show(draw: Callable[[Runs], Figure | str], runs: Runs, out: Path, name: str) -> str:
    """A figure, or an SVG, as HTML, also in a file of this name; or what the runs lack for it."""
    try:
        drawn = draw(runs)
    except InputError as error:
        return f"<p>{name} is left out: {escape(str(error))}</p>"
    if isinstance(drawn, str):
        write_text(out / f"{name}.svg", drawn)
    else:
        png = io.BytesIO()
        drawn.savefig(png)
        path, small = out / f"{name}.png", Image.open(png).convert("RGB").quantize()
        write_whole(path, partial(small.save, format="PNG"))
        data = base64.b64encode(path.read_bytes()).decode()
        drawn = f'<img alt="{name}" src="data:image/png;base64,{data}">'
    return f'<figure id="{name}">{drawn}<figcaption>{escape(getdoc(draw))}</figcaption></figure>'


def tables(groups: Sequence[comparison.Group]) -> str:
    """A table of each protocol and data set, in percent."""
    lines = []
    for title, rows in comparison.by_table(comparison.score(groups)).items():
        cells = comparison.cells(rows, "text")
        lines += [f"<h2>{escape(title)}</h2><table>", table_row("th", *cells[0])]
        lines += [*(table_row("td", *row.values()) for row in cells), "</table>"]
    return "\n".join(lines) or "<p>The table is left out: no run is done</p>"


def table_row(tag: str, *cells: object) -> str:
    """A row of a table as HTML. tag: th or td."""
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
