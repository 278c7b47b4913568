"""Files that h5py and safetensors write and read: theirs are good enough for saber, saber's for them."""

import json
import re
import unittest

import h5py
import numpy
import safetensors
import safetensors.numpy

import saber_test
from saber_test import LVLM_WEIGHTS, run, run_well

MATRICES = ("image", "query", "query_result")
FILTERS = ("shuffle", "fletcher32")
TEXTS = ("text/query", "text/result")
TASK_TEXTS = ("tasks/name", "tasks/instruction", "tasks/short_instruction")


def bfloat16_bits(values):
    """Upper half of the float32 bits, rounded to nearest even."""
    bits = values.astype(numpy.float32).view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def from_bfloat16_bits(bits):
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def read_columns(path):
    """All columns of an embedding set, texts as lists of str."""
    columns = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            columns[name] = item.asstr()[:].tolist() if h5py.check_string_dtype(item.dtype) else item[:]

    with h5py.File(path) as file:
        file.visititems(visit)
    return columns


def fixed_length(texts, **_):
    raw = [text.encode() for text in texts]
    return numpy.array(raw, h5py.string_dtype("utf-8", max(map(len, raw))))


def write_columns(path, columns, text_array=None, **layout):
    """Writes an embedding set with h5py; `layout` is what create_dataset takes (chunks, compression)."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "saber-embeddings"
        file.attrs["version"] = 1
        for name, values in columns.items():
            if isinstance(values, list):
                data = text_array(values) if text_array else numpy.array(values, h5py.string_dtype())
                # HDF5 has no filters but compression for texts of variable length.
                file.create_dataset(name, data=data, **{k: v for k, v in layout.items() if k not in FILTERS})
                continue
            file.create_dataset(name, data=values, **layout)
            if name in (*MATRICES, "tasks/embedding") and values.dtype == numpy.uint16:
                file[name].attrs["dtype"] = "bfloat16"


class ReadByUs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.demo_world()
        cls.columns = read_columns(cls.world.embeddings)
        cls.fingerprint = cls.describe(cls.world.embeddings)
        cls.folder = saber_test.work / "h5py"
        cls.folder.mkdir()

    @classmethod
    def describe(cls, path):
        """Fingerprint of a set, after it passed all checks."""
        args = cls.world.data_args(data__embeddings=path)
        checked = run_well(["data", "check", *args])
        assert "348 rows, all checks passed" in checked.stdout, checked
        return re.search(r"rows 348, image width 128, text width 128, fingerprint ([0-9a-f]{32})\n",
                         run_well(["data", "describe", *args]).stdout)[1]

    def write(self, columns, **layout):
        path = self.folder / f"{self._testMethodName}.h5"
        write_columns(path, columns, **layout)
        return path

    def test_contiguous(self):
        self.assertEqual(self.describe(self.write(self.columns)), self.fingerprint)

    def test_chunked(self):
        self.assertEqual(self.describe(self.write(self.columns, chunks=True)), self.fingerprint)

    def test_compressed(self):
        layout = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        self.assertEqual(self.describe(self.write(self.columns, **layout)), self.fingerprint)

    def test_fixed_length_texts(self):
        self.assertEqual(self.describe(self.write(self.columns, text_array=fixed_length)), self.fingerprint)

    def test_parts_in_a_folder(self):
        folder = self.folder / "parts"
        folder.mkdir()
        cuts = [(0, 100, {}), (100, 320, {"compression": "gzip"}), (320, 348, {"chunks": True})]
        for i, (begin, end, layout) in enumerate(cuts):
            part = {name: values if name.startswith("tasks/") else values[begin:end]
                    for name, values in self.columns.items()}
            write_columns(folder / f"part-{i:03}.h5", part, **layout)
        self.assertEqual(self.describe(folder), self.fingerprint)

    def narrow_types(self, store, load):
        """The set with its matrices in another type, and the plain one that holds the same values."""
        narrow, plain = dict(self.columns), dict(self.columns)
        for name in MATRICES:
            narrow[name] = store(self.columns[name])
            plain[name] = load(narrow[name])
        write_columns(self.folder / f"{self._testMethodName}-plain.h5", plain)
        fingerprint = self.describe(self.folder / f"{self._testMethodName}-plain.h5")
        self.assertNotEqual(fingerprint, self.fingerprint, "the values were rounded")
        self.assertEqual(self.describe(self.write(narrow)), fingerprint)

    def test_float16(self):
        self.narrow_types(lambda values: values.astype(numpy.float16), lambda values: values.astype(numpy.float32))

    def test_bfloat16(self):
        self.narrow_types(bfloat16_bits, from_bfloat16_bits)

    def test_another_value_gives_another_fingerprint(self):
        for name in ("image", "query", "query_result", "task"):
            with self.subTest(column=name):
                changed = {**self.columns, name: self.columns[name].copy()}
                changed[name][7, ...] = changed[name][8, ...] if name != "task" else (changed[name][7] + 1) % 10
                self.assertNotEqual(self.describe(self.write(changed)), self.fingerprint)

    def test_integers_are_no_matrix(self):
        path = self.write({**self.columns, "image": (self.columns["image"] * 100).astype(numpy.uint16) + 1})
        with h5py.File(path, "r+") as file:
            del file["image"].attrs["dtype"]
        result = run(["data", "check", *self.world.data_args(data__embeddings=path)])
        self.assertEqual(result.status, 2, result)
        self.assertIn(f"{path} /image", result.lines("error")[0])


class WrittenByUs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.scored_world()
        cls.run_folder = saber_test.work / "run"
        run_well(cls.world.train_args(cls.run_folder, train__max_steps=5))
        cls.checkpoint = cls.run_folder / "checkpoints" / "step-00000005"

    def test_embedding_set(self):
        wanted = {"id": ((348,), "<i8"), "split": ((348,), "|u1"), "task": ((348,), "<i4"),
                  "image": ((348, 128), "<f4"), "query": ((348, 128), "<f4"), "query_result": ((348, 128), "<f4"),
                  "pixels": ((348, 3, 40, 40), "|u1"), "tasks/embedding": ((10, 128), "<f4"),
                  "tasks/question": ((10,), "<i4"), **{name: ((348,), "|O") for name in TEXTS},
                  **{name: ((10,), "|O") for name in TASK_TEXTS}}
        found = {}

        def visit(name, item):
            if isinstance(item, h5py.Dataset):
                found[name] = (item.shape, item.dtype.str)

        with h5py.File(self.world.embeddings) as file:
            self.assertEqual((file.attrs["format"], file.attrs["version"]), ("saber-embeddings", 1))
            file.visititems(visit)
        self.assertEqual(found, wanted)
        columns = read_columns(self.world.embeddings)
        self.assertEqual(numpy.bincount(columns["split"]).tolist(), [300, 24, 12, 12])
        self.assertEqual(len(set(columns["id"].tolist())), 348)
        self.assertTrue(all(columns["text/query"]) and all(columns["text/result"]))
        self.assertTrue(all(numpy.isfinite(columns[name]).all() for name in ("image", "query", "tasks/embedding")))

    def test_scenes_of_the_lvlm(self):
        with h5py.File(self.world.folder / "lvlm.h5") as file:
            shapes = []
            file.visititems(lambda name, item: shapes.append(item.shape) if isinstance(item, h5py.Dataset) else None)
        self.assertIn((200, 3, 40, 40), shapes)

    def test_model_of_a_checkpoint(self):
        path = self.checkpoint / "model.safetensors"
        with safetensors.safe_open(path, framework="numpy") as file:
            self.assertEqual(file.metadata().get("format"), "saber-model")
        tensors = safetensors.numpy.load_file(path)
        self.assertGreater(len(tensors), 20)
        for name, tensor in tensors.items():
            with self.subTest(tensor=name):
                self.assertEqual(tensor.dtype, numpy.float32)
                self.assertTrue(numpy.isfinite(tensor).all())
        config = json.loads((self.checkpoint / "config.json").read_text())
        self.assertEqual((config["model"]["width"], config["train"]["listwise"]["batch_size"]), (32, 8))
        self.assertTrue(any(32 in tensor.shape for tensor in tensors.values()))

    def test_optimiser_of_a_checkpoint(self):
        tensors = safetensors.numpy.load_file(self.checkpoint / "optimizer-00000-of-00001.safetensors")
        self.assertTrue(tensors)
        self.assertTrue(all(numpy.isfinite(tensor).all() for tensor in tensors.values()))
        self.assertTrue(any(numpy.abs(tensor).max() > 0 for tensor in tensors.values()), "five steps leave momentum")

    def test_weights_of_the_lvlm(self):
        tensors = safetensors.numpy.load_file(LVLM_WEIGHTS)
        self.assertTrue(tensors and all(numpy.isfinite(tensor).all() for tensor in tensors.values()))

    def test_lines_of_a_run_are_json(self):
        self.assertEqual(len(saber_test.json_lines(self.run_folder / "metrics.jsonl")), 5)
        self.assertEqual(len(saber_test.json_lines(self.run_folder / "samples.jsonl")), 5)
        self.assertEqual(json.loads((self.run_folder / "config.json").read_text())["model"]["width"], 32)


if __name__ == "__main__":
    saber_test.main()
