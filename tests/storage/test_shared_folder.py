"""A folder that several processes use: what one leaves is never what another has just joined."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

from hvdrec.storage.shared_folder import USERS, SharedFolder


def test_a_folder_is_removed_by_the_last_who_uses_it(tmp_path: pathlib.Path) -> None:
    first, second = SharedFolder(tmp_path / "a"), SharedFolder(tmp_path / "a")
    # Left by a process that was killed while it removed the folder.
    (tmp_path / "a.gone-1").mkdir()
    first.close()
    assert (tmp_path / "a").is_dir()
    second.close()
    assert not list(tmp_path.iterdir())


def test_who_joins_while_another_removes_the_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, joined, remove = SharedFolder(tmp_path / "a"), list[SharedFolder](), shutil.rmtree

    def interrupted(path: pathlib.Path, ignore_errors: bool) -> None:
        (path / USERS).unlink()
        joined.append(SharedFolder(tmp_path / "a"))
        (tmp_path / "a/table").write_text("new")
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    first.close()
    monkeypatch.undo()
    assert (tmp_path / "a/table").read_text() == "new"
    joined[0].close()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_made_again_is_not_removed(tmp_path: pathlib.Path) -> None:
    first = SharedFolder(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    second = SharedFolder(tmp_path / "a")
    first.close()
    assert (tmp_path / "a").is_dir()
    second.close()
    assert not (tmp_path / "a").exists()


_ENDS_AT_ONCE = """
import atexit, os, pathlib, sys, weakref
weakref.finalize(pathlib, int)
atexit.register(lambda: os._exit(0))
from hvdrec.storage.shared_folder import SharedFolder
folder = SharedFolder(pathlib.Path(sys.argv[1]))
"""


def test_a_process_that_skips_the_end_of_python_leaves_no_folder(tmp_path: pathlib.Path) -> None:
    subprocess.run([sys.executable, "-c", _ENDS_AT_ONCE, str(tmp_path / "a")], check=True)
    assert not list(tmp_path.iterdir())
