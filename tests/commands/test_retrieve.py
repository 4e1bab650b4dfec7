"""`hvdrec.retrieve`, and the towers that `hvdrec.export --towers` writes, on EasyRec's runs."""

from __future__ import annotations

import json
import pathlib
import re
import types

import numpy as np
import pytest
import tensorflow as tf
from golden.easyrec import golden_run, our_predictions
from thread_ranks import on_threads

from hvdrec.commands import searched
from hvdrec.commands.restored import restore
from hvdrec.commands.retrieve import retrieve
from hvdrec.config.flags import load_for_retrieve, parse_retrieve
from hvdrec.errors import ConfigError, DataError, TrainingError, UserError
from hvdrec.parallel.group import ReplicaGroup
from hvdrec.parallel.single import SingleReplica
from hvdrec.serving import saved_model
from hvdrec.serving.module import ServingModule
from hvdrec.trainer.run.agree import run_on_all_ranks


@pytest.fixture(autouse=True)
def _threads_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow runs already."""
    monkeypatch.setattr("hvdrec.commands.retrieve.set_threads", lambda *_: None)


def flags(folder: pathlib.Path, *more: str) -> list[str]:
    return [
        *("--pipeline_config_path", str(folder / "pipeline.config"), "--model_dir", str(folder / "none")),
        *("--checkpoint_path", str(folder / "model.ckpt-30"), "--input_path", str(folder / "data.csv")),
        *more,
    ]


def test_nearest_items_of_the_table(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores are the products of the predictions; the metrics equal those counted separately."""
    run = golden_run("dssm_neg_sampler_taobao")
    monkeypatch.chdir(run.folder)
    output = tmp_path / "nearest.tsv"
    given = flags(run.folder, "--topk", "5,20", "--output_path", str(output))
    config, parsed = load_for_retrieve(parse_retrieve(given))
    config.proto.model_dir = str(tmp_path)
    found = retrieve(config, parsed)
    shown = json.loads(capsys.readouterr().out)
    assert shown["step"] == 30
    assert shown["items"] == 40
    predicted = next(our_predictions(run, tmp_path / "predict", 30))
    rows = [line.split(",") for line in (run.folder / "data.csv").read_text().splitlines()]
    names = [f.input_name for f in config.proto.data_config.input_fields]
    chosen = [row[names.index("adgroup_id")] for row in rows]
    lines = [line.split("\t") for line in output.read_text().splitlines()]
    assert [line[0] for line in lines] == [str(i + 1) for i in range(len(rows))]
    ranked = [dict(pair.split(":") for pair in line[1].split(",")) for line in lines]
    for row in range(128):
        assert len(ranked[row]) == 20
        if chosen[row] in ranked[row]:
            product = np.dot(predicted["user_tower_emb"][row], predicted["item_tower_emb"][row])
            assert float(ranked[row][chosen[row]]) == pytest.approx(product, rel=1e-4, abs=1e-5)
    hits = [list(each).index(item) if item in each else 99 for each, item in zip(ranked, chosen, strict=True)]
    assert found["hit_rate@5"] == pytest.approx(np.mean([h < 5 for h in hits]))
    assert found["mrr@20"] == pytest.approx(np.mean([1 / (h + 1) if h < 20 else 0 for h in hits]))


