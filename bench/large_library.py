"""Data for bench/large_library: a random embedding set, a random score tree over it, and the figures of a run's log."""

import json
import re
import sys

import h5py
import numpy as np

QUERIES = 64
SHOTS = 2
LEAVES = 4  # complete sequences of a query


def write_strings(group, name, values):
    group.create_dataset(name, data=values, dtype=h5py.string_dtype())


def write_set(path, rows, width):
    draw = np.random.default_rng(1)
    total = rows + QUERIES
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["version"] = "saber-embeddings", np.int64(1)
        for name in ["image", "query", "query_result"]:
            data = file.create_dataset(name, (total, width), dtype="float16")
            for begin in range(0, total, 20000):
                end = min(total, begin + 20000)
                data[begin:end] = draw.standard_normal((end - begin, width), dtype=np.float32)
        file["id"] = np.arange(total, dtype=np.int64)
        file["split"] = np.repeat(np.array([0, 1], np.uint8), [rows, QUERIES])
        file["task"] = np.zeros(total, np.int32)
        tasks = file.create_group("tasks")
        for name in ["name", "instruction", "short_instruction"]:
            write_strings(tasks, name, ["task"])
        tasks["embedding"] = draw.standard_normal((1, width)).astype(np.float32)
        text = file.create_group("text")
        for name in ["query", "result"]:
            text.create_dataset(name, (total,), dtype="S1", data=np.full(total, b"x"))


def write_tree(path, rows, fingerprint):
    draw = np.random.default_rng(2)
    query, parent, icd, reward, status = [], [], [], [], []

    def node(of, below, demonstration, scored):
        query.append(of), parent.append(below), icd.append(demonstration)
        reward.append(draw.normal() if scored else np.nan), status.append(0 if scored else 2)
        return len(query) - 1

    for number in range(rows, rows + QUERIES):
        root = node(number, -1, -1, True)
        firsts = sorted(draw.choice(rows, LEAVES, replace=False).tolist())
        nodes = [node(number, root, first, True) for first in firsts]
        for first, below in zip(firsts, nodes):
            second = int(draw.integers(rows - 1))
            node(number, below, second + (second >= first), True)
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "saber-scores", "version": np.int64(1), "scorer": "random numbers",
                           "prompt_template": "none", "reduction": "log_likelihood", "data_fingerprint": fingerprint,
                           "pool": "random", "shots": np.int64(SHOTS), "beam": np.int64(LEAVES),
                           "pool_size": np.int64(LEAVES), "seed": np.int64(2)})
        nodes = file.create_group("node")
        for name, values, kind in [("query", query, np.int64), ("parent", parent, np.int64), ("icd", icd, np.int64),
                                   ("reward", reward, np.float64), ("status", status, np.uint8)]:
            nodes[name] = np.array(values, kind)


def print_result(log, metrics):
    with open(log, encoding="utf-8") as file:
        peak = re.search(r"peak memory (\d+) MiB", file.read())
    with open(metrics, encoding="utf-8") as file:
        steps = [json.loads(line) for line in file]
    seconds = [b["seconds"] - a["seconds"] for a, b in zip(steps, steps[1:])]
    print(peak[1], f"{sorted(seconds)[len(seconds) // 2]:.2f}", f"{steps[-1]['loss']:.6f}")


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "set":
        write_set(rest[0], int(rest[1]), int(rest[2]))
    elif command == "tree":
        write_tree(rest[0], int(rest[1]), rest[2])
    else:
        print_result(*rest)
