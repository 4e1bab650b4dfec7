"""How tokens are mapped to ids: hashing, a vocabulary, or the numbers themselves."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hvdrec.features.column import FeatureInput
from hvdrec.storage import read_text

#: Ids are int32 in the packed batch.
_MOST_IDS = 2**31 - 1
#: The ids of a feature whose tables have no fixed size, as in EasyRec.
OPEN_IDS = 2**63 - 1


def id_space(feature: FeatureInput) -> tuple[int, dict[str, Any]]:
    """The number of ids, and the fields of a `FeatureSpec` that produce them.

    `hash_bucket_size` takes precedence over `vocab_list`, `vocab_file` and `num_buckets`, as in EasyRec. If
    the tables of the feature have no fixed size, hashes and numbers keep 64 bits.

    Raises:
        ConfigError: None of them is set, or the space is too large.
    """
    config = feature.config
    if config.hash_bucket_size > 0:
        if feature.open:
            return OPEN_IDS, {"hash_buckets": OPEN_IDS, "open": True}
        return _checked(feature, int(config.hash_bucket_size)), {"hash_buckets": config.hash_bucket_size}
    words = list(config.vocab_list) or _read_vocabulary(feature)
    if words:
        return len(words), {"vocabulary": tuple(words)}
    if feature.open:
        return OPEN_IDS, {"num_buckets": OPEN_IDS, "open": True}
    if config.num_buckets > 0:
        return _checked(feature, int(config.num_buckets)), {"num_buckets": config.num_buckets}
    raise feature.error(
        "hash_bucket_size", "set one of hash_bucket_size, num_buckets, vocab_list or vocab_file"
    )


def _checked(feature: FeatureInput, count: int) -> int:
    if count > _MOST_IDS:
        raise feature.error("hash_bucket_size", f"{count} ids are more than a table can have ({_MOST_IDS})")
    return count


def _read_vocabulary(feature: FeatureInput) -> list[str]:
    path = feature.config.vocab_file
    if not path:
        return []
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise feature.error("vocab_file", f"can't read {path}: {error}") from error
    if not text:
        raise feature.error("vocab_file", f"{path} is empty")
    words = text.removesuffix("\n").split("\n")
    if len(set(words)) < len(words):
        twice, count = Counter(words).most_common(1)[0]
        raise feature.error("vocab_file", f"{path} lists {twice!r} {count} times")
    return words
