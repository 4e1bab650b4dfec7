"""The supported part of EasyRec's config, as tables that `check` uses.

Fields are keyed by ``Message.field`` (nested messages as ``DatasetConfig.Field.input_name``), so that a rule
applies wherever the message is used. To support something new, remove a line from `REFUSED` or add a name to
one of the tuples below.
"""

from __future__ import annotations

from hvdrec.config import losses, metrics
from hvdrec.config.models import registry
from hvdrec.config.names import listed
from hvdrec.config.ranges import ANY_NUMBER, MARGIN, STRENGTH, STRENGTH_ABOVE_0, Range
from hvdrec.config.ranges import AT_LEAST_0 as _AT_LEAST_0
from hvdrec.config.ranges import AT_LEAST_1 as _AT_LEAST_1
from hvdrec.config.ranges import BELOW_1 as _BELOW_1
from hvdrec.config.ranges import FRACTION as _FRACTION
from hvdrec.config.ranges import RATIO as _RATIO

__all__ = ["ANY_NUMBER", "Range"]

#: Input types with text cells, where several values are written into one cell.
TEXT_INPUTS = (
    *("CSVInput", "CSVInputV2", "CSVInputEx", "HiveInput", "RTPInput", "RTPInputV2", "HiveRTPInput"),
    *("OdpsRTPInput", "KafkaInput"),
)
INPUT_TYPES = (
    *("RTPInput", "TFRecordInput", "BatchTFRecordInput", "HiveInput", "HiveParquetInput", "CriteoInput"),
    *("DummyInput", "KafkaInput", "RTPInputV2", "HiveRTPInput", "OdpsRTPInput"),
    *("CSVInput", "CSVInputV2", "CSVInputEx", "ParquetInput", "ParquetInputV2", "ParquetInputV3"),
    *("OdpsInput", "OdpsInputV2", "OdpsInputV3"),
)
FEATURE_TYPES = (
    *("IdFeature", "RawFeature", "TagFeature", "ComboFeature", "LookupFeature", "SequenceFeature"),
    *("ExprFeature", "PassThroughFeature"),
)
STRATEGIES = (
    "NoStrategy",
    "PSStrategy",
    "MirroredStrategy",
    "MultiWorkerMirroredStrategy",
    "HorovodStrategy",
    "SokStrategy",
    "EmbeddingParallelStrategy",
)
#: Losses that any model with such an output accepts.
LOSSES = tuple(kind for kind, spec in losses.SPECS.items() if not spec.own)
OPTIMIZERS = (
    "adam_optimizer",
    "lazy_adam_optimizer",
    "adam_async_optimizer",
    "adam_asyncw_optimizer",
    "adamw_optimizer",
    "adagrad_optimizer",
    "momentum_optimizer",
    "momentumw_optimizer",
    "rms_prop_optimizer",
    "ftrl_optimizer",
    "sgd_optimizer",
)
SCHEDULES = (
    "constant_learning_rate",
    "exponential_decay_learning_rate",
    "manual_step_learning_rate",
    "cosine_decay_learning_rate",
    "poly_decay_learning_rate",
    "transformer_learning_rate",
)
METRICS = tuple(metrics.SPECS)

_NOT_YET = "is not supported yet"
_ALIBABA = "exists only in Alibaba's cloud"
_UNREAD = "has no effect, as in EasyRec"

#: Why a value of an enum or oneof isn't supported, if there is more to say than "not supported yet".
REASONS = {
    "CollectiveAllReduceStrategy": f"{_ALIBABA}; use HorovodStrategy",
    "ExascaleStrategy": f"{_ALIBABA}; use HorovodStrategy",
    **{
        loss: f"applies only to model class {listed(classes)}"
        for loss, classes in registry.classes_of_losses().items()
    },
    "KL_DIVERGENCE_LOSS": "is only for knowledge distillation: set it as loss_type of model_config.kd",
    "OdpsRTPInputV2": "needs the library rtp_fg, which exists only in Alibaba's cloud; use OdpsRTPInput",
    "DataHubInput": f"{_ALIBABA}; use KafkaInput, or files",
}

