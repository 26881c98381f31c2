"""The report of runs: one HTML page that holds its pictures, which also lie beside it as files."""

import base64
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from inspect import getdoc
from pathlib import Path
from statistics import fmean, stdev
from string import Template

from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.files import write_whole
from skeleton_reid.engine.options import BASELINES
from skeleton_reid.engine.results import RETRIEVAL, write_text
from skeleton_reid.pictures import figures
from skeleton_reid.pictures.figures import Runs
from skeleton_reid.pictures.importance import importance
from skeleton_reid.pictures.joint_attention import joint_attention
from skeleton_reid.pictures.runs import SavedRun, labels

# A file is named like its function, whose docstring says what the figure shows. METHODS: that alone
# have it.
TOGETHER = (figures.training, figures.cmc, figures.attention, figures.walk)
EACH = (figures.tsne, figures.ranked_lists, figures.worst_probes, figures.relations, importance,
        joint_attention)
METHODS = {figures.attention: ("AGE",), figures.relations: ("SM-SGE",), importance: ("Hi-MPC",)}
METHODS[joint_attention] = ("TranSG", "MoCos")
RECOGNITION = {"rank1": "Rank-1", "nAUC_roc": "nAUC", "nAUC_cmc": "nAUC CMC"}
COLUMNS = {"Retrieval": RETRIEVAL, "Recognition": RECOGNITION}
STAGES = ("untrained", "best", "last")
PAGE = Template(Path(__file__).with_name("report.html").read_text())


def write(folders: Sequence[SavedRun], out: Path) -> Path:
    """Write the pictures and report.html of some runs into `out`. Returns the report's path."""
    names = labels(folders)
    runs = {}
    for name, run in zip(names, folders, strict=True):
        runs[name + f" ({run.folder})" * (names.count(name) > 1)] = run
    jobs = [(draw, runs, "") for draw in TOGETHER]
    for number, (label, run) in enumerate(runs.items(), start=1):
        jobs += [(draw, {label: run}, f"-{number}" * (len(runs) > 1)) for draw in EACH]
    body = [tables(runs)]
    for draw, own, end in tqdm(jobs, unit="picture", disable=None, leave=False):
        methods = [run.content["method"] for run in own.values()]
        if draw not in METHODS or {*METHODS[draw]} & {*methods}:
            body.append(show(draw, own, out, draw.__name__.replace("_", "-") + end))
    title = "; ".join(dict.fromkeys(run.data_title for run in folders))
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


def tables(runs: Runs) -> str:
    """A table of each protocol, in percent; runs that differ by the seed alone are one row."""
    rows: dict[str, dict[tuple[str, str], list]] = {kind: defaultdict(list) for kind in COLUMNS}
    for group, run in zip(labels([*runs.values()], ["seed"]), runs.values(), strict=True):
        retrieval = run.content.get("retrieval", run.content)
        for name, row in retrieval.get("baselines", {}).items():  # the same in every run
            if name in BASELINES and "top1" in row:  # else the data's joints do not allow it
                rows["Retrieval"][run.data_title, name] = [row]
        tests = run.content.get("tests", {}).items()
        parts = [("Recognition", f"{group}, {test}", part) for test, part in tests]
        for kind, name, part in [("Retrieval", group, retrieval), *parts]:
            for stage in filter(part.get, STAGES):
                rows[kind][run.data_title, f"{name}, {stage}"].append(part[stage])
    lines = []
    for kind, columns in COLUMNS.items():
        if rows[kind]:
            lines += ["<table>", table_row("th", "data", kind, "runs", *columns.values())]
        for (data, name), found in rows[kind].items():
            numbers = (mean_and_spread([own[key] for own in found]) for key in columns)
            lines.append(table_row("td", data, name, len(found), *numbers))
        lines += ["</table>"] * bool(rows[kind])
    return "\n".join(lines) or "<p>The table is left out: no run is done</p>"


def mean_and_spread(shares: Sequence[float | None]) -> str:
    """Shares in percent: their mean and, of several, their standard deviation."""
    shares = [share for share in shares if share is not None]
    mean = f"{100 * fmean(shares):.1f}" if shares else "-"
    return f"{mean} ± {100 * stdev(shares):.1f}" if len(shares) > 1 else mean


def table_row(tag: str, *cells: object) -> str:
    """A row of a table as HTML. tag: th or td."""
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
