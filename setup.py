"""The wheel: of the scripts at the root only those that work without a checkout."""

from setuptools import setup
from setuptools.command.build_py import build_py

COMMANDS = {"compare", "evaluate", "export", "gallery", "preprocess", "visualize"}


class Build(build_py):
    """Takes the COMMANDS, and no other script, as skeleton_reid.commands."""
    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules = super().find_package_modules(package, package_dir)
        scripts = package == "skeleton_reid.commands"
        return [each for each in modules if not scripts or each[1] in COMMANDS]


setup(cmdclass={"build_py": Build})
