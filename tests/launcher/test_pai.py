"""PAI's parameters become flags of the entry points."""

from __future__ import annotations

import pytest

from hvdrec.errors import ConfigError
from hvdrec.launcher.pai import parse
from hvdrec.launcher.run import Run, processes, render

CLUSTER = '-Dcluster={"worker":{"count":3,"cpu":1000,"gpu":100,"memory":40000}}'
SERVERS = '-Dcluster={"ps":{"count":1,"cpu":1000},"worker":{"count":2}}'


def test_the_documented_command() -> None:
    run = parse(
        [
            *("-name", "easy_rec_ext", "-project", "algo_public"),
            *("-Dconfig=x.config", "-Dcmd=train", "-Dtrain_tables=a.csv, b.csv", "-Deval_tables=c.csv"),
            *(CLUSTER, "-Darn=acs:ram::1:role/x", "-DossHost=host", "-Deval_method=separate"),
            *("-Dselected_cols=a,b", '-Dedit_config_json={"train_config.num_steps": 5}', "-Dmodel_dir=m"),
            "-Dbuckets=oss://b/?role_arn=acs:ram::1:role/x&host=h,oss://c/",
        ]
    )
    assert run.module == "hvdrec.train"
    assert run.ranks == 3
    assert run.servers == 0
    words = " ".join(run.arguments)
    for part in (
        "--pipeline_config_path x.config",
        "--train_input_path a.csv b.csv",
        "--eval_input_path c.csv",
        "--selected_cols a,b",
        '--edit_config_json {"train_config.num_steps": 5}',
        "--model_dir m",
        "--continue_train",
        "--eval_method separate",
    ):
        assert part in words
    assert {text.split(":")[0].split("=")[0] for text in run.ignored} == {
        *("worker.cpu", "worker.gpu", "worker.memory")
    }
    assert run.environment == {
        "OSS_ENDPOINT": "host",
        "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/x",
        "HVDREC_OSS_BUCKETS": '{"b": {"role_arn": "acs:ram::1:role/x", "host": "h"}, "c": {}}',
    }


def test_roles_are_not_shown() -> None:
    arguments = ["-Dconfig=x.config", "-Darn=acs:ram::1:role/x", "-DossHost=oss-cn-hangzhou.aliyuncs.com"]
    run = parse([*arguments, "-Dbuckets=oss://b/?role_arn=acs:ram::1:role/y"])
    shown = render(run, processes(run))
    assert "role/" not in shown
    assert "ALIBABA_CLOUD_ROLE_ARN='***'" in shown
    assert "OSS_ENDPOINT=oss-cn-hangzhou.aliyuncs.com" in shown
    with pytest.raises(ConfigError) as caught:
        parse(["-Dbuckets=role_arn=acs:ram::1:role/x"])
    assert "role/" not in str(caught.value)


def test_servers_make_a_parameter_server_run() -> None:
    run = parse(["-Dconfig=x", SERVERS])
    assert (run.ranks, run.servers, run.evaluators) == (2, 1, 0)
    assert "PSStrategy" not in run.arguments
    run = parse(["-Dconfig=x", SERVERS, "-Ddistribute_strategy=ps", "-Deval_method=separate"])
    assert (run.ranks, run.servers, run.evaluators) == (1, 1, 1)
    words = " ".join(run.arguments)
    assert "--train_config.train_distribute PSStrategy" in words
    assert "--eval_method separate" in words


def test_other_commands() -> None:
    run = parse(["-Dcmd=evaluate", "-Dmodel_dir=m", "-Dtables=a,b", "-Dcheckpoint_path=c"])
    assert run.module == "hvdrec.eval"
    assert run.arguments == ("--model_dir", "m", "--eval_input_path", "a", "b", "--checkpoint_path", "c")
    run = parse(["-Dcmd=predict", "-Dmodel_dir=m", "-Dinput_table=a", "-Doutput_table=o", "-Dbatch_size=9"])
    assert run.module == "hvdrec.predict"
    assert run.arguments[-6:] == ("--input_path", "a", "--output_path", "o", "--batch_size", "9")


def _after(run: Run, flag: str) -> str:
    return run.arguments[run.arguments.index(flag) + 1]


