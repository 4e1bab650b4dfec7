"""CriteoInput's binary files, and DummyInput."""

import numpy as np
import pytest
from google.protobuf import text_format

from hvdrec.config.protos import pipeline_pb2
from hvdrec.data.criteo_input import CriteoFormat, criteo_files
from hvdrec.data.input import open_source
from hvdrec.data.source import ReadPlan, RowSource
from hvdrec.errors import ConfigError, DataError
from tests.data.reading import columns


def write(folder, sizes, seed=0):
    """Writes files with a number of rows; returns the values of all of them."""
    rng = np.random.default_rng(seed)
    rows = sum(sizes)
    parts = {
        "label": rng.integers(0, 2, (rows, 1)).astype("<i4"),
        "dense": rng.random((rows, 13)).astype("<f4"),
        "category": rng.integers(0, 1 << 32, (rows, 26), np.uint64).astype("<u4"),
    }
    start = 0
    for i, size in enumerate(sizes):
        for part, values in parts.items():
            (folder / f"{i}_{part}.bin").write_bytes(values[start : start + size].tobytes())
        start += size
    return parts


def config(folder, pattern="*"):
    text = f"""binary_train_input {{ label_path: "{folder}/{pattern}_label.bin"
        dense_path: "{folder}/{pattern}_dense.bin" category_path: "{folder}/{pattern}_category.bin" }}
        data_config {{ input_type: CriteoInput batch_size: 4 num_epochs: 1 shuffle: false }}"""
    return text_format.Parse(text, pipeline_pb2.EasyRecConfig())


def test_rows_are_those_of_the_three_files(tmp_path):
    parts = write(tmp_path, [5, 3])
    fields = columns("c26", "f1", "label", "f13", "c1")
    blocks = list(open_source(config(tmp_path), fields=fields, training=True))
    assert [block.columns.num_rows for block in blocks] == [4, 4]
    found = {
        name: np.concatenate([b.columns.column(name) for b in blocks])
        for name in blocks[0].columns.schema.names
    }
    np.testing.assert_array_equal(found["f1"], parts["dense"][:, 0])
    np.testing.assert_array_equal(found["f13"], parts["dense"][:, 12])
    np.testing.assert_array_equal(found["label"], parts["label"][:, 0])
    # Categories are EasyRec's int32.
    np.testing.assert_array_equal(found["c1"], parts["category"][:, 0].astype("<u4").view("<i4"))
    np.testing.assert_array_equal(found["c26"].astype(np.uint32), parts["category"][:, 25])
    assert blocks[1].locate(1) == f"{tmp_path}/1_label.bin, row 1"


def test_files_that_do_not_fit_together_are_told(tmp_path):
    write(tmp_path, [5])
    proto = config(tmp_path).binary_train_input
    (tmp_path / "0_dense.bin").write_bytes(bytes(5 * 52 - 1))
    with pytest.raises(
        DataError, match=r"0_dense\.bin: has 259 bytes, but the 5 rows of .*0_label\.bin need 260"
    ):
        criteo_files(proto, "binary_train_input")
    (tmp_path / "1_label.bin").write_bytes(bytes(4))
    with pytest.raises(DataError, match="name 2 of label_path, 1 of dense_path, 1 of category_path"):
        criteo_files(proto, "binary_train_input")


def test_other_fields_are_refused(tmp_path):
    write(tmp_path, [2])
    files = criteo_files(config(tmp_path).binary_train_input, "binary_train_input")
    with pytest.raises(ConfigError, match="CriteoInput has label, f1 to f13 and c1 to c26, not f14, x"):
        CriteoFormat(files, columns("f14", "c1", "x"), {})
    raw = CriteoFormat(files, columns("c1"), {}, keep_raw=True)
    (block,) = RowSource(raw, ReadPlan(5))
    assert block.columns.num_columns == 40
    with pytest.raises(ConfigError, match="--input_path: CriteoInput reads the files in binary_train_input"):
        open_source(config(tmp_path), paths=["a"], fields=columns("c1"), training=False, named="--input_path")


def test_dummy_rows_have_empty_cells():
    text = "data_config { input_type: DummyInput batch_size: 7 num_epochs: 1 }"
    proto = text_format.Parse(text, pipeline_pb2.EasyRecConfig())
    source = iter(open_source(proto, fields=columns("a", "b"), training=True))
    assert next(source).columns.to_pydict() == {"a": [b""] * 7, "b": [b""] * 7}
    assert sum(block.columns.num_rows for block in source) == (1 << 16) - 7
