"""What the check refuses and warns about: each with file, line and field."""

from __future__ import annotations

import pathlib
import re

import pytest
from small_job import SmallJob

from hvdrec.config import support
from hvdrec.errors import ConfigError

FEATURE_B = 'features { input_names: "b" feature_type: IdFeature hash_bucket_size: 60 embedding_dim: 4 }'

#: (old text, new text) -> field path and what the error must say about it.
REFUSED = {
    ("num_steps: 0", ""): None,
    ("num_epochs: 1", ""): (
        "train_config.num_steps",
        "set num_steps or data_config.num_epochs to a number above 0",
    ),
    ("sync_replicas: false", "save_checkpoints_secs: 60"): (
        "train_config.save_checkpoints_secs",
        "save_checkpoints_steps is set too; remove one of them",
    ),
    ("sync_replicas: false", "train_distribute: PSStrategy"): None,
    ("sync_replicas: false", "train_distribute: ExascaleStrategy"): (
        "train_config.train_distribute",
        "exists only in Alibaba's cloud; use HorovodStrategy",
    ),
    (
        "sync_replicas: false",
        "train_distribute: EmbeddingParallelStrategy embedding_split_min_bytes: 0",
    ): None,
    ("sync_replicas: false", "train_distribute: SokStrategy"): None,
    ("sync_replicas: false", "train_distribute: PSStrategy embedding_split: SPLIT"): (
        "train_config.embedding_split",
        "parameter servers already distribute every table",
    ),
    ("log_step_count_steps: 1", "log_step_count_steps: 0"): (
        "train_config.log_step_count_steps",
        "must be at least 1, is 0",
    ),
    ("sync_replicas: false", "gradient_clipping_by_norm: 1e99"): (
        "train_config.gradient_clipping_by_norm",
        "must be a finite number, is inf",
    ),
    ("constant_learning_rate { learning_rate: 0.01 }", ""): (
        "train_config.optimizer_config[0].adam_optimizer.learning_rate",
        "no schedule is set",
    ),
    ("constant_learning_rate { learning_rate: 0.01 }", "constant_learning_rate { learning_rate: 0 }"): (
        "train_config.optimizer_config[0].adam_optimizer.learning_rate",
        "is always 0, so nothing would be trained",
    ),
    ("embedding_regularization: 1e-5", "losses { loss_type: CLASSIFICATION weight: 0 }"): (
        "model_config.losses[0]",
        "every loss has weight 0, so nothing would be trained",
    ),
    ("input_type: CSVInput", "input_type: OdpsRTPInputV2"): (
        "data_config.input_type",
        "needs the library rtp_fg, which exists only in Alibaba's cloud; use OdpsRTPInput",
    ),
    ("input_type: CSVInput", "input_type: OdpsInput"): (
        "train_input_path",
        "rows.csv is not a MaxCompute table (odps://PROJECT/tables/TABLE, optionally with",
    ),
    ('train_input_path: "rows.csv"', ""): (
        "train_input_path",
        "is missing; set it, or give --train_input_path",
    ),
    ('train_input_path: "rows.csv"', 'kafka_train_input { server: "x" }'): (
        "kafka_train_input",
        "is for KafkaInput; CSVInput reads train_input_path",
    ),
    ('model_dir: "run"', 'model_dir: "r\\000n"'): ("model_dir", "contains the byte 0, which no path can"),
    ('model_dir: "run"', ""): ("model_dir", "is missing; set it, or give --model_dir"),
    ('label_fields: "label"', 'label_fields: "lable"'): (
        "data_config.label_fields[0]",
        "did you mean label?",
    ),
    ('"c" input_type: INT32 default_val: "0"', '"c" input_type: INT32 default_val: "1.5"'): (
        "data_config.input_fields[3].default_val",
        "'1.5' is not a valid INT32",
    ),
    ("shuffle: false", 'sample_weight: "weigth"'): ("data_config.sample_weight", "did you mean weight?"),
    (FEATURE_B, FEATURE_B.replace('"b"', '"bb"')): (
        "feature_config.features[1].input_names[0]",
        "'bb' is not among data_config.input_fields; did you mean b?",
    ),
    (FEATURE_B, FEATURE_B.replace("hash_bucket_size: 60", "")): (
        "feature_config.features[1]",
        "set one of hash_bucket_size, num_buckets, vocab_list or vocab_file",
    ),
    (FEATURE_B, FEATURE_B.replace("hash_bucket_size: 60", 'vocab_list: ["q", "r", "q"]')): (
        "feature_config.features[1].vocab_list",
        "'q' is listed twice",
    ),
    (
        FEATURE_B,
        FEATURE_B.replace("embedding_dim: 4", "embedding_dim: 4 ev_params { filter_freq: 4294967296 }"),
    ): (
        "feature_config.features[1].ev_params.filter_freq",
        "must be at least 0 and at most 1e+09, is 4.29497e+09",
    ),
    (FEATURE_B, FEATURE_B.replace("embedding_dim: 4", "")): (
        "feature_config.features[1].embedding_dim",
        "must be above 0: 'b' is in group 'deep'",
    ),
    (FEATURE_B, FEATURE_B.replace("IdFeature", "LookupFeature")): (
        "feature_config.features[1].input_names",
        "a LookupFeature has two inputs (the key and the map), has 1",
    ),
    (FEATURE_B, FEATURE_B.replace("IdFeature", "PassThroughFeature")): (
        "feature_config.features[1].feature_type",
        "a PassThroughFeature has no column; only a block with raw_input reads it, so take 'b' out of the other "
        "groups",
    ),
    ("input_type: CSVInput", "input_type: CriteoInput"): (
        "train_input_path",
        "CriteoInput reads binary_train_input; set label_path, dense_path and category_path in it",
    ),
    ('train_input_path: "rows.csv"', 'binary_train_input { label_path: "a" }'): (
        "binary_train_input",
        "applies to CriteoInput only; CSVInput reads train_input_path",
    ),
    ("input_type: CSVInput", 'input_type: RTPInput selected_cols: "label,features"'): (
        "data_config.selected_cols",
        "'label,features' must be comma-separated column numbers",
    ),
    ("input_type: CSVInput", 'input_type: RTPInput selected_cols: "3"'): (
        "data_config.selected_cols",
        "names 1 columns; RTPInput needs one for each of the 1 label_fields",
    ),
    ("input_type: CSVInput", 'input_type: RTPInput selected_cols: "0,3" rtp_separator: ""'): (
        "data_config.rtp_separator",
        "'' is empty or contains a newline",
    ),
    ("input_type: CSVInput", 'input_type: TFRecordInput data_compression_type: "LZ4"'): (
        "data_config.data_compression_type",
        "'LZ4' is not a known compression type; use GZIP or ZLIB",
    ),
    ('"y" feature_type: RawFeature', '"y" normalizer_fn: "os.system" feature_type: RawFeature'): (
        "feature_config.features[6].normalizer_fn",
        "would run code from a config",
    ),
    ('model_class: "DeepFM"', 'model_class: "DeepMF"'): ("model_config.model_class", "did you mean DeepFM?"),
    ('model_class: "DeepFM"', 'model_class: "DummyModel"'): (
        "model_config.model_class",
        "DummyModel is not supported yet",
    ),
    ('model_class: "DeepFM"', 'model_class: "FM"'): ("model_config", "needs a block fm {}, found deepfm"),
    ('group_name: "wide"', 'group_name: "wild"'): (
        "model_config.feature_groups",
        "needs a group { group_name: 'wide'",
    ),
    ('["a", "b", "c", "tags", "a_x_b"]', '["a", "b", "cc", "tags", "a_x_b"]'): (
        "model_config.feature_groups[0].feature_names[2]",
        "no feature is named 'cc'",
    ),
    ("hidden_units: [16, 8]", "hidden_units: [16, 8] dropout_ratio: 0.5"): (
        "model_config.deepfm.dnn.dropout_ratio",
        "has 1 values for 2 layers",
    ),
    ("hidden_units: [16, 8]", 'hidden_units: [16, 8] activation: "relo"'): (
        "model_config.deepfm.dnn.activation",
        "did you mean relu",
    ),
    ("embedding_regularization: 1e-5", "loss_type: KL_DIVERGENCE_LOSS"): (
        "model_config.loss_type",
        "is only for knowledge distillation",
    ),
    ("embedding_regularization: 1e-5", "losses { loss_type: F1_REWEIGHTED_LOSS pairwise_loss {} }"): (
        "model_config.losses[0].pairwise_loss",
        "does not belong to F1_REWEIGHTED_LOSS; its parameters go into f1_reweighted_loss",
    ),
    (
        "embedding_regularization: 1e-5",
        "losses { loss_type: L2_LOSS } losses { loss_type: SIGMOID_L2_LOSS }",
    ): (
        "model_config.losses",
        "interpret the output y differently",
    ),
    ("embedding_regularization: 1e-5", "num_class: 3 loss_type: BINARY_FOCAL_LOSS"): (
        "model_config.loss_type",
        "needs num_class: 1, is 3",
    ),
    ("embedding_regularization: 1e-5", "num_class: 3"): (
        "eval_config.metrics_set[1].gauc",
        "needs num_class 1 or 2, is 3",
    ),
    ('uid_field: "uid"', 'uid_field: "uuid"'): (
        "eval_config.metrics_set[1].gauc.uid_field",
        "did you mean uid?",
    ),
    ("auc {}", "auc {} } metrics_set { auc { num_thresholds: 9 }"): (
        "eval_config.metrics_set[1].auc",
        "is listed twice with different parameters",
    ),
    ("auc {}", "recall_at_topk {}"): (
        "eval_config.metrics_set[0].recall_at_topk",
        "needs num_class above 1, is 1",
    ),
    ("auc {}", "auc { num_thresholds: 1 }"): (
        "eval_config.metrics_set[0].auc.num_thresholds",
        "must be at least 2",
    ),
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda c: c[1][:40] or c[0][:40])
def test_what_is_refused(checked, example, change):
    old, new = change
    assert old in example
    expected = REFUSED[change]
    text = example.replace(old, new, 1)
    if expected is None:
        checked(text)
        return
    path, problem = expected
    with pytest.raises(ConfigError) as error:
        checked(text)
    place = rf".*x\.config(:\d+)?: {re.escape(path)}: .*{re.escape(problem)}"
    assert any(re.fullmatch(f"{place}.*", line) for line in str(error.value).split("\n")), error.value


