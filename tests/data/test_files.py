import os

import pyarrow.fs as pafs
import pytest

from hvdrec.data.files import list_files
from hvdrec.errors import ConfigError, DataError, StorageError
from hvdrec.storage import filesystems, register_filesystem


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in [
        "b.csv",
        "a.csv",
        "c.txt",
        "_SUCCESS",
        ".hidden.csv",
        "sub/d.csv",
        "sub/e.csv",
        "sub2/f.csv",
    ]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*paths):
    return [os.path.relpath(file.name) for file in list_files(paths)]


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("b.csv", ["b.csv"]),
        ("b.csv,a.csv", ["b.csv", "a.csv"]),
        (" b.csv , ,a.csv,", ["b.csv", "a.csv"]),
        ("*.csv", ["a.csv", "b.csv"]),
        ("[b-c].*", ["b.csv", "c.txt"]),
        ("?.csv,c.txt", ["a.csv", "b.csv", "c.txt"]),
        ("sub", ["sub/d.csv", "sub/e.csv"]),
        ("sub/", ["sub/d.csv", "sub/e.csv"]),
        ("sub*/*.csv", ["sub/d.csv", "sub/e.csv", "sub2/f.csv"]),
        ("sub*", ["sub/d.csv", "sub/e.csv", "sub2/f.csv"]),
        ("s*/d.csv", ["sub/d.csv"]),
        ("_SUCCESS", ["_SUCCESS"]),
        ("a.csv,a.csv", ["a.csv", "a.csv"]),
    ],
)
def test_what_a_path_names(folder, path, expected, absolute):
    if absolute:
        path = ",".join(os.path.join(folder, p.strip()) if p.strip() else p for p in path.split(","))
    assert names(path) == expected


def test_folder_leaves_out_markers_and_hidden_files(folder):
    assert names(".") == ["a.csv", "b.csv", "c.txt"]
    assert names(str(folder)) == ["a.csv", "b.csv", "c.txt"]


def test_several_arguments_and_file_scheme(folder):
    assert names("b.csv", f"file://{folder}/a.csv") == ["b.csv", "a.csv"]
    assert names(f"file://{folder}/*.csv") == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "no path is given"),
        (",", "no path is given"),
        ("nowhere.csv", "no such file: nowhere.csv"),
        ("*.nothing", r"no file matches \*.nothing"),
        ("no*/x.csv", r"no file matches no\*/x.csv"),
        ("empty", "the folder empty contains no files"),
    ],
)
def test_paths_that_name_nothing(folder, path, message):
    with pytest.raises(DataError, match=f"train_input_path: {message}"):
        list_files([path], "train_input_path")


def test_tables_are_refused(folder):
    with pytest.raises(
        ConfigError,
        match=r"train_input_path: odps://p/tables/t is a MaxCompute table, but files are expected",
    ):
        list_files(["odps://p/tables/t"], "train_input_path")


def test_an_unknown_store(folder):
    with pytest.raises(
        StorageError, match=r"train_input_path: ftp://h/x: ftp:// paths are not supported; use"
    ):
        list_files(["ftp://h/x"], "train_input_path")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "a.tgz"])
def test_archives_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match="is an archive"):
        list_files([str(tmp_path / name)])


def test_another_store_by_its_scheme(folder, monkeypatch):
    monkeypatch.setattr(filesystems, "_registered", {})
    store = pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem())
    register_filesystem("store", lambda path: (store, path.removeprefix("store://")))
    found = list_files(["store://sub/*.csv", "store://sub2"])
    assert [file.name for file in found] == ["store://sub/d.csv", "store://sub/e.csv", "store://sub2/f.csv"]
    with found[0].open_stream() as stream:
        assert stream.read() == b"sub/d.csv"


@pytest.mark.parametrize("path", [".", "*.csv", "su*"])
def test_a_name_that_is_no_text_is_told(folder, path):
    where = folder / "sub" if path == "su*" else folder
    with open(os.fsencode(where) + b"/caf\xe9.csv", "w"):
        pass
    with pytest.raises(
        StorageError, match=r"caf\\xe9.csv': the name of this file is not UTF-8 text; rename it"
    ):
        names(path)


def test_unreadable_file(folder):
    (found,) = list_files(["a.csv"])
    (folder / "a.csv").unlink()
    with pytest.raises(DataError, match=r"a\.csv: can't be read: "):
        found.open_stream()
