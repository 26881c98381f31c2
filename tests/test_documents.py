"""README, docs and the package's metadata: what they link, name and say to type is there."""

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import api_page
import pytest
from commands import main

from skeleton_reid.common import command_line
from skeleton_reid.common.errors import InputError
from skeleton_reid.engine import parsing

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md")), *PAGES]
FOLDERS = [ROOT / folder / "README.md" for folder in ("Datasets", "ReID_Models", "weights")]
SCRIPTS = ("preprocess", "train_simmc", "train_statistics", "train_smsge", "train_age", "train_df",
           "train_himpc", "train_spcmgr", "train_mgscr", "train_transg", "train_mocos")
SCRIPTS += ("train_sgela", "train_posegait")
SCRIPTS += ("evaluate", "gallery", "export", "reproduce", "visualize", "compare", "data.simulate")
SCRIPTS += ("benchmarks.__main__",)
# Options of the released code, of pip and of tensorboard.
OTHERS = {
    "--logdir", "--frozen", "--concate", "--abla", "--no_MSR", "--consecutive_pre",
    "--random_sample", "--S_dataset", "--evaluate", "--probe_view", "--gallery_view"
}
OTHERS |= {"--index-url", "--logdir"}
OTHERS |= {
    "--nproc_per_node", "--nnodes", "--rdzv_backend", "--rdzv_endpoint", "--nodes",
    "--ntasks-per-node"
}  # of torchrun and srun
ROOMS = "common|data|models|reid|engine|tensorflow_v1|reproduction|pictures|tests|benchmarks|docs"


class ParsedError(Exception):
    """The command line is parsed: nothing further is to be done."""


def stop(*_, **__):
    raise ParsedError


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command in a document, one a line of a block or a code span."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in blocks if not kind for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    for line in (*lines, *spans):
        if re.match(r"(python|make) (?!.*…)", line):
            yield [word for each in shlex.split(line, comments=True) for word in braces(each)]


def braces(word: str) -> list[str]:
    """A{b,c} -> Ab, Ac, as a shell does."""
    parts = [part.split(",") for part in re.split(r"[{}]", word)]
    return ["".join(choice) for choice in product(*parts)] if "{" in word else [word]


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", [*DOCUMENTS, *FOLDERS],
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_files(document):
    text = document.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if not re.match(r"https?:|\.\./\.\./actions/", target):  # the badge of GitHub's CI
            linked = document.parent / path if path else document
            assert linked.exists(), target
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.M) if anchor else []
            assert not anchor or anchor in map(slug, headings), target
    for path in re.findall(rf"`((?:{ROOMS})/[\w./]+)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_parse(document, monkeypatch):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    for words in commands(document.read_text()):
        if words[0] == "make":
            assert set(words[1:2]) <= set(targets), words
        elif words[1] != "-m":
            assert words[1].endswith(".py"), words
            parse(monkeypatch, words[1].removesuffix(".py"), words[2:])
        elif words[2] == "pytest":
            assert (ROOT / words[3]).exists(), words
        else:
            name = "benchmarks.__main__" if words[2] == "benchmarks" else words[2]
            parse(monkeypatch, name, words[3:])


def parse(monkeypatch, script: str, words: list[str]) -> None:
    """Parse a script's command line, and nothing more; fails where the script would refuse it."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [script, *words])
        if script.startswith("train_"):
            inner = parsing.parse_training
            patch.setattr(parsing, "parse_training", lambda *given: stop(inner(*given)))
        elif script == "evaluate":
            patch.setattr("evaluate.start_log", stop)  # options are checked before
        else:
            own = command_line._Parser.parse_args
            patch.setattr(command_line._Parser, "parse_args", lambda self: stop(own(self)))
        try:
            main(script)
        except ParsedError:
            return
        except (InputError, SystemExit) as error:
            pytest.fail(f"{script} {' '.join(words)}: {error}")


def test_options_exist(monkeypatch):
    known = set(OTHERS)

    def remember(parser, *_):
        known.update(parser._option_string_actions)
        raise ParsedError

    monkeypatch.setattr(command_line._Parser, "parse_args", remember)
    for script in SCRIPTS:
        monkeypatch.setattr(sys, "argv", [script])
        with pytest.raises(ParsedError):
            main(script)
    for document in DOCUMENTS:
        named = set(re.findall(r"(?<![\w-])(--\w[\w-]*)", document.read_text()))
        assert named <= known, (document.name, named - known)


def test_code_names_documents_and_surprises_that_exist():
    names = re.findall(r"`([a-z0-9-]+)`", (ROOT / "docs/05-fidelity.md").read_text())
    rooms = [ROOT / room for room in ROOMS.split("|")]
    for path in [*ROOT.glob("*.py"), *(path for room in rooms for path in room.rglob("*.py"))]:
        named = re.findall(r"(docs/[\w-]+\.md)(?:,\s+([a-z0-9-]+)\))?", path.read_text())
        for document, name in named:
            assert (ROOT / document).exists(), (path, document)
            assert not name or name in names, (path, name)


def test_pages_are_linked_from_the_index():
    assert "docs/README.md" in (ROOT / "README.md").read_text()
    text = (ROOT / "docs/README.md").read_text()
    assert [page.name for page in PAGES if f"({page.name})" not in text] == ["README.md"]


def test_api_page_is_that_of_the_docstrings():
    assert api_page.PAGE.read_text() == api_page.page(), "run python tests/api_page.py"


def test_dependencies_are_pinned():
    pinned = re.findall(r"([\w-]+)==", (ROOT / "requirements.txt").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"].values()
    named = [*project["dependencies"], *(name for names in optional for name in names)]
    assert sorted(re.split("[<>=]", name)[0] for name in named) == sorted(pinned)
