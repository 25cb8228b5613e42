"""The smallest use of BlendTorch: two Blenders, a dataset, a DataLoader."""

from pathlib import Path

from torch.utils.data import DataLoader

from blendtorch import btt


def main() -> None:
    with btt.BlenderLauncher(
        script=Path(__file__).parent / "cube.blend.py",
        num_instances=2,
        named_sockets=["DATA"],
        seed=1,
    ) as launcher:
        dataset = btt.RemoteIterableDataset(launcher.launch_info.addresses["DATA"], max_items=16)
        for batch in DataLoader(dataset, batch_size=4, num_workers=2):
            print(batch["image"].shape, batch["xy"].shape, batch["frameid"].tolist(), batch["btid"].tolist())


if __name__ == "__main__":
    main()
