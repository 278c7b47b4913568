"""Bad input gets one error that names place, found and wanted, exit status 2, and nothing is written."""

import os
import re
import shutil
import unittest
import unittest.mock

import h5py
import numpy

import saber_test
from saber_test import LVLM_WEIGHTS, run, run_well

RULE = "-" * 74
# What mpirun itself says when ranks end with a status other than 0. `mpirun --quiet` would hide it, and with it the
# notice that a rank called MPI_Abort, which must not be there.
CLOSING_NOTES = ("Primary job  terminated normally, but",
                 "mpirun detected that one or more processes exited with non-zero status",
                 "mpiexec detected that one or more processes exited with non-zero status")


LOG_LINE = re.compile(r"\[[\d:.]+\] \[\S+ rank \d+\] \[(info|warning)\] ")


def without_closing_notes(stderr):
    def drop(block):
        return "" if block[1].startswith(CLOSING_NOTES) else block[0]

    return re.sub(f"{RULE}\n(.*?){RULE}\n", drop, stderr, flags=re.DOTALL)


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.scored_world()
        cls.inputs = saber_test.work / "inputs"
        cls.inputs.mkdir()

    def refuse(self, args, *wanted, ranks=(None, 2)):
        """Each of `wanted` is a text that the error line must hold."""
        for count in ranks:
            with self.subTest(ranks=count or "1, without mpirun"):
                before = saber_test.listing(saber_test.work)
                result = run(args, ranks=count)
                self.assertEqual(result.status, 2, result)
                rest = without_closing_notes(result.stderr).splitlines()
                self.assertEqual(len(result.lines("error")), 1, f"wanted one error: {result}")
                error = result.lines("error")[0]
                self.assertEqual([line for line in rest if line != error and not LOG_LINE.match(line)], [],
                                 f"wanted no words but SabER's: {result}")
                for text in wanted:
                    self.assertIn(str(text), error, result)
                self.assertEqual(result.stdout, "", result)
                self.assertEqual(saber_test.listing(saber_test.work), before, f"something was written: {result}")

    def changed_set(self, name, change):
        path = self.inputs / name
        shutil.copy(self.world.embeddings, path)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    def fresh_score(self, **changes):
        return self.world.score_args(**{"score__output": saber_test.work / "not-to-be.h5", **changes})

    def fresh_train(self, **changes):
        return self.world.train_args(saber_test.work / "not-to-be", **changes)

    # Settings

    def test_unknown_key_on_the_command_line(self):
        self.refuse(self.fresh_score(score__pool_sise=8), "--set score.pool_sise=8", "unknown setting",
                    "did you mean 'score.pool_size'")

    def test_unknown_key_in_a_file(self):
        config = self.inputs / "unknown.yaml"
        config.write_text("score:\n  beam: 2\n  shotz: 3\n")
        self.refuse([*self.fresh_score(), "-c", config], f"{config} line 3", "'score.shotz'", "'score.shots'")

    def test_repeated_key(self):
        config = self.inputs / "repeated.yaml"
        config.write_text("score:\n  beam: 2\n  beam: 3\n")
        self.refuse([*self.fresh_score(), "-c", config], f"{config} line 3", "score.beam is given twice")

    def test_wrong_type(self):
        self.refuse(self.fresh_score(score__beam="two"), "score.beam is 'two', wanted an integer")

    def test_wrong_type_in_a_file(self):
        config = self.inputs / "type.yaml"
        config.write_text("train:\n  listwise:\n    learning_rate: fast\n")
        self.refuse([*self.fresh_train(), "-c", config], f"{config} line 3",
                    "train.listwise.learning_rate is 'fast', wanted a number", ranks=[2])

    def test_stage_that_is_none(self):
        self.refuse(self.fresh_train(train__stages="listwise 2 epochs,reinforce often"),
                    "train.stages holds 'reinforce often', wanted 'OBJECTIVE NUMBER epochs'")

    def test_out_of_range(self):
        self.refuse(self.fresh_score(score__beam=0), "score.beam is '0', wanted an integer from 1 to 1024")

    def test_unknown_command(self):
        self.refuse(["scoer"], "command line", ranks=[2])

    def test_nccl_that_is_not_there(self):
        # Missing in the build or, in a build that has it, in the machine.
        with unittest.mock.patch.dict(os.environ, CUDA_VISIBLE_DEVICES=""):
            self.refuse(self.fresh_train(comm__backend="nccl"), "comm.backend: nccl", "set comm.backend to")

    def test_gpu_that_is_not_there(self):
        with unittest.mock.patch.dict(os.environ, CUDA_VISIBLE_DEVICES=""):
            for args in [self.fresh_train(device="cuda"), self.fresh_score(device="cuda")]:
                self.refuse(args, "device: ", "set device to")

    def test_pool_larger_than_the_library(self):
        self.refuse(self.fresh_score(score__pool_size=1000), "1000", "300")

    def test_more_shots_than_the_library_has_rows(self):
        run_folder = self.short_run()
        self.refuse(["eval", *self.world.data_args(run__dir=run_folder, eval__shots=400,
                                                   eval__output=saber_test.work / "not-to-be.json")], "400", "300")

    # Files that are not there or damaged

    def test_missing_config(self):
        self.refuse([*self.fresh_score(), "-c", self.inputs / "absent.yaml"], self.inputs / "absent.yaml",
                    "cannot open")

    def test_missing_data_set(self):
        path = self.inputs / "absent.h5"
        self.refuse(self.fresh_score(data__embeddings=path), path, "cannot open")
        self.refuse(["data", "check", *self.world.data_args(data__embeddings=path)], path, "cannot open", ranks=[None])

    def test_missing_score_tree(self):
        path = self.inputs / "absent-scores.h5"
        self.refuse(self.fresh_train(train__scores=path), path, "cannot open")

    def test_missing_checkpoint(self):
        path = self.inputs / "no-run"
        self.refuse(["eval", *self.world.data_args(run__dir=path, eval__output=saber_test.work / "not-to-be.json")],
                    path, "holds no checkpoint")
        self.refuse(["select", *self.world.data_args(run__dir=path,
                                                     select__output=saber_test.work / "not-to-be.jsonl")],
                    path, "holds no checkpoint", ranks=[None])

    def test_truncated_data_set(self):
        path = self.inputs / "truncated.h5"
        content = self.world.embeddings.read_bytes()
        for kept in (len(content) // 2, len(content) - 1):
            path.write_bytes(content[:kept])
            with self.subTest(kept=kept):
                self.refuse(self.fresh_score(data__embeddings=path), path, ranks=(None, 2))

    def test_truncated_score_tree(self):
        path = self.inputs / "truncated-scores.h5"
        content = self.world.scores.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        self.refuse(self.fresh_train(train__scores=path), path)

    def test_file_that_is_no_hdf5(self):
        path = self.inputs / "text.h5"
        path.write_text("not HDF5\n" * 100)
        self.refuse(self.fresh_score(data__embeddings=path), path, "is not an HDF5 file", ranks=[2])

    def test_unreadable_lvlm_weights(self):
        garbage, cut = self.inputs / "garbage.safetensors", self.inputs / "cut.safetensors"
        garbage.write_bytes(b"garbage " * 1000)
        cut.write_bytes(LVLM_WEIGHTS.read_bytes()[:-100])
        for path in (garbage, cut, self.inputs / "absent.safetensors"):
            with self.subTest(path=path.name):
                self.refuse(self.fresh_score(lvlm__weights=path), path, ranks=[2])

    # Data that do not hold what they should

    def test_nan_in_row_17(self):
        def plant(file):
            file["image"][17, 3] = numpy.nan

        path = self.changed_set("nan.h5", plant)
        self.refuse(self.fresh_score(data__embeddings=path), f"{path} /image row 17", "holds NaN",
                    "wanted finite numbers")
        self.refuse(["data", "check", *self.world.data_args(data__embeddings=path)], f"{path} /image row 17",
                    ranks=[None])

    def test_nan_in_a_library_result(self):
        def plant(file):
            file["query_result"][17, 0] = numpy.inf

        path = self.changed_set("infinite.h5", plant)
        self.refuse(self.fresh_train(data__embeddings=path), f"{path} /query_result row 17", "infinity", ranks=[2])

    def test_duplicate_id(self):
        def plant(file):
            file["id"][20] = 3

        path = self.changed_set("duplicate.h5", plant)
        self.refuse(self.fresh_score(data__embeddings=path), f"{path} /id row 20", "is 3", "/id row 3",
                    "wanted unique ids")

    def test_missing_column(self):
        def plant(file):
            del file["query"]

        path = self.changed_set("missing.h5", plant)
        self.refuse(self.fresh_score(data__embeddings=path), f"{path} /query", "is missing", ranks=[2])

    def test_tree_of_another_data_set(self):
        def plant(file):
            file["image"][5, 0] += 0.25

        path = self.changed_set("other.h5", plant)
        self.refuse(self.fresh_train(data__embeddings=path), self.world.scores, "fingerprint",
                    "score this data set again")

    def test_tree_with_rows_out_of_order(self):
        path = self.inputs / "unordered.h5"
        shutil.copy(self.world.scores, path)
        with h5py.File(path, "r+") as file:
            file["node/parent"][7] = 300
        self.refuse(self.fresh_train(train__scores=path), f"{path} /node/parent row 7", ranks=[2])

    # Runs

    def short_run(self):
        folder = saber_test.work / "short-run"
        if not folder.exists():
            run_well(self.world.train_args(folder, train__max_steps=3))
        return folder

    def test_checkpoint_of_another_configuration(self):
        folder = self.short_run()
        self.refuse(self.world.train_args(folder, model__width=16), folder / "checkpoints" / "step-00000003",
                    "model.width is 16, was 32")
        self.refuse(self.world.train_args(folder, train__listwise__learning_rate=0.5, train__listwise__batch_size=4),
                    "train.listwise.learning_rate is 0.5, was 0.001", "train.listwise.batch_size is 4, was 8", ranks=[None])

    def test_checkpoint_of_other_trees(self):
        folder = self.short_run()
        tree = self.inputs / "fewer-scores.h5"
        if not tree.exists():
            run_well(self.world.score_args(score__output=tree, score__max_queries=6))
        self.refuse(self.world.train_args(folder, train__scores=tree), folder / "checkpoints" / "step-00000003",
                    "score trees", ranks=[2])


if __name__ == "__main__":
    saber_test.main()
