"""A wheel that carries compiled passes, so that no first call waits for a compiler.

    NETFOLD_PASSES=1 python -m build --wheel --no-isolation

in an environment with the dependencies of netfold, on x86-64. Without the variable the wheel is plain: it runs
anywhere and compiles on first use, as this one does where a processor, a Python, numba or llvmlite is another.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PassesBuildHook(BuildHookInterface):
    """Compiles all that `netfold warmup` compiles into a folder, and puts it into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the wheel is written."""
        if os.environ.get("NETFOLD_PASSES") != "1" or self.target_name != "wheel" or version == "editable":
            return
        self.made = tempfile.TemporaryDirectory()
        source = Path(self.root) / "src"
        where = {"PYTHONPATH": str(source), "NUMBA_CACHE_DIR": self.made.name}
        level, builds = self._python("from netfold.exact.numerics import caches as c; print(c.LEVEL, c.BUILDS)", where)
        where |= {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": ""}
        self._python("from netfold.cli import main; raise SystemExit(main(['warmup', '--json']))", where)
        (home,) = Path(self.made.name).glob("netfold-*")
        for folder in filter(Path.is_dir, home.iterdir()):
            build_data["force_include"][str(folder)] = f"netfold/prebuilt/{builds}/{folder.name}"
        python = f"cp{sys.version_info.major}{sys.version_info.minor}"
        build_data["tag"] = f"{python}-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["pure_python"] = False

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """After it is written."""
        if hasattr(self, "made"):
            self.made.cleanup()

    @staticmethod
    def _python(code: str, where: dict[str, str]) -> list[str]:
        ran = subprocess.run([sys.executable, "-c", code], env={**os.environ, **where}, check=True, capture_output=True)
        return ran.stdout.decode().split()
