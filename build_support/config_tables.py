"""Writes docs/config_support.md and docs/blocks.md from the check of configs; ``--check`` compares."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Iterable, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from build_support import blocks_page  # noqa: E402
from hvdrec.config import support  # noqa: E402
from hvdrec.config.models.registry import SPECS, TO_COME  # noqa: E402
from hvdrec.config.protos import (  # noqa: E402
    dataset_pb2,
    eval_pb2,
    feature_config_pb2,
    loss_pb2,
    optimizer_pb2,
    train_pb2,
)

PAGE = ROOT / "docs" / "config_support.md"
BLOCKS = ROOT / "docs" / "blocks.md"
_HEAD = """# Supported parts of EasyRec's config

Written by `make docs` from `hvdrec/config/support.py` and the specs in `hvdrec/config/models`; change it
there. [config.md](config.md) describes how configs are read and edited.

Every field of EasyRec's protos is read, and supported unless a table below lists it. Fields that are in force
but not supported are refused, or reported in a warning, with file and line, before anything else runs. A
field with its default value is accepted, and so is a block that isn't in force: the block of another model
class than `model_class`, or `feature_config` when there are `feature_configs`.

{census}
"""


#: EasyRec's sample configs that can't be used: a name and a field that is refused, one sample a line.
REFUSED_SAMPLES = ROOT / "tests" / "refused_samples.txt"


def _census() -> str:
    lines = [
        line.split() for line in REFUSED_SAMPLES.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    if not lines:
        return (
            "All of EasyRec's sample configs can be used (`tests/config/test_samples.py`),\n"
            "those with the user's own code with `--allow_user_code`."
        )
    rows = [(f"`{name}`", f"`{field}`") for name, field in lines]
    return f"Of EasyRec's sample configs, these can't be used:\n\n{_table(('config', 'because of'), rows)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _oneof(message: type, name: str) -> list[str]:
    return [f.name for f in message.DESCRIPTOR.oneofs_by_name[name].fields]  # type: ignore[attr-defined]


def _values() -> str:
    kinds = {
        "`data_config.input_type`": (support.INPUT_TYPES, dataset_pb2.DatasetConfig.InputType.keys()),
        "`feature_type`": (support.FEATURE_TYPES, feature_config_pb2.FeatureConfig.FeatureType.keys()),
        "`train_distribute`": (support.STRATEGIES, train_pb2.DistributionStrategy.keys()),
        "`loss_type`": (support.LOSSES, loss_pb2.LossType.keys()),
        "`optimizer_config`": (support.OPTIMIZERS, _oneof(optimizer_pb2.Optimizer, "optimizer")),
        "`learning_rate`": (support.SCHEDULES, _oneof(optimizer_pb2.LearningRate, "learning_rate")),
        "`metrics_set`": (support.METRICS, _oneof(eval_pb2.EvalMetrics, "metric")),
        "`model_class`": (tuple(SPECS), (*SPECS, *TO_COME)),
    }
    rows = [
        (where, _code(names), _code(n for n in every if n not in names) or "none")
        for where, (names, every) in kinds.items()
    ]
    usable = {name for names, _ in kinds.values() for name in names}
    reasons = sorted(item for item in support.REASONS.items() if item[0] not in usable)
    return "\n\n".join(
        (
            "## Values",
            _table(("where", "supported", "refused"), rows),
            "Further reasons and alternatives for refused values:",
            _table(("value", "why, and what to use"), [(f"`{n}`", why) for n, why in reasons]),
        )
    )


def _fields() -> str:
    def rows(table: dict[str, str]) -> list[tuple[str, str]]:
        return [(f"`{name}`", why) for name, why in sorted(table.items())]

    ranges = [(f"`{name}`", str(allowed)) for name, allowed in sorted(support.RANGES.items())]
    return "\n\n".join(
        (
            "## Fields that are refused",
            _table(("field", "why, and what to do"), rows(support.REFUSED)),
            "## Fields that are ignored with a warning",
            _table(("field", "why"), rows(support.IGNORED)),
            "## Fields that have no effect",
            "They only name something, request what is done anyway, or belong to a value or field above:",
            f"{_code(sorted(support.SILENT))}.",
            "## Ranges of numbers",
            _table(("field", "must be"), ranges),
        )
    )


def main() -> int:
    """Writes the pages, or reports those that are out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a page is out of date")
    pages = {
        PAGE: f"{_HEAD.format(census=_census())}\n{_values()}\n\n{_fields()}\n",
        BLOCKS: blocks_page.page(),
    }
    behind = [p for p, text in pages.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]
    if not parser.parse_args().check:
        for path in behind:
            path.write_text(pages[path], encoding="utf-8")
        return 0
    for path in behind:
        print(f"{path.relative_to(ROOT)} is older than hvdrec/config: run make docs", file=sys.stderr)
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
