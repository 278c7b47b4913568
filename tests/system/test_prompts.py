"""`saber select --prompts`: chat messages that others' software accepts, and texts that survive."""

import base64
import json
import struct
import unittest
import zlib

import h5py
import numpy
import pydantic
from openai.types.chat import ChatCompletionMessageParam

import saber_test
from saber_test import run_well

PUBLISHED = pydantic.TypeAdapter(list[ChatCompletionMessageParam])
# Quotes, newlines, right-to-left, emoji beyond the basic plane, separators that some call line ends, and HTML.
ODD_TEXTS = ['say "yes" \\ no', "two\nlines\r\nand a tab\t.", "שלום עולם", "‮مرحبا‬", "👩‍🔬 🇺🇳 é", "a b\x85c", "<b>&amp;</b>",
             "{\"role\": \"system\"}"]


def validate(messages):
    """Raises when the messages are not of the published shape; content parts are checked as they are read."""
    for message in PUBLISHED.validate_python(messages):
        content = message["content"]
        if not isinstance(content, str):
            for _ in content:
                pass


def read_png(url):
    """uint8 [height, width, 3] of an RGB PNG in a data URI, read by hand: signature, chunks, checksums, filters."""
    head, data = url.split(",", 1)
    assert head == "data:image/png;base64"
    data = base64.b64decode(data, validate=True)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind] = chunks.get(kind, b"") + body
        at += 12 + length
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (8, 2)
    raw = numpy.frombuffer(zlib.decompress(chunks[b"IDAT"]), numpy.uint8).reshape(height, 1 + 3 * width)
    out = numpy.zeros((height, width, 3), numpy.uint8)
    for y in range(height):
        for i in range(3 * width):
            x, c = divmod(i, 3)
            a = int(out[y, x - 1, c]) if x else 0
            b = int(out[y - 1, x, c]) if y else 0
            d = int(out[y - 1, x - 1, c]) if x and y else 0
            nearest = min((abs(b - d), 0, a), (abs(a - d), 1, b), (abs(a + b - 2 * d), 2, d))[2]
            out[y, x, c] = (int(raw[y, 1 + i]) + [0, a, b, (a + b) // 2, nearest][raw[y, 0]]) % 256
    return out


class Prompts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = saber_test.scored_world()
        cls.run_folder = saber_test.work / "run"
        run_well(cls.world.train_args(cls.run_folder, train__max_steps=3))
        cls.odd = saber_test.work / "odd.h5"
        cls.write_odd_set(cls.odd)

    @classmethod
    def write_odd_set(cls, path):
        """Six library rows and as many queries whose texts and picture names are odd; embeddings as the model wants."""
        random = numpy.random.default_rng(1)
        rows, width = 2 * len(ODD_TEXTS), 128
        vectors = lambda count: random.standard_normal((count, width)).astype("float32")
        with h5py.File(path, "w") as file:
            file.attrs["format"], file.attrs["version"] = "saber-embeddings", 1
            file["tasks/name"] = ["odd"]
            file["tasks/instruction"], file["tasks/short_instruction"] = [ODD_TEXTS[0]], [ODD_TEXTS[1]]
            file["tasks/embedding"] = vectors(1)
            file["id"], file["task"] = numpy.arange(rows), numpy.zeros(rows, "int32")
            file["split"] = numpy.array([0, 3] * len(ODD_TEXTS), "uint8")
            file["image"], file["query"], file["query_result"] = vectors(rows), vectors(rows), vectors(rows)
            file["text/query"] = [f"{text}?" for text in ODD_TEXTS for _ in range(2)]
            file["text/result"] = [f"{text}!" for text in ODD_TEXTS for _ in range(2)]
            file["image_uri"] = [f"file:///pictures/{text!r}-{i}.jpg" if i % 4 else "" for i, text in
                                 enumerate(text for text in ODD_TEXTS for _ in range(2))]

    def prompts(self, name, kind, **changes):
        output = saber_test.work / f"{name}.jsonl"
        run_well(["select", "--prompts", kind, *self.world.data_args(**{
            "run__dir": self.run_folder, "select__output": output, "select__shots": 3, **changes})])
        # Not splitlines(), which also splits at separators inside of texts.
        lines = output.read_bytes().decode("utf-8").split("\n")
        self.assertEqual(lines.pop(), "")
        return [json.loads(line) for line in lines]

    def test_messages_have_the_published_shape(self):
        for kind in ("flat", "multi_turn"):
            for name, changes in (("demo", {}), ("odd", {"data__embeddings": self.odd}),
                                  ("phases", {"select__two_phase": "true"})):
                lines = self.prompts(f"{kind}-{name}", kind, **changes)
                self.assertGreaterEqual(len(lines), 8)
                for line in lines:
                    validate(line["messages"])
        for wrong in ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
                      [{"role": "usr", "content": "x"}], [{"role": "user", "content": [{"type": "picture"}]}]):
            with self.assertRaises(pydantic.ValidationError, msg="this validation can fail"):
                validate(wrong)

    @staticmethod
    def texts(message):
        if isinstance(message["content"], str):
            return [message["content"]]
        return [part["text"] for part in message["content"] if part["type"] == "text"]

    def test_flat(self):
        for line in self.prompts("flat", "flat", data__embeddings=self.odd):
            (message,) = line["messages"]
            self.assertEqual(message["role"], "user")
            wanted = [ODD_TEXTS[0], f"The task: {ODD_TEXTS[1]}"]
            wanted += [f"Question: {icd['query']}\nAnswer: {icd['result']}" for icd in line["demonstrations"]]
            self.assertEqual(self.texts(message), [*wanted, f"Question: {line['query']}\nAnswer:"])

    def test_multi_turn(self):
        for line in self.prompts("multi", "multi_turn", data__embeddings=self.odd):
            roles = [message["role"] for message in line["messages"]]
            self.assertEqual(roles, ["user", "assistant"] * 3 + ["user"])
            wanted = [[ODD_TEXTS[0], f"The task: {ODD_TEXTS[1]}", line["demonstrations"][0]["query"]], [line["demonstrations"][0]["result"]]]
            for icd in line["demonstrations"][1:]:
                wanted += [[icd["query"]], [icd["result"]]]
            self.assertEqual([self.texts(message) for message in line["messages"]], [*wanted, [line["query"]]])

    def test_two_phase_wording_stands_before_the_demonstrations(self):
        for line in self.prompts("two", "flat", select__two_phase="true"):
            texts = self.texts(line["messages"][0])
            self.assertIn("First recognise", texts[2])
            self.assertTrue(texts[3].startswith("Question: "))

    def test_odd_texts_survive(self):
        lines = self.prompts("survive", "multi_turn", data__embeddings=self.odd, select__shots=8)
        queries = [line["query"] for line in lines]
        self.assertEqual(queries, [f"{text}?" for text in ODD_TEXTS])
        for line in lines:
            seen = [text for message in line["messages"] for text in self.texts(message)]
            for text in ODD_TEXTS:
                self.assertIn(f"{text}!", seen)

    def test_pictures(self):
        with h5py.File(self.odd) as file:
            uri = dict(zip(file["id"][:].tolist(), file["image_uri"].asstr()[:].tolist(), strict=True))
        for line in self.prompts("uris", "flat", data__embeddings=self.odd):
            urls = [part["image_url"]["url"] for part in line["messages"][0]["content"] if part["type"] == "image_url"]
            ids = [*(icd["id"] for icd in line["demonstrations"]), line["id"]]
            self.assertEqual(urls, [uri[id] for id in ids if uri[id]], "a row without a picture has its text only")
        with h5py.File(self.world.embeddings) as file:
            pixels = dict(zip(file["id"][:].tolist(), file["pixels"][:], strict=True))
        for line in self.prompts("pixels", "flat")[:3]:
            urls = [part["image_url"]["url"] for part in line["messages"][0]["content"] if part["type"] == "image_url"]
            for id, url in zip([*(icd["id"] for icd in line["demonstrations"]), line["id"]], urls, strict=True):
                self.assertTrue(numpy.array_equal(read_png(url), pixels[id].transpose(1, 2, 0)))


if __name__ == "__main__":
    saber_test.main()
