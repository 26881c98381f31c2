"""Pictures of training runs and one report that shows them, an HTML page that opens offline.

    python visualize.py ReID_Models/KS20/probe                       one run
    python visualize.py ReID_Models/AGE/BIWI/{LA,BA,MBA}             several, side by side
    python visualize.py seed0/KS20/probe seed1/KS20/probe            mean and spread over the seeds

RUN is the folder of a run; of SimMC on CASIA_B folder and probe, as ReID_Models/CASIA_B/nm.nm. The
best model encodes probes and gallery again, so that the data must be there (--data). What a run
lacks is left out, and the report says so.
"""

from pathlib import Path

from skeleton_reid.common.command_line import add_device, devices, script_parser
from skeleton_reid.common.errors import run_command
from skeleton_reid.common.log import start_log


def main() -> None:
    parser = script_parser(__doc__, "RUN [RUN ...] [options]")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--data", type=Path, metavar="DIR", default=Path("Datasets"),
                        help="what preprocess.py wrote (Datasets)")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="folder of report.html and pictures (report/ in the first RUN)")
    add_device(parser)
    options = parser.parse_args()
    start_log(quiet=False)
    devices(options.device)  # else all that needs one is left out
    from skeleton_reid.pictures import report, runs  # slow to import, after --help

    found = runs.find(options.runs, options.data, options.device)
    print(report.write(found, options.out or found[0].path("report")))


if __name__ == "__main__":
    run_command(main, go_on="run again")
