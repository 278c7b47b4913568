"""The batch scripts of slurm/ on a real SLURM cluster of two nodes: with srun and with mpirun, and when they must fail."""

import re
import shutil
import subprocess
import unittest

import saber_test
from saber_test import outcome, run_well, settings, sha256
from testbed import Testbed

STEPS = 10
LAUNCHERS = ("srun", "mpirun")


def train_args(folder):
    return saber_test.scored_world().train_args(folder, train__stages=f"listwise {STEPS} steps")


class Slurm(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.scored_world()
        cls.one_host = saber_test.work / "one-host"
        run_well(train_args(cls.one_host), ranks=4)
        cls.testbed = Testbed(nodes=2, slurm=True, cpus=2)
        cls.addClassCleanup(cls.testbed.down)
        # The scripts as in a user's checkout, with a program that says where each rank runs before it becomes saber.
        cls.project = saber_test.work / "project"
        shutil.copytree(saber_test.SOURCE / "slurm", cls.project / "slurm", ignore=shutil.ignore_patterns("cluster.env"))
        cls.program = cls.project / "saber"
        cls.program.write_text(f'#!/bin/sh\necho "rank $PMIX_RANK on $(hostname)" >&2\nexec "{saber_test.executable}" "$@"\n')
        cls.program.chmod(0o755)

    def configure(self, launcher, program=None):
        """cluster.env, from the example that users copy."""
        text = (self.project / "slurm" / "cluster.env.example").read_text()
        changes = {"#SABER=.*": f"SABER='{program or self.program}'", "#LAUNCHER=.*": f"LAUNCHER={launcher}",
                   "#(export OMPI_MCA_btl_tcp_if_include=eth0 .*)": r"\1"}
        for pattern, replacement in changes.items():
            text, found = re.subn(f"^{pattern}$", replacement, text, flags=re.MULTILINE)
            self.assertEqual(found, 1, pattern)
        (self.project / "slurm" / "cluster.env").write_text(text)

    def run_job(self, command, args, options=("--nodes=2", "--ntasks-per-node=2")):
        job = self.testbed.command("sbatch", "--parsable", *options, f"slurm/{command}.sbatch", *args, cwd=self.project)
        return self.testbed.wait_for_job(job.strip())

    def run_job_well(self, command, args):
        job = self.run_job(command, args)
        self.assertEqual((job.state, job.exit_code), ("COMPLETED", "0:0"), job)
        hosts = dict(re.findall(r"^rank (\d) on (n\d)$", job.log, re.MULTILINE))
        self.assertEqual(hosts, {"0": "n1", "1": "n1", "2": "n2", "3": "n2"}, job)
        return job

    def test_score(self):
        for launcher in LAUNCHERS:
            with self.subTest(launcher=launcher):
                self.configure(launcher)
                tree = saber_test.work / f"{launcher}-scores.h5"
                job = self.run_job_well("score", self.world.score_args(score__output=tree)[1:])
                self.assertRegex(job.log, rf"job \d+: saber score on 4 tasks of n\[1-2\], started by {launcher}")
                self.assertEqual(sha256(tree), sha256(self.world.scores), "the bytes of a tree made by one rank")

    def test_train(self):
        for launcher in LAUNCHERS:
            with self.subTest(launcher=launcher):
                self.configure(launcher)
                folder = saber_test.work / f"{launcher}-train"
                job = self.run_job_well("train", train_args(folder)[1:])
                self.assertRegex(job.log, rf"\[n1 rank 0\] \[info\] train: .* 4 ranks, steps 0 to {STEPS}")
                self.assertEqual(outcome(folder, STEPS), outcome(self.one_host, STEPS), job)

    def test_a_second_job_goes_on(self):
        self.configure("srun")
        folder = saber_test.work / "two-jobs"
        self.run_job_well("train", train_args(folder)[1:] + settings(train__max_steps=6))
        job = self.run_job_well("train", train_args(folder)[1:])
        self.assertRegex(job.log, r"resumed from \S+/step-00000006")
        self.assertEqual(outcome(folder, STEPS), outcome(self.one_host, STEPS), job)

    def refused(self, job, message, statuses=("2:0",)):
        self.assertEqual(job.state, "FAILED", job)
        self.assertIn(job.exit_code, statuses, job)
        self.assertEqual(len(re.findall(message, job.log)), 1, job)

    def test_wrong_setting(self):
        for launcher in LAUNCHERS:
            with self.subTest(launcher=launcher):
                self.configure(launcher)
                job = self.run_job("train", settings(train__stage="listwise 2 epochs"))
                # Once a rank has left with status 2, srun may end others that have not left yet with SIGTERM, and it
                # reports the highest status of all.
                statuses = ("2:0", "143:0") if launcher == "srun" else ("2:0",)
                self.refused(job, r"\[error\] .*unknown setting 'train.stage'", statuses)
                self.assertEqual(len(job.lines("error")), 1, job)

    def test_tasks_start_together(self):
        """What the srun of launch.sh promises MPI_Init: SLURM's own default lets a node go on without the others."""
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "pmix"], check=True, timeout=10, text=True,
                               capture_output=True).stdout.split()
        program = saber_test.work / "late-fence"
        source = saber_test.SOURCE / "tests" / "system" / "late_fence.cpp"
        subprocess.run(["g++", "-O1", "-o", program, source, *flags], check=True, timeout=60)
        self.configure("srun", program=program)
        job = self.run_job("train", [])
        waited = dict(re.findall(r"^task (\d) waited (\S+) s$", job.log, re.MULTILINE))
        self.assertEqual(set(waited), {"0", "1", "2", "3"}, job)
        self.assertGreater(min(map(float, waited.values())), 1, job)

    def test_no_program(self):
        self.configure("srun", program="nowhere/saber")
        job = self.run_job("score", [])
        self.refused(job, r"slurm/score\.sbatch: no program nowhere/saber: build it with tools/setup and tools/build")

    def test_wrong_launcher(self):
        self.configure("aprun")
        self.refused(self.run_job("train", []), r"slurm/train\.sbatch: LAUNCHER is 'aprun', wanted srun or mpirun")

    def test_wrong_folder(self):
        job = self.run_job("train", [], options=(f"--chdir={saber_test.work}",))
        self.refused(job, r"slurm/train\.sbatch: no slurm/launch\.sh in .*: call sbatch in the project's folder")


if __name__ == "__main__":
    saber_test.main()
