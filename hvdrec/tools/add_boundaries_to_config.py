"""Computes bucket boundaries from data: ``python -m hvdrec.tools.add_boundaries_to_config``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from hvdrec.commands.main import main
from hvdrec.config.config import Config
from hvdrec.config.expand import expand, feature_list, feature_name
from hvdrec.config.flags.common import set_input
from hvdrec.config.flags.parser import FlagParser, count
from hvdrec.config.names import enum_name, hint, listed
from hvdrec.config.reader import load
from hvdrec.errors import ConfigError
from hvdrec.tools.config_files import write_config

#: The number of values kept per column: quantiles of up to this many are exact.
_SAMPLE = 1_000_000
_DIM = 16


@dataclasses.dataclass(frozen=True)
class BoundariesFlags:
    """Flags.

    Attributes:
        template_config_path: The config to read.
        output_config_path: The config to write.
        data_input_path: Rows to use instead of the config's training data.
        features: The features to bucketize; empty for every RawFeature of one number.
        num_buckets: The number of buckets.
        embedding_dim: The embedding_dim of features without one.
        verbose: Show stack traces.
    """

    template_config_path: str
    output_config_path: str
    data_input_path: tuple[str, ...] = ()
    features: str = ""
    num_buckets: int = 10
    embedding_dim: int = _DIM
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> BoundariesFlags:
    """The flags.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser(
        "hvdrec.tools.add_boundaries_to_config",
        "Gives features boundaries at the quantiles of their numbers.",
    )
    parser.add_argument("--template_config_path", metavar="FILE", help="the config to read")
    parser.add_argument("--output_config_path", metavar="FILE", help="the config to write")
    parser.add_paths("--data_input_path", "rows to use instead of the config's training data")
    parser.add_argument(
        "--features", default="", help="comma-separated feature names; default: every RawFeature"
    )
    parser.add_argument("--num_buckets", type=count(2), default=10, help="number of buckets per feature")
    parser.add_argument(
        "--embedding_dim", type=count(1), default=_DIM, help="embedding_dim of features without one"
    )
    parser.add_argument("--tables", default="", help="EasyRec's table of quantiles; not supported")
    values = parser.parse(arguments, needed=["template_config_path", "output_config_path"])
    if values.pop("tables"):
        raise ConfigError("--tables: quantile tables are not supported; quantiles are computed from the rows")
    return BoundariesFlags(**values)


def run(flags: BoundariesFlags) -> None:
    """Reads all rows once and writes the config with boundaries."""
    config = load(flags.template_config_path)
    expand(config)
    set_input(config, "train", flags.data_input_path)
    chosen = _chosen(config, flags.features)
    found = quantiles(config.proto, [feature.input_names[0] for feature in chosen], flags.num_buckets)
    for feature in chosen:
        boundaries = found[feature.input_names[0]]
        if not boundaries:
            parts = f"{flags.num_buckets} equal parts"
            print(f"{feature_name(feature)}: too few values above the smallest for {parts}, unchanged")
            continue
        feature.feature_type = type(feature).RawFeature
        feature.ClearField("hash_bucket_size")
        feature.ClearField("num_buckets")
        feature.boundaries[:] = boundaries
        feature.embedding_dim = feature.embedding_dim or flags.embedding_dim
        print(f"{feature_name(feature)}: {len(boundaries) + 1} buckets")
    write_config(config.proto, flags.output_config_path, "--output_config_path")


class _Column(NamedTuple):
    name: str


def quantiles(proto: Any, names: Sequence[str], buckets: int) -> dict[str, list[float]]:
    """The boundaries of columns, from one pass over the training data.

    Args:
        proto: The config, for the input.
        names: The names of input fields.
        buckets: The number of buckets per column.

    Raises:
        DataError: A cell is not a number.
        ConfigError: The input can't be read.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from hvdrec.data import open_source
    from hvdrec.errors import DataError
    from hvdrec.tools.quantiles import Sample

    samples = {name: Sample(_SAMPLE) for name in names}
    source = open_source(
        proto,
        fields=[_Column(name) for name in names],
        training=False,
        paths=[_input(proto)],
        named="the training data",
    )
    for block in source:
        for name, sample in samples.items():
            column = block.columns.column(name)
            if pa.types.is_binary(column.type) or pa.types.is_string(column.type):
                column = pc.utf8_trim_whitespace(column.cast(pa.string()))
                column = column.filter(pc.not_equal(column, ""))
            try:
                numbers = column.drop_null().cast(pa.float64())
            except pa.ArrowInvalid as error:
                raise DataError(f"from {block.locate(0)} on: column {name!r}: {error}") from error
            sample.add(np.asarray(numbers))
    return {name: sample.boundaries(buckets) for name, sample in samples.items()}


def _input(proto: Any) -> Any:
    which = proto.WhichOneof("train_path")
    if which is None:
        raise ConfigError("--data_input_path: is missing, and the config has no training data")
    return getattr(proto, which)


def _chosen(config: Config, names: str) -> list[Any]:
    """The features to bucketize."""
    features = {feature_name(feature): feature for feature in feature_list(config.proto)}
    if not names:
        raw = [f for f in features.values() if enum_name(f, "feature_type") == "RawFeature"]
        chosen = [f for f in raw if f.raw_input_dim == 1 and not f.seq_multi_sep]
        if not chosen:
            raise ConfigError(
                f"{config.path}: has no RawFeature of one number; name other features in --features"
            )
        return chosen
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in features]
    if unknown:
        raise ConfigError(f"--features: no feature is named {listed(unknown)}; {hint(unknown[0], features)}")
    return [features[name] for name in wanted]


if __name__ == "__main__":
    sys.exit(main(parse, run, sys.argv[1:]))
