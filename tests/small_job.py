"""A small job for tests: a generated file and the config that trains on it."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np

MODELS = {
    "DeepFM": (
        ("deep", "wide"),
        """deepfm { dnn { hidden_units: [16, 8] use_bn: %BN } final_dnn { hidden_units: [8] use_bn: %BN }
           wide_output_dim: 4 l2_regularization: 1e-4 }""",
    ),
    "WideAndDeep": (
        ("deep", "wide"),
        "wide_and_deep { dnn { hidden_units: [16, 8] use_bn: %BN } l2_regularization: 1e-4 }",
    ),
    "MultiTower": (
        ("user", "item"),
        """multi_tower { towers { input: "user" dnn { hidden_units: [8] use_bn: %BN } }
           towers { input: "item" dnn { hidden_units: [8] use_bn: %BN } }
           final_dnn { hidden_units: [8] use_bn: %BN } l2_regularization: 1e-4 }""",
    ),
    "FM": (("deep_embedded", "wide"), "fm { l2_regularization: 1e-4 }"),
    "DCN": (
        ("all",),
        """dcn { deep_tower { input: "all" dnn { hidden_units: [8] use_bn: %BN } }
           cross_tower { input: "all" cross_num: 2 } final_dnn { hidden_units: [8] use_bn: %BN }
           l2_regularization: 1e-4 }""",
    ),
    "DLRM": (
        ("dense", "sparse"),
        """dlrm { bot_dnn { hidden_units: [8, 4] use_bn: %BN } top_dnn { hidden_units: [8] use_bn: %BN }
           l2_regularization: 1e-4 }""",
    ),
    "DropoutNet": (
        ("user_content", "user_preference", "item_content"),
        """dropoutnet { user_content { hidden_units: [8] use_bn: %BN } user_preference { hidden_units: [8] }
           item_content { hidden_units: [8] use_bn: %BN } item_preference { hidden_units: [8] }
           user_tower { hidden_units: [8, 4] use_bn: %BN } item_tower { hidden_units: [8, 4] use_bn: %BN }
           user_dropout_rate: 0.3 item_dropout_rate: 0.5 l2_regularization: 1e-4
           softmax_loss { num_negative_samples: 3 margin: 0 gamma: 5 coefficient_of_support_vector: 1.2 } }""",
    ),
    "MMoE": (
        ("all",),
        """mmoe { expert_dnn { hidden_units: [8] use_bn: %BN } num_expert: 3 l2_regularization: 1e-4
           task_towers { tower_name: "ctr" label_name: "label" dnn { hidden_units: [8] use_bn: %BN }
             metrics_set { auc {} } metrics_set { gauc { uid_field: "uid" } } }
           task_towers { tower_name: "value" label_name: "label" loss_type: L2_LOSS weight: 0.5
             metrics_set { mean_squared_error {} } } }""",
    ),
    # Its `towers` would have a batch norm each, whatever their DNN says.
    "MultiTowerDIN": (
        ("item",),
        """seq_att_groups { group_name: "history" seq_att_map { key: "b" hist_seq: "history" } }
           multi_tower { din_towers { input: "history" dnn { hidden_units: [8, 1] use_bn: %BN } }
           final_dnn { hidden_units: [8] use_bn: %BN } l2_regularization: 1e-4 }""",
    ),
    "PLE": (
        ("all",),
        """ple { extraction_networks { network_name: "first" expert_num_per_task: 1 share_num: 2
             task_expert_net { hidden_units: [8] use_bn: %BN } share_expert_net { hidden_units: [8] use_bn: %BN } }
           extraction_networks { network_name: "last" expert_num_per_task: 2 share_num: 1
             task_expert_net { hidden_units: [16, 8] use_bn: %BN }
             share_expert_net { hidden_units: [8] use_bn: %BN } }
           task_towers { tower_name: "ctr" label_name: "label" metrics_set { auc {} } }
           task_towers { tower_name: "value" label_name: "label" loss_type: L2_LOSS weight: 0.5
             metrics_set { mean_squared_error {} } dnn { hidden_units: [8] use_bn: %BN } }
           l2_regularization: 1e-4 }""",
    ),
    "DBMTL": (
        ("all",),
        """dbmtl { bottom_dnn { hidden_units: [16, 8] use_bn: %BN } l2_regularization: 1e-4
           task_towers { tower_name: "ctr" label_name: "label" dnn { hidden_units: [8] use_bn: %BN }
             relation_dnn { hidden_units: [4] use_bn: %BN } metrics_set { auc {} } }
           task_towers { tower_name: "value" label_name: "label" loss_type: L2_LOSS weight: 0.5
             relation_tower_names: "ctr" relation_dnn { hidden_units: [4] use_bn: %BN }
             metrics_set { mean_squared_error {} } } }""",
    ),
    "AutoInt": (
        ("all_embedded",),
        """autoint { multi_head_num: 2 multi_head_size: 3 interacting_layer_num: 2 l2_regularization: 1e-4
           easyrec_scale: false }""",
    ),
    "CMBF": (
        ("image", "general", "text"),
        """cmbf { config { multi_head_num: 2 image_head_size: 4 text_head_size: 4 image_cross_head_size: 4
             text_cross_head_size: 4 image_self_attention_layer_num: 1 max_position_embeddings: 3
             use_token_type: true text_seq_emb_dropout_prob: 0 }
           final_dnn { hidden_units: [16, 8] use_bn: %BN } }""",
    ),
    "ESMM": (
        ("user", "item"),
        """esmm { groups { input: "user" dnn { hidden_units: [8] use_bn: %BN } }
           groups { input: "item" dnn { hidden_units: [8] use_bn: %BN } } l2_regularization: 1e-4
           ctr_tower { tower_name: "ctr" label_name: "label" dnn { hidden_units: [8] use_bn: %BN }
             metrics_set { auc {} } }
           cvr_tower { tower_name: "cvr" label_name: "label" dnn { hidden_units: [8] use_bn: %BN }
             metrics_set { auc {} } } }""",
    ),
    "SimpleMultiTask": (
        ("all",),
        """simple_multi_task { l2_regularization: 1e-4
           task_towers { tower_name: "ctr" label_name: "label" dnn { hidden_units: [8] use_bn: %BN }
             metrics_set { auc {} } }
           task_towers { tower_name: "value" label_name: "label" loss_type: L2_LOSS weight: 0.5
             dnn { hidden_units: [8] use_bn: %BN } metrics_set { mean_squared_error {} } } }""",
    ),
    "MultiTowerBST": (
        ("item",),
        """seq_att_groups { group_name: "history" seq_att_map { key: "b" hist_seq: "history" } }
           multi_tower { bst_towers { input: "history" seq_len: 4 multi_head_size: 2 }
           final_dnn { hidden_units: [8] use_bn: %BN } l2_regularization: 1e-4 }""",
    ),
    "PDN": (
        ("user", "item", "u2i_seq", "i_seq", "i2i_seq"),
        """pdn { user_dnn { hidden_units: [8, 4] use_bn: %BN } u2i_dnn { hidden_units: [4] use_bn: %BN }
           item_dnn { hidden_units: [8, 4] use_bn: %BN } i2i_dnn { hidden_units: [4] use_bn: %BN }
           trigger_dnn { hidden_units: [8, 1] use_bn: %BN } sim_dnn { hidden_units: [8, 1] use_bn: %BN }
           direct_user_dnn { hidden_units: [8, 4] use_bn: %BN } direct_item_dnn { hidden_units: [8, 4] use_bn: %BN }
           easyrec_similarity: false l2_regularization: 1e-4 }""",
    ),
    "RocketLaunching": (
        ("all",),
        """rocket_launching { share_dnn { hidden_units: [16] use_bn: %BN }
           booster_dnn { hidden_units: [16, 8] use_bn: %BN } light_dnn { hidden_units: [8] use_bn: %BN }
           feature_based_distillation: true feature_distillation_function: EUCLID l2_regularization: 1e-4 }""",
    ),
    "Uniter": (
        ("image", "general", "text"),
        """uniter { config { hidden_size: 8 num_hidden_layers: 1 num_attention_heads: 2 intermediate_size: 8
             hidden_dropout_prob: 0 attention_probs_dropout_prob: 0 max_position_embeddings: 3 }
           final_dnn { hidden_units: [16, 8] use_bn: %BN } }""",
    ),
    "CoMetricLearningI2I": (
        ("all",),
        """metric_learning { input: "all" dnn { hidden_units: [16, 8] use_bn: %BN } l2_regularization: 1e-4 }""",
    ),
    "DSSM": (
        ("user", "item"),
        """dssm { user_tower { id: "a" dnn { hidden_units: [8, 4] use_bn: %BN } }
           item_tower { id: "b" dnn { hidden_units: [8, 4] use_bn: %BN } }
           temperature: 0.2 item_id: "b" ignore_in_batch_neg_sam: false l2_regularization: 1e-4 }""",
    ),
    # A package used twice, a list of features, a recurrent block, and Python text.
    "RankModel": (
        ("user", "sparse"),
        """backbone {
             packages { name: "tower" blocks { name: "deep" inputs { feature_group_name: "user" }
               keras_layer { class_name: "MLP" mlp { hidden_units: [8] use_bn: %BN use_final_bn: %BN } } } }
             blocks { name: "features" inputs { feature_group_name: "sparse" }
               input_layer { output_2d_tensor_and_feature_list: true do_batch_norm: %BN } }
             blocks { name: "fm" inputs { block_name: "features" input_slice: "[1]" }
               keras_layer { class_name: "FM" } }
             blocks { name: "cross" inputs { block_name: "features" input_fn: "lambda x: [x[0], x[0] / 2]" }
               recurrent { num_steps: 2 fixed_input_index: 0 keras_layer { class_name: "Cross" } } }
             blocks { name: "twice" inputs { package_name: "tower" } inputs { package_name: "tower" }
               merge_inputs_into_list: true lambda { expression: "lambda x: x[0] * tf.sigmoid(x[1])" } }
             concat_blocks: ["fm", "cross", "twice"] top_mlp { hidden_units: [8] use_bn: %BN use_final_bn: %BN } }
           model_params { l2_regularization: 1e-4 }""",
    ),
}

_HISTORY = """
  features { feature_name: "history" input_names: "tags" feature_type: SequenceFeature separator: "|"
             hash_bucket_size: 30 embedding_dim: 4 max_seq_len: 3 }"""
#: Features of some model classes only.
_FEATURES = dict.fromkeys(("MultiTowerDIN", "MultiTowerBST", "PDN", "CMBF", "Uniter"), _HISTORY)
_EMBEDDED = '["a", "b", "c", "tags", "a_x_b"]'
_GROUPS = {
    "deep": ("deep", "DEEP", _EMBEDDED),
    "deep_embedded": ("deep", "DEEP", _EMBEDDED),
    "all_embedded": ("all", "DEEP", _EMBEDDED),
    "wide": ("wide", "WIDE", _EMBEDDED),
    "user": ("user", "DEEP", '["a", "tags", "x"]'),
    "item": ("item", "DEEP", '["b", "c", "a_x_b", "y"]'),
    "user_content": ("user_content", "DEEP", '["a", "x"]'),
    "user_preference": ("user_preference", "DEEP", '["tags", "y"]'),
    "item_content": ("item_content", "DEEP", '["b", "c", "a_x_b"]'),
    "all": ("all", "DEEP", '["a", "b", "c", "tags", "a_x_b", "x", "y"]'),
    "image": ("image", "DEEP", '["b"]'),
    "general": ("general", "DEEP", '["a", "b", "c"]'),
    "text": ("text", "DEEP", '["history"]'),
    **{name: (name, "DEEP", '["history"]') for name in ("u2i_seq", "i_seq", "i2i_seq")},
    "dense": ("dense", "DEEP", '["x", "y"]'),
    "sparse": ("sparse", "DEEP", _EMBEDDED),
}


def write_data(path: pathlib.Path, rows: int, seed: int = 0) -> None:
    """Writes label,a,b,c,tags,x,y,uid,weight; some cells are empty."""
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(rows):
        a, b, c = rng.integers(0, 20), rng.integers(0, 30), rng.integers(-1, 12)
        x, y = rng.normal(), rng.uniform(0, 100)
        tags = "|".join(f"t{t}" for t in rng.integers(0, 9, rng.integers(0, 4)))
        score = np.sin(a) + np.cos(3 * b) + 0.5 * x - 0.01 * y + rng.normal(0, 0.5)
        cell_a = "" if i % 17 == 5 else f"a{a}"
        lines.append(
            f"{int(score > 0)},{cell_a},b{b},{c},{tags},{x:.4f},{y:.3f},u{i % 13},{rng.uniform(0.5, 2):.3f}"
        )
    path.write_text("".join(line + "\n" for line in lines))


@dataclasses.dataclass
class SmallJob:
    """What varies between tests; `text` returns the config.

    Attributes:
        train: Training data.
        model_dir: Where the run writes.
        model: Model class.
        evaluation: Evaluation data, if any.
        batch_size: Rows of one rank's batch.
        steps: num_steps, 0 = one epoch.
        batch_norm: Whether the DNNs have it.
        optimizer: Text of the optimizer message.
        train_extra: More fields of train_config.
        data_extra: More fields of data_config.
        model_extra: More fields of model_config.
        export: The fields of export_config.
        metrics: The fields of eval_config.
    """

    train: pathlib.Path
    model_dir: pathlib.Path
    model: str = "DeepFM"
    evaluation: pathlib.Path | None = None
    batch_size: int = 32
    steps: int = 0
    batch_norm: bool = True
    optimizer: str = "adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.01 } } }"
    train_extra: str = ""
    data_extra: str = "shuffle: false"
    model_extra: str = "embedding_regularization: 1e-5"
    export: str = 'exporter_type: "none"'
    metrics: str = 'metrics_set { auc {} } metrics_set { gauc { uid_field: "uid" } }'

    def text(self) -> str:
        """The config."""
        groups, block = MODELS[self.model]
        group_text = "\n".join(
            f'  feature_groups {{ group_name: "{n}" wide_deep: {kind} feature_names: {names} }}'
            for n, kind, names in (_GROUPS[g] for g in groups)
        )
        evaluation = f'eval_input_path: "{self.evaluation}"' if self.evaluation else ""
        fields = "\n".join(
            f'  input_fields {{ input_name: "{name}" input_type: {kind} default_val: "{default}" }}'
            for name, kind, default in (
                ("label", "INT32", "0"),
                ("a", "STRING", ""),
                ("b", "STRING", ""),
                ("c", "INT32", "0"),
                ("tags", "STRING", ""),
                ("x", "DOUBLE", "0"),
                ("y", "FLOAT", "0"),
                ("uid", "STRING", ""),
                ("weight", "FLOAT", "1"),
            )
        )
        return f"""train_input_path: "{self.train}"
{evaluation}
model_dir: "{self.model_dir}"
train_config {{
  optimizer_config {{ {self.optimizer} }}
  num_steps: {self.steps}
  log_step_count_steps: 1
  save_checkpoints_steps: 1000
  sync_replicas: false
  {self.train_extra}
}}
eval_config {{ {self.metrics} }}
export_config {{ {self.export} }}
data_config {{
{fields}
  label_fields: "label"
  input_type: CSVInput
  batch_size: {self.batch_size}
  num_epochs: {0 if self.steps else 1}
  {self.data_extra}
}}
feature_config {{
  features {{ input_names: "a" feature_type: IdFeature hash_bucket_size: 50 embedding_dim: 4 }}
  features {{ input_names: "b" feature_type: IdFeature hash_bucket_size: 60 embedding_dim: 4 }}
  features {{ input_names: "c" feature_type: IdFeature num_buckets: 10 embedding_dim: 4 }}
  features {{ input_names: "tags" feature_type: TagFeature hash_bucket_size: 30 embedding_dim: 4 combiner: "mean" }}
  features {{ feature_name: "a_x_b" input_names: ["a", "b"] feature_type: ComboFeature hash_bucket_size: 200
             embedding_dim: 4 }}
  features {{ input_names: "x" feature_type: RawFeature }}
  features {{ input_names: "y" feature_type: RawFeature min_val: 0 max_val: 100 }}{_FEATURES.get(self.model, "")}
}}
model_config {{
  model_class: "{self.model}"
{group_text}
  {block.replace("%BN", "true" if self.batch_norm else "false")}
  {self.model_extra}
}}
"""

    def write(self, path: pathlib.Path) -> pathlib.Path:
        """Writes the config to `path` and returns it."""
        path.write_text(self.text())
        return path
