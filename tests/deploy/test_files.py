"""The files of deploy/: finds what clusters would refuse in them."""

from __future__ import annotations

import copy
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from deploy.schemas import MPI_JOB, TF_JOB

from hvdrec.config.flags import parse_train

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = pathlib.Path(sys.executable).parent
JOBS = {"mpijob.yaml": (MPI_JOB, "mpiReplicaSpecs"), "tfjob.yaml": (TF_JOB, "tfReplicaSpecs")}


def _load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def _pods(name: str, job: Any) -> Iterator[tuple[str, Any]]:
    for role, replica in job["spec"][JOBS[name][1]].items():
        yield role, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **replica["template"]}


def _check(name: str, job: Any) -> None:
    jsonschema.validate(job, JOBS[name][0])
    for _, pod in _pods(name, job):
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", list(JOBS))
def test_a_job_has_the_operators_and_kubernetes_fields(name: str) -> None:
    job = _load(name)
    _check(name, job)
    for break_it in (
        lambda j: j["spec"].update(replicas=2),
        lambda j: next(iter(j["spec"][JOBS[name][1]].values())).update(restartPolicy="Sometimes"),
        lambda j: next(_pods(name, j))[1]["spec"]["containers"][0].update(imagePullPolicies="Always"),
        lambda j: next(_pods(name, j))[1]["spec"]["containers"][0]["resources"].update(limits=["4"]),
    ):
        broken = copy.deepcopy(job)
        break_it(broken)
        with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
            _check(name, broken)


@pytest.mark.parametrize("name", list(JOBS))
def test_a_jobs_volumes_and_flags_are_there(name: str) -> None:
    trained = 0
    for role, pod in _pods(name, _load(name)):
        (container,) = pod["spec"]["containers"]
        volumes = {v["name"] for v in pod["spec"].get("volumes", ())}
        assert {m["name"] for m in container.get("volumeMounts", ())} == volumes, role
        words = [*container["command"], *container["args"]]
        if "hvdrec.train" in words:
            trained += 1
            flags = parse_train(words[words.index("hvdrec.train") + 1 :])
            assert flags.continue_train
    assert trained == (1 if name == "mpijob.yaml" else 4)


def test_an_mpijobs_ranks_are_as_many_as_its_slots() -> None:
    spec = _load("mpijob.yaml")["spec"]
    arguments = spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["args"]
    slots = spec["mpiReplicaSpecs"]["Worker"]["replicas"] * spec["slotsPerWorker"]
    assert int(arguments[arguments.index("-np") + 1]) == slots


