"""What one of several ranks does to save a distributed checkpoint; arguments: rank, number of ranks, folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(rank: int, world: int, folder: Path) -> None:
    """Save tensors that are cut in every way, by all ranks together."""
    import torch
    import torch.distributed as dist
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))
    base = torch.arange(7 * 6, dtype=torch.float32).reshape(7, 6)
    cube = torch.arange(4 * 3 * 5, dtype=torch.int32).reshape(4, 3, 5)
    state = {
        "model": {
            "rows.weight": distribute_tensor(base, mesh, [Shard(0)]),
            "columns.weight": distribute_tensor(base + 100, mesh, [Shard(1)]),
            "middle": distribute_tensor(cube, mesh, [Shard(1)]),
            "everywhere": distribute_tensor(base.to(torch.bfloat16), mesh, [Replicate()]),
            "one_row": distribute_tensor(base[:1], mesh, [Shard(0)]),
        },
        "step": 12,
        "optim": {"param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}], "state": {0: {"step": torch.tensor(3.0)}}},
    }
    dcp.save(state, checkpoint_id=folder / "cut")
    flat = {name: state["model"][name] for name in ("rows.weight", "columns.weight")}
    dcp.save(flat, storage_writer=HuggingFaceStorageWriter(str(folder / "hugging"), save_distributed=True))
    dcp.save(flat, storage_writer=dcp.FileSystemWriter(folder / "alone"), use_collectives=False)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
