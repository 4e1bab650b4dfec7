"""Shows an exported model's inputs and outputs: ``python -m hvdrec.tools.view_saved_model --input DIR``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hvdrec import storage
from hvdrec.commands.main import main
from hvdrec.config.flags.parser import FlagParser
from hvdrec.config.flags.predict import newest_version
from hvdrec.errors import ConfigError

_BINARY, _TEXT = "saved_model.pb", (".pbtxt", ".txt")


@dataclasses.dataclass(frozen=True)
class ViewFlags:
    """Flags: an exported model, or its ``saved_model.pb``, and where to write the graph."""

    input: str
    output: str = ""
    verbose: bool = False
    ignored: tuple[str, ...] = ()


def parse(arguments: Sequence[str]) -> ViewFlags:
    """The flags.

    Raises:
        ConfigError: A flag is unknown, missing or invalid.
    """
    parser = FlagParser(
        "hvdrec.tools.view_saved_model",
        "Prints a SavedModel's signatures; writes its graph as text or binary.",
    )
    parser.add_argument(
        "--input", metavar="PATH", help="an export, the folder with its versions, or saved_model.pb or .pbtxt"
    )
    parser.add_argument("--output", default="", metavar="FILE", help="the file for the graph: .pbtxt or .pb")
    values = parser.parse(arguments, needed=["input"])
    if values["output"] and not values["output"].endswith((".pb", *_TEXT)):
        raise ConfigError(f"--output: must end with .pbtxt or .pb, is {values['output']}")
    return ViewFlags(**values)


def run(flags: ViewFlags) -> None:
    """Prints the signatures and writes the requested file."""
    from google.protobuf import text_format

    model = _read(flags.input)
    for graph in model.meta_graphs:
        print(f"tags: {', '.join(graph.meta_info_def.tags)}")
        for name, signature in sorted(graph.signature_def.items()):
            if not name.startswith("__"):
                print(f"signature {name}")
                print("\n".join(_described("inputs", signature.inputs)))
                print("\n".join(_described("outputs", signature.outputs)))
    if not flags.output:
        return
    try:
        if flags.output.endswith(_TEXT):
            storage.write_text(flags.output, text_format.MessageToString(model, as_utf8=True))
        else:
            with open(storage.local(flags.output), "wb") as file:
                file.write(model.SerializeToString())
    except OSError as error:
        raise ConfigError(f"--output: {flags.output} can't be written: {error.strerror}") from error
    print(f"wrote {flags.output}")


def _read(path: str) -> Any:
    from google.protobuf import text_format
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    if not path.endswith((".pb", *_TEXT)):
        try:
            path = storage.join(newest_version(path), _BINARY)
        except ConfigError as error:
            raise ConfigError(str(error).replace("--saved_model_dir", "--input")) from None
    model = saved_model_pb2.SavedModel()
    try:
        if path.endswith(_TEXT):
            text_format.Parse(storage.read_text(path), model)
        else:
            with open(storage.local(path), "rb") as file:
                model.ParseFromString(file.read())
    except (OSError, DecodeError, text_format.ParseError, UnicodeDecodeError) as error:
        raise ConfigError(f"--input: {path} can't be read as a SavedModel: {error}") from error
    return model


def _described(title: str, tensors: Mapping[str, Any]) -> Iterator[str]:
    import tensorflow as tf

    yield f"  {title}"
    widest = max(map(len, tensors), default=0)
    for name, info in sorted(tensors.items()):
        shape = ", ".join("?" if d.size < 0 else str(d.size) for d in info.tensor_shape.dim)
        yield f"    {name:{widest}}  {tf.as_dtype(info.dtype).name} [{shape}]"


if __name__ == "__main__":
    sys.exit(main(parse, run, sys.argv[1:]))
