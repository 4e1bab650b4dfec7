"""Hosts that share no files: what must be the same on all is looked at before anything runs."""

from __future__ import annotations

import pathlib
from typing import Any

import pyarrow.fs as pafs
import pytest

from hvdrec.data.files import InputFile
from hvdrec.errors import ConfigError, DataError
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer import follow
from hvdrec.trainer.agree import PeerError
from hvdrec.trainer.same_files import need_same_files


class _TwoHosts(SingleReplica):
    """Rank 1 on a host of its own, rank 0 as told."""

    def __init__(self, *first: Any) -> None:
        super().__init__()
        self.rank, self.size = 1, 2
        self._first = list(first)

    def gather_objects(self, value: Any) -> list[Any]:
        return [self._first.pop(0), value]

    def gather_from_all(self, value: Any) -> list[Any]:
        return self.gather_objects(value)


def _file(path: pathlib.Path, text: str) -> InputFile:
    path.write_text(text)
    return InputFile(str(path), pafs.LocalFileSystem(), str(path))


@pytest.mark.parametrize("sizes", [True, False])
def test_other_files_than_rank_0s_are_refused(tmp_path: pathlib.Path, sizes: bool) -> None:
    file = _file(tmp_path / "a.csv", "1,2\n")
    group = _TwoHosts(("node-a", "2 files of 9 bytes", "another digest"), None)
    with pytest.raises(DataError, match=r"a.csv: rank 1 on \S+ finds 1 file of \d bytes, rank 0 on node-a"):
        need_same_files([file], sizes, group)


def test_a_file_of_another_size_counts_unless_ranks_have_files_of_their_own(tmp_path: pathlib.Path) -> None:
    digests = {}
    for text in ("1,2\n", "1,2\n3,4\n"):
        for sizes in (True, False):
            seen: list[Any] = []
            group = _TwoHosts()
            group.gather_objects = lambda value, seen=seen: seen.append(value) or [value, None]  # type: ignore[method-assign]
            file = _file(tmp_path / "a.csv", text)
            need_same_files([file], sizes, group)
            digests[text, sizes] = seen[0][2]
    assert digests["1,2\n", True] != digests["1,2\n3,4\n", True]
    assert digests["1,2\n", False] == digests["1,2\n3,4\n", False]


def test_rank_0s_fellows_hear_of_it(tmp_path: pathlib.Path) -> None:
    file = _file(tmp_path / "a.csv", "1,2\n")
    group = _TwoHosts()
    answers = iter([lambda own: [own, own], lambda own: ["a.csv differs", own]])
    group.gather_objects = lambda value: next(answers)(value)  # type: ignore[method-assign]
    with pytest.raises(PeerError, match=r"rank 0 failed: a\.csv differs"):
        need_same_files([file], True, group)


def test_a_rank_that_evaluates_needs_the_same_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_APPEARS_SECONDS", 0.0)
    with pytest.raises(ConfigError, match="--eval_method separate: the processes don't see the same"):
        follow.need_one_folder(str(tmp_path), _TwoHosts(".seen-by-node-a-1", False))
    (tmp_path / ".seen-by-node-a-1").write_text("")
    follow.need_one_folder(str(tmp_path), _TwoHosts(".seen-by-node-a-1", False))
    assert [p.name for p in tmp_path.iterdir()] == [".seen-by-node-a-1"]
