"""Exported models in a process that has only TensorFlow."""

from __future__ import annotations

import json
import pathlib
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
from serving.exported import bare, predict_bare, random_job, trainers_predictions, typed_request
from small_job import MODELS, SmallJob, write_data

from hvdrec.config import Config, load
from hvdrec.errors import CheckpointError, ConfigError
from hvdrec.features.packer_spec import FeatureSpec
from hvdrec.features.plan import Field
from hvdrec.features.serving.field_tensors import FieldTensors
from hvdrec.features.serving.sequence_feature import IdSequence
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving import saved_model
from hvdrec.serving.module import ServingModule
from hvdrec.trainer.job import Job

NAMES = ("label", "a", "b", "c", "tags", "x", "y", "uid", "weight")
# Unknown and missing values, spaces, bytes beyond ASCII, numbers out of range.
ODD_ROWS = (
    "0,,,,,,,,1",
    "0,never seen,b3,-1,t1|t1|nothing,1e-3,-5,u1,1",
    "0,é中, b3,99,|,-0,1e2,,1",
    "0,a1,b1,+7,t8, 2.5 ,.25,u2,1",
)


def _rows(path: pathlib.Path) -> dict[str, list[str]]:
    """Writes a file of rows and returns its cells by column."""
    write_data(path, 60, seed=3)
    with open(path, "a", encoding="utf-8") as file:
        file.write("".join(f"{row}\n" for row in ODD_ROWS))
    table = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    return {name: [row[i] for row in table] for i, name in enumerate(NAMES)}


def _config(tmp_path: pathlib.Path, model: str = "DeepFM", export: str = "", **more: str) -> Config:
    job = SmallJob(tmp_path / "rows.csv", tmp_path / "model", model=model, export=export, **more)
    return load(str(job.write(tmp_path / f"{model}.config")))


def _export(config: Config, folder: pathlib.Path) -> tuple[Job, pathlib.Path]:
    job = random_job(config)
    return job, saved_model.write(ServingModule(config.proto, job.recommender), folder, config.proto)


def _joined(cells: dict[str, list[str]]) -> dict[str, np.ndarray]:
    columns = [cells[n] for n in NAMES if n not in ("label", "weight")]
    return {"features": np.asarray([",".join(row).encode() for row in zip(*columns, strict=True)])}


def _several(request: dict[str, np.ndarray], cells: dict[str, list[str]]) -> dict[str, np.ndarray]:
    tags = [[t for t in cell.split("|") if t] for cell in cells["tags"]]
    return {**request, "tags": np.asarray([[*t, "", "", ""][:3] for t in tags])}


def test_every_model_gives_the_trainers_logits(tmp_path: pathlib.Path) -> None:
    cells = _rows(tmp_path / "rows.csv")
    variants: dict[str, dict[str, str]] = {model: {"model": model} for model in MODELS}
    variants["classes"] = {"model": "DCN", "model_extra": "num_class: 3"}
    variants["joined"] = {"export": "multi_placeholder: false"}
    variants["several"] = {"export": "auto_multi_value: true"}
    expected, models = {}, {}
    for name, options in variants.items():
        config = _config(tmp_path, **options)
        job, folder = _export(config, tmp_path / name)
        expected[name] = trainers_predictions(job, tmp_path / "rows.csv")
        given = {i.name for i in ServingModule(config.proto, job.recommender).inputs}
        request = typed_request(config.proto, {n: c for n, c in cells.items() if n in given})
        request = _joined(cells) if name == "joined" else request
        request = _several(request, cells) if name == "several" else request
        models[name] = folder, request
    found = predict_bare(tmp_path, models)
    for name, predictions in expected.items():
        assert found[name].keys() == predictions.keys()
        for output, values in predictions.items():
            if values.dtype == object:
                # Text of other outputs.
                assert len(found[name][output]) == len(values)
                continue
            assert np.ptp(values) > 0.0, output
            np.testing.assert_allclose(
                found[name][output], values, rtol=1e-6, atol=1e-6, err_msg=f"{name} {output}"
            )


