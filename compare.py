"""Runs in one table: mean ± standard deviation over seeds, published metrics beside ours.

    python compare.py ReID_Models/KS20/probe ReID_Models/statistics/KS20/probe
    python compare.py ReID_Models/KS20/probe ReID_Models/*/KS20/probe --latex > table.tex

RUN is the folder of a run, with those of its other seeds. Metrics are of the best epoch, in
percent; * marks the best of a column. --all adds the last epoch, the untrained model and the
baselines. Runs are averaged if they differ by the seed alone; else their names say what differs.
--latex needs the package booktabs; --csv has fractions with all digits.
"""

import sys
from pathlib import Path

from skeleton_reid.common.command_line import script_parser
from skeleton_reid.common.errors import InputError, run_command


def main() -> None:
    parser = script_parser(__doc__, "RUN [RUN ...] [options]")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--all", action="store_true", help="add baselines, untrained, last epoch")
    forms = parser.add_mutually_exclusive_group()
    for form in ("latex", "markdown", "csv"):
        forms.add_argument(f"--{form}", dest="form", action="store_const", const=form,
                           default="text")
    options = parser.parse_args()
    from skeleton_reid.engine.results import as_csv, text_table
    from skeleton_reid.pictures import comparison, runs  # slow to import, after --help

    sections = comparison.SECTIONS if options.all else ("published", "best")
    found = runs.find(options.runs)
    rows = comparison.score(comparison.group(found), sections)
    if not rows:
        raise InputError(f"expected runs that are done, found none in {options.runs[0]}")
    if begun := [str(run.folder) for run in found if not run.path("results.json").is_file()]:
        print(f"warning: left out, as they are not done: {', '.join(begun)}", file=sys.stderr)
    if options.form == "csv":
        print(as_csv(rows), end="")
        return
    for title, own in comparison.by_table(rows).items():
        cells = comparison.cells(own, options.form)
        if options.form == "latex":
            print(f"% {title}\n{comparison.latex(cells)}")
        elif options.form == "markdown":
            print(f"**{title}**\n\n{comparison.markdown(cells)}\n")
        else:
            print(f"{title}\n{text_table(cells)}")


if __name__ == "__main__":
    run_command(main, go_on="run again")
