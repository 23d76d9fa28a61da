"""adatom: from atomic-resolution microscope images to atoms, defects and their kinetics."""

__version__ = "0.1.0"
