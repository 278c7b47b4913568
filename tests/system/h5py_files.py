"""Embedding data sets written and read by h5py, to see that our files and those of Python users are the same thing.

    python h5py_files.py write FOLDER     one file (or folder of parts) per entry of LAYOUTS, all with the same data
    python h5py_files.py compare FILE     FILE, written by SabER, must hold the example
    python h5py_files.py damage FOLDER    files that must be refused, and a line "NAME<tab>text of the message" for each

The data are small numbers that float16 and bfloat16 hold exactly, so every layout has the same fingerprint.
"""

import pathlib
import sys

import h5py
import numpy as np

ROWS, LIBRARY, IMAGE_WIDTH, TEXT_WIDTH = 40, 30, 16, 12


def example():
    """Columns of one data set by their name in the file."""
    def numbers(rows, width, salt):
        return (((np.arange(rows * width) * 37 + salt) % 101 - 50) / 8).astype(np.float32).reshape(rows, width)

    rows = np.arange(ROWS)
    split = np.where(rows < LIBRARY, 0, 1 + (rows - LIBRARY) % 3).astype(np.uint8)
    return {
        "image": numbers(ROWS, IMAGE_WIDTH, 1),
        "query": numbers(ROWS, TEXT_WIDTH, 2),
        "query_result": numbers(ROWS, TEXT_WIDTH, 3),
        "id": 1000 + 3 * rows.astype(np.int64),
        "split": split,
        "task": (rows % 2).astype(np.int32),
        "text/query": [f"Which colour is number {r}?" for r in rows],
        "text/result": [f"réponse {r}" for r in rows],
        "image_uri": [f"pictures/{r // 2}.png" for r in rows],
        "tasks/name": ["colour", "count"],
        "tasks/instruction": ["Name the colour.", "Zähle die Dinge."],
        "tasks/short_instruction": ["Colour.", "Count."],
        "tasks/embedding": numbers(2, TEXT_WIDTH, 4),
    }


def as_bfloat16(values):
    """The upper halves of float32 numbers; exact for the numbers of example()."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def write(path, columns, floats="float32", strings="variable", **storage):
    """One file. floats: float32, float16, bfloat16; strings: variable, fixed; storage: h5py's chunks, compression."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "saber-embeddings" if strings == "variable" else np.bytes_("saber-embeddings")
        file.attrs["version"] = 1
        for name, values in columns.items():
            if isinstance(values, list):
                dtype = h5py.string_dtype()
                if strings == "fixed":
                    dtype = h5py.string_dtype(length=max(len(v.encode()) for v in values) + 3)
                file.create_dataset(name, data=np.array([v.encode() for v in values], dtype=object).astype(dtype),
                                    dtype=dtype, **storage)
            elif values.dtype == np.float32 and floats == "bfloat16":
                data = file.create_dataset(name, data=as_bfloat16(values), **storage)
                data.attrs["dtype"] = "bfloat16"
            elif values.dtype == np.float32:
                file.create_dataset(name, data=values.astype(floats), **storage)
            else:
                file.create_dataset(name, data=values, **storage)


def write_parts(folder, columns):
    """Three parts, the last of queries only and without results."""
    folder.mkdir()
    for part, (begin, end) in enumerate([(0, 13), (13, LIBRARY), (LIBRARY, ROWS)]):
        rows = {n: v if n.startswith("tasks/") else v[begin:end] for n, v in columns.items()}
        if begin == LIBRARY:
            del rows["query_result"]
        write(folder / f"part-{part:05d}.h5", rows)


def write_layouts(folder):
    columns = example()
    write(folder / "contiguous.h5", columns)
    write(folder / "chunked.h5", columns, chunks=True)
    write(folder / "gzip.h5", columns, compression="gzip", shuffle=True)
    write(folder / "float16.h5", columns, floats="float16")
    write(folder / "bfloat16.h5", columns, floats="bfloat16")
    write(folder / "fixed-strings.h5", columns, strings="fixed")
    write(folder / "everything.h5", columns, floats="float16", strings="fixed", compression="gzip")
    write_parts(folder / "parts", columns)


def compare(path, columns=None):
    """Raises AssertionError unless `path` holds the example; matrices may be normalised."""
    columns = columns or example()
    with h5py.File(path, "r") as file:
        assert file.attrs["format"] == "saber-embeddings", file.attrs["format"]
        assert file.attrs["version"] == 1, file.attrs["version"]
        for name, wanted in columns.items():
            data = file[name]
            if isinstance(wanted, list):
                assert list(data.asstr()[:]) == wanted, name
                continue
            found = data[:]
            if wanted.dtype == np.float32:
                if name == "query_result":
                    found, wanted = found[:LIBRARY], wanted[:LIBRARY]
                found, wanted = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (found, wanted))
                assert np.allclose(found, wanted, atol=1e-6), name
            else:
                assert found.dtype == wanted.dtype and np.array_equal(found, wanted), name


def write_damaged(folder):
    """Each returned pair: file name, text that the refusal must hold."""
    def changed(name, change):
        columns = example()
        change(columns)
        write(folder / name, columns)

    def set_nan(columns):
        columns["image"][17, 3] = np.nan

    def repeat_id(columns):
        columns["id"][20] = columns["id"][5]

    def widen(columns):
        columns["query"] = np.pad(columns["query"], ((0, 0), (0, 1)))

    changed("nan.h5", set_nan)
    changed("repeated-id.h5", repeat_id)
    changed("wide.h5", widen)
    changed("no-split.h5", lambda columns: columns.pop("split"))
    write(folder / "double.h5", example(), floats="float64")
    write(folder / "linked.h5", example())
    with h5py.File(folder / "linked.h5", "a") as file:
        del file["image"]
        file["image"] = h5py.ExternalLink("nan.h5", "/image")
    write(folder / "virtual.h5", example())
    with h5py.File(folder / "virtual.h5", "a") as file:
        layout = h5py.VirtualLayout(shape=(ROWS,), dtype=np.int64)
        layout[:] = h5py.VirtualSource(str(folder / "nan.h5"), "id", shape=(ROWS,))
        del file["id"]
        file.create_virtual_dataset("id", layout)
    write(folder / "version-2.h5", example())
    with h5py.File(folder / "version-2.h5", "a") as file:
        file.attrs["version"] = 2
    write(folder / "cut-off.h5", example())
    whole = (folder / "cut-off.h5").read_bytes()
    (folder / "cut-off.h5").write_bytes(whole[: len(whole) // 2])
    return [
        ("nan.h5", "nan.h5 /image row 17"),
        ("repeated-id.h5", "/id row 20"),
        ("wide.h5", "/query: has shape [40, 13], wanted [40, 12]"),
        ("no-split.h5", "/split: is missing"),
        ("double.h5", "float64"),
        ("linked.h5", "/image: is a soft or external link"),
        ("virtual.h5", "/id: is kept in other files"),
        ("version-2.h5", "attribute version: is 2, wanted 1"),
        ("cut-off.h5", "cut off"),
    ]


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "compare", "damage"):
        sys.exit(__doc__)
    command, path = sys.argv[1], pathlib.Path(sys.argv[2])
    if command == "compare":
        compare(path)
        return
    path.mkdir(parents=True, exist_ok=True)
    if command == "write":
        write_layouts(path)
    else:
        for name, message in write_damaged(path):
            print(f"{name}\t{message}")


if __name__ == "__main__":
    main()