@pytest.mark.parametrize(("bottom", "last"), [("[8, 5]", 5), ("[0]", 2), ("[]", 2)])
def test_dlrms_embeddings_have_the_width_of_its_bottom(checked, bottom, last):
    text = SmallJob(pathlib.Path("rows.csv"), pathlib.Path("run"), model="DLRM").text()
    checked(text)
    with pytest.raises(
        ConfigError, match=rf"bot_dnn.hidden_units: the last width \({last}\) must be .*; a has 4"
    ):
        checked(text.replace("bot_dnn { hidden_units: [8, 4]", f"bot_dnn {{ hidden_units: {bottom}"))


def test_the_line_is_that_of_the_field(checked, example):
    text = example.replace('label_fields: "label"', '\n\n  label_fields: "lable"')
    line = text[: text.index('"lable"')].count("\n") + 1
    with pytest.raises(ConfigError, match=rf"x\.config:{line}: data_config\.label_fields\[0\]"):
        checked(text)


def test_all_problems_are_told_at_once_in_the_files_order(checked, example):
    text = example.replace('"c" feature_type', '"cc" feature_type').replace('"label"', '"lable"')
    with pytest.raises(ConfigError) as error:
        checked(text)
    lines = [int(re.search(r"config:(\d+)", line)[1]) for line in str(error.value).split("\n")]
    assert len(lines) > 1
    assert lines == sorted(lines)


