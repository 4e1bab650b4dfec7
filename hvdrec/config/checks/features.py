"""Checks the features."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hvdrec.config import support
from hvdrec.config.checks.expressions import check_expression
from hvdrec.config.checks.sequences import attended_names
from hvdrec.config.combiners import text_cnn
from hvdrec.config.dynamic import ev_params
from hvdrec.config.expand import feature_list, feature_list_path, feature_name
from hvdrec.config.feature_values import COMBINERS, POOLS, normalizer, refusal
from hvdrec.config.models.registry import SPECS
from hvdrec.config.names import enum_name
from hvdrec.config.report import Report
from hvdrec.storage import is_file

_MOST_ROWS = (1 << 31) - 1
#: Ways to map values to rows, in order of precedence.
_BUCKETS = ("hash_bucket_size", "vocab_list", "vocab_file", "num_buckets")
_SHARED_FIELDS = ("embedding_dim", "combiner", "max_partitions", "initializer")


def check_features(report: Report) -> None:
    """Checks each feature by its type, the names, and what must match between shared embeddings."""
    proto = report.config.proto
    features, path = feature_list(proto), feature_list_path(proto)
    if proto.feature_configs and proto.feature_config.features:
        report.warn("feature_config", "has no effect, as feature_configs is set too")
    if not features:
        report.error(path, "is empty; declare the features")
    fields = {field.input_name: field for field in proto.data_config.input_fields}
    used = {
        *(name for group in proto.model_config.feature_groups for name in group.feature_names),
        *attended_names(proto.model_config),
    }
    seen: dict[str, int] = {}
    for i, feature in enumerate(features):
        place, name = f"{path}[{i}]", feature_name(feature)
        if name in seen:
            report.error(place, f"{path}[{seen[name]}] is already named {name!r}; set feature_name")
        seen[name] = i
        refused = support.unsupported(enum_name(feature, "feature_type"), support.FEATURE_TYPES)
        if refused and name not in used:
            report.warn(f"{place}.feature_type", f"{refused}; {name!r} is in no group, so it is skipped")
        elif refused:
            report.error(f"{place}.feature_type", refused)
        else:
            _check_feature(report, feature, place, fields)
            if name in used and enum_name(feature, "feature_type") == "PassThroughFeature":
                _check_text(report, proto, feature, place, fields)
    deep = _deep_names(proto)
    for name, i in seen.items():
        if name in deep and _needs_embedding(features[i]) and not features[i].embedding_dim:
            report.error(f"{path}[{i}].embedding_dim", f"must be above 0: {name!r} is in {deep[name]}")
    _check_shared(report, features, path, used)


def _check_text(report: Report, proto: Any, feature: Any, place: str, fields: dict[str, Any]) -> None:
    """Checks a PassThroughFeature in a group, which is a text."""
    name, spec = feature_name(feature), SPECS.get(proto.model_config.model_class)
    readable = spec.text_groups(proto.model_config) if spec is not None else ()
    groups = {g.group_name for g in proto.model_config.feature_groups if name in g.feature_names}
    if name in attended_names(proto.model_config) or not groups <= set(readable):
        report.error(
            f"{place}.feature_type",
            "a PassThroughFeature has no column; only a block with raw_input reads it, so take "
            f"{name!r} out of the other groups",
        )
    kinds = [enum_name(fields[i], "input_type") for i in feature.input_names if i in fields]
    if kinds and kinds != ["STRING"]:
        report.error(
            f"{place}.input_names", f"a PassThroughFeature in a group needs one STRING field, is {kinds}"
        )


def _deep_names(proto: Any) -> dict[str, str]:
    """Features with an embedding lookup of their own, and what uses each."""
    attended = dict.fromkeys(attended_names(proto.model_config), "an attention group")
    grouped = {
        name: f"group {group.group_name!r}"
        for group in proto.model_config.feature_groups
        if enum_name(group, "wide_deep") != "WIDE"
        for name in group.feature_names
    }
    return {**attended, **grouped}


def _needs_embedding(feature: Any) -> bool:
    if enum_name(feature, "feature_type") in ("ExprFeature", "PassThroughFeature"):
        return False
    return not _is_numeric(feature) or is_bucketized(feature)


def _is_numeric(feature: Any) -> bool:
    """Whether a feature's values are numbers."""
    kind = enum_name(feature, "feature_type")
    if kind == "SequenceFeature":
        kind = enum_name(feature, "sub_feature_type")
    return kind == "RawFeature"


