"""The arithmetic of tools/compare, tools/ablations and tools/analysis, on tables that a reader can check."""

import concurrent.futures
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

import h5py
import numpy

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import paired  # noqa: E402


def tool(name):
    loader = importlib.machinery.SourceFileLoader(name, str(TOOLS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


ablations, analysis = tool("ablations"), tool("analysis")


def write_table(path, rows, **changes):
    """rows: name -> log-likelihoods; right where above -1; None: failed."""
    table = {"split": "test", "queries": 4, "shots": 4, "data_fingerprint": "d", "lvlm": "l", **changes, "rows": [
        {"name": name, "log_likelihoods": values, "correct": [None if v is None else int(v > -1) for v in values]}
        for name, values in rows.items()]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table))
    return path


class InAFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class Paired(InAFolder):
    def test_an_interval_is_that_of_the_percentiles(self):
        self.assertEqual(paired.interval(range(1000)), (25, 975))
        self.assertEqual(paired.interval([3.0]), (3.0, 3.0))

    def test_resamples_are_the_same_every_time(self):
        samples = paired.resamples(5, 40)
        self.assertEqual(samples, paired.resamples(5, 40))
        self.assertEqual({len(sample) for sample in samples}, {5})
        self.assertGreater(len({tuple(sample) for sample in samples}), 30)

    def test_queries_with_a_failure_do_not_count(self):
        self.assertEqual(paired.complete([[1, None, 0], [1, 1, 0]]), [0, 2])

    def test_what_cannot_be_compared_is_named(self):
        path = self.folder / "x.json"
        path.write_text("{}")
        with self.assertRaisesRegex(paired.Unusable, "x.json: is no output of saber eval"):
            paired.read(path)
        tables = {shots: paired.read(write_table(self.folder / f"{shots}.json", {}, shots=shots))[0] for shots in (2, 4)}
        with self.assertRaisesRegex(paired.Unusable, "2 and 4 differ in shots: 2 and 4"):
            paired.require_same(tables)

    def test_quantiles_of_t(self):
        """As printed in any table of them."""
        for freedom, wanted in ((1, 12.706), (2, 4.303), (5, 2.571), (30, 2.042), (1e6, 1.960)):
            self.assertAlmostEqual(paired.t_quantile(0.975, freedom), wanted, places=3)

    def test_an_interval_over_seeds_and_queries_by_hand(self):
        # Three seeds 0, 1, 2 without spread over queries: variance 1 / 3, two degrees of freedom.
        value, (low, high), seeds = paired.seeds_and_queries([[0.0] * 9, [1.0] * 9, [2.0] * 9])
        self.assertEqual((value, seeds), (1.0, [0.0, 1.0, 2.0]))
        self.assertAlmostEqual(high - value, 4.3027 / 3 ** 0.5, places=3)
        self.assertAlmostEqual(value - low, 4.3027 / 3 ** 0.5, places=3)
        # Equal seeds: that of the queries' mean alone. Queries -1 and 1, 50 each: variance (100 / 99) / 100.
        value, (low, high), _ = paired.seeds_and_queries([[-1.0, 1.0] * 50] * 3)
        self.assertAlmostEqual(high, paired.t_quantile(0.975, 99) / 99 ** 0.5, places=6)
        self.assertEqual(value, 0)
        # Both at once: variances add up, degrees of freedom after Satterthwaite.
        low, high = paired.seeds_and_queries([[shift - 1.0, shift + 1.0] * 50 for shift in (0.0, 1.0, 2.0)])[1]
        variance, freedom = 1 / 3 + 1 / 99, (1 / 3 + 1 / 99) ** 2 / ((1 / 3) ** 2 / 2 + (1 / 99) ** 2 / 99)
        self.assertAlmostEqual((high - low) / 2, paired.t_quantile(0.975, freedom) * variance ** 0.5, places=6)
        self.assertEqual(paired.seeds_and_queries([[0.5, 0.5]]), (0.5, (0.5, 0.5), [0.5]))


class Compare(InAFolder):
    """tools/compare on files small enough to check by hand."""

    NAMES = ("label_probe", "task_filtered_i2i", "oracle", "saber")

    def file(self, name, queries=40, **outcomes):
        """outcomes: correct of each query by row; log P is correct - 1."""
        rows = [{"name": row, "correct": outcomes[row], "log_likelihoods": [value - 1.0 for value in outcomes[row]]}
                for row in self.NAMES]
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"split": "test", "queries": queries, "shots": 4, "data_fingerprint": "f",
                                    "lvlm": "l", "rows": rows}))
        return path

    def compare(self, *args):
        return subprocess.run([TOOLS / "compare", *map(str, args)],
                                         capture_output=True, text=True, timeout=60)

    def test_means_over_runs_and_paired_interval(self):
        half, quarter = [1, 0] * 20, [1, 0, 0, 0] * 10
        first = self.file("first", saber=[1] * 40, label_probe=half, task_filtered_i2i=quarter, oracle=[1] * 40)
        second = self.file("second", saber=half, label_probe=half, task_filtered_i2i=quarter, oracle=[1] * 40)
        lines = self.compare(first, second).stdout.splitlines()
        self.assertEqual(lines[0], "test, 40 queries, 4 shots, 2 run(s)")
        # SabER is 1 or 0.75 on the mean of both, the probe 0.5; per query the difference is 0 or 0.5.
        words = lines[2].split()
        self.assertEqual(words[:4], ["accuracy", "0.750", "0.500", "+0.250"])
        low, high = float(words[4]), float(words[6])
        self.assertTrue(0.15 < low < 0.2 and 0.3 < high < 0.35, lines[2])
        self.assertEqual(lines[3].split()[:4], ["log-likelihood", "-0.250", "-0.500", "+0.250"])
        self.assertEqual(lines[4].split()[:3], ["gap", "closed", "0.67"])
        self.assertEqual(self.compare(first, second).stdout.splitlines(), lines, "the same every time")

    def test_files_that_do_not_belong_together_are_refused(self):
        rows = {name: [1] * 40 for name in self.NAMES}
        other = self.file("other", **rows)
        other.write_text(other.read_text().replace('"shots": 4', '"shots": 8'))
        result = self.compare(self.file("one", **rows), other)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("differ in shots: 4 and 8", result.stderr)
        self.assertIn("no output of saber eval", self.compare(__file__).stderr)


