"""A rank that is stopped, killed, delayed or goes its own way is named by the others, which end within seconds."""

import re
import subprocess
import time
import unittest

import saber_test
from saber_test import Running, json_lines

DEADLINE = 4  # seconds; kDeadline of tests/comm/stuck_rank.cpp
STUCK = 3  # exit status


class Ended:
    def __init__(self, result, seconds):
        self.status, self.log, self.seconds = result.returncode, result.stderr, seconds

    def complaints(self):
        """What each rank said before it left."""
        found = re.findall(r"rank (\d+)\] \[error\] (waited .*)", self.log)
        return {int(rank): text for rank, text in found}

    def __str__(self):
        return f"status {self.status} after {self.seconds:.1f} s\n{self.log}"


def stuck_rank(operation, fault, rank, ranks=3, steps=300, options=(), mpirun_options=()):
    """Runs tests/comm/stuck_rank.cpp; the seconds count from the fault on."""
    program = [str(saber_test.executable.parent / "stuck_rank"), operation, fault, str(rank), str(steps), *options]
    mpirun = saber_test.command_line([], ranks)[:-1]
    command = ["timeout", "-k", "5", "60", mpirun[0], "--quiet", *mpirun_options, *mpirun[1:], *program]
    start = time.monotonic()
    result = subprocess.run(command, env=saber_test.environment({}), capture_output=True, text=True, timeout=90,
                            check=False)
    healthy = re.search(r"steps took ([\d.]+) s", result.stderr)
    return Ended(result, time.monotonic() - start - (float(healthy[1]) if healthy else 0))


class Watchdog(unittest.TestCase):
    def expect_named(self, ended, culprit, words):
        others = {rank: text for rank, text in ended.complaints().items() if rank != culprit}
        self.assertTrue(others, ended)
        for text in others.values():
            self.assertIn(f"rank {culprit} on ", text, ended)
            self.assertRegex(text, words, ended)
            self.assertRegex(text, r"waited \d+ s in [a-z -]+ #\d+", ended)
        self.assertNotEqual(ended.status, 0, ended)
        self.assertLess(ended.seconds, DEADLINE + 20, "start and end of mpirun included, on a busy machine")
        self.assertNotIn("went on", ended.log)

    def test_a_stopped_rank(self):
        for operation in ["all-reduce", "overlapped", "all-gather", "broadcast"]:
            with self.subTest(operation=operation):
                ended = stuck_rank(operation, "stop", 1)
                self.expect_named(ended, 1, r"no heartbeat for \d+ s: dead, stopped or cut off")
                self.assertEqual(ended.status, STUCK, ended)

    def test_rank_0_stopped_in_a_save(self):
        self.expect_named(stuck_rank("save", "stop", 0), 0, r"checkpoint save.*no word for \d+ s")

    def test_a_delayed_rank(self):
        self.expect_named(stuck_rank("all-gather", "delay", 2), 2, r"slow: has been computing for \d+ s since all-gather")
        self.expect_named(stuck_rank("save", "delay", 0), 0, r"slow: has been computing for \d+ s since checkpoint save")

    def test_a_rank_that_goes_its_own_way(self):
        self.expect_named(stuck_rank("all-reduce", "diverge", 1), 1, "diverged: has been waiting for .* in barrier")

    def test_a_killed_rank(self):
        """mpirun ends the others at once, unless it is told to leave that to them."""
        ended = stuck_rank("all-reduce", "kill", 1)
        self.assertEqual(ended.status, 128 + 9, ended)
        self.assertEqual(ended.complaints(), {}, "mpirun was faster")
        ended = stuck_rank("all-reduce", "kill", 1, mpirun_options=["--enable-recovery"])
        self.assertEqual(set(ended.complaints()), {0, 2}, ended)
        for text in ended.complaints().values():
            self.assertRegex(text, r"rank 1 on .*no heartbeat for \d+ s: dead, stopped or cut off", ended)

    def test_ten_thousand_healthy_operations_raise_no_alarm(self):
        for operation in ["overlapped", "save"]:
            ended = stuck_rank(operation, "none", 0, ranks=2, steps=10_000)
            self.assertEqual((ended.status, ended.complaints()), (0, {}), ended)

    def test_ranks_that_disagree_get_an_error_before_the_hang(self):
        ended = stuck_rank("all-reduce", "diverge", 1, options=["--check-order"])
        self.assertEqual(ended.status, 1, ended)
        self.assertRegex(ended.log, r"ranks disagree about the next operation: rank 0 begins all-reduce #\d+ "
                                    r"\(40000 bytes Float\), rank 1 begins barrier #\d+")
        self.assertEqual(ended.complaints(), {}, "no deadline had to pass")

    def test_a_rank_that_takes_another_step_than_the_others(self):
        self.expect_named(stuck_rank("all-reduce", "skip", 1), 1, "diverged: has been waiting for .* in another step")

    def test_ranks_that_work_for_themselves_may_take_their_time_but_not_die(self):
        ended = stuck_rank("all-gather", "nap", 1, options=["--patient"])
        self.assertEqual((ended.status, ended.complaints()), (0, {}), ended)
        self.assertIn("went on after rank 1's fault", ended.log)
        self.expect_named(stuck_rank("all-gather", "nap", 1), 1, "slow: has been computing")
        self.expect_named(stuck_rank("all-gather", "stop", 1, options=["--patient"]), 1, "no heartbeat")

    def test_a_slow_rank_is_named_while_the_run_goes_on(self):
        ended = stuck_rank("all-reduce", "slow", 1, ranks=2, steps=110)
        self.assertEqual(ended.status, 0, ended)
        self.assertRegex(ended.log, r"rank 0\] \[warning\] rank 1 on .* is slow: the others waited [\d.]+ s of the last "
                                    r"\d+ s for it \(\d+ %\)", ended)


