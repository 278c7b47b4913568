"""`saber score`: the same bytes for any number of ranks and after any kill, readable by anyone."""

import math
import shutil
import unittest

import h5py

import saber_test
from saber_test import run, run_well, sha256

NUM_QUERIES = 24
SHOTS = 3
COLUMNS = {"query": "<i8", "parent": "<i8", "icd": "<i8", "reward": "<f8", "status": "|u1"}


class ScoreTree(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.demo_world()
        cls.golden = saber_test.work / "golden.h5"
        run_well(cls.args(cls.golden))

    @classmethod
    def args(cls, output, **changes):
        return cls.world.score_args(**{"score__output": output, "score__max_queries": 0, "score__pool_size": 16,
                                       "score__shots": SHOTS, **changes})

    def setUp(self):
        self.output = saber_test.work / f"{self._testMethodName}.h5"
        self.journals = self.output.with_name(self.output.name + ".journal")

    def check_finished(self, output):
        self.assertEqual(sha256(output), sha256(self.golden))
        self.assertFalse(output.with_name(output.name + ".journal").exists(), "the journals go when the tree is there")

    def num_records(self, journal):
        """Whole or not, and without the header."""
        return max(0, journal.read_bytes().count(b"SABERJNL") - 1)

    def kill_in_the_middle(self, ranks, rank):
        def under_way():
            return sum(map(self.num_records, self.journals.glob("*.journal"))) >= 2

        result = saber_test.Running(self.args(self.output), ranks=ranks).kill_rank_when(rank, under_way)
        self.assertFalse(self.output.exists(), f"killed too late: {result}")

    def test_same_bytes_for_two_and_three_ranks(self):
        for ranks in (2, 3):
            with self.subTest(ranks=ranks):
                output = self.output.with_suffix(f".{ranks}.h5")
                run_well(self.args(output), ranks=ranks)
                self.check_finished(output)

    def test_sequences_of_a_baseline_instead_of_a_search(self):
        """One path per query: the list that eval's row of this name shows, and its beginnings; any number of ranks."""
        trees = []
        for ranks in (None, 2):
            output = self.output.with_suffix(f".{ranks}.h5")
            run_well(self.args(output, score__sequences="iq2iq", score__split="validation"), ranks=ranks)
            trees.append(output.read_bytes())
        self.assertEqual(*trees)
        with h5py.File(output) as file:
            self.assertEqual(file.attrs["pool"], "the list of iq2iq")
            node = {name: file["node"][name][:].tolist() for name in ("query", "parent", "icd")}
        with h5py.File(self.world.embeddings) as file:
            ids = file["id"][:].tolist()
            row = {id: i for i, id in enumerate(ids)}
            library = [i for i, split in enumerate(file["split"][:]) if split == 0]
            unit = [file[name][:] / ((file[name][:] ** 2).sum(1, keepdims=True) ** 0.5) for name in ("image", "query")]
        for begin in range(0, len(node["query"]), SHOTS + 1):
            self.assertEqual(len(set(node["query"][begin:begin + SHOTS + 1])), 1)
            self.assertEqual(node["parent"][begin:begin + SHOTS + 1], [-1, *range(begin, begin + SHOTS)])
            query = row[node["query"][begin]]
            similarity = sum(0.5 * vectors[library] @ vectors[query] for vectors in unit)
            found = [similarity[library.index(row[id])] for id in node["icd"][begin + 1:begin + SHOTS + 1]]
            self.assertEqual(found, sorted(found), "the most similar stands last")
            self.assertAlmostEqual(found[-1], similarity.max(), places=5)

    def test_killed_with_two_ranks_and_continued_with_three(self):
        self.kill_in_the_middle(ranks=2, rank=1)
        result = run_well(self.args(self.output), ranks=3)
        self.assertRegex(result.stderr, rf"\d+ of {NUM_QUERIES} queries are in the journals already")
        self.check_finished(self.output)

    def test_killed_with_three_ranks_and_continued_alone(self):
        self.kill_in_the_middle(ranks=3, rank=0)
        result = run_well(self.args(self.output))
        self.assertRegex(result.stderr, rf"\d+ of {NUM_QUERIES} queries are in the journals already")
        self.check_finished(self.output)

    def test_killed_before_the_tree_is_there(self):
        """The journals are all that there is: nothing in them may be lost, or scored again."""
        result = run(self.args(self.output), ranks=2, env={"SABER_FAIL_POINT": "hdf5:before-rename"})
        self.assertNotEqual(result.status, 0, result)
        self.assertFalse(self.output.exists(), result)
        self.assertEqual(sum(map(self.num_records, self.journals.glob("*.journal"))), NUM_QUERIES, result)
        result = run_well(self.args(self.output), ranks=2)
        self.assertIn(f"{NUM_QUERIES} of {NUM_QUERIES} queries are in the journals already", result.stderr)
        self.check_finished(self.output)

    def test_killed_before_the_journals_are_removed(self):
        """The tree is whole; the next start has nothing to score and removes them."""
        result = run(self.args(self.output), ranks=2, env={"SABER_FAIL_POINT": "score:tree-written"})
        self.assertNotEqual(result.status, 0, result)
        self.assertEqual(sha256(self.output), sha256(self.golden))
        self.assertTrue(self.journals.exists(), result)
        result = run_well(self.args(self.output), ranks=2)
        self.assertIn("is complete, nothing to do", result.stderr)
        self.check_finished(self.output)

    def test_torn_last_record_is_dropped(self):
        self.kill_in_the_middle(ranks=2, rank=0)
        journal = max(self.journals.glob("*.journal"), key=self.num_records)
        journal.write_bytes(journal.read_bytes()[:-5])
        result = run_well(self.args(self.output), ranks=2)
        warnings = [line for line in result.lines("warning") if "torn or damaged" in line]
        self.assertTrue(warnings and all(str(journal) in line for line in warnings), result)
        self.check_finished(self.output)

    def test_journals_of_another_setting_are_refused(self):
        self.kill_in_the_middle(ranks=2, rank=1)
        before = saber_test.listing(saber_test.work)
        result = run(self.args(self.output, score__beam=3), ranks=2)
        self.assertEqual(result.status, 2, result)
        self.assertEqual(len(result.lines("error")), 1, result)
        self.assertIn("beam = 2, wanted 3", result.lines("error")[0])
        self.assertEqual(saber_test.listing(saber_test.work), before)

    def test_finished_tree_is_left_alone(self):
        before = saber_test.listing(saber_test.work)
        for ranks in (None, 2):
            result = run_well(self.args(self.golden), ranks=ranks)
            self.assertIn(f"{self.golden} is complete", result.stderr)
            self.assertEqual(saber_test.listing(saber_test.work), before)

    def test_finished_tree_of_another_setting_is_not_replaced(self):
        before = saber_test.listing(saber_test.work)
        for changes in ({"score__seed": 2}, {"score__shots": 2}, {"score__max_queries": 5}):
            with self.subTest(changes=changes):
                result = run(self.args(self.golden, **changes))
                self.assertEqual(result.status, 2, result)
                self.assertIn(str(self.golden), result.lines("error")[0])
                self.assertEqual(saber_test.listing(saber_test.work), before)

    def test_another_seed_gives_another_tree(self):
        run_well(self.args(self.output, score__seed=2))
        self.assertNotEqual(sha256(self.output), sha256(self.golden))

    def test_time_and_folder_leave_no_trace(self):
        self.output = saber_test.work / "elsewhere" / "tree.h5"
        run_well(self.args(self.output))
        self.check_finished(self.output)
        shutil.rmtree(self.output.parent)


class Content(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.scored_world()
        with h5py.File(cls.world.embeddings) as file:
            cls.split = dict(zip(file["id"][:].tolist(), file["split"][:].tolist()))
        with h5py.File(cls.world.scores) as file:
            cls.attributes = dict(file.attrs)
            cls.types = {name: file["node"][name].dtype.str for name in file["node"]}
            cls.shapes = {file["node"][name].shape for name in file["node"]}
            cls.columns = {name: file["node"][name][:].tolist() for name in COLUMNS}

    def path(self, row):
        demonstrations = []
        while self.columns["parent"][row] >= 0:
            demonstrations.append(self.columns["icd"][row])
            row = self.columns["parent"][row]
        return demonstrations[::-1]

    def test_columns_and_attributes(self):
        self.assertEqual(self.types, COLUMNS)
        self.assertEqual(len(self.shapes), 1, "columns of one length")
        wanted = {"format": "saber-scores", "version": 1, "shots": 3, "beam": 2, "pool_size": 8, "seed": 1,
                  "reduction": "log_likelihood"}
        self.assertEqual({key: self.attributes.get(key) for key in wanted}, wanted)
        self.assertLess({"scorer", "prompt_template", "data_fingerprint", "pool"}, set(self.attributes))

    def test_rows_are_in_the_documented_order(self):
        rows = range(len(self.columns["query"]))
        keys = [(self.columns["query"][r], len(self.path(r)), self.columns["parent"][r], self.columns["icd"][r])
                for r in rows]
        self.assertEqual(keys, sorted(keys))
        self.assertEqual(len(set(keys)), len(keys))
        for r in rows:
            parent = self.columns["parent"][r]
            self.assertLess(parent, r)
            if parent >= 0:
                self.assertEqual(self.columns["query"][parent], self.columns["query"][r])

    def test_every_query_has_a_root_and_whole_sequences(self):
        roots = [r for r, parent in enumerate(self.columns["parent"]) if parent < 0]
        train = sorted(id for id, split in self.split.items() if split == 1)
        self.assertEqual([self.columns["query"][r] for r in roots], train[:12])
        self.assertEqual({self.columns["icd"][r] for r in roots}, {-1})
        for query in train[:12]:
            lengths = [len(self.path(r)) for r, q in enumerate(self.columns["query"]) if q == query]
            # One root; 8 candidates; the best 2 with each of the 7 others; the best 2 of those with each of 6.
            self.assertEqual([lengths.count(length) for length in range(4)], [1, 8, 14, 12])

    def test_demonstrations_are_library_rows_without_repeats(self):
        for r in range(len(self.columns["query"])):
            path = self.path(r)
            self.assertEqual(len(path), len(set(path)))
            self.assertEqual({self.split[icd] for icd in path} | {0}, {0})

    def test_rewards_are_finite_log_likelihoods(self):
        self.assertEqual(set(self.columns["status"]), {0})
        self.assertTrue(all(math.isfinite(reward) and reward <= 0 for reward in self.columns["reward"]))
        self.assertGreater(len(set(self.columns["reward"])), len(self.columns["reward"]) // 2)


if __name__ == "__main__":
    saber_test.main()