def test_an_mpijobs_launcher_fails_with_mpirun_and_without_the_runs_end(tmp_path: pathlib.Path) -> None:
    (container,) = dict(_pods("mpijob.yaml", _load("mpijob.yaml")))["Launcher"]["spec"]["containers"]
    command = [w.replace("/data/model", str(tmp_path)) for w in (*container["command"], *container["args"])]
    (tmp_path / "mpirun").write_text(
        f"""#!/bin/bash
printf '%s\\n' "$@" >{tmp_path}/words
[[ -z ${{WAITS:-}} ]] || trap 'exit 5' TERM
echo ready
[[ -z ${{WAITS:-}} ]] || while :; do sleep 0.1; done
exit ${{CODE:-0}}
"""
    )
    (tmp_path / "mpirun").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def code(**more: str) -> int:
        return subprocess.run(command, env={**environment, **more}, check=False, timeout=60).returncode

    assert code() == 1
    assert code(CODE="137") == 137
    (tmp_path / "ESTIMATOR_TRAIN_DONE").touch()
    assert code() == 0
    assert code(CODE="3") == 3
    assert (tmp_path / "words").read_text().splitlines() == command[4:]
    with subprocess.Popen(
        command, env={**environment, "WAITS": "1"}, stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == "ready\n"
        launcher.send_signal(signal.SIGTERM)
    assert launcher.returncode == 5


def test_a_tfjobs_pods_are_what_the_operator_looks_for() -> None:
    """It finds the container and the port that TF_CONFIG names by their names."""
    for role, pod in _pods("tfjob.yaml", _load("tfjob.yaml")):
        (container,) = pod["spec"]["containers"]
        assert container["name"] == "tensorflow", role
        assert [p["name"] for p in container["ports"]] == ["tfjob-port"], role


def test_the_image_copies_what_is_there() -> None:
    done = subprocess.run(
        [BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    text = (DEPLOY / "Dockerfile").read_text()
    sources = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.M) for word in line.split()]
    assert len(sources) > 8
    assert not [s for s in sources if not (ROOT / s).exists()]
    setup = (ROOT / "build_support" / "environment.sh").read_text()
    for step in re.findall(r"environment\.sh \.venv (\w+)", text):
        assert f"\n  {step}) " in setup


@pytest.fixture
def slurm(tmp_path: pathlib.Path) -> tuple[dict[str, str], pathlib.Path]:
    """The environment of a batch script, with an mpirun that keeps its words, marks the end and waits for its rank."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    rank = "trap 'echo saved; exit 143' TERM; echo ready; while :; do sleep 0.1; done"
    (folder / "mpirun").write_text(
        f"""#!/bin/bash
printf '%s\\n' "$@" >{tmp_path}/words
[[ -n ${{LOST:-}} ]] || touch "$MODEL_DIR/ESTIMATOR_TRAIN_DONE"
trap 'echo mpirun was told; exit 1' TERM
[[ -z ${{WAITS:-}} ]] || bash -c {rank!r} hvdrec.train
"""
    )
    (folder / "python").write_text(f'#!/bin/bash\nexec {sys.executable} "$@"\n')
    for program in ("mpirun", "python"):
        (folder / program).chmod(0o755)
    (tmp_path / "a run").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_NTASKS": "8",
        "SLURM_NTASKS_PER_NODE": "2",
        "CONFIG": "/shared/a b.config",
        "MODEL_DIR": str(tmp_path / "a run"),
    }
    return environment, tmp_path


def test_the_batch_script_starts_the_allocations_ranks(slurm: tuple[dict[str, str], pathlib.Path]) -> None:
    environment, folder = slurm
    script = DEPLOY / "slurm.sbatch"
    checked = subprocess.run([BIN / "shellcheck", script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    subprocess.run(["bash", script, "--eval_method", "none"], env=environment, check=True, timeout=60)
    words = (folder / "words").read_text().splitlines()
    assert words[:4] == ["-np", "8", "--map-by", "ppr:2:node"]
    assert words[4:7] == [str(folder / ".venv/bin/python"), "-m", "hvdrec.train"]
    flags = parse_train(words[7:])
    assert flags.pipeline_config_path == "/shared/a b.config"
    assert flags.model_dir == environment["MODEL_DIR"]
    assert flags.eval_method == "none"
    del environment["CONFIG"]
    done = subprocess.run(["bash", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "CONFIG" in done.stderr


def test_a_run_without_its_end_fails_in_the_batch_script(
    slurm: tuple[dict[str, str], pathlib.Path],
) -> None:
    """mpirun ends with 0 too when a node is lost."""
    environment, _ = slurm
    script = ["bash", str(DEPLOY / "slurm.sbatch")]
    done = subprocess.run(
        script, env={**environment, "LOST": "1"}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "ended before its end" in done.stderr


def _catches(pid: int, number: int) -> bool:
    """Whether a process handles a signal."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


def test_the_batch_script_lets_a_rank_save_when_time_is_up(
    slurm: tuple[dict[str, str], pathlib.Path],
) -> None:
    environment, _ = slurm
    with subprocess.Popen(
        ["bash", DEPLOY / "slurm.sbatch"],
        env={**environment, "WAITS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "ready\n"
        # The rank may be faster than the script, which starts it before it sets its trap.
        while not _catches(script.pid, signal.SIGTERM):
            time.sleep(0.01)
        script.send_signal(signal.SIGTERM)
        assert script.stdout.read() == "saved\n"
    assert script.returncode == 143