#: Fields that must not be set (to a value other than the default): the problem and what to do.
REFUSED = {
    "EasyRecConfig.datahub_train_input": f"{_ALIBABA}; use train_input_path",
    "EasyRecConfig.datahub_eval_input": f"{_ALIBABA}; use eval_input_path",
    "EasyRecConfig.hive_train_input": "Hive servers are not queried; use train_input_path "
    "with the table's files",
    "EasyRecConfig.hive_eval_input": "Hive servers are not queried; use eval_input_path "
    "with the table's files",
    "IncrementSaveConfig.datahub": f"{_ALIBABA}; use kafka or fs",
    "SequenceCombiner.multi_head_attention": "is not supported, here or in EasyRec; use attention",
    **registry.fields("refused"),
}

#: Fields that are ignored with a warning if they are set (to a value other than the default).
IGNORED = {
    "SeqAttGroupConfig.tf_summary": "is not supported; no histograms of sequences are written",
    "ExportConfig.batch_size": "has no effect, as in EasyRec; an exported model accepts any number of rows",
    "ExportConfig.export_features": "is not supported; the export omits it",
    "ExportConfig.export_rtp_outputs": "exists only in Alibaba's cloud; the export omits it",
    "EVParams.use_cache": "is a setting of tables on GPUs; it has no effect",
    "EVParams.init_capacity": "is a setting of tables on GPUs; tables grow by themselves",
    "EVParams.max_capacity": "is a setting of tables on GPUs; tables grow as long as there is memory",
    "DatasetConfig.pai_worker_queue": "has no effect; rows are always divided among the ranks",
    "DatasetConfig.chief_redundant": "has no effect; every rank trains on rows of its own",
    "FeatureConfigV2.embedding_on_cpu": "has no effect",
    "TrainConfig.startup_delay_steps": _UNREAD,
    "TrainConfig.protocol": _UNREAD,
    "TrainConfig.tensor_fuse": _UNREAD,
    "TrainConfig.sparse_accumulator_type": f"has no effect; it {_ALIBABA}",
    "EvalConfig.save_graph": _UNREAD,
    "DatasetConfig.shard": _UNREAD,
    "DatasetConfig.Field.input_dim": _UNREAD,
    "DatasetConfig.selected_col_types": f"has no effect; it {_ALIBABA}",
    "DatasetConfig.pai_worker_slice_num": f"has no effect; it {_ALIBABA}",
    "DatasetConfig.num_parallel_calls": "has no effect; files are read by one background thread of each rank",
    **{
        f"{name}.field_delimiter": "has no effect, as in EasyRec outside its cloud; "
        "cells are separated by tabs"
        for name in (
            *("NegativeSampler", "NegativeSamplerV2", "NegativeSamplerInMemory"),
            *("HardNegativeSampler", "HardNegativeSamplerV2"),
        )
    },
    **registry.fields("ignored"),
}

#: Fields that may be set although nothing reads them: they only name something, request what is done
#: anyway, or belong to an input type, feature type, loss or field that is itself refused.
SILENT = (
    *registry.silent_fields(),
    "EasyRecModel.model_name",
    "TrainConfig.write_graph",
    "Optimizer.moving_average_decay",
    "DatasetConfig.n_data_batch_tfrecord",
    "DatasetConfig.feature_fields",
    "EvalMetrics.precision_at_topk",
    "Loss.circle_loss",
    "Loss.multi_simi_loss",
)

_ADAMS = ("AdamOptimizer", "AdamWOptimizer", "LazyAdamOptimizer", "AdamAsyncOptimizer", "AdamAsyncWOptimizer")