def test_words_of_easyrecs_commands() -> None:
    run = parse(
        ["-Dconfig=x", "-Dtables=a.csv, b.csv", "-Dversion=1", "-Dres_project=p", "-Dextra_params= --z=1"]
    )
    assert (_after(run, "--train_input_path"), _after(run, "--eval_input_path")) == ("a.csv", "b.csv")
    assert [text.split(":")[0] for text in run.ignored] == ["version", "res_project", "extra_params"]
    run = parse(["-Dconfig=x", "-Dtables=a,b,c"])
    assert run.ignored == ("tables: c is neither the first nor the second",)
    run = parse(["-Dconfig=x", "-Dtables=a,b", "-Dtrain_tables=c", "-Deval_tables=d"])
    assert (_after(run, "--train_input_path"), _after(run, "--eval_input_path")) == ("c", "d")
    assert [text.split(":")[0] for text in run.ignored] == ["tables"]
    run = parse(["-Dconfig=x", CLUSTER, "-Dwith_evaluator=1", "-Dhpo_param_path=p.json"])
    assert _after(run, "--eval_method") == "separate"
    assert _after(run, "--hpo_param_path") == "p.json"
    run = parse(["-Dconfig=x", "-Dsampler_table=items.csv"])
    assert _after(run, "--data_config.negative_sampler.input_path") == "items.csv"
    run = parse(["-Dcmd=check", "-Dconfig=x", "-Dtables=a.csv,b.csv"])
    flags = ("--pipeline_config_path", "x", "--train_input_path", "a.csv", "b.csv", "--check_mode")
    assert (run.module, run.arguments) == ("hvdrec.train", flags)
    assert "--eval_method" not in parse(["-Dconfig=x", "-Dwith_evaluator=0"]).arguments


def test_words_of_easyrecs_predictions() -> None:
    files = ["-Dcmd=predict", "-Dsaved_model_dir=m", "-Dinput_table=a.csv", "-Doutput_table=o"]
    run = parse([*files, "-Dexcluded_cols=label", "-Dmodel_outputs=probs", "-Dlifecycle=7"])
    assert _after(run, "--output_cols") == "probs"
    assert [text.split(":")[0] for text in run.ignored] == ["lifecycle", "excluded_cols"]
    run = parse([*files, "-Doutput_cols=probs double", "-Dmodel_outputs=probs"])
    assert _after(run, "--output_cols") == "probs double"
    assert [text.split(":")[0] for text in run.ignored] == ["model_outputs"]


def test_continue_train_is_the_default_and_can_be_turned_off() -> None:
    assert "--continue_train" in parse(["-Dconfig=x"]).arguments
    assert "--continue_train" not in parse(["-Dconfig=x", "-Dcontinue_train=false"]).arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-Dconfg=x"], "did you mean config"),
        (["--config=x"], "-Dname=value"),
        (["-Dcmd=vector_retrieve"], "train, evaluate"),
        (["-Dconfig=x", "-Dconfig=y"], "given twice"),
        (["-Dcmd=predict", "-Doutput_table=odps://p/tables/t"], "but files are expected"),
        (["-Dcluster={"], "not valid JSON"),
        (["-Dcluster=[1]"], "JSON object"),
        (['-Dcluster={"worker":{"count":0}}'], "worker.count"),
        (['-Dcluster={"worker":{"count":true}}'], "worker.count"),
        (['-Dcluster={"worker":{"count":1,"count":2}}'], "twice"),
        (['-Dcluster={"wrker":{"count":1}}'], "did you mean worker"),
        (['-Dcluster={"worker":{"cpus":1}}'], "did you mean cpu"),
        (["-Deval_method=seperate"], "separate"),
        (["-Deval_method=separate"], "only one"),
        (["-Dbuckets=s3://b"], "oss://"),
        (["-Dbuckets=oss://b?rolearn=x"], "role_arn"),
        (["-Dfg_json_path=x"], "fg_json_path"),
        (["-Ddistribute_strategy=ps"], "no ps"),
        (["-Dtables=a.csv"], "expected two"),
        (["-Dwith_evaluator=maybe"], "true or false"),
        ([SERVERS, "-Ddistribute_strategy=mirrored"], "does not use parameter servers"),
        (["-Dcontinue_train=maybe"], "true or false"),
    ],
)
def test_mistakes_have_one_clear_line(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
