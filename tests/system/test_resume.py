"""A run that is killed and started again ends with the bytes of an unbroken one."""

import random
import shutil
import unittest

import h5py

import saber_test
from saber_test import json_lines, run, run_well, sha256, trained_files

STEPS_PER_EPOCH = 8
EPOCHS = 4
STEPS = EPOCHS * STEPS_PER_EPOCH
LAST = f"checkpoints/step-{STEPS:08}"


def last_step(folder):
    """Newest step of which rank 0 wrote a whole line."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return saber_test.json.loads(lines[-1])["step"] if lines else 0


class Resume:
    """The tests, for each of the set-ups below."""

    ranks = 2
    threads = 1

    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.scored_world()
        cls.name = f"{cls.ranks}-ranks-{cls.threads}-threads"
        cls.unbroken = saber_test.work / f"{cls.name}-unbroken"
        run_well(cls.args(cls.unbroken), ranks=cls.ranks)
        cls.golden = trained_files(cls.unbroken, STEPS)

    @classmethod
    def args(cls, folder, **changes):
        return cls.world.train_args(folder, **{"train__stages": f"listwise {EPOCHS} epochs", "run__threads": cls.threads, **changes})

    def setUp(self):
        self.folder = saber_test.work / f"{self.name}-{self._testMethodName}"

    def finish(self):
        """Starts again and expects the unbroken run's bytes; returns what the start said."""
        result = run_well(self.args(self.folder), ranks=self.ranks)
        self.assertEqual(trained_files(self.folder, STEPS), self.golden, result)
        self.assertEqual([line["step"] for line in json_lines(self.folder / "metrics.jsonl")],
                         list(range(1, STEPS + 1)), "every step is in metrics.jsonl once")
        self.assertEqual(sorted(path.name for path in (self.folder / "checkpoints").iterdir()),
                         sorted(path.name for path in (self.unbroken / "checkpoints").iterdir()),
                         "no leftovers, and the same checkpoints as in an unbroken run")
        return result

    def kill_at_step(self, step, rank):
        started = saber_test.Running(self.args(self.folder), ranks=self.ranks)
        result = started.kill_rank_when(rank, lambda: last_step(self.folder) >= step)
        self.assertFalse((self.folder / LAST).exists(), f"killed too late: {result}")

    def kill_at_fail_point(self, name):
        result = run(self.args(self.folder), ranks=self.ranks, env={"SABER_FAIL_POINT": name})
        self.assertNotEqual(result.status, 0, result)
        self.assertFalse((self.folder / LAST).exists(), f"killed too late: {result}")
        return {path.name for path in (self.folder / "checkpoints").iterdir()}

    def test_the_run_is_what_it_should_be(self):
        steps = json_lines(self.unbroken / "samples.jsonl")
        self.assertEqual([line["step"] for line in steps], list(range(1, STEPS + 1)))
        for epoch in range(EPOCHS):
            part = steps[epoch * STEPS_PER_EPOCH : (epoch + 1) * STEPS_PER_EPOCH]
            names = [name for line in part for name in line["samples"]]
            self.assertEqual(len(names), len(set(names)), "an epoch takes every sample once")
            self.assertEqual(set(names), {name for line in steps for name in line["samples"]})

    def test_killed_at_an_early_step(self):
        step = random.Random(self.name + "early").randint(1, 10)
        self.kill_at_step(step, rank=self.ranks - 1)
        self.finish()

    def test_killed_at_a_later_step(self):
        step = random.Random(self.name + "later").randint(11, STEPS - 12)
        self.kill_at_step(step, rank=0)
        self.assertRegex(self.finish().stderr, r"resumed from \S+/checkpoints/step-000000(05|10|15|20)")

    def test_killed_while_a_file_of_a_save_is_written(self):
        # The second file of the second save: step 10.
        found = self.kill_at_fail_point("save:file-written@6")
        self.assertEqual(found, {"step-00000005", ".tmp-step-00000010"})
        self.assertIn("resumed from", self.finish().stderr)

    def test_killed_before_a_save_is_renamed(self):
        found = self.kill_at_fail_point("save:before-rename@1")
        self.assertEqual(found, {".tmp-step-00000005"})
        self.assertNotIn("resumed from", self.finish().stderr)

    def test_killed_while_an_old_save_is_removed(self):
        # Two are kept: the fourth save is the second to remove one.
        found = self.kill_at_fail_point("save:old-renamed@2")
        self.assertEqual(found, {"step-00000015", "step-00000020", ".old-step-00000010"})
        self.assertRegex(self.finish().stderr, r"resumed from \S+/step-00000020")