def test_histories_as_lists(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "rows.csv", 60, seed=3)
    table = [line.split(",") for line in (tmp_path / "rows.csv").read_text().splitlines()]
    table = [row for row in table if all(row[NAMES.index("tags")].split("|"))]
    (tmp_path / "rows.csv").write_text("".join(",".join(row) + "\n" for row in table))
    cells = {name: [row[i] for row in table] for i, name in enumerate(NAMES)}
    config = _config(tmp_path, "MultiTowerDIN", 'multi_value_fields { input_name: "tags" }')
    job = random_job(config)
    module = ServingModule(config.proto, job.recommender)
    (own,) = (given for given in module.inputs if given.name == "tags")
    assert (own.several, own.dtype) == (True, tf.string)
    given = {i.name for i in module.inputs}
    request = _several(typed_request(config.proto, {n: c for n, c in cells.items() if n in given}), cells)
    # Absent values can be anywhere.
    request["tags"] = np.insert(request["tags"], 1, "", axis=1)
    found = module.serve(*(tf.constant(request[i.name]) for i in module.inputs))
    expected = trainers_predictions(job, tmp_path / "rows.csv")
    lengths = [len(cell.split("|")) for cell in cells["tags"]]
    assert len(set(lengths)) > 1
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-5, atol=1e-6)
    # Numbers, as of Parquet files with lists.
    whole = FieldTensors(
        [Field("h", "INT64", "")], {"h": tf.constant([[3, -1, 4], [-1, -1, -1], [5, 6, -1]], tf.int64)}
    )
    ids = IdSequence(FeatureSpec("sequence", (0,), num_buckets=10, separator="|"))(whole)
    assert ids.ids.numpy().tolist() == [3, 4, 5, 6]
    assert ids.lengths.numpy().tolist() == [2, 0, 2]


def test_joined_rows_of_another_width_are_refused(tmp_path: pathlib.Path) -> None:
    _rows(tmp_path / "rows.csv")
    config = _config(tmp_path, export="multi_placeholder: false")
    module = ServingModule(config.proto, Job(config, SingleReplica()).recommender)
    with pytest.raises(tf.errors.InvalidArgumentError, match="features must have 7 columns"):
        module.serve(tf.constant(["a,b"]))


def test_names_are_those_of_easyrec(tmp_path: pathlib.Path) -> None:
    _rows(tmp_path / "rows.csv")
    for export, nodes in (
        ("", ["input_1", "input_2", "input_3", "input_4", "input_5", "input_6", "input_7"]),
        ("placeholder_named_by_input: true", ["a", "b", "c", "tags", "x", "y", "uid"]),
    ):
        config = _config(tmp_path, export=export)
        _, folder = _export(config, tmp_path / "out")
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
            inputs = graph.signature_def["serving_default"].inputs
            assert {n: i.name for n, i in inputs.items()} == dict(
                zip(("a", "b", "c", "tags", "x", "y", "uid"), (f"{n}:0" for n in nodes), strict=True)
            )
        assert [inputs[n].dtype for n in ("a", "c", "x", "y")] == [
            tf.string,
            tf.int32,
            tf.float64,
            tf.float32,
        ]
        assert graph.meta_info_def.meta_graph_version == folder.name
        assert (folder / "assets" / "pipeline.config").read_text().startswith("train_input_path")