def is_bucketized(feature: Any) -> bool:
    """Whether a feature's numbers are mapped to bucket ids."""
    by_range = feature.num_buckets > 1 and feature.max_val > feature.min_val
    return _is_numeric(feature) and (bool(feature.boundaries) or by_range)


def _check_feature(report: Report, feature: Any, path: str, fields: dict[str, Any]) -> None:
    kind = enum_name(feature, "feature_type")
    if not feature.input_names:
        report.error(path, "input_names is missing")
        return
    known = True
    for i, name in enumerate(feature.input_names):
        if name not in fields:
            known = False
            near = report.hint(name, fields)
            report.error(
                f"{path}.input_names[{i}]", f"{name!r} is not among data_config.input_fields; {near}"
            )
    if kind != "RawFeature" and feature.combiner not in COMBINERS:
        report.error(f"{path}.combiner", f"use one of {', '.join(COMBINERS)}, is {feature.combiner!r}")
    kinds = [enum_name(fields[name], "input_type") for name in feature.input_names if known]
    _CHECKS[kind](report, feature, path, kinds)


def _check_id(report: Report, feature: Any, path: str, kinds: Sequence[str]) -> None:
    if len(feature.input_names) > 1:
        report.warn(f"{path}.input_names", "an IdFeature has one input; only the first is used")
    _check_buckets(report, feature, path)
    if kinds and kinds[0] in ("FLOAT", "DOUBLE"):
        if not feature.hash_bucket_size:
            report.error(path, f"ids can't be {kinds[0]}; declare the input field as INT64 or STRING")
        elif feature.precision <= 0:
            report.error(
                f"{path}.precision",
                f"must be above 0, because the {kinds[0]} numbers are formatted as text and hashed",
            )


def _check_buckets(report: Report, feature: Any, path: str) -> None:
    """Checks how values are mapped to rows of a table."""
    if ev_params(report.config.proto, feature) is not None and not (feature.vocab_list or feature.vocab_file):
        # Its tables have no fixed size.
        return
    ways = [name for name in _BUCKETS if getattr(feature, name)]
    for name in ways[1:]:
        report.warn(f"{path}.{name}", f"has no effect, as {ways[0]} is set too")
    if feature.hash_bucket_size:
        _check_rows(report, feature.hash_bucket_size, f"{path}.hash_bucket_size")
    elif feature.vocab_list:
        twice = [value for value, count in Counter(feature.vocab_list).items() if count > 1]
        if twice:
            report.error(f"{path}.vocab_list", f"{twice[0]!r} is listed twice")
    elif feature.vocab_file:
        if not is_file(feature.vocab_file):
            report.error(f"{path}.vocab_file", f"there is no file {feature.vocab_file}")
    elif feature.num_buckets:
        _check_rows(report, feature.num_buckets, f"{path}.num_buckets")
    else:
        report.error(path, "set one of hash_bucket_size, num_buckets, vocab_list or vocab_file")


def _check_rows(report: Report, rows: int, path: str) -> None:
    if rows > _MOST_ROWS:
        report.error(path, f"tables of more than {_MOST_ROWS} rows are not supported, is {rows}")


