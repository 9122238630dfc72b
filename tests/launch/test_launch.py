"""The launchers: what they would run, with stand-ins for the clouds' own commands, and processes started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
TRAIN = ["--config=base", "--workdir=my runs/it's", "--config.data.path=$HOME"]
SCRIPTS = sorted(LAUNCH.glob("*.sh"))


@pytest.fixture
def stubs(tmp_path: Path) -> dict[str, str]:
    """An environment in which each command of a cloud writes down its arguments, one a line, and its input."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("gcloud", "kubectl", "sbatch", "sky", "data-python"):
        (folder / name).write_text(
            f'#!/bin/bash\nprintf "%s\\n" "$@" >"{tmp_path}/{name}.said.$(ls "{tmp_path}" | wc -l)"\n'
            f'for word; do [[ -f $word ]] && cp "$word" "{tmp_path}/{name}.file"; done\n'
            f'[[ -t 0 ]] || timeout 5 cat >"{tmp_path}/{name}.input"\n'
        )
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def launch(script: str, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(LAUNCH / script), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, stdin=subprocess.DEVNULL)


def said(folder: Path, name: str) -> list[list[str]]:
    """The arguments of every call, in order."""
    files = sorted(folder.glob(f"{name}.said.*"), key=lambda path: path.stat().st_mtime_ns)
    return [path.read_text().splitlines() for path in files]


def test_scripts_are_sound() -> None:
    for script in SCRIPTS:
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0, script
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", [path.name for path in SCRIPTS if path.name != "common.sh"])
def test_help_and_what_is_missing(stubs: dict[str, str], script: str) -> None:
    assert f"launch/{script}" in launch(script, "--help", env=stubs).stdout
    done = launch(script, env=stubs)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {script}: ") and not done.stdout


def test_tpu_vm(stubs: dict[str, str], tmp_path: Path) -> None:
    words = ["queue", "train", "TYPE=v6e-256", "SPOT=1", "--", *TRAIN]
    shown = launch("tpu_vm.sh", "--dry-run", *words, env=stubs)
    assert shown.returncode == 0 and not said(tmp_path, "gcloud") and "queued-resources create mvgen" in shown.stdout
    assert launch("tpu_vm.sh", *words, env=stubs).returncode == 0
    queue, copy, ssh = said(tmp_path, "gcloud")
    assert queue[:5] == ["compute", "tpus", "queued-resources", "create", "mvgen"]
    assert "--accelerator-type=v6e-256" in queue and "--spot" in queue and "--worker=all" in copy
    command = ssh[-1].removeprefix("--command=")
    assert ssh[:5] == ["compute", "tpus", "tpu-vm", "ssh", "mvgen"] and "--distributed" in command
    # The far shell gives each word back as it was typed.
    far = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {command.partition('--distributed ')[2]}"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert far.stdout.splitlines() == TRAIN