class Train(unittest.TestCase):
    def test_the_first_step_has_a_deadline_of_its_own(self):
        world = saber_test.demo_world()
        # One step takes about four seconds: a rank can be stopped within the first.
        args = world.train_args(saber_test.work / "first-step", train__scores="", train__stages="reinforce 2 steps",
                                train__reinforce__batch_size=24, train__reinforce__group_size=200,
                                comm__first_deadline_s=3, comm__deadline_s=600)
        running = Running(args, ranks=2)
        self.addCleanup(running.stop)
        limit = time.monotonic() + 60
        while time.monotonic() < limit and "parameters, 2 ranks" not in running.errors_so_far():
            time.sleep(0.01)
        saber_test.os.kill(running.rank_pids()[1], saber_test.signal.SIGSTOP)
        start = time.monotonic()
        result = running.wait(60)
        self.assertEqual(result.status, STUCK, result)
        self.assertLess(time.monotonic() - start, 3 + 20, result)
        self.assertRegex(result.stderr, r"rank 0\] \[error\] waited 3 s in .*longer than comm.first_deadline_s "
                                        r"\(3 s\), for rank 1 on .*no heartbeat", result)

    def test_a_rank_of_a_training_run_is_stopped(self):
        world = saber_test.scored_world()
        folder = saber_test.work / "stopped"
        args = world.train_args(folder, train__stages="listwise 3000 epochs", comm__deadline_s=3)
        running = Running(args, ranks=2)
        self.addCleanup(running.stop)
        metrics = folder / "metrics.jsonl"
        limit = time.monotonic() + 60
        while time.monotonic() < limit and not (metrics.exists() and metrics.read_text().count("\n") > 20):
            time.sleep(0.05)
        saber_test.os.kill(running.rank_pids()[1], saber_test.signal.SIGSTOP)
        start = time.monotonic()
        result = running.wait(60)
        self.assertEqual(result.status, STUCK, result)
        self.assertLess(time.monotonic() - start, 3 + 20, result)
        self.assertRegex(result.stderr, r"rank 0\] \[error\] waited 3 s in .*longer than comm.deadline_s \(3 s\), for "
                                        "rank 1 on .*no heartbeat", result)
        # What was saved is whole: the same command goes on from there.
        again = saber_test.run_well(world.train_args(folder, train__stages="listwise 3000 epochs",
                                                     train__max_steps=len(json_lines(metrics)) + 5), ranks=2)
        self.assertIn("resumed from", again.stderr, again)


if __name__ == "__main__":
    saber_test.main()
