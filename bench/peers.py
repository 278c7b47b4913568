"""What bench/step, bench/reduce and bench/start share: both sides started alike, with what they print, one JSON object a line."""

import json
import os
import pathlib
import statistics
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("SABER_BUILD", SOURCE / "build"))
PYTHON = SOURCE / ".venv" / "bin" / "python"
# Freed memory stays with the process instead of going back to the system and coming again page by page.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 30)}


def fail(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {message}")


def program(name):
    path = BUILD / name
    if not path.exists():
        fail(f"{path} is missing; tools/build -DBUILD_TESTING=ON makes it")
    return [str(path)]


def python(script):
    """The command of a Python side; ends with a message where PyTorch does not import."""
    imports = "import torch, torch._dynamo, safetensors.torch"
    test = subprocess.run([PYTHON, "-c", imports], capture_output=True, text=True)
    if test.returncode != 0:
        reason = (test.stderr.strip().splitlines() or ["no message"])[-1]
        fail(f"PyTorch does not import in .venv ({reason}); tools/setup --bench installs all that it needs")
    return [str(PYTHON), str(SOURCE / "bench" / script)]


def environment(changes=None):
    """One thread a rank. Open MPI's single-copy transfers need a system call that containers forbid; Gloo takes the
    loopback device."""
    fixed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "GLOO_SOCKET_IFNAME": "lo",
             "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return {**os.environ, **fixed, **(changes or {})}


def on_ranks(command, ranks):
    mpirun = [os.environ.get("SABER_MPIRUN", "mpirun"), "--oversubscribe", "--bind-to", "none", "-n", str(ranks)]
    return [*mpirun, *map(str, command)]


def start(command, ranks, env=None):
    """Runs a command on that many ranks; returns status, JSON lines and what went to stderr."""
    result = subprocess.run(on_ranks(command, ranks), env=environment(env), stdin=subprocess.DEVNULL,
                            capture_output=True, text=True)
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return result.returncode, lines, result.stderr


def run(command, ranks, env=None):
    status, lines, errors = start(command, ranks, env)
    if status != 0:
        fail(f"{' '.join(map(str, command))} ended with status {status}:\n{errors[-3000:]}")
    return lines


def median_of(rows):
    """Elementwise median of lists of equal length."""
    return [statistics.median(values) for values in zip(*rows)]
