"""Structures as ase.Atoms."""
