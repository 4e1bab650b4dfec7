"""The parameters of TextEncoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from hvdrec.config.layers.shapes import Widths, text_list
from hvdrec.config.layers.spec import ANY_TEXT, LayerConfig, LayerSpec, Parameter
from hvdrec.config.layers.transformer_encoder import TRANSFORMER_ENCODER
from hvdrec.config.ranges import AT_LEAST_0
from hvdrec.storage import read_text

# A vocabulary file replaces the number of tokens.
_TRANSFORMER = tuple(
    dataclasses.replace(p, required=False) if p.name == "vocab_size" else p
    for p in TRANSFORMER_ENCODER.parameters
    if p.name != "output_all_token_embeddings"
)


def vocabulary(path: str) -> list[str]:
    """The tokens of a file, one a line.

    Raises:
        ValueError: The file can't be read, is empty, or has a token twice.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"can't read {path}: {error}") from error
    tokens = text.removesuffix("\n").split("\n") if text else []
    if not tokens:
        raise ValueError(f"{path} is empty")
    seen: set[str] = set()
    for number, token in enumerate(tokens, 1):
        if token in seen:
            raise ValueError(f"{path}, line {number}: the token {token!r} is already in the file")
        seen.add(token)
    return tokens


def _check(config: LayerConfig) -> Iterator[tuple[str, str]]:
    inner = config.transformer
    if TRANSFORMER_ENCODER.check is not None:
        yield from ((f"transformer.{name}", text) for name, text in TRANSFORMER_ENCODER.check(inner))
    if config.separator == "":
        yield "separator", "must not be empty"
    if not config.vocab_file:
        if inner.vocab_size is None:
            yield "transformer", "vocab_size is missing; set it, or vocab_file"
        if config.default_token_id:
            yield "default_token_id", "has no effect without vocab_file; remove it"
        return
    try:
        size = len(vocabulary(config.vocab_file))
    except ValueError as error:
        yield "vocab_file", str(error)
        return
    if config.default_token_id >= size:
        yield "default_token_id", f"must be below the number of tokens in vocab_file, {size}"


def _outputs(config: LayerConfig, inputs: Widths) -> Widths:
    text_list(inputs)
    return int(config.transformer.hidden_size)


TEXT_ENCODER = LayerSpec(
    "TextEncoder",
    "text_encoder",
    (
        Parameter("transformer", _TRANSFORMER, required=True),
        Parameter("separator", str, default=" ", allowed=ANY_TEXT),
        Parameter("vocab_file", str, allowed=ANY_TEXT),
        Parameter("default_token_id", int, default=0, allowed=AT_LEAST_0),
    ),
    unread=("use_position_embeddings", "output_all_token_embeddings"),
    check=_check,
    outputs=_outputs,
    formula="one or several texts -> [B, hidden_size]: the first token of a TransformerEncoder over `[CLS]`, "
    "the tokens of the first text, `[SEP]`, those of the next one, and so on. Tokens are the parts "
    "between separators; empty ones are masked. A token's id is its hash modulo `vocab_size`, with "
    "`vocab_file` its line in the file, or `default_token_id`, which is masked.",
    source="Devlin et al., NAACL 2019, section 3",
    texts=True,
)
