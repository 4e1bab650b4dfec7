"""`hvdrec.feature_selection`: selects the features that a model with variational dropout has kept."""

from __future__ import annotations

import csv
import html
import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import text_format

from hvdrec import storage
from hvdrec.checkpoint.finetune import existing_prefix
from hvdrec.checkpoint.reader import Reader
from hvdrec.checkpoint.store import Store
from hvdrec.config import Config
from hvdrec.config.expand import feature_list, feature_name
from hvdrec.config.flags.feature_selection import FeatureSelectionFlags
from hvdrec.errors import CheckpointError, ConfigError
from hvdrec.features import build_plan
from hvdrec.layers.variational_dropout import variable_name
from hvdrec.trainer.run.places import need_other_file

#: The height of a bar in the drawing, and the width of a bar for rate 1.
_BAR, _WHOLE, _NAMES = 18, 500, 300


def select(config: Config, flags: FeatureSelectionFlags) -> None:
    """Writes the features' dropout rates, and the config without the features dropped most.

    `--output_dir` receives ``feature_dropout_ratio_<group>.csv`` with the mean rate of each feature in
    increasing order, with `--visualize` a drawing of it in ``feature_dropout_pic_<group>.svg``, and the
    config and `--fg_path`'s file without the features beyond the `--topk` of a group. Keys and histories of
    attention are kept.

    Args:
        config: The config of the run.
        flags: The command's flags.

    Raises:
        CheckpointError: There is no checkpoint, or it contains no rates.
        ConfigError: The config is inconsistent, or a file can't be read or written, or would be overwritten.
    """
    for path in filter(None, (flags.config_path, flags.fg_path)):
        written = os.path.join(flags.output_dir, os.path.basename(path))
        need_other_file(written, "--output_dir", [path])
    rates = dropout_rates(config, flags.checkpoint_path)
    dropped = {name for group in rates.values() for name in list(group)[flags.topk :]}
    dropped -= _attended(config.proto.model_config)
    try:
        os.makedirs(flags.output_dir, exist_ok=True)
        for name, found in rates.items():
            group = name.replace("/", "_")
            _write(flags.output_dir, f"feature_dropout_ratio_{group}.csv", _table(found))
            if flags.visualize:
                _write(flags.output_dir, f"feature_dropout_pic_{group}.svg", _picture(name, found))
        kept = text_format.MessageToString(_without(config.proto, dropped), as_utf8=True)
        _write(flags.output_dir, os.path.basename(flags.config_path), kept)
        if flags.fg_path:
            _write(flags.output_dir, os.path.basename(flags.fg_path), _fg_without(flags.fg_path, dropped))
    except OSError as error:
        raise ConfigError(f"--output_dir: {flags.output_dir} can't be written: {error.strerror}") from error
    print(f"{len(dropped)} features removed, written to {flags.output_dir}", flush=True)


def dropout_rates(config: Config, checkpoint: str | None) -> dict[str, dict[str, float]]:
    """The mean dropout rate of each feature, in increasing order, by feature group.

    Args:
        config: The config of the run.
        checkpoint: A prefix; None for the newest checkpoint in model_dir.

    Raises:
        CheckpointError: There is no checkpoint, or its rates don't match the config's groups.
    """
    prefix = (
        existing_prefix(storage.local(checkpoint)) if checkpoint else Store(config.proto.model_dir).latest()
    )
    if prefix is None:
        raise CheckpointError(f"there is no checkpoint in {config.proto.model_dir}")
    reader = Reader(prefix)
    by_column = config.proto.model_config.variational_dropout.embedding_wise_variational_dropout
    found = {}
    for group in build_plan(config.proto).groups.values():
        parts = (*group.features, *(c.feature for c in group.combined))
        widths = {part.feature: part.width for part in parts}
        if not widths:
            continue
        name, count = variable_name(group.name), sum(widths.values()) if by_column else len(widths)
        if name not in reader or reader.shapes[name] != (count,):
            has = f"has the shape {reader.shapes[name]}" if name in reader else "is missing"
            raise CheckpointError(
                f"{prefix}: {name} {has}, but the config's group {group.name!r} needs ({count},)"
            )
        rates = 1.0 / (1.0 + np.exp(-reader.read([name])[0].numpy().astype(np.float64)))
        ends = np.cumsum([*widths.values()] if by_column else [1] * len(widths))
        means = [float(part.mean()) for part in np.split(rates, ends[:-1])]
        found[group.name] = dict(sorted(zip(widths, means, strict=True), key=lambda item: item[1]))
    return found


def _attended(model: Any) -> set[str]:
    """Keys and histories of attention groups."""
    groups = [*model.seq_att_groups, *(s for g in model.feature_groups for s in g.sequence_features)]
    maps = [one for group in groups for one in group.seq_att_map]
    return {name for one in maps for name in (*one.key, *one.hist_seq, *one.aux_hist_seq)}


def _without(proto: Any, dropped: set[str]) -> Any:
    """The config without some features."""
    kept = type(proto)()
    kept.CopyFrom(proto)
    features = feature_list(kept)
    left = [feature for feature in features if feature_name(feature) not in dropped]
    del features[:]
    features.extend(left)
    for group in kept.model_config.feature_groups:
        group.feature_names[:] = [name for name in group.feature_names if name not in dropped]
    return kept


def _fg_without(path: str, dropped: set[str]) -> str:
    try:
        content = json.loads(storage.read_text(path))
        content["features"] = [f for f in content["features"] if f.get("feature_name") not in dropped]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"--fg_path: {path} can't be read as an fg.json: {error}") from error
    return json.dumps(content, indent=4, ensure_ascii=False)


def _table(rates: Mapping[str, float]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", "feature_name", "mean_drop_p"])
    writer.writerows([i, name, rate] for i, (name, rate) in enumerate(rates.items()))
    return text.getvalue()


def _picture(group: str, rates: Mapping[str, float]) -> str:
    """One bar per feature, with the lowest rate at the top."""
    height = _BAR * (len(rates) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_NAMES + _WHOLE + 80}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<text x="{_NAMES}" y="{_BAR - 5}">Dropout ratio, group {html.escape(group)}</text>',
    ]
    for i, (name, rate) in enumerate(rates.items()):
        y = _BAR * (i + 1)
        colour = "#c0392b" if rate < 0.5 else "#27ae60"
        lines += [
            f'<text x="{_NAMES - 6}" y="{y + 13}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="{_NAMES}" y="{y + 2}" width="{_WHOLE * rate:.1f}" height="{_BAR - 4}" '
            f'fill="{colour}"/>',
            f'<text x="{_NAMES + _WHOLE * rate + 4:.1f}" y="{y + 13}">{rate:.4f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _write(folder: str, name: str, text: str) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
