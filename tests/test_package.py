"""What `import netfold` offers, and what it loads."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

import netfold as nf

HEAVY = ["torch", "numpy", "numba", "pandas", "xarray", "scipy", "matplotlib", "networkx", "joblib"]
BEFORE_WORK = [["--help"], ["--version"], ["trace", "--help"], ["sweep", "--help"], ["trcae"], ["trace", "--nonsense"]]


def _loaded(code: str, **environment: str) -> list[str]:
    """What of HEAVY a fresh interpreter has loaded after some code, then what the code printed."""
    code = f"import sys\n{code}\nprint([name for name in {HEAVY} if name in sys.modules])"
    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.splitlines()


def test_every_public_name_is_there():
    """Names that are imported when first asked for are those that are announced."""
    assert sorted(nf.__all__) == nf.__all__ == dir(nf)
    assert [name for name in nf.__all__ if getattr(nf, name, None) is None] == []
    assert nf.__version__ == version("netfold")


def test_an_unknown_name_is_an_error():
    """With the words that Python has for it."""
    assert not hasattr(nf, "trace_everything")


def test_importing_loads_nothing_heavy():
    """Other libraries, torch too, wait until something needs them."""
    assert _loaded("import netfold") == ["[]"]


def test_a_star_or_eager_import_has_every_name():
    """Of the folders' own modules and of functions alike."""
    lines = "from netfold import *\nimport netfold\nprint(all(name in globals() for name in netfold.__all__))"
    assert _loaded(lines)[0] == "True"
    lines = "import netfold\nprint(all(name in vars(netfold) for name in netfold.__all__))"
    assert _loaded(lines, EAGER_IMPORT="1")[0] == "True"


@pytest.mark.parametrize("first", ["import netfold.capture.program", "netfold.trace_path"])
def test_a_function_is_not_hidden_by_the_folder_of_its_name(first):
    """`capture` stays the function whatever is imported first."""
    assert _loaded(f"import netfold\n{first}\nprint(callable(netfold.capture))")[0] == "True"


@pytest.mark.parametrize("arguments", BEFORE_WORK, ids=" ".join)
def test_the_command_line_loads_nothing_heavy_before_it_works(arguments):
    """Help, the version and a complaint about the arguments come at once, at a terminal too."""
    lines = f"from netfold.cli import main\nsys.stderr.isatty = lambda: True\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass"
    assert _loaded(lines)[-1] == "[]"
