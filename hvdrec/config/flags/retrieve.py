"""Flags of `hvdrec.retrieve`, and the config they lead to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hvdrec.config import user_code
from hvdrec.config.checks.check import check
from hvdrec.config.checks.paths import plain_paths
from hvdrec.config.config import Config
from hvdrec.config.expand import expand
from hvdrec.config.flags.common import add_restoring_flags, load_restoring
from hvdrec.config.flags.parser import FlagParser, count
from hvdrec.config.models.registry import spec_of
from hvdrec.config.samplers import sampler_config
from hvdrec.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class RetrieveFlags:
    """Flags of `hvdrec.retrieve`.

    Attributes:
        input_path: Rows of users with the items they chose.
        output_path: Where the nearest items of each user go; "" for nowhere.
        item_input_path: Rows whose items are searched; "" for the sampler's item table.
        item_id_field: The column of items' ids.
        user_id_field: The column of users' ids; "" where each row is a user.
        topk: Lengths of lists that are judged; the longest is written.
        batch_size: Rows embedded at a time.
        pipeline_config_path: The config, in place of model_dir's own.
        checkpoint_path: A prefix or folder; None for the newest checkpoint of model_dir.
        model_dir: Where checkpoints are looked for, and pipeline.config where no other is given.
        allow_user_code: Import and run code of the user's own that the config names.
        verbose: Show stack traces and more log lines.
        ignored: Flags given that have no effect here.
    """

    input_path: str
    output_path: str = ""
    item_input_path: str = ""
    item_id_field: str = ""
    user_id_field: str = ""
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
        ConfigError: They aren't right.
    """
    parser = FlagParser(
        "hvdrec.retrieve", "Searches the items nearest to users, and says how often they were chosen."
    )
    add_restoring_flags(parser)
    parser.add_argument("--input_path", metavar="PATH", help="rows of users with the items they chose")
    parser.add_argument("--output_path", default="", metavar="FILE", help="takes each user's nearest items")
    parser.add_argument(
        "--item_input_path",
        default="",
        metavar="PATH",
        help="rows whose items are searched; by default the sampler's item table",
    )
    parser.add_argument("--item_id_field", default="", metavar="NAME", help="the column of items' ids")
    parser.add_argument(
        "--user_id_field", default="", metavar="NAME", help="the column of users' ids; else each row is one"
    )
    parser.add_argument("--topk", default="10,50", metavar="K,K", help="lengths of the lists")
    parser.add_argument("--batch_size", type=count(1), default=1024, help="rows embedded at a time")
    values = parser.parse(arguments, needed=["input_path"])
    numbers = values["topk"].split(",")
    if not all(n.strip().isdigit() and int(n) > 0 for n in numbers):
        raise ConfigError(f"--topk: {values['topk']!r} must be whole numbers above 0 with commas between")
    values["topk"] = tuple(int(n) for n in numbers)
    return RetrieveFlags(**values)


def load_for_retrieve(flags: RetrieveFlags) -> tuple[Config, RetrieveFlags]:
    """The config to search by, and the flags with what it says of ids.

    Raises:
        ConfigError: There is none, it is wrong, or doesn't say what is searched.
    """
    user_code.allow(flags.allow_user_code)
    config = load_restoring(flags.model_dir, flags.pipeline_config_path, flags.ignored)
    plain_paths(config)
    expand(config)
    check(config, "predict")
    proto = config.proto
    if not spec_of(proto.model_config).sides(proto):
        raise ConfigError(
            f"{config.where('model_config.model_class')}: {proto.model_config.model_class} has no towers of "
            "users and items to search with"
        )
    sampler = sampler_config(proto)
    if not flags.item_input_path and sampler is None:
        raise ConfigError("--item_input_path: is missing, and the config has no sampler with an item table")
    item_id = flags.item_id_field or getattr(sampler, "item_id_field", "")
    declared = [field.input_name for field in proto.data_config.input_fields]
    for flag, name in (("item_id_field", item_id), ("user_id_field", flags.user_id_field)):
        if name not in declared and (name or flag == "item_id_field"):
            problem = f"{name!r} is not among data_config.input_fields" if name else "is missing"
            raise ConfigError(f"--{flag}: {problem}")
    return config, dataclasses.replace(flags, item_id_field=item_id)
