"""The files of `hvdrec.retrieve --output_path`."""

from __future__ import annotations

import pathlib

import numpy as np
import pyarrow as pa
import pytest

from hvdrec.commands import searched
from hvdrec.commands.neighbour_files import Neighbours, write_neighbours
from hvdrec.commands.output_files import output_path
from hvdrec.metrics.retrieval import Nearest

BLOCK = Neighbours(
    ["u1", "u2"],
    [{0, -1}, {2}],
    Nearest(np.array([[2, 0], [1, -1]]), np.array([[0.5, 0.25], [0.125, -np.inf]], np.float32)),
)
EXPECTED = {
    "pairs": "u1\tc:0.5,a:0.25\nu2\tb:0.125\n",
    "vector_retrieve": "u1\tc\t0.5\nu1\ta\t0.25\nu2\tb\t0.125\n",
    "hit_rate": "u1\tc,a\t0.5,0.25\t0.5\tc\t0.5\nu2\tb\t0.125\t0\tb\t0.125\n",
}


@pytest.mark.parametrize("form", EXPECTED)
def test_formats(form: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new" / "found.tsv"
    write_neighbours(str(path), form, ["a", "b", "c"], [BLOCK])
    assert path.read_text() == EXPECTED[form]
    assert [p.name for p in path.parent.iterdir()] == ["found.tsv"]


def test_ids_keep_their_bytes(tmp_path: pathlib.Path) -> None:
    cells = pa.array([b"caf\xe9", b"caf\xe8", None], pa.binary())
    ids = searched._text(cells)
    assert len(set(ids)) == 3
    block = Neighbours(ids[:1], [set()], Nearest(np.array([[1]]), np.array([[0.5]], np.float32)))
    write_neighbours(str(tmp_path / "found.tsv"), "pairs", ids, [block])
    assert (tmp_path / "found.tsv").read_bytes() == b"caf\xe9\tcaf\xe8:0.5\n"


def test_ranks_write_parts(tmp_path: pathlib.Path) -> None:
    assert output_path(f"{tmp_path}/x.tsv", "tsv", 0, 1) == f"{tmp_path}/x.tsv"
    assert output_path(f"{tmp_path}/x.tsv", "tsv", 1, 2) == f"{tmp_path}/x.tsv/part-1.tsv"
