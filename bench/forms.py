"""The same training with every way to launch it: AUC over seeds, for the table in docs/distributed.md.

    python bench/forms.py [--seeds 1,2,3] [--forms local,ps,...] [--out FILE.json]

Trains configs/multi_tower_avazu.config and configs/multi_tower_adult.config (--avazu and --adult give the paths of
the rows, `<prefix>train.csv` and `<prefix>test.csv`), with two computing processes in every form that has several.
With --out, results that the file already contains aren't measured again. Prints the table, and results as JSON.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from machine import describe

BIN = pathlib.Path(sys.executable).parent
TRAIN = (
    "-m hvdrec.train --pipeline_config_path X.config --train_input_path A --eval_input_path B --model_dir M"
)
PAI = (
    "-m hvdrec.launch pai -Dcmd=train -Dconfig=X.config -Dtrain_tables=A -Deval_tables=B -Dmodel_dir=M "
    "-Dcontinue_train=false"
)
EASYREC = (
    "python -m easy_rec.python.train_eval --pipeline_config_path X.config --train_input_path A "
    "--eval_input_path B --model_dir M --seed S"
)
EMR = "-m hvdrec.launch emr -a job -f X.config -m local -t"
#: Form -> its command; X.config, A, B, M and S are placeholders for config, rows, model_dir and seed.
FORMS = {
    "local": f"python {TRAIN} --seed S",
    "horovodrun": f"horovodrun -np 2 python {TRAIN} --seed S",
    "mpirun": f"mpirun --allow-run-as-root --oversubscribe -np 2 python {TRAIN} --seed S",
    "ps": f"python {TRAIN.replace('hvdrec.train', 'hvdrec.launch ps --workers 2 --ps 1')} --seed S "
    "--train_config.train_distribute=PSStrategy",
    "pai": f'python {PAI} -Dcluster=\'{{"worker":{{"count":2}}}}\' '
    "-Dedit_config_json='{\"train_config.seed\":S}'",
    "pai-ps": f'python {PAI} -Dcluster=\'{{"ps":{{"count":1}},"worker":{{"count":2}}}}\' '
    "-Ddistribute_strategy=ps -Dedit_config_json='{\"train_config.seed\":S}'",
    "emr-standalone": f'python {EMR} standalone -wn 1 -c "{EASYREC}"',
    "emr-gpus": f'python {EMR} standalone -wn 1 -wg 2 -c "{EASYREC}"',
    "emr-ps": f'python {EMR} tensorflow-ps -wn 2 -pn 1 -c "{EASYREC} '
    '--train_config.train_distribute=NoStrategy --train_config.sync_replicas=true"',
}
#: Data -> config, and the default path of the rows.
DATA = {
    "adult": ("configs/multi_tower_adult.config", "../shared/data/adult/adult_"),
    "avazu": ("configs/multi_tower_avazu.config", "../shared/data/avazu/easyrec_avazu_"),
}


def filled(form: str, config: pathlib.Path, prefix: str, model_dir: pathlib.Path, seed: int) -> list[str]:
    """The command's words, with placeholders replaced."""
    places = {
        "X.config": str(config),
        "A": f"{prefix}train.csv",
        "B": f"{prefix}test.csv",
        "M": str(model_dir),
        "S": str(seed),
    }

    def fill(word: str) -> str:
        if " " in word:
            return " ".join(fill(part) for part in word.split(" "))
        if word.startswith("-D"):
            name, _, value = word.partition("=")
            return f"{name}={places.get(value, value.replace(':S}', f':{seed}}}'))}"
        return places.get(word, word)

    first, *words = (fill(word) for word in shlex.split(FORMS[form]))
    programs = [str(BIN / word) if word in ("python", "horovodrun", "mpirun") else word for word in words]
    return [str(BIN / first), *programs]


def run(form: str, data: str, prefix: str, seed: int) -> dict[str, float]:
    """Trains once; the test AUC and the seconds from the command's start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        config, model_dir = pathlib.Path(folder, "job.config"), pathlib.Path(folder, "model")
        text = pathlib.Path(DATA[data][0]).read_text()
        # The command sets the form's strategy; EMR's uses the config's for several GPUs.
        config.write_text(text.replace("HorovodStrategy", "MultiWorkerMirroredStrategy"))
        began = time.monotonic()
        done = subprocess.run(
            filled(form, config, prefix, model_dir, seed), capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{form}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
        result = json.loads((model_dir / "eval_result.txt").read_text())
        return {"auc": result["auc"], "seconds": round(time.monotonic() - began, 1)}


def table(results: dict[str, Any]) -> str:
    lines = ["| form | " + " | ".join(DATA) + " |", "| --- | " + " | ".join("---" for _ in DATA) + " |"]
    for form in FORMS:
        cells = []
        for data in DATA:
            found = [r["auc"] for r in results.get(form, {}).get(data, {}).values()]
            spread = statistics.stdev(found) if len(found) > 1 else 0.0
            cells.append(f"{statistics.mean(found):.4f} ± {spread:.4f}" if found else "")
        lines.append(f"| `{form}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--data", default=",".join(DATA))
    for data, (_, prefix) in DATA.items():
        parser.add_argument(f"--{data}", default=prefix, metavar="PREFIX")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    for program in ("horovodrun", "mpirun"):
        if not shutil.which(str(BIN / program)):
            sys.exit(f"{program} is not installed beside this Python: run `make build`")
    kept = json.loads(args.out.read_text()) if args.out and args.out.exists() else {}
    results: dict[str, Any] = kept.get("results", {})
    for data in args.data.split(","):
        for form in args.forms.split(","):
            found = results.setdefault(form, {}).setdefault(data, {})
            for seed in args.seeds.split(","):
                if seed not in found:
                    found[seed] = run(form, data, vars(args)[data], int(seed))
                    print(f"{form}, {data}, seed {seed}: {found[seed]}", flush=True)
                    _write(args.out, results)
    print(table(results))
    print(json.dumps(_described(results), indent=2))


def _described(results: dict[str, Any]) -> dict[str, Any]:
    about = describe("tensorflow-cpu", "horovod", "numpy")
    return {"benchmark": "forms", **about, "commands": FORMS, "results": results}


def _write(path: pathlib.Path | None, results: dict[str, Any]) -> None:
    if path:
        path.write_text(json.dumps(_described(results), indent=2) + "\n")


if __name__ == "__main__":
    main()
