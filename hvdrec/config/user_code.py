"""User code that a config names, which runs only with `--allow_user_code`.

The flag applies to the process: a config may come from anyone, the flag only from the user who runs it.
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
    """Sets for this process whether code that configs name may be imported and run."""
    _Permission.given = given


def refusal(name: str) -> str:
    """Why the code is not run; empty if it is allowed."""
    return "" if _Permission.given else f"{name} is user code, which runs only with {FLAG}"


def find(name: str, file: str = "") -> Any:
    """Imports an object that a config names.

    Args:
        name: A dotted path whose last part is an attribute of a module: ``package.module.name``. With
            `file`, only the attribute's name.
        file: A Python file; a relative path is relative to the working directory.

    Raises:
        ValueError: User code isn't allowed, or the object can't be imported.
    """
    if refused := refusal(name):
        raise ValueError(refused)
    module, _, attribute = name.rpartition(".")
    if not file and not module:
        raise ValueError(f"{name!r} must be a dotted path: package.module.name")
    try:
        found: Any = _run_file(file) if file else importlib.import_module(module)
        return getattr(found, name if file else attribute)
    except Exception as error:
        where = f"{name} of {file}" if file else name
        raise ValueError(f"can't import {where}: {type(error).__name__}: {error}") from error


def find_function(name: str, file: str = "") -> Any:
    """Imports a callable that a config names.

    Raises:
        ValueError: See `find`, or the object isn't callable.
    """
    found = find(name, file)
    if not callable(found):
        raise ValueError(f"{name} is not a function")
    return found


def _run_file(path: str) -> types.ModuleType:
    """Runs a Python file, which may be in a store, as a separate module."""
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