#: Allowed ranges of numbers, checked if the field is set.
RANGES = {
    "TrainConfig.num_gpus_per_worker": _AT_LEAST_1,
    "ExportConfig.max_check_steps": _AT_LEAST_1,
    "TrainConfig.inter_op_parallelism_threads": _AT_LEAST_0,
    "TrainConfig.intra_op_parallelism_threads": _AT_LEAST_0,
    "TrainConfig.log_step_count_steps": _AT_LEAST_1,
    "TrainConfig.save_checkpoints_steps": _AT_LEAST_1,
    "TrainConfig.save_checkpoints_secs": _AT_LEAST_1,
    **{
        f"IncrementSaveConfig.{name}": _AT_LEAST_0
        for name in ("dense_save_steps", "dense_save_secs", "sparse_save_steps", "sparse_save_secs")
    },
    "IncrementSaveConfig.Kafka.Consumer.offset": _AT_LEAST_0,
    "DatasetConfig.batch_size": Range(1, 10_000_000),
    **{
        f"{name}.num_sample": _AT_LEAST_1
        for name in (
            *("NegativeSampler", "NegativeSamplerV2", "NegativeSamplerInMemory"),
            *("HardNegativeSampler", "HardNegativeSamplerV2"),
        )
    },
    **dict.fromkeys(
        ("HardNegativeSampler.num_hard_sample", "HardNegativeSamplerV2.num_hard_sample"), _AT_LEAST_1
    ),
    "DatasetConfig.eval_batch_size": _AT_LEAST_1,
    "DatasetConfig.shuffle_buffer_size": _AT_LEAST_1,
    "DatasetConfig.label_dim": _AT_LEAST_1,
    "FeatureConfig.raw_input_dim": _AT_LEAST_1,
    "FeatureConfig.lookup_max_sel_elem_num": _AT_LEAST_1,
    "DatasetConfig.n_data_batch_tfrecord": _AT_LEAST_1,
    "DatasetConfig.Field.input_shape": _AT_LEAST_1,
    "EVParams.filter_freq": Range(0, 1e9),
    "EVParams.steps_to_live": Range(0, 1e15),
    "FeatureConfig.boundaries": Range(-3.4e38, 3.4e38),
    "EasyRecModel.num_class": _AT_LEAST_1,
    "EasyRecModel.embedding_regularization": _AT_LEAST_0,
    **registry.fields("ranges"),
    "VariationalDropoutLayer.regularization_lambda": STRENGTH,
    "DNN.dropout_ratio": _BELOW_1,
    "SoftmaxCrossEntropyLoss.frequency_momentum": _BELOW_1,
    "SoftmaxCrossEntropyLoss.frequency_buckets": _AT_LEAST_1,
    "Loss.weight": STRENGTH,
    "KD.loss_weight": STRENGTH,
    "KD.temperature": STRENGTH,
    "KD.in_task_space_weight": _AT_LEAST_0,
    "KD.out_task_space_weight": _AT_LEAST_0,
    "F1ReweighedLoss.f1_beta_square": STRENGTH_ABOVE_0,
    "F1ReweighedLoss.label_smoothing": _FRACTION,
    "BinaryFocalLoss.gamma": Range(0, 100),
    "BinaryFocalLoss.alpha": _FRACTION,
    "BinaryFocalLoss.ohem_ratio": _RATIO,
    "BinaryFocalLoss.label_smoothing": _FRACTION,
    "PairwiseLoss.temperature": STRENGTH_ABOVE_0,
    "PairwiseFocalLoss.gamma": Range(0, 16),
    "PairwiseFocalLoss.alpha": _FRACTION,
    "PairwiseFocalLoss.ohem_ratio": _RATIO,
    "PairwiseFocalLoss.temperature": STRENGTH_ABOVE_0,
    "PairwiseLogisticLoss.ohem_ratio": _RATIO,
    "PairwiseLogisticLoss.temperature": STRENGTH_ABOVE_0,
    "PairwiseHingeLoss.ohem_ratio": _RATIO,
    "PairwiseHingeLoss.temperature": STRENGTH_ABOVE_0,
    "PairwiseLoss.margin": MARGIN,
    "PairwiseFocalLoss.hinge_margin": MARGIN,
    "PairwiseLogisticLoss.hinge_margin": MARGIN,
    "PairwiseHingeLoss.margin": Range(-1e6, 1e6),
    "JRCLoss.alpha": _FRACTION,
    "ListwiseRankLoss.temperature": STRENGTH_ABOVE_0,
    "ListwiseDistillLoss.temperature": STRENGTH_ABOVE_0,
    "ListwiseDistillLoss.label_clip_max_value": Range(1, 1e6),
    "ZILNLoss.mu_regularization": STRENGTH,
    "ZILNLoss.sigma_regularization": STRENGTH,
    "ZILNLoss.classification_weight": STRENGTH,
    "ZILNLoss.regression_weight": STRENGTH,
    "ZILNLoss.max_sigma": Range(1e-3, 1e3),
    "ZILNLoss.max_log_clip_value": Range(-80, 80),
    "PolyDecayLearningRate.power": STRENGTH,
    "AUC.num_thresholds": Range(2, 10_000_000),
    "RecallAtTopK.topk": _AT_LEAST_1,
    "AvgPrecisionAtTopK.topk": _AT_LEAST_1,
    "Precision.threshold": _FRACTION,
    "Recall.threshold": _FRACTION,
    "TruncatedNormalInitializer.stddev": _AT_LEAST_0,
    "RandomNormalInitializer.stddev": _AT_LEAST_0,
    **{f"{m}.beta1": _BELOW_1 for m in _ADAMS},
    **{f"{m}.beta2": _BELOW_1 for m in _ADAMS},
    "Optimizer.moving_average_decay": _BELOW_1,
    "Optimizer.embedding_learning_rate_multiplier": STRENGTH,
    "AdamWOptimizer.weight_decay": _FRACTION,
    "AdamAsyncWOptimizer.weight_decay": _FRACTION,
    "MomentumWOptimizer.weight_decay": _FRACTION,
    "MomentumOptimizer.momentum_optimizer_value": _FRACTION,
    "MomentumWOptimizer.momentum_optimizer_value": _FRACTION,
    "RMSPropOptimizer.momentum_optimizer_value": _FRACTION,
    "RMSPropOptimizer.decay": _BELOW_1,
    "RMSPropOptimizer.epsilon": STRENGTH,
    "AdagradOptimizer.initial_accumulator_value": Range(1e-30, 1e30),
    "FtrlOptimizer.learning_rate_power": Range(-2, 0),
    "FtrlOptimizer.initial_accumulator_value": Range(1e-30, 1e6),
    "FtrlOptimizer.l1_reg": STRENGTH,
    "FtrlOptimizer.l2_reg": STRENGTH,
    "FtrlOptimizer.l2_shrinkage_reg": STRENGTH,
    "ConstantLearningRate.learning_rate": STRENGTH,
    "ExponentialDecayLearningRate.initial_learning_rate": STRENGTH,
    "ExponentialDecayLearningRate.decay_steps": _AT_LEAST_1,
    "ExponentialDecayLearningRate.decay_factor": _RATIO,
    "ExponentialDecayLearningRate.burnin_learning_rate": STRENGTH,
    "ExponentialDecayLearningRate.min_learning_rate": STRENGTH,
    "ManualStepLearningRate.initial_learning_rate": STRENGTH,
    "ManualStepLearningRate.LearningRateSchedule.learning_rate": STRENGTH,
    "CosineDecayLearningRate.learning_rate_base": STRENGTH,
    "CosineDecayLearningRate.warmup_learning_rate": STRENGTH,
    "PolyDecayLearningRate.learning_rate_base": STRENGTH,
    "PolyDecayLearningRate.total_steps": _AT_LEAST_1,
    "PolyDecayLearningRate.end_learning_rate": STRENGTH,
    "TransformerLearningRate.learning_rate_base": STRENGTH,
    "TransformerLearningRate.hidden_size": _AT_LEAST_1,
    "TransformerLearningRate.warmup_steps": _AT_LEAST_1,
    "TransformerLearningRate.step_scaling_rate": STRENGTH_ABOVE_0,
}


def unsupported(name: str, supported: tuple[str, ...]) -> str | None:
    """Why the enum value or oneof member `name` isn't supported; None if it is."""
    if name in supported:
        return None
    if name in REASONS:
        return f"{name}: {REASONS[name]}"
    return f"{name} is not supported yet; use one of {', '.join(supported)}"
