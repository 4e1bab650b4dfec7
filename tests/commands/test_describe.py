"""`hvdrec.describe` describes the model of a config, with correct numbers."""

from __future__ import annotations

import pathlib
import xml.etree.ElementTree

import pytest
from small_job import SmallJob

from hvdrec.commands.describe import describe
from hvdrec.config.flags import DescribeFlags, load_for_description, parse_describe
from hvdrec.errors import ConfigError


def _described(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], model: str, graph: str = ""
) -> list[list[str]]:
    job = SmallJob(tmp_path / "rows.csv", tmp_path / "model", model=model)
    path = job.write(tmp_path / "pipeline.config")
    flags = DescribeFlags(str(path), graph)
    describe(load_for_description(flags), flags)
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_backbone(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "blocks.svg"
    lines = _described(tmp_path, capsys, "RankModel", str(picture))
    assert lines[0] == ["model", "class", "RankModel"]
    by_name = {line[0]: " ".join(line[1:]) for line in lines if line}
    groups = {line[0]: int(line[1]) for line in lines if line[2:] == ["columns"]}
    user, sparse = groups["user"], groups["sparse"]
    # A kernel, and four numbers of the batch norm for each column; a recurrent Cross of a matrix and a bias.
    assert by_name["backbone/twice_input/tower/deep"] == (
        f"MLP {8 * user + 32} numbers [batch, {user}] -> [batch, 8]"
    )
    pair = f"a list of 2 ([batch, {sparse}], [batch, {sparse}])"
    for step in range(2):
        assert by_name[f"backbone/cross_{step}"] == (
            f"Cross {sparse * (sparse + 1)} numbers {pair} -> [batch, {sparse}]"
        )
    assert by_name["output/kernel"] == "8 numbers [8, 1]"
    assert by_name["cross_entropy_loss"] == "CLASSIFICATION of label label weight 1"
    drawn = xml.etree.ElementTree.fromstring(picture.read_text())
    texts = [t.text for t in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"tower/deep", "recurrent 2 x Cross", "top_mlp"} <= set(texts)


def test_any_model_and_graphviz(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _described(tmp_path, capsys, "FM")
    tables = [line for line in lines if line and line[0].endswith("/embedding_weights")]
    rows = [int(line[1].replace(",", "")) for line in tables]
    together = next(line for line in lines if line[:1] == ["together"])
    assert int(together[1].replace(",", "")) == sum(rows) > 0
    with pytest.raises(ConfigError, match="--graph: the model has no backbone"):
        _described(tmp_path, capsys, "FM", str(tmp_path / "x.dot"))
    path = tmp_path / "x.dot"
    _described(tmp_path, capsys, "RankModel", str(path))
    assert '"features" -> "fm";' in path.read_text()
    assert path.read_text().count('"tower/deep" -> "twice";') == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--pipeline_config_path: is missing"),
        (["--pipeline_config_path", "x", "--graph", "x.png"], "--graph: must end with .dot or .svg"),
    ],
)
def test_flags(arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_describe(arguments)
