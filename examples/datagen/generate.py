"""Four Blenders let cubes fall; a DataLoader makes batches of it; the last one is saved with its boxes drawn on.

python examples/datagen/generate.py --instances 4 --out tmp/batch.png
"""

import argparse
from pathlib import Path

from torch.utils.data import DataLoader

from blendtorch import btt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("batch.png"))
    args = parser.parse_args()

    with btt.BlenderLauncher(
        script=Path(__file__).parent / "falling_cubes.blend.py",
        num_instances=args.instances,
        seed=1,
    ) as launcher:
        dataset = btt.RemoteIterableDataset(
            launcher.launch_info.addresses["DATA"], max_items=args.batches * args.batch_size
        )
        loader = DataLoader(dataset, args.batch_size, num_workers=args.workers, collate_fn=btt.collate)
        for i, batch in enumerate(loader):
            shapes = ", ".join(f"{name} {tuple(batch[name].shape)}" for name in ("image", "boxes"))
            print(f"batch {i}: {shapes}, labels of {len(batch['labels'])}", flush=True)

    args.out.parent.mkdir(parents=True, exist_ok=True)
    btt.montage(batch["image"], batch["boxes"]).save(args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