def test_very_many_problems_are_told_shortly(checked, example):
    wrong = "".join(
        f'features {{ input_names: "n{i}" feature_type: IdFeature hash_bucket_size: 1 }}' for i in range(500)
    )
    with pytest.raises(ConfigError, match="and 470 more problems"):
        checked(example.replace("feature_config {", f"feature_config {{ {wrong}"))


def test_each_refused_field_is_refused_where_it_is_set(read, checked, example):
    text = example.replace("sync_replicas: false", 'freeze_gradient: "x" dead_line: "20260101 00:00:00"')
    found = [name for name in ("freeze_gradient", "dead_line") if f"TrainConfig.{name}" in support.REFUSED]
    if not found:
        checked(text)
        return
    with pytest.raises(ConfigError) as error:
        checked(text)
    for name in found:
        assert f": train_config.{name}: {support.REFUSED[f'TrainConfig.{name}']}" in str(error.value)


def test_what_is_ignored_is_warned_about(checked, example):
    config = checked(example.replace("sync_replicas: false", "\nstartup_delay_steps: 5 protocol: 'grpc'"))
    assert len(config.warnings) == 4
    assert re.fullmatch(
        r".*x\.config:\d+: train_config\.protocol: has no effect, as in EasyRec", config.warnings[1]
    )
    assert "eval_input_path: is missing" in config.warnings[2]


