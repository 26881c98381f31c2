"""The scripts of an installed package: skeleton-reid evaluate, compare, visualize ...

skeleton-reid evaluate --help is, in a checkout, python evaluate.py --help.
"""

import pkgutil
import sys
from importlib import import_module

from skeleton_reid.common.errors import InputError, run_command


def main() -> None:
    run_command(_main, go_on="run again")


def _main() -> None:
    from skeleton_reid import commands  # which only an installed package has

    known = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
    name = sys.argv[1] if len(sys.argv) > 1 else "nothing"
    if name not in known:
        raise InputError(f"expected one of {', '.join(known)}, found {name}")
    sys.argv[:2] = [f"skeleton-reid {name}"]
    import_module(f"skeleton_reid.commands.{name}").main()


if __name__ == "__main__":
    main()
