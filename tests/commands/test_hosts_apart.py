"""Hosts that share no files: what must be equal on all of them is checked before anything runs."""

from __future__ import annotations

import pathlib
from typing import Any

import pyarrow.fs as pafs
import pytest

from hvdrec.data.files import InputFile
from hvdrec.errors import ConfigError, DataError
from hvdrec.parallel.single import SingleReplica
from hvdrec.storage.maxcompute import Table
from hvdrec.trainer.run import shared_folder
from hvdrec.trainer.run.agree import PeerError
from hvdrec.trainer.run.same_files import need_same_files


class _TwoHosts(SingleReplica):
    """Rank 1 on a separate host, rank 0 as given."""

    def __init__(self, *first: Any) -> None:
        super().__init__()
        self.rank, self.size, self.one_host = 1, 2, False
        self._first = list(first)

    def gather_objects(self, value: Any) -> list[Any]:
        return [self._first.pop(0), value]

    def gather_from_all(self, value: Any) -> list[Any]:
        return self.gather_objects(value)


class _Fellow(_TwoHosts):
    """Rank 0 has the same; `told` is the message that it received."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def gather_objects(self, value: Any) -> list[Any]:
        self.told.append(value)
        return [value, value]


def _file(path: pathlib.Path, text: str = "1,2\n") -> InputFile:
    path.write_text(text)
    return InputFile(str(path), pafs.LocalFileSystem(), str(path))


def _there(*described: tuple[str, int]) -> _TwoHosts:
    """Rank 0 on another host has these files; an error of the other rank isn't its own."""
    return _TwoHosts("another digest", ("node-a", list(described)), None)


def test_a_file_that_rank_0_has_not_is_refused(tmp_path: pathlib.Path) -> None:
    files = [_file(tmp_path / "a.csv"), _file(tmp_path / "c.csv")]
    group = _there((files[0].name, 4), (str(tmp_path / "b.csv"), 4), (files[1].name, 4))
    found = r"rank 1 on \S+ has 2 input files, rank 0 on node-a has 3; .*c.csv here, \S+b.csv there"
    with pytest.raises(DataError, match=found):
        need_same_files(files, True, group)
    group = _there((files[0].name, 4))
    with pytest.raises(
        DataError, match=r"has 2 input files, rank 0 on node-a has 1; .*c.csv here, none there"
    ):
        need_same_files(files, True, group)


def test_a_file_of_another_size_is_refused(tmp_path: pathlib.Path) -> None:
    file = _file(tmp_path / "a.csv")
    with pytest.raises(
        DataError, match=r"a.csv: has size 4 for rank 1 on \S+, but 9 for rank 0 on node-a; every"
    ):
        need_same_files([file], True, _there((file.name, 9)))


def test_ranks_with_files_of_their_own_need_only_the_names(tmp_path: pathlib.Path) -> None:
    file = _file(tmp_path / "a.csv")
    seen = []
    for text in ("1,2\n", "1,2\n3,4\n"):
        group = _Fellow()
        need_same_files([_file(tmp_path / "a.csv", text)], False, group)
        seen += group.told
    assert seen[0] == seen[1]
    group = _Fellow()
    need_same_files([file], True, group)
    assert group.told[0] != seen[0]


def test_a_table_that_has_grown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are asked for; a file of a store is the same for all."""
    name = "odps://p/tables/t/ds=1"
    monkeypatch.setattr(Table, "size", lambda self: 7)
    table = Table(name, "p", "t", "ds=1")
    with pytest.raises(DataError, match=f"{name}: has size 7 for rank 1"):
        need_same_files([table], True, _there((name, 9)))
    need_same_files([InputFile("s3://b/a.csv", None, "b/a.csv")], True, _Fellow())


def test_one_machine_is_asked_nothing(tmp_path: pathlib.Path) -> None:
    group = _TwoHosts()
    group.one_host = True
    need_same_files([_file(tmp_path / "a.csv")], True, group)


def test_rank_0s_fellows_hear_of_it(tmp_path: pathlib.Path) -> None:
    file = _file(tmp_path / "a.csv")
    group = _TwoHosts("another digest", ("node-a", [(file.name, 4)]), ("a.csv differs", 2))
    with pytest.raises(PeerError, match=r"rank 0 failed: a\.csv differs") as error:
        need_same_files([file], True, group)
    assert error.value.exit_code == 2


def test_a_rank_that_evaluates_needs_the_same_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_folder, "_APPEARS_SECONDS", 0.0)
    with pytest.raises(ConfigError, match="--eval_method separate: the processes don't see the same"):
        shared_folder.need_one_folder(str(tmp_path), _TwoHosts(".seen-by-node-a-1", False))
    (tmp_path / ".seen-by-node-a-1").write_text("")
    shared_folder.need_one_folder(str(tmp_path), _TwoHosts(".seen-by-node-a-1", False))
    assert [p.name for p in tmp_path.iterdir()] == [".seen-by-node-a-1"]