def test_settings_that_others_replace_are_warned_about(checked, example):
    both = FEATURE_B.replace("hash_bucket_size", "num_buckets: 9 hash_bucket_size")
    text = example.replace(FEATURE_B, both).replace(
        "embedding_regularization",
        "loss_type: L2_LOSS losses { loss_type: CLASSIFICATION } embedding_regularization",
    )
    text = text.replace('label_fields: "label"', 'label_fields: ["label", "weight"]')
    found = " ".join(checked(text).warnings)
    assert "data_config.label_fields[1]: has no effect: no output is trained with 'weight'" in found
    assert "label_fields[0]" not in found
    assert "features[1].num_buckets: has no effect, as hash_bucket_size is set too" in found
    assert "model_config.loss_type: has no effect, as losses is set too" in found


def test_defaults_written_out_and_blocks_out_of_force_are_fine(checked, example):
    text = example.replace("sync_replicas: false", "is_profiling: false")
    text = text.replace("optimizer_config {", "optimizer_config { use_moving_average: false ")
    text = text.replace("model_config {", "feature_configs { feature_type: TagFeature } model_config {")
    config = checked(text.replace("feature_configs { feature_type: TagFeature }", ""))
    assert [warning.split(": ")[1] for warning in config.warnings] == ["eval_input_path", "feature_config"]


def test_eval_and_predict_ask_for_less(checked, example):
    text = example.replace('train_input_path: "rows.csv"', "").replace("num_epochs: 1", "")
    with pytest.raises(ConfigError, match="eval_input_path: is missing"):
        checked(text, mode="eval")
    checked(text, mode="predict")
    checked(f'eval_input_path: "rows.csv"\n{text}', mode="eval")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "model_config {",
            'model_config { feature_groups { group_name: "more" feature_names: "b" }',
            "model_config.feature_groups[0]: has no effect: this DeepFM doesn't use a group named 'more'",
        ),
        (
            "feature_config {",
            'feature_config { features { input_names: "y" feature_name: "z" feature_type: RawFeature }',
            "feature_config: in no feature group, so without effect: z, x, y",
        ),
        (
            'train_input_path: "rows.csv"',
            'parquet_train_input: "q"\ntrain_input_path: "rows.csv"',
            "x.config:1: parquet_train_input: has no effect, as train_input_path in line 2 replaces it",
        ),
        (
            "adam_optimizer {",
            "sgd_optimizer {}\nadam_optimizer {",
            "train_config.optimizer_config[0].sgd_optimizer: has no effect, as adam_optimizer in line 6 replaces it",
        ),
        (
            "input_type: CSVInput",
            "input_type: RTPInputV2 with_header: true",
            "data_config.with_header: has no effect on RTPInputV2",
        ),
    ],
)
def test_what_nothing_reads_is_warned_about(checked, example, old, new, told):
    assert any(told in warning for warning in checked(example.replace(old, new, 1)).warnings)


@pytest.mark.parametrize(
    "written", ['{"0": 1.5}', '{"0": true}', '{"0": 1, "0": 2}', '{"0": null}', "[]", "0", '{"-1": 0}', "{"]
)
def test_offsets_are_whole_numbers_by_partition(checked, example, written):
    topic = "kafka_train_input { server: 'k' topic: 't' group: 'g' offset_info: '(offsets)' }"
    text = example.replace('train_input_path: "rows.csv"', topic).replace("CSVInput", "KafkaInput")
    with pytest.raises(
        ConfigError, match=r"kafka_train_input\.offset_info: '.*' (must be JSON|names a partition twice)"
    ):
        checked(text.replace("(offsets)", written))
    checked(text.replace("(offsets)", '{"0": 1, "1": "2"}'))
