"""The rooms of the house: imports go downwards only, and nothing imports in a circle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the ground floor up; rooms of one floor do not know each other.
FLOORS = (("common",), ("data", "tensorflow_v1"), ("models",), ("reid",), ("engine",),
          ("reproduction",), ("pictures",), ("skeleton_reid",))
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for room in FLOOR_OF for path in (ROOT / room).rglob("*.py")
}


def imports(path: Path) -> set[str]:
    """The project's modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    names -= {"skeleton_reid"}  # which has nothing but the rooms
    return {name.removeprefix("skeleton_reid.") for name in names} & MODULES.keys()


def test_every_folder_of_code_is_a_room():
    code = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests", "benchmarks", ".venv"}
    assert code == FLOOR_OF.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downwards(module):
    room = module.partition(".")[0]
    for other in imports(MODULES[module]):
        other_room = other.partition(".")[0]
        assert room == other_room or FLOOR_OF[other_room] < FLOOR_OF[room], (module, other)


def test_nothing_imports_in_a_circle():
    done = set()
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in imports(MODULES[module]) - packages - {module}:
                visit(other, (*path, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())
