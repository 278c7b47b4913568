#!/usr/bin/env python3
"""Checks what the compiler does not: the order of the folders, the homes of third-party headers, the length of files.

    check_layering.py FOLDER       checks the tree, prints every violation, exits with 1 when there is one
    check_layering.py --self-test  proves that each rule catches a violation of it
"""

import fnmatch
import os
import re
import sys
import tempfile

# Each folder includes from itself and from those before it.
ORDER = ["core", "comm", "data", "trainer", "launch"]
# The rooms inside trainer/, by the same rule. The files directly in trainer/ stand above them all.
ROOMS = ["formats", "model", "lvlm", "reward", "library", "search", "baselines", "objective", "optimiser", "checkpoint"]
# Rooms that may not include from a room which stands before them, because they have no business there.
ROOM_LIMITS = {"objective": ["formats", "model", "reward", "library", "search", "objective"]}
OUTSIDE = ["tests", "bench"]  # may include from all of them
MAX_LINES = 400
SOURCE_ENDINGS = (".cpp", ".h", ".cu", ".cuh")
SKIPPED_FOLDERS = {"build", "runs", "node_modules", "__pycache__"}

# A header's name, its first folder or a pattern, and the only files that may include it. The precompiled header and the tests
# of a home may include what they are about.
HOMES = {
    "mpi.h": ["comm/mpi_*", "bench/mpi_*"],
    "hdf5.h": ["data/hdf5_*", "tests/data/hdf5_*"],
    "yaml-cpp/": ["core/config_*"],
    "ft2build.h": ["data/demo/emoji.cpp"],
    "freetype/": ["data/demo/emoji.cpp"],
    "png.h": ["data/png.cpp"],
    "xxhash.h": ["core/hash.cpp"],
    "CLI/": ["launch/command_line.cpp"],
    "cuda*": ["comm/cuda.cpp"],
    "nccl*": ["comm/nccl_group.cpp"],
    "*/cuda/*": ["comm/cuda.cpp"],
    "*/ProcessGroupNCCL.hpp": ["comm/nccl_group.cpp"],
}
# LibTorch, and the folders that stay free of it.
TORCH = ("torch/", "ATen/", "c10/", "c10d/", "caffe2/")
WITHOUT_TORCH = ["core/*", "data/*", "tests/core/*", "tests/data/*"]
# Nothing that was pickled or scripted is ever loaded: that would run what the file says.
FORBIDDEN_CALLS = re.compile(r"\btorch::(?:load|jit|pickle_load|serialize)\b|\bpickle\.loads?\b|\bimport pickle\b")

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def files_of(root):
    """Paths of all files to look at, relative to root and with slashes."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS and not f.startswith("build-")
                            and (not f.startswith(".") or f == ".ci"))
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")
            if not os.path.islink(os.path.join(folder, name)):
                yield path


def is_script(path, first_line):
    return path.endswith((".py", ".sh", ".cmake", "CMakeLists.txt")) or first_line.startswith("#!")


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def room_of(path):
    """The room inside trainer/ that holds a file; "" for a file directly in trainer/; None for one elsewhere."""
    parts = path.split("/")
    if parts[0] != "trainer" or len(parts) < 2:
        return None
    return parts[1] if len(parts) > 2 else ""


def check_room(path, header):
    """What is wrong with a file of trainer/ including another one; nothing when it may."""
    room, target = room_of(path), room_of(header)
    if room is None:
        return None
    for name in (room, target):
        if name and name not in ROOMS:
            return f"includes {header}: trainer/{name}/ has no place in the order of the rooms ({', '.join(ROOMS)})"
    if not room or target is None:
        return None
    allowed = ROOM_LIMITS.get(room, ROOMS[:ROOMS.index(room) + 1])
    if target in allowed:
        return None
    return f"includes {header}, but trainer/{room}/ may include only from {', '.join(allowed)}"


def check_include(path, header):
    """What is wrong with `path` including `header`; nothing when it may."""
    folder, target = path.split("/")[0], header.split("/")[0]
    if target in ORDER and folder in ORDER and ORDER.index(target) > ORDER.index(folder):
        return f"includes {header}, but {folder}/ may include only from {', '.join(ORDER[:ORDER.index(folder) + 1])}"
    if folder in ORDER and target in OUTSIDE:
        return f"includes {header}, but the library may not depend on {target}/"
    message = check_room(path, header)
    if message:
        return message
    if header.startswith(TORCH) and matches(path, WITHOUT_TORCH):
        return f"includes {header}, but {folder}/ stays free of LibTorch"
    for name, homes in HOMES.items():
        pattern = name + "*" if name.endswith("/") else name
        if fnmatch.fnmatchcase(header, pattern) and not matches(path, homes):
            return f"includes {header}, whose home is {' and '.join(homes)}"
    return None


def check_file(path, text):
    """All violations of one file, as (line or 0, message)."""
    lines = text.splitlines()
    source = path.endswith(SOURCE_ENDINGS)
    if not source and not is_script(path, lines[0] if lines else ""):
        return []
    found = []
    if len(lines) > MAX_LINES:
        found.append((0, f"has {len(lines)} lines, at most {MAX_LINES} are allowed"))
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line) if source else None
        message = check_include(path, include.group(1)) if include else None
        if message:
            found.append((number, message))
        if FORBIDDEN_CALLS.search(line) and not path.startswith("tests/layering/"):
            found.append((number, "loads pickled or scripted files, which may run code"))
    return found


def violations(root):
    found = []
    for path in files_of(root):
        try:
            with open(os.path.join(root, path), encoding="utf-8") as file:
                text = file.read()
        except UnicodeDecodeError:
            continue  # weights and other binaries
        found += [f"{path}:{line}: {message}" if line else f"{path}: {message}" for line, message in check_file(path, text)]
    return found


# Path, text, and what the message must hold ("" where the file is fine).
CASES = [
    ("core/a.cpp", '#include "core/b.h"\n#include <vector>\n', ""),
    ("core/a.h", '#include "data/b.h"\n', "may include only from core"),
    ("core/a.h", '#include "comm/b.h"\n', "may include only from core"),
    ("comm/a.h", '#include "data/b.h"\n', "may include only from core, comm"),
    ("data/a.h", '\n\n  #  include "trainer/b.h"\n', "data/a.h:3: includes trainer/b.h"),
    ("data/deep/a.h", '#include "trainer/b.h"\n', "may include only from core, comm, data"),
    ("trainer/model/a.cpp", '#include "launch/b.h"\n', "may include only from"),
    ("trainer/model/a.cpp", '#include "data/b.h"\n#include "comm/b.h"\n#include <torch/torch.h>\n', ""),
    ("trainer/model/a.cpp", '#include "trainer/formats/b.h"\n#include "trainer/model/c.h"\n', ""),
    ("trainer/model/a.cpp", '#include "trainer/reward/b.h"\n', "trainer/model/ may include only from formats, model"),
    ("trainer/formats/a.h", '#include "trainer/model/b.h"\n', "may include only from formats"),
    ("trainer/model/a.h", '#include "trainer/lvlm/b.h"\n', "may include only from formats, model"),
    ("trainer/lvlm/a.h", '#include "trainer/reward/b.h"\n', "may include only from formats, model, lvlm"),
    ("trainer/reward/a.h", '#include "trainer/library/b.h"\n', "trainer/reward/ may include only"),
    ("trainer/library/a.h", '#include "trainer/search/b.h"\n', "trainer/library/ may include only"),
    ("trainer/search/a.h", '#include "trainer/baselines/b.h"\n', "trainer/search/ may include only"),
    ("trainer/baselines/a.h", '#include "trainer/objective/b.h"\n', "trainer/baselines/ may include only"),
    ("trainer/objective/a.h", '#include "trainer/optimiser/b.h"\n', "trainer/objective/ may include only"),
    ("trainer/objective/a.h", '#include "trainer/baselines/b.h"\n', "trainer/objective/ may include only"),
    ("trainer/objective/a.h", '#include "trainer/lvlm/b.h"\n', "trainer/objective/ may include only"),
    ("trainer/objective/a.h", "".join(f'#include "trainer/{room}/b.h"\n' for room in ROOM_LIMITS["objective"]), ""),
    ("trainer/optimiser/a.h", '#include "trainer/checkpoint/b.h"\n', "trainer/optimiser/ may include only"),
    ("trainer/checkpoint/a.h", "".join(f'#include "trainer/{room}/b.h"\n' for room in ROOMS), ""),
    ("trainer/checkpoint/a.h", '#include "trainer/stage.h"\n', "trainer/checkpoint/ may include only"),
    ("trainer/search/deep/a.h", '#include "trainer/baselines/b.h"\n', "trainer/search/ may include only"),
    ("trainer/a.cpp", "".join(f'#include "trainer/{room}/b.h"\n' for room in ROOMS) + '#include "trainer/c.h"\n', ""),
    ("trainer/attic/a.h", '#include "core/b.h"\n', "trainer/attic/ has no place"),
    ("trainer/a.h", '#include "trainer/attic/b.h"\n', "trainer/attic/ has no place"),
    ("launch/a.cpp", '#include "trainer/b.h"\n#include "core/b.h"\n', ""),
    ("launch/a.cpp", '#include "tests/b.h"\n', "may not depend on tests/"),
    ("tests/trainer/a.cpp", '#include "launch/b.h"\n#include "tests/c.h"\n', ""),
    ("comm/mpi_a.cpp", "#include <mpi.h>\n", ""),
    ("comm/process_group.cpp", "#include <mpi.h>\n", "whose home is comm/mpi_*"),
    ("tests/comm/a.cpp", "#include <mpi.h>\n", "whose home is comm/mpi_*"),
    ("bench/mpi_a.cpp", "#include <mpi.h>\n", ""),
    ("bench/a.cpp", "#include <mpi.h>\n", "whose home is comm/mpi_* and bench/mpi_*"),
    ("data/hdf5_a.cpp", "#include <hdf5.h>\n", ""),
    ("data/embedding_set.cpp", "#include <hdf5.h>\n", "whose home is data/hdf5_*"),
    ("core/config_yaml.cpp", "#include <yaml-cpp/yaml.h>\n", ""),
    ("launch/settings.cpp", "#include <yaml-cpp/yaml.h>\n", "whose home is core/config_*"),
    ("data/demo/emoji.cpp", "#include <ft2build.h>\n#include <freetype/freetype.h>\n", ""),
    ("data/demo/scenes.cpp", "#include <ft2build.h>\n", "whose home is data/demo/emoji.cpp"),
    ("core/hash.cpp", "#include <xxhash.h>\n", ""),
    ("data/score_journal.cpp", "#include <xxhash.h>\n", "whose home is core/hash.cpp"),
    ("launch/command_line.cpp", "#include <CLI/CLI.hpp>\n", ""),
    ("launch/main.cpp", "#include <CLI/CLI.hpp>\n", "whose home is launch/command_line.cpp"),
    ("comm/cuda.cpp", "#include <ATen/cuda/CUDAContext.h>\n#include <cuda_runtime_api.h>\n", ""),
    ("comm/nccl_group.cpp", "#include <nccl.h>\n", ""),
    ("comm/nccl_group.cpp", "#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>\n", ""),
    ("comm/nccl_group.h", "#include <nccl.h>\n", "whose home is comm/nccl_group.cpp"),
    ("comm/process_group.cpp", "#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>\n", "whose home is comm/nccl_group.cpp"),
    ("trainer/a.cpp", "#include <cuda.h>\n", "whose home is comm/cuda.cpp"),
    ("trainer/a.cpp", "#include <cuda_runtime_api.h>\n", "whose home is comm/cuda.cpp"),
    ("trainer/a.cpp", "#include <c10/cuda/CUDAGuard.h>\n", "whose home is comm/cuda.cpp"),
    ("trainer/a.cpp", "#include <torch/cuda.h>\n#include \"comm/cuda.h\"\n#include \"comm/nccl_group.h\"\n", ""),
    ("core/a.cpp", "#include <torch/torch.h>\n", "stays free of LibTorch"),
    ("data/a.cpp", "#include <ATen/ATen.h>\n", "stays free of LibTorch"),
    ("data/a.cpp", "#include <c10/util/Half.h>\n", "stays free of LibTorch"),
    ("trainer/a.cpp", "int a;\n" * 400, ""),
    ("trainer/a.cpp", "int a;\n" * 401, "has 401 lines"),
    ("tools/run", "#!/bin/sh\n" + "true\n" * 400, "has 401 lines"),
    ("tools/run.py", "a = 1\n" * 401, "has 401 lines"),
    ("docs/page.md", "text\n" * 900, ""),
    ("trainer/a.cpp", "auto t = torch::load(path);\n", "pickled"),
    ("trainer/a.cpp", "torch::jit::Module m;\n", "pickled"),
    ("trainer/a.cpp", "at::Tensor t = torch::pickle_load(bytes).toTensor();\n", "pickled"),
    ("tools/a.py", "import pickle\n", "pickled"),
    ("build/a.cpp", "int a;\n" * 900, ""),
    (".venv/a.py", "int a;\n" * 900, ""),
]


def self_test():
    failures = 0
    for path, text, wanted in CASES:
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
            found = violations(root)
        right = (len(found) == 1 and wanted in found[0]) if wanted else not found
        if not right:
            failures += 1
            print(f"self-test: {path} with {text[:40]!r} gave {found}, wanted {wanted or 'nothing'!r}")
    print(f"self-test: {len(CASES) - failures} of {len(CASES)} cases as wanted")
    return failures


def main(arguments):
    if arguments == ["--self-test"]:
        return 1 if self_test() else 0
    if len(arguments) != 1:
        print(__doc__)
        return 2
    found = violations(arguments[0])
    print("\n".join(found) if found else "no violation")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