def _check_raw(report: Report, feature: Any, path: str, kinds: Sequence[str]) -> None:
    if len(feature.input_names) > 1:
        report.warn(f"{path}.input_names", "a RawFeature has one input; only the first is used")
    if feature.seq_multi_sep and feature.combiner not in POOLS:
        report.error(
            f"{path}.combiner", f"pools numbers by one of {', '.join(POOLS)}, is {feature.combiner!r}"
        )
    if feature.seq_multi_sep and kinds and kinds[0] != "STRING":
        report.error(
            f"{path}.seq_multi_sep", f"several values in one cell need a STRING input field, is {kinds[0]}"
        )
    _check_boundaries(report, feature, path)
    _check_normalizer(report, feature.normalizer_fn, f"{path}.normalizer_fn")
    both = feature.HasField("min_val") and feature.HasField("max_val")
    if both and feature.max_val <= feature.min_val:
        report.warn(f"{path}.max_val", "is not above min_val, so numbers are not normalised")
    lists = enum_name(report.config.proto.data_config, "input_type") not in support.TEXT_INPUTS
    if feature.raw_input_dim > 1 and kinds and kinds[0] != "STRING" and not lists:
        report.error(
            f"{path}.raw_input_dim", f"several numbers in one cell need a STRING input field, is {kinds[0]}"
        )


def _check_boundaries(report: Report, feature: Any, path: str) -> None:
    for before, after in itertools.pairwise(sorted(feature.boundaries)):
        if before == after:
            report.error(f"{path}.boundaries", f"{after:g} is listed twice")
            break


def _check_sequence(report: Report, feature: Any, path: str, kinds: Sequence[str]) -> None:
    if len(feature.input_names) > 1:
        report.warn(f"{path}.input_names", "a SequenceFeature has one input; only the first is used")
    if kinds and kinds[0] != "STRING":
        report.error(path, f"a SequenceFeature needs a STRING input field, is {kinds[0]}")
    if not feature.separator:
        report.error(f"{path}.separator", "must not be empty")
    if feature.normalizer_fn:
        report.warn(f"{path}.normalizer_fn", "has no effect on sequences, as in EasyRec")
    if feature.HasField("sequence_combiner"):
        _check_combiner(report, feature, path)
    kind = enum_name(feature, "sub_feature_type")
    if kind == "IdFeature":
        _check_buckets(report, feature, path)
    elif kind == "RawFeature":
        _check_number_sequence(report, feature, path)
    else:
        report.error(f"{path}.sub_feature_type", f"must be IdFeature or RawFeature, is {kind}")


def _check_combiner(report: Report, feature: Any, path: str) -> None:
    """Checks the combiner that turns a sequence into one vector."""
    path = f"{path}.sequence_combiner"
    if feature.sequence_combiner.WhichOneof("combiner") is None:
        report.error(path, "is empty; write attention {} or text_cnn {} into it")
    elif not feature.embedding_dim:
        report.error(path, "needs embedding_dim; raw numbers can't be combined")
    found = text_cnn(feature.sequence_combiner)
    for problem in found[1] if found is not None else ():
        tell = report.warn if problem.warning else report.error
        tell(f"{path}.text_cnn{problem.path and '.'}{problem.path}", problem.text)


def _check_number_sequence(report: Report, feature: Any, path: str) -> None:
    if feature.hash_bucket_size:
        report.error(f"{path}.hash_bucket_size", "numbers are not hashed; use sub_feature_type: IdFeature")
    _check_boundaries(report, feature, path)
    if feature.max_val > feature.min_val and feature.num_buckets <= 1:
        report.warn(f"{path}.max_val", "scales a sequence only together with num_buckets, as in EasyRec")
    if is_bucketized(feature):
        return
    if feature.num_buckets > 1:
        report.error(f"{path}.num_buckets", "buckets of numbers need max_val above min_val, or boundaries")
    if (feature.raw_input_dim > 1) != bool(feature.seq_multi_sep):
        report.error(
            f"{path}.seq_multi_sep",
            "elements of several numbers need both seq_multi_sep and raw_input_dim above 1",
        )
    if feature.max_seq_len:
        report.error(
            f"{path}.max_seq_len", "sequences of numbers have sequence_length elements; remove max_seq_len"
        )