def test_items_of_rows_and_users_of_several(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = golden_run("mind_taobao")
    monkeypatch.chdir(run.folder)
    rows, items = run.folder / "data.csv", tmp_path / "items.csv"
    items.write_text("\n".join(rows.read_text().splitlines()[:4]) + "\n")
    output = tmp_path / "nearest.tsv"
    given = flags(
        run.folder, "--item_input_path", str(items), "--item_id_field", "adgroup_id", "--topk", "3,50"
    )
    given += ["--user_id_field", "user_id", "--output_path", str(output)]
    config, parsed = load_for_retrieve(parse_retrieve(given))
    config.proto.model_dir = str(tmp_path)
    found = retrieve(config, parsed)
    assert 0 <= found["recall@3"] <= found["hit_rate@3"] <= 1
    told = capsys.readouterr().err
    assert "--topk: 50 is more than the 4 items that are searched" in told
    assert re.search(r"\d+ of the \d+ items that users chose are not among those that are searched", told)
    users = [line.split("\t")[0] for line in output.read_text().splitlines()]
    assert len(set(users)) == len(users)


def test_an_input_as_output_is_refused() -> None:
    run = golden_run("mind_taobao")
    rows = str(run.folder / "data.csv")
    given = flags(
        run.folder, "--item_input_path", rows, "--item_id_field", "adgroup_id", "--output_path", rows
    )
    config, parsed = load_for_retrieve(parse_retrieve(given))
    with pytest.raises(ConfigError, match=r"data\.csv would be overwritten, but it is an input"):
        retrieve(config, parsed)


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        (
            "dssm_neg_sampler_taobao",
            [],
            r"items?.*, row \d+: the vector of its item has a number that isn't finite",
        ),
        ("mind_taobao", ["--item_id_field", "adgroup_id"], r"data\.csv, row 1: the vector of its item has"),
    ],
)
def test_vectors_that_are_not_finite_are_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, more: list[str], said: str
) -> None:
    run = golden_run(name)
    monkeypatch.chdir(run.folder)

    def spoilt(*given: object) -> object:
        job, step = restore(*given)
        for entry in job.entries():
            if entry.variable.dtype == tf.float32:
                entry.variable.assign(tf.fill(entry.variable.shape, np.nan))
        return job, step

    monkeypatch.setattr("hvdrec.commands.retrieve.restore", spoilt)
    items = ["--item_input_path", str(run.folder / "data.csv"), *more] if more else []
    config, parsed = load_for_retrieve(parse_retrieve(flags(run.folder, *items)))
    config.proto.model_dir = str(tmp_path)
    with pytest.raises(TrainingError, match=said):
        retrieve(config, parsed)


@pytest.mark.parametrize("name", ["dssm_neg_sampler_taobao", "mind_taobao"])
def test_exported_towers_give_the_predictions(name: str, tmp_path: pathlib.Path) -> None:
    run = golden_run(name)
    config = run.config(tmp_path)
    job, _ = restore(config, SingleReplica(), run.checkpoint(30))
    expected = run.predictions(30)
    rows = [line.split(",") for line in (run.folder / "data.csv").read_text().splitlines()][:128]
    names = [f.input_name for f in config.proto.data_config.input_fields]
    for side in ("user", "item"):
        module = ServingModule(config.proto, job.recommender, side)
        version = saved_model.write(module, tmp_path / side, config.proto)
        serve = tf.saved_model.load(str(version)).signatures["serving_default"]
        arguments = {}
        for wanted in module.inputs:
            cells = [row[names.index(wanted.name)] for row in rows]
            if wanted.dtype != tf.string:
                cells = [cell or "0" for cell in cells]
            cast = tf.strings.to_number if wanted.dtype.is_integer or wanted.dtype.is_floating else None
            tensor = tf.constant(cells)
            arguments[wanted.name] = tensor if cast is None else cast(tensor, wanted.dtype)
        assert len(arguments) < len(names)
        found = serve(**arguments)
        for key, values in found.items():
            if key in expected and values.dtype != tf.string:
                np.testing.assert_allclose(values.numpy(), expected[key], rtol=1e-4, atol=1e-5, err_msg=key)
        assert any(key in expected for key in found)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ([], "--item_input_path: is missing"),
        (["--item_input_path", "x"], "--item_id_field: is missing"),
        (["--item_input_path", "x", "--item_id_field", "nothing"], "--item_id_field: 'nothing' is not among"),
    ],
)
def test_what_is_missing_is_said(more: list[str], problem: str) -> None:
    run = golden_run("mind_taobao")
    with pytest.raises(ConfigError, match=problem):
        load_for_retrieve(parse_retrieve(flags(run.folder, *more)))
    with pytest.raises(ConfigError, match="--topk: '3,x' must be comma-separated whole numbers"):
        parse_retrieve(["--input_path", "x", "--topk", "3,x"])


def test_a_rank_that_cant_open_the_input_stops_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_here(proto: object, *, rank: int, **given: object) -> object:
        if rank == 1:
            raise DataError("rows.csv: there is no such file")
        return types.SimpleNamespace(files=[])

    monkeypatch.setattr(searched, "open_source", open_here)
    monkeypatch.setattr(searched, "Packer", lambda *given: None)
    plan = types.SimpleNamespace(fields=())
    proto = types.SimpleNamespace(data_config=types.SimpleNamespace(ignore_error=False))

    def work(group: ReplicaGroup) -> str:
        group.one_host = False
        towers = searched.Towers(proto, None, group, None)
        batches = searched._batches(towers, plan, searched._Wanted("rows.csv", "--input_path", ()))
        with pytest.raises(UserError) as raised:
            run_on_all_ranks(group, lambda: next(batches))
        return str(raised.value)

    text = "rows.csv: there is no such file"
    assert on_threads(2, work) == [f"rank 1 failed: {text}", text]
