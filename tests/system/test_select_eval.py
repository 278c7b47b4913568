"""`saber select` and `saber eval` on a small trained model."""

import json
import shutil
import unittest

import h5py
import numpy

import saber_test
from saber_test import json_lines, run_well

# More than two of the blocks of 64 queries that go round the ranks, so that three ranks all have some.
NUM_VALIDATION = 150
SHOTS = 3
ROW_NAMES = ["zero_shot", "random", "i2i", "iq2iq", "task_filtered_random", "task_filtered_iq2iq", "task_filtered_i2i",
             "label_probe", "label_probe_train", "saber", "oracle"]


class Trained(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.scored_world(NUM_VALIDATION)
        cls.run_folder = saber_test.work / "run"
        if not cls.run_folder.exists():
            run_well(cls.world.train_args(cls.run_folder))

    @classmethod
    def select(cls, output, ranks=None, **changes):
        return run_well(["select", *cls.world.data_args(**{"run__dir": cls.run_folder, "select__output": output,
                                                           "select__shots": SHOTS, **changes})], ranks=ranks)


class Select(Trained):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with h5py.File(cls.world.embeddings) as file:
            cls.rows = {name: file[name][:].tolist() for name in ("id", "split", "task")}
            cls.rows["query"] = file["text/query"].asstr()[:].tolist()
            cls.rows["result"] = file["text/result"].asstr()[:].tolist()
            cls.tasks = {name: file["tasks"][name].asstr()[:].tolist() for name in ("name", "instruction")}
        cls.library = {id: row for row, id in enumerate(cls.rows["id"]) if cls.rows["split"][row] == 0}
        cls.output = saber_test.work / "selections.jsonl"
        cls.select(cls.output)
        cls.lines = json_lines(cls.output)

    @staticmethod
    def choices(lines):
        return [[icd["id"] for icd in line["demonstrations"]] for line in lines]

    def test_every_query_once_and_in_order(self):
        wanted = [row for row, split in enumerate(self.rows["split"]) if split == 3]
        self.assertEqual([line["id"] for line in self.lines], [self.rows["id"][row] for row in wanted])
        for line, row in zip(self.lines, wanted):
            task = self.rows["task"][row]
            self.assertEqual(line["query"], self.rows["query"][row])
            self.assertEqual((line["task"], line["instruction"]),
                             (self.tasks["name"][task], self.tasks["instruction"][task]))

    def test_demonstrations_are_library_rows_without_repeats(self):
        for line in self.lines:
            ids = [icd["id"] for icd in line["demonstrations"]]
            self.assertEqual(len(ids), SHOTS)
            self.assertEqual(len(set(ids)), SHOTS)
            self.assertLessEqual(set(ids), set(self.library))

    def test_texts_and_probabilities_of_demonstrations(self):
        for line in self.lines:
            for icd in line["demonstrations"]:
                row = self.library[icd["id"]]
                self.assertEqual((icd["query"], icd["result"]), (self.rows["query"][row], self.rows["result"][row]))
                self.assertLessEqual(icd["log_probability"], 0)
                self.assertGreater(icd["log_probability"], -20)

    def test_no_answer_of_a_query_is_in_its_line(self):
        for line in self.lines:
            self.assertEqual(set(line), {"id", "task", "instruction", "query", "demonstrations"})

    def test_same_checkpoint_same_bytes(self):
        for ranks in (None, 2):
            again = saber_test.work / "again.jsonl"
            self.select(again, ranks=ranks)
            self.assertEqual(again.read_bytes(), self.output.read_bytes())

    def test_any_number_of_ranks_holds_the_library_whole_or_in_shares(self):
        """Three blocks of queries; one process that holds everything, for comparison."""
        output = saber_test.work / "ranks.jsonl"
        for beam in (1, 3):
            changes = {"select__split": "validation", "select__beam": beam, "select__distinct_answers": "true"}
            self.select(output, **changes)
            wanted, wanted_bytes = json_lines(output), output.read_bytes()
            for head, ranks in (("replicated", 2), ("replicated", 3), ("sharded", 1), ("sharded", 2), ("sharded", 3)):
                with self.subTest(beam=beam, head=head, ranks=ranks):
                    output.unlink()
                    self.select(output, ranks=ranks, model__head=head, **changes)
                    if head == "replicated":
                        self.assertEqual(output.read_bytes(), wanted_bytes)
                    found = json_lines(output)
                    self.assertEqual(self.choices(found), self.choices(wanted))
                    for one, other in zip(found, wanted):
                        for icd, same in zip(one["demonstrations"], other["demonstrations"]):
                            self.assertAlmostEqual(icd.pop("log_probability"), same["log_probability"], delta=1e-5)
                            self.assertEqual(icd, {key: value for key, value in same.items() if key in icd})

    def test_a_run_trained_on_shares_selects_from_the_whole_and_back(self):
        run_folder, output = saber_test.work / "sharded-run", saber_test.work / "of-sharded-run.jsonl"
        run_well(self.world.train_args(run_folder, train__max_steps=2, model__head="sharded"), ranks=2)
        self.select(output, run__dir=run_folder)
        wanted = self.choices(json_lines(output))
        self.select(output, run__dir=run_folder, ranks=2, model__head="sharded")
        self.assertEqual(self.choices(json_lines(output)), wanted)

    def test_other_split_and_number_of_shots(self):
        output = saber_test.work / "validation.jsonl"
        self.select(output, select__split="validation", select__shots=1)
        lines = json_lines(output)
        self.assertEqual(len(lines), NUM_VALIDATION)
        self.assertEqual({len(line["demonstrations"]) for line in lines}, {1})

    def test_file_of_mere_queries(self):
        path, output = saber_test.work / "queries.h5", saber_test.work / "queries.jsonl"
        with h5py.File(self.world.embeddings) as source, h5py.File(path, "w") as file:
            test = numpy.flatnonzero(source["split"][:] == 3)
            file.attrs["format"], file.attrs["version"] = "saber-embeddings", 1
            source.copy("tasks", file)
            for name in ("image", "query", "split", "task", "pixels", "text/query"):
                file[name] = source[name][:][test]
            file["id"] = source["id"][:][test] + 10_000
        self.select(output, select__queries=path)
        lines = json_lines(output)
        self.assertEqual([line["id"] for line in lines], [line["id"] + 10_000 for line in self.lines])
        self.assertEqual(self.choices(lines), self.choices(self.lines))

    def test_results_of_queries_are_not_looked_at(self):
        path, output = saber_test.work / "no-results.h5", saber_test.work / "no-results.jsonl"
        shutil.copy(self.world.embeddings, path)
        with h5py.File(path, "r+") as file:
            for row in numpy.flatnonzero(file["split"][:] > 0).tolist():
                file["query_result"][row] = numpy.nan
                file["text/result"][row] = "?"
        self.select(output, data__embeddings=path)
        self.assertEqual(output.read_bytes(), self.output.read_bytes())

    def test_constraints(self):
        output = saber_test.work / "constraints.jsonl"
        excluded = self.choices(self.lines)[0][:2]
        self.select(output, select__beam=3, select__same_task="true", select__distinct_answers="true",
                    select__distinct_pictures="true", select__exclude=",".join(map(str, excluded)), select__shots=2)
        task_of = {id: self.tasks["name"][self.rows["task"][row]] for id, row in self.library.items()}
        for line in json_lines(output):
            self.assertEqual({task_of[icd["id"]] for icd in line["demonstrations"]}, {line["task"]})
            self.assertEqual(len({icd["result"] for icd in line["demonstrations"]}), 2)
            self.assertFalse({icd["id"] for icd in line["demonstrations"]} & set(excluded))

    def test_constraints_that_cannot_be_met(self):
        output = saber_test.work / "not-to-be.jsonl"
        for changes, message in (({"select__distinct_answers": "true", "select__shots": 100}, "none such found for query"),
                                 ({"select__exclude": "12,x"}, "select.exclude holds 'x', wanted numbers"),
                                 ({"select__exclude": self.lines[0]["id"]}, "which is no library row's id")):
            result = saber_test.run(["select", *self.world.data_args(
                **{"run__dir": self.run_folder, "select__output": output, **changes})])
            self.assertEqual(result.status, 2, result)
            self.assertIn(message, result.lines("error")[0])
            self.assertFalse(output.exists())

    def test_ranks_refuse_together_in_one_line(self):
        output = saber_test.work / "refused.jsonl"
        changes = {"select__split": "validation", "select__distinct_answers": "true", "select__shots": 100,
                   "run__dir": self.run_folder, "select__output": output}
        wanted = None
        for head, ranks in (("replicated", None), ("replicated", 3), ("sharded", 2), ("sharded", 3)):
            result = saber_test.run(["select", *self.world.data_args(model__head=head, **changes)], ranks=ranks)
            self.assertEqual(result.status, 2, result)
            self.assertEqual(len(result.lines("error")), 1, result)
            message = result.lines("error")[0].split("[error]")[1]
            wanted = wanted or message
            self.assertEqual(message, wanted)
            self.assertFalse(output.exists())

    def test_one_checkpoint_folder_instead_of_a_run(self):
        step = max((self.run_folder / "checkpoints").iterdir())
        again = saber_test.work / "step.jsonl"
        self.select(again, run__dir=step)
        self.assertEqual(again.read_bytes(), self.output.read_bytes())


class Evaluated(Trained):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.output = saber_test.work / "eval-1.json"
        cls.printed = cls.evaluate(cls.output).stdout
        cls.table = json.loads(cls.output.read_text())
        cls.by_name = {row["name"]: row for row in cls.table["rows"]}

    @classmethod
    def evaluate(cls, output, ranks=None, **changes):
        return run_well(["eval", *cls.world.data_args(**{"run__dir": cls.run_folder, "eval__output": output,
                                                         "eval__shots": SHOTS, **changes})], ranks=ranks)


class Eval(Evaluated):
    def test_rows_in_order(self):
        self.assertEqual([row["name"] for row in self.table["rows"]], ROW_NAMES)
        self.assertEqual((self.table["split"], self.table["queries"], self.table["shots"]),
                         ("validation", NUM_VALIDATION, SHOTS))

    def test_values_are_possible(self):
        for row in self.table["rows"]:
            with self.subTest(row=row["name"]):
                p = row["accuracy"]
                self.assertTrue(0 <= p <= 1)
                n = NUM_VALIDATION
                self.assertAlmostEqual(row["accuracy_se"], (p * (1 - p) / (n - 1)) ** 0.5, places=9)
                self.assertLess(row["log_likelihood"], 0)
                self.assertGreater(row["log_likelihood_se"], 0)
                self.assertTrue(0 <= row["holds_answer"] <= 1)
                self.assertEqual(row["failed"], 0)

    def test_outcomes_of_each_query_belong_to_the_means(self):
        for row in self.table["rows"]:
            self.assertEqual(len(row["correct"]), NUM_VALIDATION)
            self.assertAlmostEqual(sum(row["correct"]) / NUM_VALIDATION, row["accuracy"], places=12)
            self.assertAlmostEqual(sum(row["log_likelihoods"]) / NUM_VALIDATION, row["log_likelihood"], places=9)

    def test_marks_that_need_no_model(self):
        self.assertEqual(self.by_name["zero_shot"]["holds_answer"], 0, "no demonstration holds an answer")
        self.assertGreaterEqual(self.by_name["oracle"]["holds_answer"],
                                max(row["holds_answer"] for row in self.table["rows"]))

    def test_table_on_the_console(self):
        lines = [line.split() for line in self.printed.splitlines() if line and not line.startswith("selection")]
        self.assertEqual([line[0] for line in lines], ROW_NAMES)
        for line, row in zip(lines, self.table["rows"]):
            self.assertEqual(line[1], f"{row['accuracy']:.3f}")

    def test_same_bytes_for_any_number_of_ranks(self):
        for ranks in (2, 3):
            with self.subTest(ranks=ranks):
                output = saber_test.work / f"eval-{ranks}.json"
                self.evaluate(output, ranks=ranks)
                self.assertEqual(json.loads(output.read_text()), self.table)
                self.assertEqual(output.read_bytes(), self.output.read_bytes())

    def test_same_bytes_from_shares_of_the_library(self):
        for ranks in (1, 2, 3):
            with self.subTest(ranks=ranks):
                output = saber_test.work / f"eval-shares-{ranks}.json"
                self.evaluate(output, ranks=ranks, model__head="sharded")
                self.assertEqual(json.loads(output.read_text()), self.table)
                self.assertEqual(output.read_bytes(), self.output.read_bytes())

    def test_rows_that_ask_first(self):
        """In the order of the table, the same for any number of ranks, and the other rows stay as they are."""
        tables = {}
        for ranks in (1, 2):
            output = saber_test.work / f"eval-also-{ranks}.json"
            self.evaluate(output, ranks=ranks, eval__also="iq2iq_saber,iqpr,iq2iq_influence", eval__max_queries=70)
            tables[ranks] = json.loads(output.read_text())
        self.assertEqual(tables[1], tables[2])
        rows = {row["name"]: row for row in tables[1]["rows"]}
        self.assertEqual(list(rows), ROW_NAMES[:9] + ["iqpr", "iq2iq_influence", "iq2iq_saber"] + ROW_NAMES[9:])
        for name in ROW_NAMES:
            self.assertEqual(rows[name]["correct"], self.by_name[name]["correct"][:70], name)
        for name in ("iq2iq_influence", "iq2iq_saber"):
            self.assertEqual(rows[name]["holds_answer"], rows["iq2iq"]["holds_answer"], "the same rows, in another order")
            self.assertNotEqual(rows[name]["log_likelihoods"], rows["iq2iq"]["log_likelihoods"], name)
        self.assertNotEqual(rows["iq2iq_influence"]["log_likelihoods"], rows["iq2iq_saber"]["log_likelihoods"])

    def test_the_oracle_of_a_wide_beam(self):
        output = saber_test.work / "eval-oracle.json"
        self.evaluate(output, eval__also="oracle_beam", eval__max_queries=10)
        rows = json.loads(output.read_text())["rows"]
        self.assertEqual([row["name"] for row in rows], [*ROW_NAMES, "oracle_beam"])
        self.assertGreater(rows[-1]["log_likelihood"], max(row["log_likelihood"] for row in rows[:-1]))
        self.assertEqual(rows[-1]["failed"], 0)

    def test_rows_that_cannot_be_had(self):
        for changes, words in (({"eval__also": "iqpr", "model__head": "sharded"}, "wants the whole library"),
                               ({"eval__also": "iq2iq_saber", "eval__shots": 6}, "up to 5 demonstrations"),
                               ({"eval__also": "lever_lm"}, "one of iqpr, iq2iq_influence, iq2iq_saber, oracle_beam")):
            output = saber_test.work / "none.json"
            args = {"run__dir": self.run_folder, "eval__output": output, "eval__shots": SHOTS, **changes}
            result = saber_test.run(["eval", *self.world.data_args(**args)])
            self.assertEqual(result.status, 2, result)
            self.assertIn(words, result.lines("error")[0])
            self.assertFalse(output.exists())

    def test_training_changes_the_row_of_saber_alone(self):
        other, output = saber_test.work / "other-run", saber_test.work / "eval-other.json"
        run_well(self.world.train_args(other, train__max_steps=1, seed=2))
        self.evaluate(output, run__dir=other)
        rows = {row["name"]: row for row in json.loads(output.read_text())["rows"]}
        for name in ROW_NAMES:
            with self.subTest(row=name):
                if name == "saber":
                    self.assertNotEqual(rows[name]["log_likelihood"], self.by_name[name]["log_likelihood"])
                else:
                    self.assertEqual(rows[name], self.by_name[name])



if __name__ == "__main__":
    saber_test.main()
