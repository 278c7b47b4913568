"""Seconds of the training step with PyTorch's DistributedDataParallel over Gloo, on weights and batches that
`bench_step --export FOLDER` wrote. Prints the same lines as bench_step. Started by `bench/step`:

    mpirun -n 2 python bench/ddp_step.py FOLDER --store FILE [--precision bf16]
"""

import argparse
import contextlib
import json
import os
import pathlib
import time

import safetensors
import safetensors.torch
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from ddp_model import ListwiseLoss, Saber


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--store", required=True, help="a new file through which the ranks meet")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32")
    parser.add_argument("--bucket-mb", type=float, default=25, help="DistributedDataParallel's default is 25")
    parser.add_argument("--zero", action="store_true", help="set gradients to zero instead of dropping them")
    parser.add_argument("--no-static-graph", action="store_true")
    return parser.parse_args()


def slice_of(batch, rank, ranks):
    """The rank's contiguous share of a batch, padded no wider than it has to be. Not timed."""
    size = len(batch["queries"])
    share, left = divmod(size, ranks)
    begin = rank * share + min(rank, left)
    mine = {name: rows[begin:begin + share + (rank < left)] for name, rows in batch.items() if name != "learning_rate"}
    width = int((~mine["rewards"].isinf()).sum(1).max())
    mine["children"], mine["rewards"] = (mine[name][:, :width].contiguous() for name in ("children", "rewards"))
    return mine, float(batch["learning_rate"]), size


def read_batches(path, rank, ranks):
    batches = {}
    for name, tensor in safetensors.torch.load_file(path).items():
        step, key = name.split("/")
        batches.setdefault(int(step), {})[key] = tensor
    return [slice_of(batches[step], rank, ranks) for step in sorted(batches)]


def main():
    args = read_arguments()
    rank, ranks = int(os.environ["OMPI_COMM_WORLD_RANK"]), int(os.environ["OMPI_COMM_WORLD_SIZE"])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{args.store}", rank=rank, world_size=ranks)
    with safetensors.safe_open(args.folder / "weights.safetensors", "pt") as file:
        settings = file.metadata()
    saber = Saber(safetensors.torch.load_file(args.folder / "weights.safetensors"), int(settings["heads"]))
    tables = safetensors.torch.load_file(args.folder / "tables.safetensors")
    batches = read_batches(args.folder / "batches.safetensors", rank, ranks)
    model = DistributedDataParallel(ListwiseLoss(saber, tables, float(settings["temperature"])),
                                    broadcast_buffers=False, gradient_as_bucket_view=True,
                                    static_graph=not args.no_static_graph, bucket_cap_mb=args.bucket_mb)
    parameters = list(saber.parameters())
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.999), eps=1e-8, fused=True,
                                  weight_decay=float(settings["weight_decay"]))
    seconds, losses = train(args, model, parameters, optimizer, batches, float(settings["clip"]))
    distributed.all_reduce(losses)
    if rank == 0:
        for step, (time_of_step, loss) in enumerate(zip(seconds, losses.tolist()), 1):
            print(json.dumps({"step": step, "seconds": time_of_step, "loss": loss}))
        print(json.dumps({"parameters": sum(p.numel() for p in parameters)}), flush=True)
    distributed.barrier()
    os._exit(0)  # Gloo's threads and the end of the interpreter get into each other's way now and then


def train(args, model, parameters, optimizer, batches, clip):
    """All steps; seconds of each, and this rank's part of each loss, which nobody waits for while it is timed."""
    half = torch.autocast("cpu", dtype=torch.bfloat16) if args.precision == "bf16" else contextlib.nullcontext()
    seconds, losses = [], torch.zeros(len(batches), dtype=torch.float64)
    for step, (batch, rate, size) in enumerate(batches):
        start = time.perf_counter()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad(set_to_none=not args.zero)
        with half:
            loss = model(batch) / size
        (loss * distributed.get_world_size()).backward()  # the gradients are averaged, ours are added up
        torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
        losses[step] = loss.detach()
    return seconds, losses


if __name__ == "__main__":
    main()
