"""An LVLM with 32 slots and 20 ms of latency, brought by the test program alone, is kept busy by every command."""

import re
import unittest

import saber_test
from saber_test import json_lines, run_well

ENOUGH = 28  # of 32 slots


class SlowLvlm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = saber_test.work / "world"
        sizes = {"library": 300, "train": 200, "validation": 200, "test": 12, "lvlm_scenes": 200}
        run_well(["data", "demo", *saber_test.settings(demo__folder=folder, lvlm__weights=saber_test.LVLM_WEIGHTS,
                                                       **{f"demo__{key}": value for key, value in sizes.items()})])
        cls.world = saber_test.World(folder)

    def busy_slots(self, result):
        found = re.findall(r"slow LVLM: ([\d.]+) slots busy", result.stderr)
        self.assertEqual(len(found), 1, result)
        return float(found[0])

    def test_every_command_keeps_it_busy(self):
        run_folder, output = saber_test.work / "run", saber_test.work / "eval.json"
        scored = run_well(self.world.score_args(lvlm__kind="slow", score__max_queries=200, score__beam=1))
        self.assertGreaterEqual(self.busy_slots(scored), ENOUGH)
        trained = run_well(self.world.train_args(run_folder, lvlm__kind="slow", train__stages="reinforce 6 steps",
                                                 train__reinforce__batch_size=48))
        self.assertGreaterEqual(self.busy_slots(trained), ENOUGH)
        self.assertEqual({line["failed"] for line in json_lines(run_folder / "metrics.jsonl")}, {0})
        evaluated = run_well(["eval", *self.world.data_args(lvlm__kind="slow", run__dir=run_folder, eval__output=output)])
        self.assertGreaterEqual(self.busy_slots(evaluated), ENOUGH)
        self.assertIn("unknown", evaluated.stdout)  # it cannot tell whether an answer is right

    def test_the_tree_does_not_depend_on_who_asked(self):
        trees = []
        for ranks in (None, 2):
            tree = saber_test.work / f"scores-{ranks}.h5"
            run_well(self.world.score_args(lvlm__kind="slow", score__output=tree), ranks=ranks)
            trees.append(tree.read_bytes())
        self.assertEqual(*trees)

    def test_the_program_itself_does_not_know_it(self):
        result = saber_test.run(["score", *self.world.data_args(lvlm__kind="fast")])
        self.assertEqual(result.status, 2, result)
        self.assertIn("lvlm.kind is 'fast', wanted one of slow, tiny", result.stderr)


if __name__ == "__main__":
    saber_test.main()
