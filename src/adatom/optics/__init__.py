"""Microscope, aberrations and probe."""
