"""adatom: from atomic-resolution microscope images to atoms, defects and their kinetics."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adatom.analyze.average import MeanDefect, average_defects
    from adatom.analyze.defects import Defects, find_defects
    from adatom.analyze.lattice import Lattices, find_lattices
    from adatom.analyze.library import Library, read_library
    from adatom.analyze.strain import measure_strain
    from adatom.core.chemistry import Chemistry, make_chemistry, read_chemistry
    from adatom.core.materials import get_material
    from adatom.detect.atoms import FindConfig, find_atoms
    from adatom.images.calibrate import calibrate_image
    from adatom.images.read import read_image
    from adatom.images.series import read_series
    from adatom.images.units import pixel_size
    from adatom.images.write import write_image
    from adatom.networks.model import Model, list_models, load_model
    from adatom.networks.restorer import Restorer, load_restorer
    from adatom.optics.microscope import Microscope
    from adatom.restore.object_function import restore_image
    from adatom.workflows.analyze import AnalyzeConfig, analyze_image
    from adatom.workflows.correct import correct_atoms

__version__ = "0.1.0"

_ROOMS = {
    "adatom.analyze.average": ("MeanDefect", "average_defects"),
    "adatom.analyze.defects": ("Defects", "find_defects"),
    "adatom.analyze.lattice": ("Lattices", "find_lattices"),
    "adatom.analyze.library": ("Library", "read_library"),
    "adatom.analyze.strain": ("measure_strain",),
    "adatom.core.chemistry": ("Chemistry", "make_chemistry", "read_chemistry"),
    "adatom.core.materials": ("get_material",),
    "adatom.detect.atoms": ("FindConfig", "find_atoms"),
    "adatom.images.calibrate": ("calibrate_image",),
    "adatom.images.read": ("read_image",),
    "adatom.images.series": ("read_series",),
    "adatom.images.units": ("pixel_size",),
    "adatom.images.write": ("write_image",),
    "adatom.networks.model": ("Model", "list_models", "load_model"),
    "adatom.networks.restorer": ("Restorer", "load_restorer"),
    "adatom.optics.microscope": ("Microscope",),
    "adatom.restore.object_function": ("restore_image",),
    "adatom.workflows.analyze": ("AnalyzeConfig", "analyze_image"),
    "adatom.workflows.correct": ("correct_atoms",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "AnalyzeConfig",
    "Chemistry",
    "Defects",
    "FindConfig",
    "Lattices",
    "Library",
    "MeanDefect",
    "Microscope",
    "Model",
    "Restorer",
    "analyze_image",
    "average_defects",
    "calibrate_image",
    "correct_atoms",
    "find_atoms",
    "find_defects",
    "find_lattices",
    "get_material",
    "list_models",
    "load_model",
    "load_restorer",
    "make_chemistry",
    "measure_strain",
    "pixel_size",
    "read_chemistry",
    "read_image",
    "read_library",
    "read_series",
    "restore_image",
    "write_image",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import adatom` stays fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'adatom' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
