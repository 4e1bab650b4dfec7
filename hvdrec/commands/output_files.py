"""The files that ranks write: where, and so that each appears only when it is complete."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hvdrec import storage
from hvdrec.errors import UserError


def output_path(path: str, output_format: str, rank: int, size: int, folder: bool = False) -> str:
    """The file of a rank: `path` itself, or a part in the folder `path`.

    Args:
        path: `--output_path`.
        output_format: The part's extension.
        rank: This rank.
        size: Number of ranks; several ranks always write parts.
        folder: Whether a path without a file extension is a folder.
    """
    folder = folder and not os.path.splitext(path)[1]
    if folder or size > 1 or path.endswith("/") or storage.is_folder(path):
        return storage.join(path, f"part-{rank}.{output_format}")
    return storage.local(path)


@contextlib.contextmanager
def completed(path: str) -> Iterator[str]:
    """A local file to write, which becomes `path` when it is complete.

    Args:
        path: The file, local or in a store.

    Raises:
        UserError: The file can't be written.
        StorageError: The store refused the file.
    """
    if storage.is_remote(path):
        with tempfile.TemporaryDirectory(prefix="hvdrec-output-") as folder:
            here = os.path.join(folder, "file")
            with completed(here) as temporary:
                yield temporary
            storage.upload(Path(here), path)
        return
    temporary = f"{path}.tmp-{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(temporary)