def test_gke(stubs: dict[str, str], tmp_path: Path) -> None:
    words = ["IMAGE=europe/mvgen:1", "TOPOLOGY=16x16", "HOSTS=64", "ACCELERATOR=tpu-v6e-slice", "BUCKET=runs"]
    assert launch("gke.sh", *words, "--", *TRAIN, env=stubs).returncode == 0
    assert said(tmp_path, "kubectl") == [["apply", "-f", "-"]]
    made = yaml.safe_load((tmp_path / "kubectl.input").read_text())
    assert made["kind"] == "JobSet" and made["apiVersion"].startswith("jobset.x-k8s.io/")
    assert made["spec"]["failurePolicy"]["maxRestarts"] == 100
    (job,) = made["spec"]["replicatedJobs"]
    pods = job["template"]["spec"]
    assert pods["completions"] == pods["parallelism"] == 64 and pods["backoffLimit"] == 0
    pod = pods["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == "16x16"
    (container,) = pod["containers"]
    assert container["args"] == TRAIN and container["image"] == "europe/mvgen:1"
    assert container["command"][-2:] == ["mvgen.main", "--distributed"]
    assert pod["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "runs"


def test_slurm(stubs: dict[str, str], tmp_path: Path) -> None:
    assert launch("slurm.sh", "NODES=4", "PARTITION=gpu", "--", *TRAIN, env=stubs).returncode == 0
    (options,) = said(tmp_path, "sbatch")
    assert {"--nodes=4", "--ntasks-per-node=8", "--requeue", "--partition=gpu", "--signal=B:TERM@120"} <= set(options)
    script = tmp_path / "sbatch.input"
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    # The batch script itself, with an srun that says what it was given and ends as a stopped run does.
    folder = tmp_path / "bin"
    for name, ends in (("srun", 143), ("scontrol", 0)):
        (folder / name).write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" >"{tmp_path}/{name}.said.0"\nexit {ends}\n')
        (folder / name).chmod(0o755)
    # It may have ended before the script waits for it.
    (tmp_path / "late").write_text('trap() { sleep 0.3; builtin trap "$@"; }\n')
    for late in ({}, {"BASH_ENV": str(tmp_path / "late")}):
        done = subprocess.run(["bash", script], env={**stubs, "SLURM_JOB_ID": "7", **late}, check=False)
        assert done.returncode == 143
        assert said(tmp_path, "scontrol") == [["requeue", "7"]]
    assert said(tmp_path, "srun")[0][-3:] == TRAIN


def test_sky(stubs: dict[str, str], tmp_path: Path) -> None:
    words = ["BUCKET=gs://runs", "DATA=gs://data", "NODES=2", "--", *TRAIN]
    assert launch("sky.sh", *words, env=stubs).returncode == 0
    assert said(tmp_path, "sky")[0][:5] == ["jobs", "launch", "--yes", "--name", "mvgen"]
    made = yaml.safe_load((tmp_path / "sky.file").read_text())
    assert made["num_nodes"] == 2 and made["resources"] == {"accelerators": "H100:8", "use_spot": True}
    assert made["file_mounts"]["/checkpoints"]["source"] == "gs://runs"
    assert subprocess.run(["bash", "-n"], input=made["run"], text=True, check=False).returncode == 0


@pytest.mark.parametrize("engine", ["direct", "dataflow", "flink", "spark"])
def test_data(stubs: dict[str, str], tmp_path: Path, engine: str) -> None:
    words = [engine, "PYTHON=data-python", "PROJECT=p", "BUCKET=gs://b", "IMAGE=i:1", "WORKERS=3"]
    assert launch("data.sh", *words, "--", "--input", "a b", "--out", "c", env=stubs).returncode == 0
    (given,) = said(tmp_path, "data-python")
    assert given[:7] == ["-m", "data_prep", "convert", "--input", "a b", "--out", "c"]
    runner = {"direct": "Direct", "dataflow": "Dataflow", "flink": "Flink", "spark": "Spark"}[engine]
    assert given[7] == f"--runner={runner}Runner"


def fake_python(folder: Path, body: str) -> str:
    """An interpreter that does something else for ``-m mvgen.main``, and is Python for all else."""
    path = folder / "python"
    path.write_text(f'#!/bin/bash\n[[ $1 == -m ]] || exec {sys.executable} "$@"\n{body}\n')
    path.chmod(0o755)
    return str(path)


def test_local_starts_all_again_when_one_falls(tmp_path: Path) -> None:
    """Process 1 falls twice, with a peer that would wait for ever."""
    body = f"""
    echo "$JAX_PROCESS_ID of $JAX_NUM_PROCESSES at $JAX_COORDINATOR_ADDRESS: ${{*:3}}" >>{tmp_path}/log
    [[ $(grep -c '^1 of' {tmp_path}/log) -ge 3 ]] && exit 0
    [[ $JAX_PROCESS_ID == 1 ]] && exit 75
    exec sleep 60"""
    begun = time.monotonic()
    done = launch("local.sh", "2", "WAIT=0", f"PYTHON={fake_python(tmp_path, body)}", "--", *TRAIN)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("starting all 2 again") >= 2 and time.monotonic() - begun < 50
    lines = (tmp_path / "log").read_text().splitlines()
    assert any(line.startswith("1 of 2 at 127.0.0.1:") and line.endswith("--workdir=my runs/it's " + TRAIN[-1])
               for line in lines)  # fmt: skip


@pytest.mark.parametrize(("status", "words"), [(2, ""), (5, "RESTARTS=1 are used up")])
def test_local_gives_up(tmp_path: Path, status: int, words: str) -> None:
    python = fake_python(tmp_path, f"exit {status}")
    done = launch("local.sh", "1", "WAIT=0", "RESTARTS=1", f"PYTHON={python}", "--", *TRAIN)
    assert done.returncode == 2 and words in done.stderr


def test_local_passes_sigterm_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    body = (
        f"trap 'echo saved >>{tmp_path}/log; exit 143' TERM\necho ready >>{tmp_path}/log\nwhile :; do sleep 0.05; done"
    )
    command = ["bash", str(LAUNCH / "local.sh"), "2", f"PYTHON={fake_python(tmp_path, body)}", "--", *TRAIN]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not log.exists() or log.read_text().count("ready") < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert log.read_text().count("saved") == 2
