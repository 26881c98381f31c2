"""docs/20-api.md from the docstrings of skeleton_reid.

    python tests/api_page.py        writes it; tests/test_documents.py compares
"""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/20-api.md"
HEAD = """# API

Every name of `skeleton_reid`, made from the docstrings by `tests/api_page.py`. How to use them:
[10-python-and-gallery.md](10-python-and-gallery.md).
"""


def page() -> str:
    """The page's text."""
    import skeleton_reid

    names = sorted(skeleton_reid.__all__, key=str.lower)
    return HEAD + "".join(part for name in names for part in entry(getattr(skeleton_reid, name)))


def entry(thing: Any) -> Iterator[str]:
    """A function, or a class with what it defines itself."""
    if not inspect.isclass(thing):
        yield section("##", thing.__name__, thing)
        return
    yield section("##", thing.__name__, thing, "" if issubclass(thing, Exception) else None)
    for name, own in vars(thing).items():
        function = own.__func__ if isinstance(own, classmethod) else own
        if isinstance(own, property):
            yield section("###", f"{thing.__name__}.{name}", own, "")
        elif inspect.isfunction(function) and (name == "__call__" or name[0] != "_"):
            call = thing.__name__.lower()  # of an instance
            title = call if name == "__call__" else f"{thing.__name__}.{name}"
            yield section("###", title, function)


def section(level: str, title: str, thing: Any, signature: str | None = None) -> str:
    """A heading, the signature without what every method has, the docstring as a paragraph."""
    if signature is None:
        signature = re.sub(r"\((self|cls)(, )?", "(", str(inspect.signature(thing)))
        signature = re.sub(r"\b(skeleton_reid|pathlib|numpy|torch|typing)\.(\w+\.)*", "", signature)
        signature = re.sub(r"(: |-> )'(\w+)'", r"\1\2", signature)
    text = " ".join(inspect.getdoc(thing).split())
    return f"\n{level} {title}\n\n`{title}{signature}`\n\n{text}\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page())
