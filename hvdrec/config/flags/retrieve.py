"""Flags of `hvdrec.retrieve`, and the config they select."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from hvdrec.config import user_code
from hvdrec.config.checks.check import check
from hvdrec.config.checks.paths import plain_paths
from hvdrec.config.config import Config
from hvdrec.config.expand import expand, feature_list
from hvdrec.config.flags.common import add_restoring_flags, load_restoring
from hvdrec.config.flags.parser import FlagParser, count
from hvdrec.config.models.registry import spec_of
from hvdrec.config.samplers import sampler_config
from hvdrec.errors import ConfigError

#: The searches; the first is the default.
SEARCHES = ("exact", "faiss", "hnswlib")
#: The formats of `output_path`; the first is the default.
OUTPUT_FORMATS = ("pairs", "vector_retrieve", "hit_rate")


@dataclasses.dataclass(frozen=True)
class RetrieveFlags:
    """Flags of `hvdrec.retrieve`.

    Attributes:
        input_path: Rows of users and the items they chose.
        output_path: The file for the nearest items of each user; "" for none.
        item_input_path: The rows with the items to search; "" for the sampler's item table.
        item_id_field: The column of item ids.
        user_id_field: The column of user ids; "" if each row is a user.
        exclude_field: The column with ids of items that aren't to be found for its row; "" for none.
        separator: Between the ids in that column.
        search: How to search: exact, faiss or hnswlib.
        output_format: pairs, vector_retrieve or hit_rate.
        topk: The list lengths to evaluate; the longest is written.
        batch_size: Rows per batch.
        pipeline_config_path: The config, replacing model_dir's.
        checkpoint_path: A prefix or folder; None for the newest checkpoint of model_dir.
        model_dir: The folder of the checkpoints, and of pipeline.config if no other config is given.
        allow_user_code: Import and run user code that the config names.
        verbose: Show stack traces and more log lines.
        ignored: Flags given that have no effect here.
    """

    input_path: str
    output_path: str = ""
    item_input_path: str = ""
    item_id_field: str = ""
    user_id_field: str = ""
    exclude_field: str = ""
    separator: str = "|"
    search: str = SEARCHES[0]
    output_format: str = OUTPUT_FORMATS[0]
    topk: tuple[int, ...] = (10, 50)
    batch_size: int = 1024
    pipeline_config_path: str | None = None
    checkpoint_path: str | None = None
    model_dir: str | None = None
    allow_user_code: bool = False
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse_retrieve(arguments: Sequence[str]) -> RetrieveFlags:
    """Flags of `hvdrec.retrieve`.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser(
        "hvdrec.retrieve", "Finds the items nearest to each user, and reports how often they were chosen."
    )
    add_restoring_flags(parser)
    parser.add_argument("--input_path", metavar="PATH", help="rows of users and the items they chose")
    parser.add_argument(
        "--output_path", default="", metavar="FILE", help="file for each user's nearest items"
    )
    parser.add_argument(
        "--item_input_path",
        default="",
        metavar="PATH",
        help="rows with the items to search; default: the sampler's item table",
    )
    parser.add_argument("--item_id_field", default="", metavar="NAME", help="the column of item ids")
    parser.add_argument(
        "--user_id_field",
        default="",
        metavar="NAME",
        help="the column of user ids; default: each row is a user",
    )
    parser.add_argument(
        "--exclude_field",
        default="",
        metavar="NAME",
        help="a column with items that aren't to be found for its row, such as the user's history",
    )
    parser.add_argument(
        "--search",
        choices=SEARCHES,
        default=SEARCHES[0],
        help="exact products, or an approximate search by a library that is installed",
    )
    parser.add_argument(
        "--output_format", choices=OUTPUT_FORMATS, default=OUTPUT_FORMATS[0], help="format of that file"
    )
    parser.add_argument("--topk", default="10,50", metavar="K,K", help="comma-separated list lengths")
    parser.add_argument("--batch_size", type=count(1), default=1024, help="rows per batch")
    values = parser.parse(arguments, needed=["input_path"])
    numbers = values["topk"].split(",")
    if not all(n.strip().isdecimal() and int(n) > 0 for n in numbers):
        raise ConfigError(f"--topk: {values['topk']!r} must be comma-separated whole numbers above 0")
    values["topk"] = tuple(int(n) for n in numbers)
    return RetrieveFlags(**values)


def load_for_retrieve(flags: RetrieveFlags) -> tuple[Config, RetrieveFlags]:
    """The config for the search, and the flags completed with the config's id columns.

    Raises:
        ConfigError: The config is missing or invalid, or doesn't define the items to search.
    """
    user_code.allow(flags.allow_user_code)
    config = load_restoring(flags.model_dir, flags.pipeline_config_path, flags.ignored)
    plain_paths(config)
    expand(config)
    check(config, "predict")
    proto = config.proto
    if not spec_of(proto.model_config).sides(proto):
        raise ConfigError(
            f"{config.where('model_config.model_class')}: {proto.model_config.model_class} "
            "has no user and item towers to search with"
        )
    sampler = sampler_config(proto)
    if not flags.item_input_path and sampler is None:
        raise ConfigError("--item_input_path: is missing, and the config has no sampler with an item table")
    item_id = flags.item_id_field or getattr(sampler, "item_id_field", "")
    declared = [field.input_name for field in proto.data_config.input_fields]
    columns = {"user_id_field": flags.user_id_field, "exclude_field": flags.exclude_field}
    for flag, name in (("item_id_field", item_id), *columns.items()):
        if name not in declared and (name or flag == "item_id_field"):
            problem = f"{name!r} is not among data_config.input_fields" if name else "is missing"
            raise ConfigError(f"--{flag}: {problem}")
    return config, dataclasses.replace(
        flags, item_id_field=item_id, separator=_separator(proto, flags.exclude_field)
    )


def _separator(proto: Any, field: str) -> str:
    """What is between the values of a column: the separator of its feature, else "|"."""
    for feature in feature_list(proto):
        if field and field in feature.input_names and feature.separator:
            return str(feature.separator)
    return "|"