def test_field_names_that_are_no_identifiers(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "rows.csv", 5)
    path = tmp_path / "c.config"
    path.write_text(SmallJob(tmp_path / "rows.csv", tmp_path / "m").text().replace('"a"', '"user:age (年)"'))
    config = load(str(path))
    job, folder = _export(config, tmp_path / "out")
    request = {
        "user:age (年)": [b"a1"], "b": [b"b1"], "c": [1], "tags": [b"t1"], "x": [0.5], "y": [1.0], "uid": [b""],
    }  # fmt: skip
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        signature = graph.signature_def["serving_default"]
        feed = {signature.inputs[n].name: v for n, v in request.items()}
        logits = session.run(signature.outputs["logits"].name, feed)
    (tmp_path / "one.csv").write_text("0,a1,b1,1,t1,0.5,1.0,,1\n")
    expected = trainers_predictions(job, tmp_path / "one.csv")["logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=1e-6)


def test_a_server_answers(tmp_path: pathlib.Path) -> None:
    cells = _rows(tmp_path / "rows.csv")
    config = _config(tmp_path)
    job, _ = _export(config, tmp_path / "out")
    inputs = {"c": [int(c or 0) for c in cells["c"]], "x": [float(c or 0) for c in cells["x"]]}
    inputs |= {"y": [float(c or 0) for c in cells["y"]], **{n: cells[n] for n in ("a", "b", "tags", "uid")}}
    process = bare("serve", str(tmp_path / "out"))
    try:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}/v1/models/model:predict"
        answer = _post(url, {"inputs": inputs})
        expected = trainers_predictions(job, tmp_path / "rows.csv")
        np.testing.assert_allclose(answer["outputs"]["probs"], expected["probs"], rtol=1e-6, atol=1e-6)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            _post(url, {"inputs": {"a": ["x"]}})
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _post(url: str, body: object) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_versions_are_whole_and_ascend(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data(tmp_path / "rows.csv", 5)
    config = _config(tmp_path)
    job = Job(config, SingleReplica())
    module = ServingModule(config.proto, job.recommender)
    (tmp_path / "extra.txt").write_text("x")
    out = tmp_path / "out"
    first = saved_model.write(module, out, config.proto, [("sub/e.txt", tmp_path / "extra.txt")])
    assert (first / "assets" / "sub" / "e.txt").read_text() == "x"
    second = saved_model.write(module, out, config.proto)
    assert saved_model.versions(out) == [int(first.name), int(second.name)]
    (out / "note.txt").write_text("stays")
    saved_model.keep_newest(out, 1)
    assert sorted(p.name for p in out.iterdir()) == [second.name, "note.txt"]
    monkeypatch.setattr(saved_model.os, "rename", _no_space)
    with pytest.raises(CheckpointError, match=r"can't export to .*: No space left"):
        saved_model.write(module, out, config.proto)
    assert sorted(p.name for p in out.iterdir()) == [second.name, "note.txt"]


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_feature_of_one_value_cant_have_several(tmp_path: pathlib.Path) -> None:
    write_data(tmp_path / "rows.csv", 5)
    config = _config(tmp_path, export='multi_value_fields { input_name: "a" }')
    job = Job(config, SingleReplica())
    with pytest.raises(ConfigError, match="'a' is read by a feature with one value per row"):
        ServingModule(config.proto, job.recommender)


@pytest.mark.parametrize("run", ["deepfm_adult", "multi_tower_two_losses_adult"])
def test_easyrecs_checkpoint_served(shared: pathlib.Path, tmp_path: pathlib.Path, run: str) -> None:
    from hvdrec.commands.restored import restore

    golden = shared / "golden" / run
    config = load(str(golden / "pipeline.config"))
    config.proto.model_dir = str(tmp_path)
    job, _ = restore(config, SingleReplica(), str(golden / "model.ckpt-120"))
    folder = saved_model.write(ServingModule(config.proto, job.recommender), tmp_path / "out", config.proto)
    names = [f.input_name for f in config.proto.data_config.input_fields]
    lines = (shared / "data" / "adult" / "adult_test.csv").read_text().splitlines()[:500]
    cells = {n: [line.split(",")[i] for line in lines] for i, n in enumerate(names)}
    signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
    given = signature.structured_input_signature[1]
    request = typed_request(config.proto, {n: c for n, c in cells.items() if n in given})
    logits = signature(**{n: tf.constant(v) for n, v in request.items()})["logits"].numpy()
    expected = np.load(golden / "adult_test_logits.npy").reshape(-1)[:500]
    np.testing.assert_allclose(logits, expected, atol=1e-4)
