"""Seconds of summing float32 over all ranks with Gloo, through torch.distributed; the same sizes and lines as
bench_reduce. Started by `bench/reduce`:

    mpirun -n 2 python bench/gloo_reduce.py --store FILE
"""

import argparse
import json
import os
import statistics
import time

import torch
from torch import distributed

ROUNDS = 9
SIZES = [16 << 10, 256 << 10, 8 << 20, 48 << 20]  # bytes


def measure(size, ranks):
    repeats = max(1, (4 << 20) // size)
    values = torch.ones(size // 4)
    distributed.all_reduce(values)
    assert bool((values == ranks).all()), "a sum over the ranks is wrong"
    values.zero_()  # so that repeated sums stay finite
    seconds = []
    for _ in range(ROUNDS):
        distributed.barrier()
        start = time.perf_counter()
        for _ in range(repeats):
            distributed.all_reduce(values)
        seconds.append((time.perf_counter() - start) / repeats)
    return statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True, help="a new file through which the ranks meet")
    args = parser.parse_args()
    rank, ranks = int(os.environ["OMPI_COMM_WORLD_RANK"]), int(os.environ["OMPI_COMM_WORLD_SIZE"])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{args.store}", rank=rank, world_size=ranks)
    for size in SIZES:
        seconds = measure(size, ranks)
        if rank == 0:
            print(json.dumps({"bytes": size, "gloo": seconds}), flush=True)
    distributed.barrier()
    os._exit(0)  # Gloo's threads and the end of the interpreter get into each other's way now and then


if __name__ == "__main__":
    main()
