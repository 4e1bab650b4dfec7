"""The grammar of --edit_config_json, rule by rule."""

from __future__ import annotations

import json

import pytest

from hvdrec.config import edit
from hvdrec.errors import ConfigError

#: What an edit must leave: path as Python, applied to the config's root.
RIGHT = {
    # Scalars, also as text.
    '{"model_dir": "exp/"}': ("model_dir", "exp/"),
    '{"model_dir": 5}': ("model_dir", "5"),
    '{"train_config.num_steps": "7"}': ("train_config.num_steps", 7),
    '{"train_config.num_steps": 7.0}': ("train_config.num_steps", 7),
    '{"train_config.sync_replicas": "True"}': ("train_config.sync_replicas", True),
    '{"train_config.sync_replicas": 1}': ("train_config.sync_replicas", True),
    '{"train_config.gradient_clipping_by_norm": "1e1"}': ("train_config.gradient_clipping_by_norm", 10),
    '{"train_config.fine_tune_checkpoint": "a/model.ckpt-50"}': (
        "train_config.fine_tune_checkpoint",
        "a/model.ckpt-50",
    ),
    # Enums by name and by number, wherever they are declared.
    '{"train_config.train_distribute": "HorovodStrategy"}': ("train_config.train_distribute", 6),
    '{"train_config.train_distribute": 6}': ("train_config.train_distribute", 6),
    '{"train_config.train_distribute": "6"}': ("train_config.train_distribute", 6),
    '{"data_config.input_type": "ParquetInput"}': ("data_config.input_type", 19),
    '{"model_config.feature_groups[0].wide_deep": "WIDE"}': ("model_config.feature_groups[0].wide_deep", 1),
    # Elements, slices, comparisons; brackets at several levels.
    '{"feature_config.features[1].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 9, 4, 4, 4, 0, 0],
    ),
    '{"feature_config.features[-2].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 4, 4, 4, 4, 9, 0],
    ),
    '{"feature_config.features[:].embedding_dim": 9}': ("[f.embedding_dim for f in F]", [9] * 7),
    '{"feature_config.features[1:3].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 9, 9, 4, 4, 0, 0],
    ),
    '{"feature_config.features[:2].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [9, 9, 4, 4, 4, 0, 0],
    ),
    '{"feature_config.features[5:].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 4, 4, 4, 4, 9, 9],
    ),
    '{"feature_config.features[4:-1].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 4, 4, 4, 9, 9, 0],
    ),
    '{"feature_config.features[input_names[0]=b].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 9, 4, 4, 4, 0, 0],
    ),
    '{"feature_config.features[input_names[:]=b].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 9, 4, 4, 9, 0, 0],
    ),
    '{"feature_config.features[hash_bucket_size>50].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 9, 4, 4, 9, 0, 0],
    ),
    '{"feature_config.features[hash_bucket_size>=50].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [9, 9, 4, 4, 9, 0, 0],
    ),
    '{"feature_config.features[hash_bucket_size<30].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 4, 9, 4, 4, 9, 9],
    ),
    '{"feature_config.features[hash_bucket_size<=30].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 4, 9, 9, 4, 9, 9],
    ),
    '{"feature_config.features[feature_type=RawFeature].embedding_dim": 9}': (
        "[f.embedding_dim for f in F]",
        [4, 4, 4, 4, 4, 9, 9],
    ),
    '{"feature_config.features[feature_name=\'a_x_b\'].input_names[1]": "c"}': (
        "list(F[4].input_names)",
        ["a", "c"],
    ),
    '{"model_config.feature_groups[:].feature_names[0:2]": "c"}': (
        "[list(g.feature_names) for g in model_config.feature_groups]",
        [["c", "c", "c", "tags", "a_x_b"]] * 2,
    ),
    # Dots within brackets: of a key and of a value.
    '{"train_config.optimizer_config[adam_optimizer.beta1=0.9].adam_optimizer.beta2": 0.5}': (
        "train_config.optimizer_config[0].adam_optimizer.beta2",
        0.5,
    ),
    # Several paths and values; a value of one path may have a ; in it.
    '{"train_config.num_steps;data_config.batch_size": "5;6"}': (
        "[train_config.num_steps, data_config.batch_size]",
        [5, 6],
    ),
    '{"data_config.separator": ";"}': ("data_config.separator", ";"),
    '{"data_config.separator;model_dir": "\\";\\";x"}': ("[data_config.separator, model_dir]", ['";"', "x"]),
    # Lists and their elements.
    '{"feature_config.features[0].boundaries": "[4,5]"}': ("list(F[0].boundaries)", [4, 5]),
    '{"feature_config.features[0].boundaries": [4, "5"]}': ("list(F[0].boundaries)", [4, 5]),
    '{"feature_config.features[0].boundaries": [4, 5], "feature_config.features[0].boundaries[1]": "9.5"}': (
        "list(F[0].boundaries)",
        [4, 9.5],
    ),
    '{"model_config.feature_groups[0].feature_names": ["c", "d"]}': (
        "list(model_config.feature_groups[0].feature_names)",
        ["c", "d"],
    ),
    "{\"model_config.feature_groups[0].feature_names\": \"['c', 'd']\"}": (
        "list(model_config.feature_groups[0].feature_names)",
        ["c", "d"],
    ),
    # Messages: text is put in place of the old value, a dictionary holds edits below the path.
    '{"train_config": "{ num_steps: 3 }"}': ("[f.name for f, _ in train_config.ListFields()]", ["num_steps"]),
    '{"train_config": "num_steps: 3"}': ("[f.name for f, _ in train_config.ListFields()]", ["num_steps"]),
    '{"export_config": "{}"}': ("root.HasField('export_config')", True),
    '{"export_config": {}}': ("root.HasField('export_config')", True),
    '{"train_config": {"num_steps": 3}}': (
        "[train_config.num_steps, train_config.log_step_count_steps]",
        [3, 1],
    ),
    '{"train_config": {"optimizer_config[0]": {"adam_optimizer.beta1": 0.5}}}': (
        "train_config.optimizer_config[0].adam_optimizer.beta1",
        0.5,
    ),
    '{"feature_config": {"features[input_names[0]=c]": {"embedding_dim": 9}}}': ("F[2].embedding_dim", 9),
    # Whole lists of messages.
    '{"eval_config.metrics_set": [{"auc": {}}]}': ("len(eval_config.metrics_set)", 1),
    '{"eval_config.metrics_set": "[{auc {}}, {max_f1 {}}, {accuracy {}}]"}': (
        "len(eval_config.metrics_set)",
        3,
    ),
    '{"eval_config.metrics_set": []}': ("len(eval_config.metrics_set)", 0),
    '{"eval_config.metrics_set[0]": "{ max_f1 {} }"}': (
        "eval_config.metrics_set[0].WhichOneof('metric')",
        "max_f1",
    ),
    # null removes a field.
    '{"train_config.save_checkpoints_steps": null}': (
        "train_config.HasField('save_checkpoints_steps')",
        False,
    ),
    # The other name of the list of features.
    '{"feature_configs[0].hash_bucket_size": 1000}': ("F[0].hash_bucket_size", 1000),
    # Edits come in order.
    '{"model_dir": "a", "train_config.num_steps": 1, " model_dir ": "b"}': ("model_dir", "b"),
    # Free-form messages are set whole.
    '{"model_config.backbone.blocks": [{"keras_layer": {"st_params": {"k": [1, null]}}}]}': (
        "model_config.backbone.blocks[0].keras_layer.st_params['k'].values[0].number_value",
        1,
    ),
}


