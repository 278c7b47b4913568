"""docs/own-data.md, done as it says: a data set that is not the demo goes through lvlm train, score, train, eval."""

import json
import math
import re
import shutil
import subprocess
import sys
import unittest

import h5py
import numpy

import saber_test
from saber_test import run, run_well, settings, sha256

# The page's settings, but so few steps that the chain takes half a minute.
FEW_STEPS = {"device": "cpu", "run__threads": 1, "lvlm__tower_steps": 60, "lvlm__steps": 150, "lvlm__shots": 3,
             "score__max_queries": 30, "score__pool_size": 8, "score__shots": 3, "eval__shots": 3,
             "train__stages": "listwise 2 epochs,reinforce 4 steps", "train__reinforce__shots": 3}
# As much of Pillow as the page uses, which is no package of the tests: picture N.png is all of value N.
PILLOW = """import numpy
class open:
    def __init__(self, path): self.value = int(path.split("/")[1].split(".")[0])
    def convert(self, mode): return self
    def resize(self, size): return numpy.full((size[1], size[0], 3), self.value, "uint8")
"""
WORDS = {"colour": {"amber", "teal", "plum", "lime"}, "shape": {"disc", "bar", "cross"}, "side": {"port", "starboard"}}


def blocks(language):
    page = (saber_test.SOURCE / "docs" / "own-data.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def command(*args, **changes):
    return [*args, "-c", "mine/own.yaml", *settings(**{**FEW_STEPS, **changes})]


class OwnData(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = saber_test.work / "mine"
        cls.folder.mkdir()
        (cls.folder / "own_set.py").write_text(blocks("python")[0])
        (cls.folder / "own.yaml").write_text(blocks("yaml")[0])
        subprocess.run([sys.executable, "mine/own_set.py"], cwd=saber_test.work, check=True, timeout=60)
        cls.trained = run_well(command("lvlm", "train"))
        for step in ("score", "train", "eval"):
            run_well(command(step))

    def changed(self, name, change):
        """Path of a copy of the data set in which `change` was made."""
        path = self.folder / f"{name}.h5"
        shutil.copy(self.folder / "own.h5", path)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    def short_training(self, path):
        output = path.with_suffix(".safetensors")
        return output, command("lvlm", "train", lvlm__scenes=path, lvlm__output=output, lvlm__tower_steps=2,
                               lvlm__steps=2)

    def refused(self, args, *parts):
        result = run(args)
        self.assertEqual(result.status, 2, result)
        self.assertEqual(len(result.lines("error")), 1, result)
        for part in parts:
            self.assertIn(part, result.lines("error")[0])

    def test_it_is_no_demo(self):
        with h5py.File(self.folder / "own.h5") as file:
            self.assertEqual(file["pixels"].shape[1:], (3, 24, 20))
            names = file["tasks/name"].asstr()[:]
            for name, words in WORDS.items():
                rows = names[file["task"][:]] == name
                self.assertEqual(set(file["text/result"].asstr()[:][rows]), words)
            pictures = {picture.tobytes() for picture in file["pixels"][:][file["split"][:] < 2]}
        self.assertIn(f"{len(pictures)} scenes of 24x20 pixels, 3 attributes, 9 words", self.trained.stderr)

    def test_a_folder_of_pictures(self):
        folder = saber_test.work / "folder"
        for name in ("mine", "pictures", "PIL"):
            (folder / name).mkdir(parents=True)
        (folder / "PIL" / "Image.py").write_text(PILLOW)
        rows = [f"{i}.png,{split},side,Where is it?,{'port' if i % 2 else 'starboard'}\n"
                for i, split in enumerate(["library"] * 8 + ["train"] * 4 + ["validation", "test"])]
        (folder / "pictures" / "labels.csv").write_text("file,split,task,question,answer\n" + "".join(reversed(rows)))
        script, instead = blocks("python")
        script = re.sub(r"def my_pictures.*?(?=def text_vectors)", lambda _: instead, script, flags=re.DOTALL)
        subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=60)
        path = folder / "mine" / "own.h5"
        run_well(["data", "check", *settings(data__embeddings=path)])
        with h5py.File(path) as file:
            self.assertEqual(file["pixels"][:, 0, 0, 0].tolist(), list(range(13, -1, -1)), "each row has its own picture")
            self.assertEqual(file["pixels"].shape, (14, 3, 40, 40))
            self.assertEqual(file["split"][:].tolist(), [3, 2] + [1] * 4 + [0] * 8)

    def test_the_lvlm_answers_from_its_demonstrations(self):
        table = json.loads((self.folder / "run" / "eval.json").read_text())
        rows = {row["name"]: row for row in table["rows"]}
        self.assertEqual(table["queries"], 100)
        for row in table["rows"]:
            self.assertTrue(all(map(math.isfinite, (row["accuracy"], row["log_likelihood"]))), row["name"])
            self.assertEqual(row["failed"], 0)
        # A guess among all 9 words, and one among the three that a task has on average.
        self.assertGreater(rows["oracle"]["log_likelihood"], math.log(1 / 9) + 0.5)
        self.assertGreater(rows["oracle"]["accuracy"], 1 / 3 + 0.1)
        self.assertGreater(rows["oracle"]["accuracy"], rows["zero_shot"]["accuracy"] + 0.1)

    def test_the_tree_holds_scores_of_the_train_queries(self):
        with h5py.File(self.folder / "own.h5") as data, h5py.File(self.folder / "scores.h5") as tree:
            train = data["id"][:][data["split"][:] == 1]
            self.assertEqual(set(tree["node/query"][:]), set(train[:30]))
            scored = tree["node/reward"][:][tree["node/status"][:] == 0]
        self.assertTrue(numpy.isfinite(scored).all())
        self.assertGreater(scored.std(), 0.1)

    def test_validation_and_test_rows_do_not_train(self):
        def plant(file, splits):
            for row in numpy.flatnonzero(numpy.isin(file["split"][:], splits)).tolist():
                file["text/result"][row] = "planted words"
                file["pixels"][row] = 255 - file["pixels"][row]
                file["task"][row] = (file["task"][row] + 1) % 3

        output, args = self.short_training(self.folder / "own.h5")
        run_well(args)
        planted, args = self.short_training(self.changed("planted", lambda file: plant(file, (2, 3))))
        run_well(args)
        self.assertEqual(sha256(planted), sha256(output))

        def turn_over(file):
            row = numpy.flatnonzero(file["split"][:] == 1)[0]
            same = (file["pixels"][:] == file["pixels"][row]).all((1, 2, 3))
            for i in numpy.flatnonzero(same).tolist():
                file["pixels"][i] = 255 - file["pixels"][i]

        other, args = self.short_training(self.changed("other", turn_over))
        run_well(args)
        self.assertNotEqual(sha256(other), sha256(output), "one picture of the train rows is another")

    def test_what_cannot_be_trained_on_is_refused(self):
        def without_pixels(file):
            del file["pixels"]

        def two_words(file):
            file["text/result"][7] = "dark teal"

        def one_answer(file):
            sides = numpy.flatnonzero((file["task"][:] == 2) & (file["split"][:] < 2))
            file["text/result"][sides] = "port"

        for change, parts in ((without_pixels, ("/pixels: is not there",)),
                              (two_words, ("/text/result row 7: holds 'dark teal', wanted one word",)),
                              (one_answer, ("/tasks/name row 2: 'side' has 1 different answer",))):
            with self.subTest(change.__name__):
                path = self.changed(change.__name__, change)
                output, args = self.short_training(path)
                self.refused(args, str(path), *parts)
                self.assertFalse(output.exists())

    def test_a_word_that_only_a_test_row_has_is_refused_by_what_asks_the_lvlm(self):
        def new_word(file):
            file["text/result"][-1] = "umber"

        path = self.changed("new_word", new_word)
        for step in ("score", "eval"):
            self.refused(command(step, data__embeddings=path, score__output=self.folder / "none.h5"),
                         "/text/result row 1799: holds 'umber', which the tiny LVLM has no word for", "own-data.md")


if __name__ == "__main__":
    saber_test.main()