def _check_normalizer(report: Report, name: str, path: str) -> None:
    if normalizer(name) is None:
        report.error(path, refusal(name))


def _check_tag(report: Report, feature: Any, path: str, kinds: Sequence[str]) -> None:
    if len(feature.input_names) > 2:
        report.error(
            f"{path}.input_names",
            "a TagFeature has one or two inputs (tags, and optionally "
            "weights), has "
            f"{len(feature.input_names)}",
        )
    if len(feature.input_names) == 2 and feature.kv_separator:
        report.error(
            f"{path}.kv_separator", "the second input already gives the weights; remove one of the two"
        )
    if not feature.separator:
        report.error(f"{path}.separator", "must not be empty")
    _check_buckets(report, feature, path)


def _check_lookup(report: Report, feature: Any, path: str, kinds: Sequence[str]) -> None:
    if len(feature.input_names) != 2:
        report.error(
            f"{path}.input_names",
            f"a LookupFeature has two inputs (the key and the map), has {len(feature.input_names)}",
        )
    elif kinds and kinds[1] != "STRING":
        report.error(f"{path}.input_names[1]", f"the map needs a STRING input field, is {kinds[1]}")
    for field in ("separator", "kv_separator"):
        if not getattr(feature, field):
            report.error(f"{path}.{field}", "must not be empty for a LookupFeature")
    if not feature.hash_bucket_size:
        report.error(f"{path}.hash_bucket_size", "must be above 0 for a LookupFeature")
    _check_rows(report, feature.hash_bucket_size, f"{path}.hash_bucket_size")


def _check_combo(report: Report, feature: Any, path: str, kinds: Sequence[str]) -> None:
    count = len(feature.input_names)
    if count < 2:
        report.error(f"{path}.input_names", f"a ComboFeature needs at least 2 inputs, has {count}")
    if not feature.hash_bucket_size:
        report.error(f"{path}.hash_bucket_size", "must be above 0 for a ComboFeature")
    _check_rows(report, feature.hash_bucket_size, f"{path}.hash_bucket_size")
    if feature.combo_input_seps and len(feature.combo_input_seps) != count:
        report.error(
            f"{path}.combo_input_seps",
            f"has {len(feature.combo_input_seps)} separators for {count} inputs; "
            "give one separator per input "
            "('' for none)",
        )


_CHECKS = {
    "IdFeature": _check_id,
    "RawFeature": _check_raw,
    "TagFeature": _check_tag,
    "LookupFeature": _check_lookup,
    "ComboFeature": _check_combo,
    "SequenceFeature": _check_sequence,
    "ExprFeature": check_expression,
    "PassThroughFeature": lambda report, feature, path, kinds: None,
}


def _check_shared(report: Report, features: Sequence[Any], path: str, used: set[str]) -> None:
    """Checks that features with the same `embedding_name` declare the same table."""
    first: dict[str, int] = {}
    for i, feature in enumerate(features):
        if not feature.embedding_name or feature_name(feature) not in used:
            continue
        j = first.setdefault(feature.embedding_name, i)
        if i == j:
            continue
        shared = f"{path}[{j}], which shares embedding_name {feature.embedding_name!r}"
        for field in _SHARED_FIELDS:
            if getattr(feature, field) != getattr(features[j], field):
                report.error(f"{path}[{i}].{field}", f"differs from the value in {shared}")
        if table_rows(feature) != table_rows(features[j]):
            report.error(
                f"{path}[{i}]",
                f"has {table_rows(feature)} buckets, but {shared}, has {table_rows(features[j])}",
            )


def table_rows(feature: Any) -> int:
    """Rows of a feature's table; -1 where the size of a `vocab_file` decides."""
    if is_bucketized(feature):
        return len(feature.boundaries) + 1 if feature.boundaries else feature.num_buckets + 1
    if feature.hash_bucket_size or not (feature.vocab_list or feature.vocab_file):
        return feature.hash_bucket_size or feature.num_buckets
    return len(feature.vocab_list) or -1