@pytest.mark.parametrize("edits", RIGHT)
def test_right_edits(read, example, edits):
    expression, expected = RIGHT[edits]
    config = read(example)
    edit.apply(config, edit.parse_edits(edits))
    root = config.proto
    names = {f.name: getattr(root, f.name) for f in root.DESCRIPTOR.fields}
    found = eval(expression, {"root": root, "F": root.feature_config.features, **names})
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


#: Path -> (value, what the error must say).
WRONG = {
    "train_conf.num_steps": (1, 'EasyRecConfig has no field "train_conf"; did you mean train_config?'),
    "train_config.num_stepz": (1, 'TrainConfig has no field "num_stepz"; did you mean num_steps?'),
    "train_config.num_steps": ("a", 'expected a non-negative integer (uint32), found "a"'),
    "train_config.sync_replicas": ("yes", 'expected true or false, found "yes"'),
    "train_config.train_distribute": ("Horovod", "did you mean HorovodStrategy?"),
    "train_config.num_steps.x": (
        1,
        "train_config.num_steps is a non-negative integer (uint32) and has no fields",
    ),
    "train_config[0]": (1, "train_config is not a list, so it takes no [0]"),
    "train_config.optimizer_config.adam_optimizer": ("{}", "is a list of 1 elements; select some with [3]"),
    "train_config.optimizer_config[1].adam_optimizer": ("{}", "has 1 elements (0 to 0), so there is no [1]"),
    "train_config.optimizer_config": ({"adam_optimizer": {}}, "put it in [ ]"),
    "feature_config.feature[0].embedding_dim": (8, "did you mean features?"),
    "feature_config.features[input_names[0]=bb].embedding_dim": (8, "did you mean b?"),
    "feature_config.features[input_names[0]=zzz].embedding_dim": (8, "the values are: a, b, c, tags, x, y"),
    "feature_config.features[embedding_dim>99].embedding_dim": (8, "the values are: 4, 0"),
    "feature_config.features[embedding_dim>x].embedding_dim": (8, 'expected a number, found "x"'),
    "feature_config.features[embedding_dim==4].embedding_dim": (8, "[embedding_dim==4] is not a selector"),
    "feature_config.features[embedding_dim!=4].embedding_dim": (8, "[embedding_dim!=4] is not a selector"),
    "feature_config.features[input_names=b].embedding_dim": (
        8,
        "compare input_names[0]=... or input_names[:]=",
    ),
    "feature_config.features[9:].embedding_dim": (8, "[9:] selects nothing"),
    "feature_config.features[x].embedding_dim": (8, "[x] is not a selector"),
    "feature_config.features[0.embedding_dim": (8, "] is missing"),
    "feature_config.features[0]x.embedding_dim": (8, "write features or features[...]"),
    "a..b": (1, "a name is missing"),
    "": (1, "a name is missing"),
    "train_config.num_steps;data_config.batch_size": ("1", "2 paths but 1 values"),
    "model_config.feature_groups[0].feature_names": ("[c, d]", "write strings in quotes"),
    "eval_config": (5, "expected fields of EvalConfig, found 5"),
    "eval_config.metrics_set[0]": (None, "null clears a whole field; it can't clear one element"),
    "train_config.optimizer_config[0].adam_optimizer": ("{ beta3: 1 }", "AdamOptimizer has no field 'beta3'"),
    "model_config.backbone.blocks": ([{"keras_layer": {"st_params": [1]}}], "expected fields of Struct"),
    "line\nbreak": (1, r'has no field "line\nbreak"'),
}


