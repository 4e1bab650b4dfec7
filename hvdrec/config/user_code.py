"""Code of the user's own that a config names, which runs only where `--allow_user_code` is given.

Whether it is given holds for the process: a config comes from anywhere, the flag from who runs it.
"""

from __future__ import annotations

import importlib
import types
from typing import Any

from hvdrec import storage
from hvdrec.errors import UserError

FLAG = "--allow_user_code"


class _Permission:
    """Whether the flag was given."""

    given = False


def allow(given: bool) -> None:
    """Says for this process whether what configs name may be imported and run."""
    _Permission.given = given


def refusal(name: str) -> str:
    """Why code isn't run; empty where it is allowed."""
    return "" if _Permission.given else f"{name} is your own code, which is run only with {FLAG}"


def find(name: str, file: str = "") -> Any:
    """Imports what a config names.

    Args:
        name: With dots before its last part, which is an attribute of a module: ``package.module.name``. With
            `file` the name alone.
        file: A Python file; the working directory is where a relative path begins.

    Raises:
        ValueError: It isn't allowed, or can't be imported.
    """
    if refused := refusal(name):
        raise ValueError(refused)
    module, _, attribute = name.rpartition(".")
    if not file and not module:
        raise ValueError(f"{name!r} must be a path with dots: package.module.name")
    try:
        found: Any = _run_file(file) if file else importlib.import_module(module)
        return getattr(found, name if file else attribute)
    except Exception as error:
        where = f"{name} of {file}" if file else name
        raise ValueError(f"can't import {where}: {type(error).__name__}: {error}") from error


def find_function(name: str, file: str = "") -> Any:
    """The same, where it must be something that can be called.

    Raises:
        ValueError: See `find`, or it can't be called.
    """
    found = find(name, file)
    if not callable(found):
        raise ValueError(f"{name} is no function")
    return found


def _run_file(path: str) -> types.ModuleType:
    """Runs a Python file, which may be in a store, as a module of its own."""
    try:
        text = storage.read_text(path)
    except OSError as error:
        raise ImportError(f"there is no file {path}: {error}") from error
    except UserError as error:
        raise ImportError(str(error)) from error
    module = types.ModuleType(storage.name(path).removesuffix(".py"))
    module.__file__ = path
    exec(compile(text, path, "exec"), module.__dict__)
    return module
