"""Structures to images with truth."""
