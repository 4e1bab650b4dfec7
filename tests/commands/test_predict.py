"""`hvdrec.predict`: checkpoints and exported models, CSV and Parquet, CSV and JSON lines."""

from __future__ import annotations

import datetime
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from multirank.launch import start
from serving.exported import random_job, trainers_predictions
from small_job import SmallJob, write_data

from hvdrec.commands.predict import predict
from hvdrec.config import load, save
from hvdrec.config.flags import load_for_predict, parse_predict
from hvdrec.errors import ConfigError, DataError, TrainingError
from hvdrec.features.plan import FeaturePlan
from hvdrec.serving import saved_model
from hvdrec.serving.module import ServingModule
from hvdrec.serving.request import Wanted, request
from hvdrec.trainer.job import Job

NAMES = ("label", "a", "b", "c", "tags", "x", "y", "uid", "weight")
ODD_ROWS = ("0,,,,,,,,1", "0,é中, b3,-1,t1|t1|new, 2.5 ,.25,u1,1")


class Run:
    """A checkpoint, its exports, and 42 rows to predict."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.rows = folder / "rows.csv"
        write_data(self.rows, 40)
        with open(self.rows, "a", encoding="utf-8") as file:
            file.write("".join(f"{row}\n" for row in ODD_ROWS))
        self.cells = [line.split(",") for line in self.rows.read_text().splitlines()]
        self.model_dir = folder / "model"
        config = load(str(SmallJob(self.rows, self.model_dir, model="DCN").write(folder / "c.config")))
        job = random_job(config)
        job.store.save(0, job.entries(), {})
        save(config, self.model_dir)
        self.expected = trainers_predictions(job, self.rows)
        self.exports = {}
        for name, export in (
            ("columns", ""),
            ("joined", "multi_placeholder: false"),
            ("several", "auto_multi_value: true"),
        ):
            text = SmallJob(self.rows, self.model_dir, model="DCN", export=export)
            proto = load(str(text.write(folder / "e.config"))).proto
            self.exports[name] = folder / name
            saved_model.write(ServingModule(proto, job.recommender), folder / name, proto)

    def parquet(self, path: pathlib.Path, leave_out: tuple[str, ...] = ()) -> pathlib.Path:
        """The rows with types, tags as lists, missing values as nulls."""
        types = {"c": pa.int64(), "x": pa.float64(), "y": pa.float32(), "tags": pa.list_(pa.string())}
        columns = {}
        for i, name in enumerate(NAMES):
            cells = [row[i] for row in self.cells]
            if name == "tags":
                values = [[t for t in cell.split("|") if t] if cell else None for cell in cells]
            elif name in types:
                values = [(int if name == "c" else float)(cell) if cell else None for cell in cells]
            else:
                values = cells
            columns[name] = pa.array(values, types.get(name))
        pq.write_table(pa.table({n: c for n, c in columns.items() if n not in leave_out}), path)
        return path

    def headed(self, path: pathlib.Path) -> pathlib.Path:
        """The rows without label and weight, the columns in another order, under a header."""
        order = [NAMES.index(n) for n in ("y", "x", "uid", "tags", "c", "b", "a")]
        lines = [[NAMES[i] for i in order], *([row[i] for i in order] for row in self.cells)]
        path.write_text("".join(";".join(line) + "\n" for line in lines))
        return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("prediction"))


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # TensorFlow takes thread counts only before its first operation.
    monkeypatch.setattr("hvdrec.commands.predict.set_threads", lambda *_: None)


def _predict(out: pathlib.Path, source: pathlib.Path, *more: object) -> list[str]:
    flags = parse_predict(
        ["--input_path", str(source), "--output_path", str(out), "--batch_size", "16", *map(str, more)]
    )
    predict(load_for_predict(flags), flags)
    return out.read_text().splitlines()


def _other_types(run: Run, path: pathlib.Path) -> pa.Table:
    """The rows in the types that pandas, Spark and databases give them."""
    table = pq.read_table(run.parquet(path))
    given = {
        "c": table["c"].cast(pa.float64()),
        "x": table["x"].cast(pa.decimal128(24, 10)),
        "y": table["y"].cast(pa.float64()),
        "a": table["a"].cast(pa.large_string()).combine_chunks().dictionary_encode(),
    }
    for name, column in given.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


@pytest.mark.parametrize("model", ["checkpoint", "columns", "joined", "several"])
def test_the_type_of_a_file_is_no_matter(run: Run, tmp_path: pathlib.Path, model: str) -> None:
    table = _other_types(run, tmp_path / "rows.parquet")
    folder = tmp_path / "rows"
    folder.mkdir()
    # The first file has no value of c, as in a day without any.
    nothing = table.slice(0, 1)
    nothing = nothing.set_column(table.schema.get_field_index("c"), "c", pa.nulls(1))
    pq.write_table(nothing, folder / "0.parquet")
    pq.write_table(table, folder / "1.parquet")
    where = (
        ["--model_dir", run.model_dir] if model == "checkpoint" else ["--saved_model_dir", run.exports[model]]
    )
    more = ("--input_type", "ParquetInput", "--output_format", "jsonl", "--reserved_cols", "label")
    out = tmp_path / "out.jsonl"
    found = _probs(_predict(out, folder, *where, *more))[1:]
    np.testing.assert_allclose(found, run.expected["probs"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("model", ["checkpoint", "columns", "joined", "several"])
@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("x", float("nan"), "nan is not a finite number"),
        ("y", float("inf"), "inf is not a finite number"),
        ("c", 2.5, "2.5 is not an INT32"),
        ("c", 2.0**31, "2147483648 is not an INT32"),
    ],
)
def test_bad_cells_of_typed_columns(
    run: Run, tmp_path: pathlib.Path, model: str, column: str, value: float, told: str
) -> None:
    table = pq.read_table(run.parquet(tmp_path / "rows.parquet"))
    cells = table[column].to_pylist()
    cells[3] = value
    table = table.set_column(table.schema.get_field_index(column), column, pa.array(cells, pa.float64()))
    pq.write_table(table, tmp_path / "rows.parquet")
    where = (
        ["--model_dir", run.model_dir] if model == "checkpoint" else ["--saved_model_dir", run.exports[model]]
    )
    more = ("--input_type", "ParquetInput", "--output_format", "jsonl", "--reserved_cols", "label")
    out = tmp_path / "out.jsonl"
    with pytest.raises(DataError, match=rf"rows.parquet, row 4, column '{column}': {told}"):
        _predict(out, tmp_path / "rows.parquet", *where, *more)
    arguments = ["--input_path", tmp_path / "rows.parquet", "--output_path", out, *where, *more]
    flags = parse_predict([str(a) for a in arguments])
    config = load_for_predict(flags)
    config.proto.data_config.ignore_error = True
    predict(config, flags)
    wanted = np.delete(run.expected["probs"], 3)
    np.testing.assert_allclose(_probs(out.read_text().splitlines()), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("column", "kind", "default", "expected"),
    [
        (pa.array([True, False, None]), tf.int32, "1", [1, 0, 1]),
        (pa.array([True, False, None]), tf.bool, "true", [True, False, True]),
        (pa.array([1, 0, None], pa.uint8()), tf.bool, "", [True, False, False]),
        (pa.array([3, None], pa.int64()), tf.float64, "0.5", [3.0, 0.5]),
        (pa.array([3, None], pa.int64()), tf.int64, "9007199254740993", [3, 2**53 + 1]),
        (pa.array([7.0, None]), tf.int32, "", [7, 0]),
        (pa.array([1, 2**31]), tf.int32, "", "row 1, column 'x': 2147483648 is not a valid int32"),
        (pa.array([1, 2**63], pa.uint64()), tf.int64, "", "9223372036854775808 is not a valid int64"),
        (pa.array([1.0, 2.5]), tf.int64, "", "2.5 is not a valid int64"),
        (pa.array([1, 2]), tf.bool, "", "2 is not a valid bool"),
    ],
)
def test_numbers_of_a_request(column: pa.Array, kind: tf.DType, default: str, expected: object) -> None:
    rows = pa.RecordBatch.from_arrays([column], ["x"])
    wanted = [Wanted("x", kind, default=default)]
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            request(rows, wanted, "row {}".format)
        return
    found = request(rows, wanted, "row {}".format)["x"]
    assert found.dtype == kind.as_numpy_dtype
    assert found.tolist() == expected


def _probs(lines: list[str]) -> list[float]:
    return [json.loads(line)["probs"] for line in lines]


def test_csv_with_all_columns(run: Run, tmp_path: pathlib.Path) -> None:
    lines = _predict(tmp_path / "out.csv", run.rows, "--model_dir", run.model_dir)
    table = [line.split("\x01") for line in lines]
    assert table[0] == ["logits", "probs", *NAMES]
    assert [row[2:] for row in table[1:]] == run.cells
    for i, name in enumerate(("logits", "probs")):
        np.testing.assert_allclose([float(r[i]) for r in table[1:]], run.expected[name], rtol=1e-6, atol=1e-6)


def test_chosen_columns_and_separators(run: Run, tmp_path: pathlib.Path) -> None:
    flags = ("--model_dir", run.model_dir, "--output_cols", "logits double", "--reserved_cols", "uid, tags")
    lines = _predict(tmp_path / "out.csv", run.rows, *flags, "--output_sep", "|")
    assert lines[0] == "logits|uid|tags"
    tags = run.cells[3][4]
    assert "|" in tags or "|" in run.cells[41][4]
    assert lines[42].split("|", 2)[1:] == ["u1", '"t1|t1|new"']
    lines = _predict(tmp_path / "out.jsonl", run.rows, *flags, "--output_format", "jsonl")
    assert json.loads(lines[41])["tags"] == "t1|t1|new"
    assert list(json.loads(lines[0])) == ["logits", "uid", "tags"]
    with pytest.raises(ConfigError, match="--output_cols: this model has no score; it has probs, logits"):
        _predict(tmp_path / "x.csv", run.rows, "--model_dir", run.model_dir, "--output_cols", "score")
    with pytest.raises(ConfigError, match="--reserved_cols: the input has no column zip; it has"):
        _predict(tmp_path / "x.csv", run.rows, "--model_dir", run.model_dir, "--reserved_cols", "zip")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "out.jsonl"]


@pytest.mark.parametrize("model", ["checkpoint", "columns", "joined", "several"])
def test_every_input_gives_the_same(run: Run, tmp_path: pathlib.Path, model: str) -> None:
    which = ["--model_dir", run.model_dir]
    if model != "checkpoint":
        which = ["--saved_model_dir", run.exports[model]]
    json_lines = [*which, "--output_format", "jsonl"]
    found = {
        "csv": _predict(tmp_path / "a.jsonl", run.rows, *json_lines),
        "parquet": _predict(
            tmp_path / "b.jsonl", run.parquet(tmp_path / "b.parquet", ("label", "weight")), *json_lines, "--input_type", "ParquetInput"
        ),
    }  # fmt: skip
    for name, lines in found.items():
        np.testing.assert_allclose(_probs(lines), run.expected["probs"], rtol=1e-6, atol=1e-6, err_msg=name)


def test_columns_of_any_type_are_copied(run: Run, tmp_path: pathlib.Path) -> None:
    table = pq.read_table(run.parquet(tmp_path / "rows.parquet"))
    rows = table.num_rows
    more = {
        "day": pa.array([datetime.date(2024, 1, 2)] * rows),
        "place": pa.array([{"lat": 1.5, "name": "x"}, None] + [{"lat": 2.0, "name": None}] * (rows - 2)),
        "words": pa.array([[("a", 1)]] * rows, pa.map_(pa.string(), pa.int64())),
        "nested": pa.array([[[1, 2], [3]]] * rows),
    }
    for name, column in more.items():
        table = table.append_column(name, column)
    pq.write_table(table, tmp_path / "rows.parquet")
    given = ("--model_dir", run.model_dir, "--input_type", "ParquetInput", "--reserved_cols", ",".join(more))
    lines = _predict(tmp_path / "o.csv", tmp_path / "rows.parquet", *given, "--output_sep", ";")
    assert [line.split(";")[2:] for line in lines[:3]] == [
        list(more),
        ["2024-01-02", '{"lat": 1.5, "name": "x"}', '[["a", 1]]', "1,2,3"],
        ["2024-01-02", "", '[["a", 1]]', "1,2,3"],
    ]
    lines = _predict(tmp_path / "o", tmp_path / "rows.parquet", *given, "--output_format", "jsonl")
    assert json.loads(lines[0])["place"] == {"lat": 1.5, "name": "x"}


def test_what_json_cant_hold(run: Run, tmp_path: pathlib.Path) -> None:
    table = pq.read_table(run.parquet(tmp_path / "rows.parquet"))
    texts = pa.array([b"ok", b"ok", b"caf\xe9"] + [b""] * (table.num_rows - 3), pa.binary())
    numbers = pa.array([float("nan"), float("inf"), 0.5] + [None] * (table.num_rows - 3))
    pq.write_table(
        table.append_column("bytes", texts).append_column("number", numbers), tmp_path / "r.parquet"
    )
    given = ("--model_dir", run.model_dir, "--input_type", "ParquetInput", "--output_format", "jsonl")
    lines = _predict(tmp_path / "o.jsonl", tmp_path / "r.parquet", *given, "--reserved_cols", "number")
    numbers = [json.loads(line, parse_constant=pytest.fail)["number"] for line in lines]
    assert numbers[:4] == [None, None, 0.5, None]
    with pytest.raises(DataError, match=r"r.parquet, row 3, column 'bytes': b'caf\\xe9' is not UTF-8 text"):
        _predict(tmp_path / "x.jsonl", tmp_path / "r.parquet", *given, "--reserved_cols", "bytes")
    assert not (tmp_path / "x.jsonl").exists()


def test_an_input_is_never_overwritten(run: Run, tmp_path: pathlib.Path) -> None:
    copied = tmp_path / "rows.csv"
    copied.write_bytes(run.rows.read_bytes())
    (tmp_path / "link.csv").symlink_to(copied)
    for written in (copied, tmp_path / "link.csv"):
        with pytest.raises(ConfigError, match=r"--output_path: .* would be overwritten, but it is an input"):
            _predict(written, copied, "--model_dir", run.model_dir)
    assert copied.read_bytes() == run.rows.read_bytes()


def test_no_labels_and_another_separator(run: Run, tmp_path: pathlib.Path) -> None:
    config = (run.model_dir / "pipeline.config").read_text()
    (tmp_path / "pipeline.config").write_text(
        config.replace("data_config {", 'data_config {\n  separator: ";"')
    )
    flags = ("--model_dir", tmp_path, "--checkpoint_path", run.model_dir, "--with_header")
    lines = _predict(tmp_path / "out.csv", run.headed(tmp_path / "in.csv"), *flags, "--output_sep", "\\t")
    table = [line.split("\t") for line in lines]
    assert table[0] == ["logits", "probs", "a", "b", "c", "tags", "x", "y", "uid"]
    np.testing.assert_allclose([float(r[1]) for r in table[1:]], run.expected["probs"], rtol=1e-6, atol=1e-6)


def test_mistakes_name_their_place(run: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "bad.csv").write_text("0,a,b,1,t,1,1,u,1\n0,a,b,one,t,1,1,u,1\n")
    for name in ("columns", "joined"):
        # The words of training, whatever the model's inputs are.
        with pytest.raises(DataError, match=r"bad.csv, row 2, column 'c': 'one' is not an INT32"):
            _predict(tmp_path / "out.csv", tmp_path / "bad.csv", "--saved_model_dir", run.exports[name])
    assert not (tmp_path / "out.csv").exists()
    with pytest.raises(ConfigError, match="there is no exported model in"):
        _predict(tmp_path / "out.csv", run.rows, "--saved_model_dir", tmp_path)
    with pytest.raises(ConfigError, match="can't be given together with"):
        parse_predict(
            ["--input_path", "a", "--output_path", "b", "--saved_model_dir", "d", "--checkpoint_path", "c"]
        )
    with pytest.raises(ConfigError, match="--output_sep: must not be empty"):
        parse_predict(["--input_path", "a", "--output_path", "b", "--output_sep", ""])


@pytest.mark.parametrize("model", ["checkpoint", "columns"])
def test_a_prediction_that_is_not_finite_is_not_written(run: Run, tmp_path: pathlib.Path, model: str) -> None:
    rows = "0,a,b,1,t,1,1,u,1\n0,a,b,1,t,1e30,1,u,1\n"
    (tmp_path / "large.csv").write_text(rows)
    given = (
        ["--model_dir", run.model_dir] if model == "checkpoint" else ["--saved_model_dir", run.exports[model]]
    )
    with pytest.raises(
        TrainingError, match=r"large.csv, row 2: the prediction '(probs|logits)' has a number"
    ):
        _predict(tmp_path / "out.csv", tmp_path / "large.csv", *given)
    assert not (tmp_path / "out.csv").exists()


def test_a_plan_for_prediction_needs_no_labels(run: Run) -> None:
    config = load(str(run.model_dir / "pipeline.config"))
    config.proto.data_config.sample_weight = "weight"
    job = Job(config, random_job(config).group)
    plan = job.plan.for_prediction()
    assert isinstance(plan, FeaturePlan)
    assert [f.name for f in job.plan.fields][: len(plan.fields)] == [f.name for f in plan.fields]
    assert {f.name for f in job.plan.fields} - {f.name for f in plan.fields} == {"label", "weight", "uid"}


@pytest.mark.multirank
def test_two_ranks_write_parts(run: Run, tmp_path: pathlib.Path) -> None:
    flags = ["--saved_model_dir", str(run.exports["columns"]), "--input_path", str(run.rows)]
    flags += ["--output_path", str(tmp_path / "parts"), "--batch_size", "8", "--output_cols", "probs"]
    done = start("horovodrun", 2, ["-m", "hvdrec.predict", *flags, "--output_sep", ";"])
    assert done.returncode == 0, done.stderr
    assert "42 rows predicted" in done.stdout
    parts = [(tmp_path / "parts" / f"part-{r}.csv").read_text().splitlines()[1:] for r in (0, 1)]
    assert [len(p) for p in parts] == [8 * 3, 8 * 2 + 2]
    order = [i for r in (0, 1) for i in range(42) if i // 8 % 2 == r]
    found = [line.split(";") for part in parts for line in part]
    assert [row[1:] for row in found] == [run.cells[i] for i in order]
    np.testing.assert_allclose(
        [float(r[0]) for r in found], run.expected["probs"][order], rtol=1e-6, atol=1e-6
    )


def test_a_column_is_not_written_over_a_prediction(run: Run, tmp_path: pathlib.Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join([",".join([*NAMES, "probs"]), *(",".join([*row, "7"]) for row in run.cells)]))
    more = ("--model_dir", run.model_dir, "--with_header")
    with pytest.raises(ConfigError, match="--reserved_cols: probs would be in the output twice"):
        _predict(tmp_path / "out.csv", rows, *more, "--reserved_cols", "ALL_COLUMNS")
    lines = _predict(
        tmp_path / "out.csv", rows, *more, "--reserved_cols", "a,probs", "--output_cols", "logits"
    )
    assert lines[0] == "logits\x01a\x01probs"
    assert lines[1].split("\x01")[2] == "7"


def test_names_with_separators_are_quoted_like_cells(run: Run, tmp_path: pathlib.Path) -> None:
    rows = tmp_path / "rows.parquet"
    table = pq.read_table(run.parquet(rows))
    pq.write_table(table.append_column("d,e", table["a"]), rows)
    flags = ("--model_dir", run.model_dir, "--input_type", "ParquetInput", "--output_sep", ",")
    lines = _predict(tmp_path / "out.csv", rows, *flags, "--reserved_cols", "ALL_COLUMNS")
    assert lines[0].endswith(',weight,"d,e"')
