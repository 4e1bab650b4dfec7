"""Any bytes in a CSV file: rows or an error that names file, row and column, never a crash."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
from features.packing import CELLS, pack, packer_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_job import SmallJob, write_data

import hvdrec.train
from hvdrec.commands.main import main
from hvdrec.config.flags import parse_train
from hvdrec.data.csv_input import CsvFormat
from hvdrec.data.files import list_files
from hvdrec.data.loader import Loader
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import DataError

FEATURES = """
features { input_names: "s" hash_bucket_size: 50 embedding_dim: 4 }
features { feature_name: "words" input_names: "s" vocab_list: ["a", "b"] embedding_dim: 4 }
features { feature_name: "text numbers" input_names: "t" num_buckets: 9 embedding_dim: 4 }
features { input_names: "n" num_buckets: 9 embedding_dim: 4 }
features { input_names: "b" hash_bucket_size: 9 embedding_dim: 4 }
features { input_names: "x" hash_bucket_size: 50 precision: 400 embedding_dim: 4 }
features { input_names: "f" feature_type: RawFeature boundaries: [0, 1] embedding_dim: 4 }
features { input_names: "l" feature_type: RawFeature normalizer_fn: "tf.math.log1p" }
features { input_names: "v" feature_type: RawFeature raw_input_dim: 2 separator: ";" }
features { feature_name: "weighted" input_names: "t" feature_type: TagFeature hash_bucket_size: 50
           embedding_dim: 4 kv_separator: ":" combiner: "mean" }
features { feature_name: "parts" input_names: ["s", "v"] feature_type: ComboFeature hash_bucket_size: 50
           embedding_dim: 4 combo_input_seps: ["|", ";"] }
features { feature_name: "joined" input_names: ["s", "n"] feature_type: ComboFeature hash_bucket_size: 50
           embedding_dim: 4 combo_join_sep: "_" }
"""
NAMES = [*re.findall(r'feature_name: "([^"]*)"', FEATURES), "s", "n", "b", "x", "f", "l", "v"]
PLACE = re.compile(
    r"any\.csv, row \d+(: found -?\d+ columns, expected 9(; check data_config\.separator, .+)?|, column '[a-z]+': .+)\Z",
    re.DOTALL,
)

_FITTING = {
    "s": [b"a", b"", b"b|\xff", b"\xe2\x82"],
    "t": [b"", b"3:1", b"1:0.5|-1:2"],
    "n": [b"3", b"-1", b"", b"+7"],
    "b": [b"1", b"true", b""],
    "x": [b"1e300", b"-0.5", b""],
    "v": [b"1;2", b"3", b""],
}
_ANY = st.binary(max_size=6) | st.sampled_from(
    [b"1e400", b"nan", b"-", b"9" * 25, b"1:", b":", b"\x00", b"\xff:\xff", b"1;2;3", b" 7 ", b"0x10", b"1_0"]
)


def _cell(name: str) -> st.SearchStrategy[bytes]:
    fitting = st.sampled_from(_FITTING.get(name, [b"1", b"0", b""]))
    return st.integers(0, 29).flatmap(lambda n: _ANY if n == 0 else fitting)


_LINE = st.tuples(*map(_cell, CELLS)).map(b",".join) | st.binary(max_size=30)
_CONTENT = st.lists(_LINE, max_size=12).map(b"\n".join) | st.binary(max_size=100)
any_bytes = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def _read(path: pathlib.Path, batch: int, ignore_error: bool) -> tuple[list[tuple[str, bytes]], int]:
    """Each packed row's place and its hashed texts, and how many rows were left out."""
    packer = packer_for(FEATURES, NAMES, ignore_error)
    fields = packer.plan.fields  # type: ignore[attr-defined]
    source = RowSource(
        CsvFormat(list_files([str(path)]), fields, list(CELLS)), ReadPlan(batch, ignore_error=ignore_error)
    )
    rows = []
    with Loader(source, packer.pack_block) as loader:
        for packed in loader:
            index, table = packed.arrays["bank0/index"], packed.arrays["bank0/rows"]
            singles = np.concatenate([[-1], table])[index]
            assert packed.locate is not None
            rows += [(packed.locate(i), singles[i].tobytes()) for i in range(packed.rows)]
    return rows, loader.stats().bad_rows


@any_bytes
@given(content=_CONTENT)
def test_rows_or_an_error_that_names_its_place(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(content)
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not any(line.removesuffix(b"\r") for line in lines):
        with pytest.raises(DataError, match="the input has no rows"):
            _read(path, 3, True)
        return
    good, left_out = _read(path, 3, True)
    # One by one, the same rows are good, at the same places.
    one_by_one, bad = _read(path, 1, True)
    assert (one_by_one, bad) == (good, left_out)
    if not left_out:
        assert _read(path, 4, False) == (good, 0)
        return
    with pytest.raises(DataError) as caught:
        _read(path, 4, False)
    assert PLACE.search(str(caught.value)), caught.value
    assert str(caught.value).isprintable()


def test_a_cross_of_long_cells_is_refused_before_memory_runs_out() -> None:
    packer = packer_for(FEATURES, ["parts"])
    with pytest.raises(DataError, match=r"row 1, column 's': .* more than 1000000 combinations"):
        pack(packer, s=[b"a|" * 5000], v=[b"1;" * 5000])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1,a1,b1", "found 3 columns, expected 9"),
        ("1,a1,b1,\xff\xfe,t1,0.5,1,u1,1", r"column 'c': '\xc3\xbf\xc3\xbe' is not an INT32"),
    ],
)
def test_the_run_ends_with_one_line_and_exit_code_2(
    tmp_path: pathlib.Path,
    line: str,
    problem: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # TensorFlow takes thread counts only before its first operation.
    monkeypatch.setattr("hvdrec.commands.train.set_threads", lambda *_: None)
    write_data(tmp_path / "train.csv", 40)
    lines = (tmp_path / "train.csv").read_text().splitlines()
    lines[4] = line
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    job = SmallJob(tmp_path / "train.csv", tmp_path / "model", model="DCN")
    config = job.write(tmp_path / "job.config")
    assert main(parse_train, hvdrec.train.run, ["--pipeline_config_path", str(config)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hvdrec: error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"hvdrec: error: {tmp_path}/train.csv, row 5")
    assert problem in errors[0]