class TwoRanks(Resume, unittest.TestCase):
    def test_finished_run_is_left_alone(self):
        before = saber_test.listing(self.unbroken / "checkpoints")
        run_well(self.args(self.unbroken), ranks=self.ranks)
        self.assertEqual(saber_test.listing(self.unbroken / "checkpoints"), before)
        self.assertEqual(trained_files(self.unbroken, STEPS), self.golden)

    def test_killed_while_the_last_save_removes_an_old_one(self):
        # The next start has nothing to train, and yet it cleans up.
        saves = -(-STEPS // 5)  # one every 5 steps and one at the end; the last removal is number saves - 2
        result = run(self.args(self.folder), ranks=self.ranks, env={"SABER_FAIL_POINT": f"save:old-renamed@{saves - 2}"})
        self.assertNotEqual(result.status, 0, result)
        found = {path.name for path in (self.folder / "checkpoints").iterdir()}
        self.assertTrue((self.folder / LAST).exists() and any(name.startswith(".old-") for name in found), found)
        self.finish()

    def stopped_run(self):
        run_well(self.args(self.folder, train__max_steps=12), ranks=self.ranks)
        found = sorted(path.name for path in (self.folder / "checkpoints").iterdir())
        self.assertEqual(found, ["step-00000010", "step-00000012"])

    def test_damaged_newest_checkpoint_is_passed_over(self):
        self.stopped_run()
        for name in ("model.safetensors", "manifest.json"):
            with self.subTest(file=name):
                copy = self.folder
                self.folder = copy.with_name(f"{copy.name}-{name}")
                shutil.copytree(copy, self.folder)
                saber_test.flip_byte(self.folder / "checkpoints/step-00000012" / name)
                result = run_well(self.args(self.folder), ranks=self.ranks)
                self.folder, damaged = copy, self.folder
                warnings = result.lines("warning")
                self.assertEqual(len(warnings), 1, result)
                self.assertIn("passed over the checkpoint of step 12", warnings[0])
                self.assertIn(f"step-00000012/{name}", warnings[0])
                self.assertRegex(result.stderr, r"resumed from \S+/step-00000010")
                self.assertEqual(trained_files(damaged, STEPS), self.golden, result)

    def test_only_damaged_checkpoints_are_refused(self):
        self.stopped_run()
        for step in ("step-00000010", "step-00000012"):
            saber_test.flip_byte(self.folder / "checkpoints" / step / "model.safetensors")
        before = saber_test.listing(self.folder)
        result = run(self.args(self.folder), ranks=self.ranks)
        self.assertEqual(result.status, 2, result)
        self.assertIn("none of its 2 checkpoints verifies", result.lines("error")[0])
        self.assertEqual(saber_test.listing(self.folder), before)


class ThreeRanks(Resume, unittest.TestCase):
    ranks = 3

    def test_same_samples_as_with_two_ranks(self):
        other = saber_test.work / "one-rank"
        run_well(self.args(other))
        self.assertEqual((other / "samples.jsonl").read_text(), (self.unbroken / "samples.jsonl").read_text())


class TwoRanksTwoThreads(Resume, unittest.TestCase):
    threads = 2


class TwoStages(unittest.TestCase):
    """Listwise, then reinforce: stopped in the second stage, and exactly between the two."""

    LISTWISE, STEPS = 10, 24
    RANKS = 2

    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.scored_world()
        cls.unbroken = saber_test.work / "two-stages-unbroken"
        run_well(cls.args(cls.unbroken), ranks=cls.RANKS)
        cls.golden = cls.golden_files(cls.unbroken)

    @classmethod
    def args(cls, folder, **changes):
        stages = f"listwise {cls.LISTWISE} steps,reinforce {cls.STEPS - cls.LISTWISE} steps"
        return cls.world.train_args(folder, **{
            "train__stages": stages, "train__reinforce__batch_size": 3, "train__reinforce__group_size": 3,
            "train__reinforce__shots": 2, "train__reinforce__leash": 0.1, "train__checkpoint_every": 6, **changes})

    @classmethod
    def golden_files(cls, folder):
        return {**trained_files(folder, cls.STEPS), "scores.h5": sha256(folder / "scores.h5")}

    def test_the_run_is_what_it_should_be(self):
        metrics = json_lines(self.unbroken / "metrics.jsonl")
        self.assertEqual([line["stage"] for line in metrics],
                         ["listwise"] * self.LISTWISE + ["reinforce"] * (self.STEPS - self.LISTWISE))
        rewards = {}
        for line in json_lines(self.unbroken / "samples.jsonl")[self.LISTWISE:]:
            self.assertEqual(len(line["samples"]), 9)
            for name, reward in zip(line["samples"], line["rewards"], strict=True):
                self.assertEqual(rewards.setdefault(name, reward), reward)
                self.assertLess(reward, 0)
        asked = sum(line.get("asked", 0) for line in metrics)
        self.assertLessEqual(asked, len(rewards), "no sequence is scored twice")
        self.assertGreater(asked, 50)

    def test_killed_in_the_second_stage_nothing_is_scored_again(self):
        folder = saber_test.work / "two-stages-killed"
        killed = saber_test.Running(self.args(folder), ranks=self.RANKS)
        killed.kill_rank_when(1, lambda: last_step(folder) >= 20)
        done = last_step(folder)
        self.assertLess(done, self.STEPS)
        result = run_well(self.args(folder), ranks=self.RANKS)
        self.assertRegex(result.stderr, r"resumed from \S+/step-00000018")
        self.assertEqual(self.golden_files(folder), self.golden, result)
        asked = {line["step"]: line.get("asked") for line in json_lines(folder / "metrics.jsonl")}
        self.assertEqual([asked[step] for step in range(19, done + 1)], [0] * (done - 18))

    def test_stopped_between_the_stages(self):
        folder = saber_test.work / "two-stages-between"
        run_well(self.args(folder, train__max_steps=self.LISTWISE), ranks=self.RANKS)
        result = run_well(self.args(folder), ranks=self.RANKS)
        self.assertRegex(result.stderr, rf"resumed from \S+/step-{self.LISTWISE:08}")
        self.assertEqual(self.golden_files(folder), self.golden, result)

    def test_another_lvlm_is_refused(self):
        folder = saber_test.work / "two-stages-other-lvlm"
        run_well(self.args(folder, train__max_steps=2))
        other = saber_test.work / "other-lvlm.safetensors"
        shutil.copy(saber_test.LVLM_WEIGHTS, other)
        saber_test.flip_byte(other, -2)
        result = run(self.args(folder, lvlm__weights=other))
        self.assertEqual(result.status, 2, result)
        self.assertIn("was trained on score trees and an LVLM", result.lines("error")[0])


class ReinforceAlone(unittest.TestCase):
    """Without score trees only the data's own fingerprint tells that they have changed."""

    def test_changed_data_are_refused(self):
        world = saber_test.demo_world()
        folder = saber_test.work / "reinforce-alone"

        def args(**changes):
            return world.train_args(folder, **{
                "train__scores": "", "train__stages": "reinforce 6 steps", "train__reinforce__batch_size": 2,
                "train__reinforce__group_size": 2, "train__reinforce__shots": 2, "train__checkpoint_every": 2, **changes})

        run_well(args(train__max_steps=2))
        changed = saber_test.work / "changed.h5"
        shutil.copy(world.embeddings, changed)
        with h5py.File(changed, "r+") as file:
            row = file["split"][:].tolist().index(0)
            file["image"][row, 0] += 0.25
        before = saber_test.listing(folder)
        result = run(args(data__embeddings=changed))
        self.assertEqual(result.status, 2, result)
        self.assertIn("was trained on a data set with fingerprint", result.lines("error")[0])
        self.assertEqual(saber_test.listing(folder), before)
        # Where the same data lie does not matter.
        shutil.copy(world.embeddings, changed)
        self.assertIn("resumed from", run_well(args(data__embeddings=changed)).stderr)


if __name__ == "__main__":
    saber_test.main()
