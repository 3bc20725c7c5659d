"""What `import netfold` offers, and what it loads."""

import subprocess
import sys

import netfold as nf

LATER = ["pandas", "xarray", "scipy.stats", "matplotlib", "networkx", "joblib"]


def test_every_public_name_is_there():
    """Names that are imported when first asked for are those that are announced."""
    assert sorted(nf.__all__) == nf.__all__ == dir(nf)
    assert [name for name in nf.__all__ if getattr(nf, name, None) is None] == []
    homes = [name for names in nf._HOMES.values() for name in names]
    assert len(homes) == len(set(homes))
    assert set(homes) < set(nf.__all__)


def test_an_unknown_name_is_an_error():
    """With the words that Python has for it."""
    assert not hasattr(nf, "trace_everything")


def test_importing_loads_only_what_every_measurement_takes():
    """Other libraries wait until something needs them; `capture` stays the function whatever is imported first."""
    code = f"""
import sys, netfold as nf
print([name for name in {LATER} if name in sys.modules])
import netfold.capture.program
nf.trace_path
print(callable(nf.capture))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True"]
