"""Starting `saber` on several ranks of this machine: what tools/ablations and tools/analysis share."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def on_ranks(ranks, arguments):
    """Keywords of subprocess.run. As in tools/demo: more ranks than cores, in containers and as root, too."""
    environment = dict(os.environ, OMPI_MCA_btl_vader_single_copy_mechanism="none", OMPI_ALLOW_RUN_AS_ROOT="1",
                       OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    command = ["mpirun", "--quiet", "-n", str(ranks), "--oversubscribe", "--bind-to", "none", ROOT / "build/saber",
               *arguments]
    return {"args": command, "cwd": ROOT, "env": environment}
