"""What the command line prints: errors in one line, values as lines or as JSON."""

import json
from collections.abc import Mapping
from typing import Any

from cyclopts import CycloptsError
from pydantic import ValidationError

from adatom.core.config import describe_problems
from adatom.core.runs import plain_values


def describe_error(error: BaseException) -> str:
    """Say an error in one line.

    Parameters
    ----------
    error : exception
        An error of adatom, of the operating system or of memory.

    Returns
    -------
    str
        One line without a traceback.
    """
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif isinstance(error, MemoryError):
        text = "not enough memory"
    else:
        text = str(error)
    return " ".join(text.split())


def describe_usage(error: CycloptsError) -> str:
    """Say in one line what is wrong with a command.

    Parameters
    ----------
    error : CycloptsError
        What the parser raised.

    Returns
    -------
    str
        The option, its rule and the value where a value breaks a rule.
    """
    cause = error.__cause__ or error.__context__
    text = describe_problems(cause) if isinstance(cause, ValidationError) else str(error)
    return " ".join(text.split())


def print_json(values: Any) -> None:
    """Print values as one line of JSON."""
    print(json.dumps(plain_values(values), ensure_ascii=False, allow_nan=False), flush=True)


def format_mapping(values: Mapping[str, Any], indent: str = "") -> str:
    """Nested values as indented lines."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{key}:", format_mapping(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            lines += [f"{indent}{key}:"]
            lines += ["\n" + format_mapping(item, indent + "  ") for item in value]
        elif isinstance(value, list) and any(len(str(item)) > 40 for item in value):
            lines += [f"{indent}{key}:", *(f"{indent}  {item}" for item in value)]
        else:
            items = value if isinstance(value, list) else [value]
            shown = [f"{item:.6g}" if isinstance(item, float) else str(item) for item in items]
            text = "–" if value in (None, "", [], {}) else ", ".join(shown)
            lines.append(f"{indent}{key}: {text}")
    return "\n".join(lines)
