"""The table of methods: one file each, with settings, published values, script and small options.

What else a method needs is models/<name>.py and train_<name>.py (docs/08-architecture.md).
"""

from collections.abc import Mapping
from typing import Any

from skeleton_reid.engine.methods import (age, df, himpc, mgscr, mocos, posegait, sgela, simmc,
                                          smsge, spcmgr, statistics, transg)
from skeleton_reid.engine.methods.base import Method

MODULES = (simmc, statistics, age, smsge, df, himpc, spcmgr, mgscr, sgela, transg, mocos, posegait)
METHODS: dict[str, Method] = {module.METHOD.name: module.METHOD for module in MODULES}


def method_of(content: Mapping[str, Any]) -> Method:
    """The method of a checkpoint's model; "AGE + SimMC" is a SimMC."""
    return METHODS[content["method"].rpartition(" + ")[2]]


def settings_of(content: Mapping[str, Any]) -> Any:
    """The settings that a checkpoint's model was trained with."""
    return method_of(content).restore(content["settings"])
