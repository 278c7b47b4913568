"""The arithmetic of tools/compare, tools/ablations and tools/analysis, on tables that a reader can check."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import pathlib
import random
import sys
import tempfile
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


ablations, analysis, compare = tool("ablations"), tool("analysis"), tool("compare")


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
        tables = [paired.read(write_table(self.folder / f"{shots}.json", {}, shots=shots))[0] for shots in (2, 4)]
        with self.assertRaisesRegex(paired.Unusable, "differ in shots: 2, 4"):
            paired.require_same(tables)


class Compare(InAFolder):
    def test_table(self):
        rows = {"saber": [0, 0, 0, -3], "label_probe": [0, 0, -3, -3], "task_filtered_i2i": [0, -3, -3, -3], "oracle": [0] * 4}
        path, out = write_table(self.folder / "eval.json", rows), io.StringIO()
        with mock.patch.object(sys, "argv", ["compare", str(path)]), contextlib.redirect_stdout(out):
            compare.main()
        lines = [line.split() for line in out.getvalue().splitlines()]
        self.assertEqual(lines[2][:4], ["accuracy", "0.750", "0.500", "+0.250"])
        self.assertEqual(lines[3][:4], ["log-likelihood", "-0.750", "-1.500", "+0.750"])
        self.assertEqual(lines[4][:3], ["gap", "closed", "0.67"])


class Ablations(InAFolder):
    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(ablations, "RUNS", self.folder))

    def write(self, variant, seed, values, **changes):
        for split in ("validation", "test"):
            write_table(self.folder / variant / f"seed-{seed}" / f"{split}.json", {"saber": values}, **changes)

    def test_differences_are_paired_by_query_and_seed(self):
        for seed, shift in ((1, 0.0), (2, -8.0)):  # the seeds differ by more than the variants
            self.write("full", seed, [shift - 1.5, shift - 2.5, shift - 3.5, shift - 4.5])
            self.write("plain", seed, [shift - 1.75, shift - 2.75, shift - 3.75, shift - 4.75])
        lines = ablations.table(["full", "plain"], [1, 2]).splitlines()
        self.assertEqual(lines[0], "2 seeds, 4 test queries")
        row = [cell.strip() for cell in lines[-1].strip("|").split("|")]
        self.assertEqual(row[:4], ["`plain`", "0.000 / -7.25", "0.000 / -7.25", "`full`"])
        self.assertEqual(row[5], "**-0.25 (-0.25 to -0.25)**; -0.25, -0.25")
        self.assertEqual(row[4], "+0.000 (+0.000 to +0.000); +0.000, +0.000", "nothing to see is not bold")

    def test_seeds_that_disagree_widen_the_interval(self):
        samples = paired.resamples(50, 400)
        value, (low, high), seeds = ablations.comparison([[1.0] * 50, [-1.0] * 50], samples, random.Random(1))
        self.assertEqual((value, seeds), (0.0, [1.0, -1.0]))
        self.assertEqual((low, high), (-1.0, 1.0))

    def test_a_variant_of_the_guider_is_compared_without_task_too(self):
        for variant in ("full", "no-task", "random-guider"):
            self.write(variant, 1, [-1.5, -0.5, -2.0, None])
        lines = ablations.table(["full", "no-task", "random-guider"], [1]).splitlines()
        self.assertEqual(lines[0], "1 seeds, 3 test queries")
        self.assertEqual([line.split("|")[4].strip() for line in lines[4:]], ["–", "`full`", "`full`", "`no-task`"])

    def test_every_reference_is_a_variant(self):
        for name in {*ablations.SECOND_REFERENCE, *ablations.SECOND_REFERENCE.values()}:
            self.assertTrue(ablations.config_of(name).exists())


class Analysis(InAFolder):
    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(analysis, "OUT", self.folder))
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

        with h5py.File(analysis.altered_set("altered", analysis.Library(), change)) as new, h5py.File(self.data) as old:
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

    def evaluations(self, lists, tables):
        """Stands in for Evaluations: prepared rows, and what it was asked."""
        asked = {}

        def evaluate(name, files=(), **_):
            asked[name] = {path.stem: analysis.read_lists(path) for path in files}
            return tables(name)

        evaluate.lists = lambda: {name: lists for name in analysis.SELECTIONS}
        return evaluate, asked

    def test_disruption_replaces_one_by_its_nearest_neighbour(self):
        library = analysis.Library()
        ids = [int(library.id[p]) for p in (4, 9, 2, 7)]

        def tables(name):
            if name == "as-is":
                return {s: self.row([-0.5, -2.0]) for s in analysis.SELECTIONS}
            return {f"{s}-replaced-{i}": self.row([-1.5, -1.0 - i]) for s in analysis.SELECTIONS for i in range(4)}

        evaluate, asked = self.evaluations({999: ids}, tables)
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
            if name == "as-is":
                return {s: self.row([-0.5, -0.5]) for s in analysis.SELECTIONS}
            return {f"{s}-order-{k}": self.row([-0.5, -0.5 if k < 5 else -1.5]) for s in analysis.SELECTIONS
                    for k in range(10)}

        evaluate, asked = self.evaluations({999: [0, 3, 6, 9]}, tables)
        cells = [cell.strip() for cell in analysis.order(evaluate).splitlines()[-1].strip("|").split("|")]
        # Accuracy 1 in five orders and 1/2 in the others.
        self.assertEqual(cells[1:4], ["1.000", "0.750", "0.2500"])
        self.assertEqual(cells[4:8], ["-0.50", "-0.75", "0.250", "0.500"])
        orders = [tuple(lists[999]) for lists in asked["order"].values()]
        self.assertEqual({tuple(sorted(order)) for order in orders}, {(0, 3, 6, 9)})
        self.assertGreater(len(set(orders)), 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
