"""The five errors of adatom: each message names the file or parameter, the rule and the value."""


class AdatomError(Exception):
    """Base of every error that adatom raises on purpose; the command line shows its one line."""


class FileError(AdatomError):
    """A file cannot be read or written."""


class ImageError(AdatomError):
    """An image does not have what a step needs: its shape, its values, its lattice."""


class CalibrationError(AdatomError):
    """The pixel size is missing, or cannot be found from the image."""


class ModelError(AdatomError):
    """A model is missing, damaged, or does not fit the request."""


class ConfigError(AdatomError):
    """A parameter or a recipe breaks a rule."""