class Ablations(InAFolder):
    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(ablations, "RUNS", self.folder))

    def write(self, variant, seed, values, **changes):
        for split in ("validation", "test"):
            write_table(self.folder / variant / f"seed-{seed}" / f"{split}.json", {"saber": values}, **changes)

    def test_differences_are_paired_by_query_and_seed(self):
        for seed, shift in ((1, 0.0), (2, -8.0), (3, -4.0)):  # the seeds differ by more than the variants
            self.write("full", seed, [shift - 1.5, shift - 2.5, shift - 3.5, shift - 4.5])
            self.write("plain", seed, [shift - 1.75, shift - 2.75, shift - 3.75, shift - 4.75])
        for seeds, bold in (([1, 2, 3], "**"), ([1, 2], "")):
            lines = ablations.table(["full", "plain"], seeds).splitlines()
            self.assertIn(f"Seeds {', '.join(map(str, seeds))}; 4 test queries.", lines[0])
            row = [cell.strip() for cell in lines[-1].strip("|").split("|")]
            self.assertEqual(row[0], "`plain`")
            self.assertEqual(row[3], "`full`")
            self.assertEqual(row[5], f"{bold}-0.25 (-0.25 to -0.25){bold}; " + ", ".join(["-0.25"] * len(seeds)))
            self.assertTrue(row[4].startswith("+0.000 (+0.000 to +0.000);"), "nothing to see is not bold")
        self.assertEqual(lines[-1].split("|")[2].strip(), "0.000 / -7.25", "of seeds 1 and 2")

    def test_a_variant_of_the_guider_is_compared_without_task_too(self):
        for variant in ("full", "no-task", "random-guider"):
            self.write(variant, 1, [-1.5, -0.5, -2.0, None])
        lines = ablations.table(["full", "no-task", "random-guider"], [1]).splitlines()
        self.assertIn("3 test queries", lines[0])
        self.assertEqual([line.split("|")[4].strip() for line in lines[4:]], ["–", "`full`", "`full`", "`no-task`"])

    def test_a_run_older_than_its_settings_is_not_taken(self):
        self.write("plain", 1, [-1.0])
        outputs = [self.folder / "plain/seed-1" / f"{split}.json" for split in ("validation", "test")]
        self.assertTrue(ablations.is_done("plain", outputs))
        os.utime(outputs[0], (1, 1))
        with self.assertRaisesRegex(paired.Unusable, "is older than .*; remove .*seed-1"):
            ablations.is_done("plain", outputs)
        self.assertFalse(ablations.is_done("plain", [*outputs, self.folder / "none.json"]))

    def test_what_still_runs_ends_when_one_fails(self):
        programs = ablations.Programs()
        slow = concurrent.futures.ThreadPoolExecutor(1)
        with mock.patch.object(ablations, "ROOT", self.folder):
            (self.folder / "build").mkdir()
            program = self.folder / "build/saber"
            program.write_text("#!/bin/sh\nsleep 60\n")
            program.chmod(0o755)
            running = slow.submit(programs.saber, ["train"], self.folder / "log")
            while not programs.running:
                time.sleep(0.01)
            programs.stop()
            with self.assertRaisesRegex(RuntimeError, "saber train ended with status"):
                running.result(timeout=20)
            with self.assertRaisesRegex(RuntimeError, "stopped"):
                programs.saber(["train"], self.folder / "log")

    def test_every_reference_is_a_variant(self):
        for name in {*ablations.SECOND_REFERENCE, *ablations.SECOND_REFERENCE.values()}:
            self.assertTrue(ablations.config_of(name).exists())