@pytest.mark.parametrize("path", WRONG)
def test_wrong_edits_say_which_part_and_what_would_do(read, example, path):
    value, problem = WRONG[path]
    with pytest.raises(ConfigError) as error:
        edit.apply(read(example), {path: value})
    text = str(error.value)
    assert text.startswith("--edit_config_json: ")
    assert problem in text
    assert "\n" not in text
    assert not path or text.count(f"{path}: ") <= 1


@pytest.mark.parametrize(
    "selector", ["fields[0].x", "fields", "fields[:].x", "fields[key=a].value.number_value", "fields[a].x"]
)
def test_free_form_messages_have_no_paths(read, example, selector):
    block = {"name": "a", "keras_layer": {"class_name": "x", "st_params": {"a": 1}}}
    edits = {
        "model_config.backbone.blocks": [block],
        f"model_config.backbone.blocks[0].keras_layer.st_params.{selector}": [1],
    }
    with pytest.raises(ConfigError, match="has no fields to select; set it as a whole"):
        edit.apply(read(example), edits)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("[1]", "expected {"),
        ("5", "expected {"),
        ('{"a": 1', "not valid JSON: Expecting ',' delimiter (character 8)"),
        ('{"a": 1, "a": 2}', 'the key "a" is listed twice'),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_isnt_an_object_is_told(written, problem):
    with pytest.raises(ConfigError) as error:
        edit.parse_edits(written)
    assert problem in str(error.value)


def test_changed_fields_come_from_the_flag(read, example):
    config = read(example)
    edit.apply(config, json.loads('{"train_config.num_steps": 5, "data_config": {"batch_size": 4}}'))
    assert config.where("train_config.num_steps") == "--edit_config_json: train_config.num_steps"
    assert config.where("data_config.batch_size") == "--edit_config_json: data_config.batch_size"
    assert config.where("train_config.log_step_count_steps").startswith(f"{config.path}:")


def test_feature_configs_are_found_under_the_other_name(read):
    config = read('feature_configs { input_names: "a" } feature_configs { input_names: "b" }')
    edit.apply(config, {"feature_config.features[input_names[0]=b].embedding_dim": 5})
    edit.apply(config, {"feature_config": {"features[0].embedding_dim": 3}})
    assert [f.embedding_dim for f in config.proto.feature_configs] == [3, 5]
