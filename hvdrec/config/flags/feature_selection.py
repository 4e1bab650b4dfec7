"""Flags of `hvdrec.feature_selection`, and the config they lead to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hvdrec.config.config import Config
from hvdrec.config.expand import expand
from hvdrec.config.flags.parser import FlagParser, count
from hvdrec.config.reader import load
from hvdrec.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class FeatureSelectionFlags:
    """Flags of `hvdrec.feature_selection`.

    Attributes:
        config_path: The config with `variational_dropout` that was trained by.
        output_dir: Where the results go.
        checkpoint_path: A prefix; None for the newest checkpoint of the config's model_dir.
        topk: So many features of each group are kept.
        fg_path: An fg.json to take the other features out of too.
        visualize: Also draw the rates.
        model_type: What ranks the features.
        verbose: Show stack traces and more log lines.
    """

    config_path: str
    output_dir: str
    checkpoint_path: str | None = None
    topk: int = 100
    fg_path: str | None = None
    visualize: bool = False
    model_type: str = "variational_dropout"
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse_feature_selection(arguments: Sequence[str]) -> FeatureSelectionFlags:
    """Flags of `hvdrec.feature_selection`.

    Raises:
        ConfigError: They aren't right.
    """
    parser = FlagParser(
        "hvdrec.feature_selection", "Ranks features by the dropout rates that a model has learned."
    )
    parser.add_argument("--config_path", metavar="FILE", help="the config with variational_dropout")
    parser.add_argument("--output_dir", metavar="DIR", help="where the results go")
    parser.add_argument("--checkpoint_path", metavar="PATH", help="a prefix; by default the newest")
    parser.add_argument("--topk", type=count(1), default=100, help="features that each group keeps")
    parser.add_argument("--fg_path", metavar="FILE", help="an fg.json to take the other features out of too")
    parser.add_argument("--visualize", action="store_true", help="also draw the rates, as SVG")
    parser.add_argument(
        "--model_type", choices=("variational_dropout",), default="variational_dropout", help="what ranks"
    )
    values = parser.parse(arguments, needed=["config_path", "output_dir"])
    return FeatureSelectionFlags(**values)


def load_for_feature_selection(flags: FeatureSelectionFlags) -> Config:
    """The config that was trained by.

    Raises:
        ConfigError: It can't be read, or has no `variational_dropout`.
    """
    config = load(flags.config_path)
    expand(config)
    if not config.proto.model_config.HasField("variational_dropout"):
        raise ConfigError(
            f"{config.where('model_config.variational_dropout')}: is missing; its rates rank the features"
        )
    return config
