"""What the system tests share: starting `saber` alone or under mpirun, killing ranks, and a small demo world.

A test script is started as `python test_x.py SABER FOLDER [unittest arguments]`: the executable, and a folder below
which everything is written. Commands run in a folder of their own, so that relative default paths stay inside it too.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
# Another LVLM may stand in while the one that ships is being trained anew.
LVLM_WEIGHTS = pathlib.Path(os.environ.get("SABER_TEST_LVLM", SOURCE / "configs" / "tiny-lvlm.safetensors"))

executable = pathlib.Path()  # set by main()
work = pathlib.Path()


def main():
    """Reads the two arguments, runs the tests of the calling script, removes what they wrote when all passed."""
    global executable, work
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} SABER FOLDER [unittest arguments]")
    executable = pathlib.Path(sys.argv[1]).resolve()
    parent = pathlib.Path(sys.argv[2]).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=pathlib.Path(sys.argv[0]).stem + "-", dir=parent))
    program = unittest.main(module="__main__", argv=[sys.argv[0], *sys.argv[3:]], exit=False, verbosity=2)
    if program.result.wasSuccessful():
        shutil.rmtree(work)
    else:
        print(f"files of the failed run: {work}", file=sys.stderr)
    sys.exit(0 if program.result.wasSuccessful() else 1)


@dataclasses.dataclass
class Result:
    command: str
    status: int
    stdout: str
    stderr: str

    def lines(self, level):
        """Log lines of that level, without mpirun's own words."""
        return [line for line in self.stderr.splitlines() if f"[{level}]" in line]

    def __str__(self):
        return f"\n$ {self.command}\nstatus {self.status}\nstdout: {self.stdout[-2000:]}\nstderr: {self.stderr[-4000:]}"


def command_line(args, ranks):
    command = [str(executable), *map(str, args)]
    if ranks is None:
        return command
    mpirun = [os.environ.get("SABER_MPIRUN", "mpirun"), "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
    return [*mpirun, "-n", str(ranks), *command]


def environment(changes):
    # Open MPI's single-copy transfers need a system call that containers forbid. Threads that spin while they wait make
    # two ranks of two threads a hundred times slower on two cores that have other work to do.
    fixed = {"OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    inherited = {key: value for key, value in os.environ.items() if key != "SABER_FAIL_POINT"}
    return {**inherited, **fixed, **(changes or {})}


class Running:
    """A started command; its output goes to files that are no part of the watched folders."""

    def __init__(self, args, ranks=None, env=None):
        self.command = command_line(args, ranks)
        self.output, self.errors = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(self.command, cwd=work, env=environment(env), stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=self.errors)

    def rank_pids(self):
        """Process ids of the ranks that are children of mpirun, by rank."""
        pids = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                status = (entry / "status").read_text()
                if f"\nPPid:\t{self.process.pid}\n" not in status:
                    continue
                rank = re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)\0", (entry / "environ").read_bytes())
            except OSError:  # ended in the meantime
                continue
            if rank:
                pids[int(rank[1])] = int(entry.name)
        return pids

    def errors_so_far(self):
        return os.pread(self.errors.fileno(), 1 << 20, 0).decode(errors="replace")

    def stop(self):
        """mpirun takes its ranks along when it is asked to end; if it does not listen, each is ended here."""
        if self.process.poll() is not None:
            return
        pids = list(self.rank_pids().values())
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            for pid in [*pids, self.process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait(10)

    def wait(self, timeout=120):
        timed_out = False
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            self.stop()
        texts = []
        for file in (self.output, self.errors):
            file.seek(0)
            texts.append(file.read())
            file.close()
        result = Result(" ".join(self.command), self.process.returncode, *texts)
        if timed_out:
            raise AssertionError(f"did not end within {timeout} s: {result}")
        return result

    def kill_rank_when(self, rank, condition, timeout=120):
        """Polls `condition` closely and kills the rank as soon as it holds; returns how the command ended."""
        deadline = time.monotonic() + timeout
        pid = None
        while self.process.poll() is None and time.monotonic() < deadline:
            pid = pid or self.rank_pids().get(rank)
            if pid and condition():
                os.kill(pid, signal.SIGKILL)
                result = self.wait()
                if result.status == 0:
                    raise AssertionError(f"wanted the end of one rank to end all: {result}")
                return result
            time.sleep(0.001)
        self.stop()
        raise AssertionError(f"ended before rank {rank} could be killed: {self.wait()}")


def run(args, ranks=None, env=None, timeout=120):
    return Running(args, ranks, env).wait(timeout)


def run_well(args, ranks=None, env=None, timeout=120):
    result = run(args, ranks, env, timeout)
    if result.status != 0:
        raise AssertionError(f"wanted status 0: {result}")
    return result


def settings(**values):
    """settings(run__dir="x") is ["--set", "run.dir=x"]."""
    return [part for key, value in values.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def listing(folder):
    """Every file and folder below, with what would give away a change."""
    out = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        stat = path.stat()
        out[str(path)] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return out


def json_lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


def trained_files(folder, steps):
    """SHA-256 of what a run of so many steps ends with: weights, optimiser, list of samples."""
    last = f"checkpoints/step-{steps:08}"
    names = [f"{last}/model.safetensors", f"{last}/optimizer-00000-of-00001.safetensors", "samples.jsonl"]
    return {name: sha256(pathlib.Path(folder) / name) for name in names}


def outcome(folder, steps):
    """All of a run that placement must not change."""
    metrics = [{key: line[key] for key in ("step", "stage", "loss", "gradient_norm")}
               for line in json_lines(pathlib.Path(folder) / "metrics.jsonl")]
    return metrics, trained_files(folder, steps)


def flip_byte(path, offset=-1):
    data = bytearray(pathlib.Path(path).read_bytes())
    data[offset] ^= 0x40
    pathlib.Path(path).write_bytes(data)


@dataclasses.dataclass(frozen=True)
class World:
    """A data set of a few hundred rows with everything that is needed to use it in seconds."""

    folder: pathlib.Path

    @property
    def embeddings(self):
        return self.folder / "emoji-vqa.h5"

    @property
    def scores(self):
        return self.folder / "scores.h5"

    def data_args(self, **changes):
        return settings(**{"device": "cpu", "data__embeddings": self.embeddings, "lvlm__weights": LVLM_WEIGHTS, "run__threads": 1,
                           **changes})

    def score_args(self, **changes):
        return ["score", *self.data_args(**{"score__output": self.scores, "score__max_queries": 12,
                                            "score__pool_size": 8, "score__beam": 2, "score__shots": 3, **changes})]

    def train_args(self, run_folder, **changes):
        return ["train", *self.data_args(**{"run__dir": run_folder, "train__scores": self.scores,
                                            "train__stages": "listwise 2 epochs", "train__listwise__batch_size": 8,
                                            "train__checkpoint_every": 5,
                                            "model__width": 32, **changes})]


@functools.cache
def demo_world(validation=12):
    folder = work / "world"
    sizes = {"library": 300, "train": 24, "validation": validation, "test": 12, "lvlm_scenes": 200}
    run_well(["data", "demo", *settings(demo__folder=folder, lvlm__weights=LVLM_WEIGHTS,
                                        **{f"demo__{key}": value for key, value in sizes.items()})])
    return World(folder)


@functools.cache
def scored_world(validation=12):
    world = demo_world(validation)
    run_well(world.score_args())
    return world
