"""Command-line flags of the entry points, and the config they select; one module per entry point."""

from hvdrec.config.flags.describe import DescribeFlags, load_for_description, parse_describe
from hvdrec.config.flags.evaluate import EvalFlags, load_for_eval, parse_eval
from hvdrec.config.flags.export import ExportFlags, load_for_export, parse_export
from hvdrec.config.flags.predict import PredictFlags, load_for_predict, newest_version, parse_predict
from hvdrec.config.flags.retrieve import RetrieveFlags, load_for_retrieve, parse_retrieve
from hvdrec.config.flags.train import EVAL_METHODS, TrainFlags, load_for_training, parse_train

__all__ = [
    "EVAL_METHODS",
    "DescribeFlags",
    "EvalFlags",
    "ExportFlags",
    "PredictFlags",
    "RetrieveFlags",
    "TrainFlags",
    "load_for_description",
    "load_for_eval",
    "load_for_export",
    "load_for_predict",
    "load_for_retrieve",
    "load_for_training",
    "newest_version",
    "parse_describe",
    "parse_eval",
    "parse_export",
    "parse_predict",
    "parse_retrieve",
    "parse_train",
]
