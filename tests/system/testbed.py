"""Several hosts on this machine, with networks of their own, and a SLURM cluster on them: tests/testbed from Python.

A run over three hosts, one of which loses its network:

    hosts = testbed.Testbed(nodes=3)
    self.addCleanup(hosts.down)
    started = hosts.start({"n1": 1, "n2": 1, "n3": 1}, world.train_args(folder))
    started.wait_until(lambda: last_step(folder) >= 5)
    hosts.link_down("n3")
    left = started.wait_for_ranks({0, 1}, timeout=60)   # ranks of these that still run; mpirun itself may hang for minutes
    started.end()                                       # kill -9 of all that is left, on all hosts
    started.statuses()                                  # such as {0: 1, 1: 1}: exit status by rank, see there
    started.rank_output(0, "stderr")                    # what a rank wrote, whether or not mpirun still passed it on

Ranks are dealt to the hosts in the order given. `down` ends everything; should the test itself be killed, the testbed
notices that and goes down by itself.
"""

import dataclasses
import itertools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
import time

import saber_test
from saber_test import SOURCE, Result

SCRIPTS = SOURCE / "tests" / "testbed"
LAST_STATES = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "DEADLINE"}

numbers = itertools.count(1)


def wait_until(condition, timeout, what):
    """The first true value of `condition`; an AssertionError when there is none in time. `what` may be a function."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(0.02)


class Testbed:
    def __init__(self, nodes=2, slurm=False, cpus=2):
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        # Unix sockets need a short path.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="saber-testbed-", dir="/tmp"))
        try:
            self.call("up", *(["--slurm"] if slurm else []), "--owner", os.getpid(), self.folder, nodes, cpus, timeout=60)
        except AssertionError:
            self.down()
            raise

    def down(self):
        self.call("down", self.folder, timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)  # what `up` had not yet made its own

    def call(self, script, *args, timeout=30):
        """One script of tests/testbed; returns what it said."""
        command = [str(SCRIPTS / script), *map(str, args)]
        # Files: daemons that inherit a pipe would keep its reader waiting.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(command, cwd=saber_test.work, env=saber_test.environment(None), timeout=timeout,
                                  stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            said.seek(0)
            text = said.read()
        if done.returncode != 0:
            raise AssertionError(f"wanted status 0: {Result(shlex.join(command), done.returncode, '', text)}")
        return text

    def link_down(self, host):
        self.call("node", self.folder, host, "link-down")

    def link_up(self, host):
        self.call("node", self.folder, host, "link-up")

    def rate(self, host, megabit_per_s):
        self.call("node", self.folder, host, "rate", megabit_per_s)

    def delay(self, host, milliseconds):
        self.call("node", self.folder, host, "delay", milliseconds)

    def bytes_sent(self, host):
        """What went through the host's cable so far."""
        line = re.search(r"eth0: (.*)", self.call("node", self.folder, host, "exec", "cat", "/proc/net/dev"))
        return int(line[1].split()[8])

    def power_cut(self, host):
        self.call("node", self.folder, host, "power-cut")

    @staticmethod
    def host_of(pid):
        """The name of the host on which a process runs, as the process sees it."""
        return subprocess.run(["nsenter", f"--uts=/proc/{pid}/ns/uts", "hostname"], check=True, timeout=10, text=True,
                              capture_output=True).stdout.strip()

    def start(self, ranks, args, options=(), env=None):
        """`saber ARGS` under mpirun, with so many ranks on each host: {"n1": 2, "n2": 2}."""
        return HostsRun(self, ranks, args, options, env)

    def run_well(self, ranks, args, options=(), env=None, timeout=60):
        result = self.start(ranks, args, options, env).wait(timeout)
        if result.status != 0:
            raise AssertionError(f"wanted status 0: {result}")
        return result

    def command(self, *command, cwd=None, env=None, timeout=20):
        """A command on the host `head`, such as one of SLURM's; returns what it printed."""
        done = subprocess.run([str(SCRIPTS / "node"), str(self.folder), "head", "exec", *map(str, command)],
                              cwd=cwd or saber_test.work, env=saber_test.environment(env), timeout=timeout, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != 0:
            said = Result(shlex.join(map(str, command)), done.returncode, done.stdout, done.stderr)
            raise AssertionError(f"wanted status 0: {said}")
        return done.stdout

    def wait_for_job(self, job, timeout=60):
        """The job's end; `job` is the number that sbatch --parsable printed."""
        def shown():
            return dict(re.findall(r"(\S+?)=(\S*)", self.command("scontrol", "show", "job", job)))
        wait_until(lambda: shown()["JobState"] in LAST_STATES, timeout, lambda: f"the end of job {job}: {shown()}")
        fields = shown()
        log = pathlib.Path(fields["StdOut"])
        return Job(fields["JobState"], fields["ExitCode"], log.read_text() if log.exists() else "")


@dataclasses.dataclass
class Job:
    state: str
    exit_code: str  # STATUS:SIGNAL
    log: str

    def lines(self, level):
        return [line for line in self.log.splitlines() if f"[{level}]" in line]

    def __str__(self):
        return f"\n{self.state}, exit code {self.exit_code}, log:\n{self.log[-6000:]}"


class HostsRun:
    """A started command over several hosts. Its files are in a folder of its own, one for each rank and stream."""

    def __init__(self, testbed, ranks, args, options, env):
        self.testbed = testbed
        self.folder = saber_test.work / f"hosts-run-{next(numbers)}"
        self.folder.mkdir()
        # Each rank leaves its exit status in a file: mpirun, which may hang, is not needed to learn it.
        script = ('trap : TERM; folder=$1; shift; "$@"; status=$?; '
                  'echo $status >"$folder/status-$OMPI_COMM_WORLD_RANK"; exit $status')
        recorded = ["sh", "-c", script, "sh", self.folder]
        placed = ["-n", sum(ranks.values()), "-host", ",".join(f"{host}:{count}" for host, count in ranks.items())]
        self.command = [str(part) for part in (
            SCRIPTS / "mpirun", testbed.folder, *placed, "--output-filename", self.folder / "ranks", *options,
            *recorded, saber_test.executable, *args)]
        with open(self.folder / "stdout", "w") as output, open(self.folder / "stderr", "w") as errors:
            self.process = subprocess.Popen(self.command, cwd=saber_test.work, env=saber_test.environment(env),
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=errors)

    def rank_pids(self):
        """Process ids of the ranks that run, by rank."""
        pids = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if (entry / "exe").readlink() != saber_test.executable:
                    continue
                environ = (entry / "environ").read_bytes().split(b"\0")
            except OSError:  # ended in the meantime
                continue
            rank = [value[len(b"OMPI_COMM_WORLD_RANK="):] for value in environ if value.startswith(b"OMPI_COMM_WORLD_RANK=")]
            if rank and f"TMPDIR={self.testbed.folder}/".encode() in b"\0".join(environ):
                pids[int(rank[0])] = int(entry.name)
        return pids

    def wait_until(self, condition, timeout=60):
        """Returns when `condition` holds while the command runs."""
        def holds():
            if self.process.poll() is not None:
                raise AssertionError(f"ended too early: {self.result()}")
            return condition()
        wait_until(holds, timeout, lambda: f"what the test waits for: {self.result()}")

    def wait_for_ranks(self, ranks, timeout=60):
        """Waits for the end of these ranks, whatever mpirun does; returns those that still run."""
        deadline = time.monotonic() + timeout
        while (left := ranks & self.rank_pids().keys()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def statuses(self):
        """Exit status of each rank that has ended, by rank (128 + signal when a signal ended it).

        A rank may be missing: when one leaves with another status than 0, mpirun kills those that have not left yet.
        """
        return {int(path.name.removeprefix("status-")): int(path.read_text())
                for path in self.folder.glob("status-*") if path.read_text().strip()}

    def rank_output(self, rank, stream):
        """What that rank wrote to "stdout" or "stderr" so far."""
        found = [path for path in self.folder.glob(f"ranks/*/rank.*/{stream}") if int(path.parent.name[5:]) == rank]
        return found[0].read_text() if found else ""

    def result(self):
        """What mpirun passed on so far."""
        return Result(shlex.join(self.command), self.process.poll(), (self.folder / "stdout").read_text(),
                      (self.folder / "stderr").read_text())

    def end(self):
        """kill -9 of everything on all hosts; the hosts stay."""
        for host in self.testbed.nodes:
            self.testbed.power_cut(host)
        self.process.wait(10)

    def wait(self, timeout=60):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"did not end within {timeout} s: {self.result()}") from None
        return self.result()
