"""Training over several hosts, with networks between them that are fast, narrow or slow, equals training on one host."""

import time
import unittest

import saber_test
from saber_test import outcome, run_well
from testbed import Testbed, wait_until

STEPS = 12


def train_args(folder):
    stages = f"listwise {STEPS - 4} steps,reinforce 4 steps"
    return saber_test.scored_world().train_args(
        folder, train__stages=stages, train__reinforce__batch_size=3, train__reinforce__group_size=3,
        train__reinforce__shots=2)


class Hosts(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.wanted = {}
        for ranks in (3, 4):
            folder = saber_test.work / f"one-host-{ranks}-ranks"
            run_well(train_args(folder), ranks=ranks)
            cls.wanted[ranks] = outcome(folder, STEPS)

    def hosts(self, nodes):
        testbed = Testbed(nodes)
        self.addCleanup(testbed.down)
        return testbed

    def check(self, testbed, ranks):
        folder = saber_test.work / self._testMethodName
        result = testbed.run_well(ranks, train_args(folder))
        self.assertRegex(result.stderr, rf"\[n1 rank 0\] \[info\] train: .* {sum(ranks.values())} ranks, steps 0 to {STEPS}")
        self.assertEqual(outcome(folder, STEPS), self.wanted[sum(ranks.values())], result)
        for host in ranks:
            self.assertGreater(testbed.bytes_sent(host), 500_000, "the ranks talk over the cables")

    def test_two_hosts_with_two_ranks_each(self):
        self.check(self.hosts(2), {"n1": 2, "n2": 2})

    def test_three_hosts_with_one_rank_each(self):
        testbed = self.hosts(3)
        folder = saber_test.work / self._testMethodName
        started = testbed.start({"n1": 1, "n2": 1, "n3": 1}, train_args(folder))
        hosts = {}

        def all_seen():
            hosts.update({rank: testbed.host_of(pid) for rank, pid in started.rank_pids().items()})
            return len(hosts) == 3
        started.wait_until(all_seen)
        self.assertEqual(hosts, {0: "n1", 1: "n2", 2: "n3"})
        result = started.wait()
        self.assertEqual((result.status, started.statuses()), (0, {0: 0, 1: 0, 2: 0}), result)
        self.assertIn("[n1 rank 0]", started.rank_output(0, "stderr"))
        self.assertEqual(outcome(folder, STEPS), self.wanted[3], result)

    def test_narrow_link(self):
        testbed = self.hosts(2)
        testbed.rate("n1", 100)
        testbed.rate("n2", 100)
        self.check(testbed, {"n1": 2, "n2": 2})

    def test_slow_link(self):
        testbed = self.hosts(3)
        testbed.delay("n2", 5)
        self.check(testbed, {"n1": 1, "n2": 1, "n3": 1})

    def test_a_setting_that_is_wrong_ends_all_hosts(self):
        testbed = self.hosts(2)
        started = testbed.start({"n1": 2, "n2": 2}, ["train", "--set", "train.stage=listwise"])
        result = started.wait()
        self.assertEqual(result.status, 2, result)
        # mpirun may kill ranks that are about to leave once one has left with status 2.
        self.assertIn(2, started.statuses().values(), result)
        self.assertEqual(started.wait_for_ranks({0, 1, 2, 3}, timeout=20), set(), "no rank stays")
        self.assertEqual(len(result.lines("error")), 1, result)
        self.assertIn("unknown setting 'train.stage'", result.lines("error")[0])

    def test_a_host_that_is_cut_off_is_named_by_the_others_and_names_them(self):
        testbed = self.hosts(3)
        folder = saber_test.work / self._testMethodName
        started = testbed.start({"n1": 1, "n2": 1, "n3": 1}, saber_test.scored_world().train_args(
            folder, train__stages="listwise 3000 epochs", comm__deadline_s=4))
        metrics = folder / "metrics.jsonl"
        wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") > 20, 60, started)
        testbed.link_down("n3")
        cut = time.monotonic()
        left = started.wait_for_ranks({0, 1, 2}, timeout=20)
        seconds = time.monotonic() - cut
        started.end()
        said = {rank: started.rank_output(rank, "stderr") for rank in range(3)}
        self.assertEqual(left, set(), said)
        self.assertLess(seconds, 4 + 10)
        for rank in (0, 1):
            self.assertRegex(said[rank], r"\[error\] waited \d+ s in .* #\d+.*, longer than comm.deadline_s \(4 s\), for "
                                         r"(all ranks|.*rank 2 on n3: )", said)
        self.assertRegex(said[0], r"rank 2 on n3: no heartbeat for \d+ s: dead, stopped or cut off", said)
        self.assertRegex(said[2], r"rank 0 on n1: no word for \d+ s: dead, stopped or cut off", said)


if __name__ == "__main__":
    saber_test.main()
