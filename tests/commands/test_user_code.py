"""User code: layers of docs/backbone.md, functions on labels; refused without the flag."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
from small_job import SmallJob, write_data

from hvdrec.config.flags import load_for_eval, load_for_training, parse_eval, parse_train
from hvdrec.errors import ConfigError, DataError
from hvdrec.parallel.single import SingleReplica
from hvdrec.trainer.job import Job

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "backbone.md").read_text(encoding="utf-8")
LAYER = re.search(r"## Layers of your own.*?```python\n(.*?)```.*?```\n(.*?)```", PAGE, re.S)
FUNCTIONS = """
import numpy as np
def flipped(labels):
    assert labels.dtype == np.int64, labels.dtype
    return np.where(labels < 1, 1, 0)
def both(labels):
    return labels["label"] * 0.5 + 0.25
def wrong(labels):
    return labels[:1]
def fails(labels):
    raise KeyError("no such thing")
"""


def write(folder: pathlib.Path, **fields) -> pathlib.Path:
    write_data(folder / "t.csv", 64)
    job = SmallJob(folder / "t.csv", folder / "model", evaluation=folder / "t.csv", steps=3, **fields)
    return job.write(folder / "job.config")


def flags(path: pathlib.Path, *more: str) -> list[str]:
    return ["--pipeline_config_path", str(path), *more]


@pytest.fixture
def layers(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A config with the layer of the page, whose module can be imported."""
    (tmp_path / "my_layers.py").write_text(LAYER[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write(tmp_path, model="RankModel", export='exporter_type: "final"')
    text = path.read_text()
    block = LAYER[2].replace('"deep"', '"user"')
    return _replaced(
        path,
        text,
        "packages { name",
        f"{block} packages {{ name",
        'concat_blocks: ["fm"',
        'concat_blocks: ["scaled", "fm"',
    )


def _replaced(path: pathlib.Path, text: str, *pairs: str) -> pathlib.Path:
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


def test_the_layer_of_the_page_trains_is_evaluated_and_exported(layers: pathlib.Path) -> None:
    config = load_for_training(parse_train(flags(layers, "--allow_user_code")))
    job = Job(config, SingleReplica())
    weight = job.recommender.store.variables_by_name["backbone/scaled/weight"]
    np.testing.assert_array_equal(weight.numpy(), 0.5)
    assert np.isfinite(job.train(False, 0)["loss"])
    assert np.all(weight.numpy() != 0.5)
    job.exports.at_end()
    assert list((layers.parent / "model" / "export" / "final").glob("*/saved_model.pb"))
    load_for_eval(parse_eval(flags(layers, "--allow_user_code")))


def test_a_layer_is_refused_without_the_flag(layers: pathlib.Path) -> None:
    problem = "class_name: my_layers.Scale is user code, which runs only with --allow_user_code"
    for parse, load_config in ((parse_train, load_for_training), (parse_eval, load_for_eval)):
        with pytest.raises(ConfigError, match=problem):
            load_config(parse(flags(layers)))


def test_mistakes_in_a_layer_are_told(layers: pathlib.Path) -> None:
    text = layers.read_text()
    for pairs, problem in (
        (("my_layers.Scale", "my_layers.Scales"), "can't import my_layers.Scales: AttributeError"),
        (("my_layers.Scale", "my_layers.outputs"), "my_layers.outputs has no attribute SPEC"),
        (
            ('"start"', '"begin"'),
            "begin: is not a supported parameter; there are: dropout_rate, start",
        ),
    ):
        _replaced(layers, text, *pairs)
        with pytest.raises(ConfigError, match=re.escape(problem)):
            load_for_training(parse_train(flags(layers, "--allow_user_code")))


@pytest.fixture
def functions(tmp_path: pathlib.Path) -> pathlib.Path:
    """A config with functions on labels."""
    (tmp_path / "labels.py").write_text(FUNCTIONS)
    path = write(tmp_path, model="FM")
    _with_function(path, path.read_text(), tmp_path, "flipped")
    return path


def _with_function(path: pathlib.Path, text: str, folder: pathlib.Path, name: str) -> None:
    field = re.search(r'input_name: *"label" *input_type: *\w+', text)
    given = (
        f'user_define_fn: "{name}" user_define_fn_path: "{folder}/labels.py" user_define_fn_res_type: INT64'
    )
    path.write_text(text.replace(field[0], f"{field[0].rsplit(':', 1)[0]}: INT64 {given}", 1))


def _labels(job: Job, name: str = "label") -> np.ndarray:
    from hvdrec.trainer.input import open_batches

    with open_batches(job.proto, job.plan, job.group, False) as batches:
        return np.concatenate([batch.arrays[f"label/{name}"] for batch in batches])


def test_functions_make_labels(functions: pathlib.Path, tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "more_labels.py").write_text(FUNCTIONS)
    text = functions.read_text()
    functions.write_text(
        text.replace(
            "data_config {",
            'data_config { extra_label_func { label_name: "half" label_func: "more_labels.both" }',
            1,
        )
    )
    job = Job(load_for_training(parse_train(flags(functions, "--allow_user_code"))), SingleReplica())
    read = np.array([int(line.split(",")[0]) for line in (tmp_path / "t.csv").read_text().splitlines()])
    np.testing.assert_array_equal(_labels(job), 1 - read)
    np.testing.assert_array_equal(_labels(job, "half"), (1 - read) * 0.5 + 0.25)
    assert np.isfinite(job.train(False, 0)["loss"])


def test_functions_are_refused_without_the_flag(functions: pathlib.Path) -> None:
    with pytest.raises(
        ConfigError, match="user_define_fn: flipped is user code, which runs only with --allow_"
    ):
        load_for_training(parse_train(flags(functions)))


def test_mistakes_in_functions_are_told(functions: pathlib.Path, tmp_path: pathlib.Path) -> None:
    text = functions.read_text()
    for name, problem in (
        (
            "wrong",
            r"t.csv, row 1 on: user_define_fn of field 'label' returned an array of shape \[1\] for \d+ rows",
        ),
        ("fails", "user_define_fn of field 'label' failed: KeyError: 'no such thing'"),
    ):
        functions.write_text(text.replace('"flipped"', f'"{name}"'))
        job = Job(load_for_training(parse_train(flags(functions, "--allow_user_code"))), SingleReplica())
        with pytest.raises(DataError, match=problem):
            _labels(job)
    functions.write_text(text.replace('"flipped"', '"nothing"'))
    with pytest.raises(
        ConfigError, match=r"user_define_fn: can't import nothing of .*labels.py: AttributeError"
    ):
        load_for_training(parse_train(flags(functions, "--allow_user_code")))
    functions.write_text(text)
    job = Job(load_for_training(parse_train(flags(functions, "--allow_user_code"))), SingleReplica())
    rows = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([*rows[:3], f"x{rows[3]}", *rows[4:]]) + "\n")
    with pytest.raises(
        DataError,
        match=r"t.csv, row 4, column 'label': 'x\d' is not a valid INT64, which functions on labels need",
    ):
        _labels(job)


def test_a_label_that_is_made_must_be_new(functions: pathlib.Path) -> None:
    text = functions.read_text()
    functions.write_text(
        text.replace(
            "data_config {", 'data_config { extra_label_func { label_name: "a" label_func: "x.y" }', 1
        )
    )
    with pytest.raises(
        ConfigError, match=r"extra_label_func.0..label_name: 'a' is already a field of the data"
    ):
        load_for_training(parse_train(flags(functions, "--allow_user_code")))