class Analysis(InAFolder):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "set.h5"
        self.enterContext(mock.patch.object(analysis, "DATA", self.data))
        draws, rows = numpy.random.default_rng(1), 40
        with h5py.File(self.data, "w") as file:
            file.attrs["format"], file.attrs["version"] = "saber-embeddings", 1
            file["tasks/question"] = numpy.array([0, 0, 1, 1], "int32")
            file["tasks/name"] = [f"task {i}" for i in range(4)]
            file["id"], file["task"] = numpy.arange(rows) * 3, numpy.arange(rows, dtype="int32") % 4
            file["split"] = numpy.where(numpy.arange(rows) < 32, 0, 3).astype("uint8")
            for name in ("image", "query", "query_result"):
                file[name] = draws.standard_normal((rows, 5)).astype("float32")
            file["pixels"] = draws.integers(0, 256, (rows, 3, 2, 2), "uint8")
            file["text/query"], file["text/result"] = ([f"{kind} {i}" for i in range(rows)] for kind in "qr")

    def test_shuffled_results_stay_in_their_task(self):
        library = analysis.Library()
        places = library.shuffled_within_tasks(numpy.random.default_rng(1))
        self.assertEqual(sorted(places.tolist()), list(range(32)))
        self.assertTrue((library.task[places] == library.task).all())
        self.assertTrue((places != numpy.arange(32)).any())

    def test_foreign_rows_are_asked_something_else(self):
        library = analysis.Library()
        places = library.of_another_question(numpy.random.default_rng(1))
        self.assertTrue((library.question[places] != library.question).all())

    def test_an_altered_set_keeps_the_queries(self):
        def change(file):
            file["text/result"][:32] = ["changed"] * 32

        altered = analysis.altered_set(self.folder, "altered", analysis.Library(), change)
        with h5py.File(altered) as new, h5py.File(self.data) as old:
            self.assertEqual(set(new["text/result"].asstr()[:32]), {"changed"})
            for name in ("id", "split", "task", "pixels", "image", "text/query"):
                self.assertEqual(new[name][:].tolist(), old[name][:].tolist(), name)
            self.assertEqual(new["text/result"].asstr()[32:].tolist(), old["text/result"].asstr()[32:].tolist())

    def test_a_set_from_parts(self):
        path = self.folder / "parts.h5"
        analysis.subset(path, [(self.data, numpy.arange(3), None), (self.data, numpy.array([35, 36]), 0)])
        with h5py.File(path) as file:
            self.assertEqual(file["id"][:].tolist(), [0, 3, 6, 105, 108])
            self.assertEqual(file["split"][:].tolist(), [0] * 5)
            self.assertEqual(file["text/query"].asstr()[4], "q 36")
            self.assertEqual(file.attrs["format"], "saber-embeddings")

    @staticmethod
    def row(values):
        return [int(v > -1) for v in values], values

    def evaluations(self, lists, chosen, tables):
        """Stands in for Evaluations: prepared rows, and what it was asked. chosen: log-likelihoods of every selection."""
        asked = {}

        def evaluate(name, files=(), **_):
            asked[name] = {path.stem: analysis.read_selections(path) for path in files}
            return tables(name)

        evaluate.folder = self.folder
        evaluate.selections = lambda: {name: lists for name in analysis.SELECTIONS}
        evaluate.as_chosen = lambda: {name: self.row(chosen) for name in analysis.SELECTIONS}
        return evaluate, asked

    def test_an_evaluation_is_done_again_when_its_model_or_data_are_newer(self):
        checkpoint = self.folder / "run/checkpoints/step-00000007"
        checkpoint.mkdir(parents=True)
        with mock.patch.object(analysis, "ROOT", self.folder):
            evaluate, started = analysis.Evaluations("run", 2), []
            rows = {name: [-0.5] for name in analysis.SELECTIONS}
            evaluate.start = lambda command, values, name: started.append(name) or write_table(
                evaluate.folder / f"{name}.json", rows)
            for wanted in (["one"], ["one"]):
                self.assertEqual(evaluate("one")["saber"], ([1], [-0.5]))
                self.assertEqual(started, wanted)
            os.utime(self.data, (time.time() + 100,) * 2)
            evaluate("one")
            self.assertEqual(started, ["one", "one"])
            os.utime(self.data, (1, 1))
            (checkpoint.parent / "step-00000008").mkdir()
            self.assertNotEqual(analysis.Evaluations("run", 2).folder, evaluate.folder)

    def test_a_file_is_whole_or_not_there(self):
        def fails(path):
            path.write_text("half")
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            analysis.made_once(self.folder / "x.h5", fails)
        self.assertFalse((self.folder / "x.h5").exists())
        analysis.made_once(self.folder / "x.h5", lambda path: path.write_text("whole"))
        analysis.made_once(self.folder / "x.h5", fails)
        self.assertEqual((self.folder / "x.h5").read_text(), "whole")
        os.utime(self.data, (time.time() + 100,) * 2)  # made from other data
        analysis.made_once(self.folder / "x.h5", lambda path: path.write_text("new"))
        self.assertEqual((self.folder / "x.h5").read_text(), "new")

    def test_new_rows_that_are_not_new_are_refused(self):
        with self.assertRaisesRegex(paired.Unusable, "shows a picture of the demo"):
            analysis.require_unseen(self.data, numpy.array([5]))
        other = self.folder / "other.h5"
        with h5py.File(self.data) as old, h5py.File(other, "w") as file:
            file["pixels"] = 255 - old["pixels"][:]
        analysis.require_unseen(other, numpy.arange(40))

    def test_disruption_replaces_one_by_its_nearest_neighbour(self):
        library = analysis.Library()
        ids = [int(library.id[p]) for p in (4, 9, 2, 7)]

        def tables(name):
            return {f"{s}-replaced-{i}": self.row([-1.5, -1.0 - i]) for s in analysis.SELECTIONS for i in range(4)}

        evaluate, asked = self.evaluations({999: ids}, [-0.5, -2.0], tables)
        text = analysis.disruption(evaluate)
        for i in range(4):
            found = asked["disruption"][f"saber-replaced-{i}"][999]
            self.assertEqual(found[:i] + found[i + 1:], ids[:i] + ids[i + 1:])
            similarity = library.similarity(library.place[ids[i]])
            allowed = [p for p in range(32) if int(library.id[p]) not in ids]
            self.assertEqual(found[i], int(library.id[max(allowed, key=lambda p: similarity[p])]))
        cells = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
        # Query 1 loses its right answer each time; |changes| 1 and (1 + 0 + 1 + 2) / 4 = 1.
        self.assertEqual((cells[1][:5], cells[2]), ("0.500", "-0.500"))
        self.assertEqual((cells[3][:4], cells[4]), ("1.00", "-0.75"))

    def test_order_by_hand(self):
        def tables(name):
            return {f"{s}-order-{k}": self.row([-0.5, -0.5 if k < 5 else -1.5]) for s in analysis.SELECTIONS
                    for k in range(10)}

        evaluate, asked = self.evaluations({999: [0, 3, 6, 9]}, [-0.5, -0.5], tables)
        cells = [cell.strip() for cell in analysis.order(evaluate).splitlines()[-1].strip("|").split("|")]
        # Accuracy 1 in five orders and 1/2 in the others.
        self.assertEqual(cells[1:4], ["1.000", "0.750", "0.2500"])
        self.assertEqual(cells[4:8], ["-0.50", "-0.75", "0.250", "0.500"])
        orders = [tuple(lists[999]) for lists in asked["order"].values()]
        self.assertEqual({tuple(sorted(order)) for order in orders}, {(0, 3, 6, 9)})
        self.assertGreater(len(set(orders)), 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
