"""How much of what Blender can draw arrives in the trainer?

The same frames (Blender's default cube, Solid, 640 x 480 RGBA, no anti-aliasing) are drawn and read back in a
bare loop inside Blender, and streamed into batches of 8 of a DataLoader, from 1, 2 and 4 instances. Every round measures
all of them, one after the other.
"""

import time
from pathlib import Path

import torch
from report import Row, parser, rows_of_rounds, show
from torch.utils.data import DataLoader

from blendtorch import btt

BATCH_SIZE = 8
# Each row: how it is measured, and how many instances take part. What is compared lies side by side.
ROWS = {
    "end-to-end/1": ("end-to-end", 1),
    "bare": ("bare", 1),
    "bare/2": ("bare", 2),
    "end-to-end/2": ("end-to-end", 2),
    "end-to-end/4": ("end-to-end", 4),
}
REMARKS = {
    "bare": "drawing; software OpenGL takes all cores",
    "end-to-end/1": "drawing; then three copies: socket, kernel, batch",
    "bare/2": "what the machine gives to two Blenders",
    "end-to-end/2": "as bare/2",
    "end-to-end/4": "as bare/2, if there are not four cores",
}


def main() -> None:
    args = parser(__doc__.splitlines()[0]).parse_args()
    # Filling a batch takes one core for a millisecond; torch's thread pool would wait for cores that draw.
    torch.set_num_threads(1)
    frames, rounds = (16, 3) if args.quick else (48, 7)
    with btt.BlenderLauncher(
        script=Path(__file__).parent / "render.blend.py",
        num_instances=4,
        named_sockets=["DATA", "CTRL"],
        blend_path=args.blender,
    ) as launcher:
        addresses = launcher.launch_info.addresses
        commands = [btt.DuplexChannel(address, btid) for btid, address in enumerate(addresses["CTRL"])]
        dataset = btt.RemoteIterableDataset(addresses["DATA"], timeoutms=120_000)
        batches = iter(DataLoader(dataset, batch_size=BATCH_SIZE))

        def bare(instances: int) -> float:
            """Images per second, drawn and dropped by each of the instances."""
            started = time.perf_counter()
            for channel in commands[:instances]:
                channel.send(frames=frames, publish=False)
            for channel in commands[:instances]:
                assert channel.recv(timeoutms=300_000) is not None, "an instance did not finish in 5 minutes"
            return frames * instances / (time.perf_counter() - started)

        def end_to_end(instances: int) -> float:
            """Images per second that arrive in batches."""
            started = time.perf_counter()
            for channel in commands[:instances]:
                channel.send(frames=frames, publish=True)
            for _ in range(frames * instances // BATCH_SIZE):
                next(batches)
            return frames * instances / (time.perf_counter() - started)

        def measure(backwards: bool) -> dict[str, float]:
            """One round; every other one runs backwards, so that no row always comes first of a pair."""
            values = {}
            for name in reversed(ROWS) if backwards else ROWS:
                how, instances = ROWS[name]
                values[name] = bare(instances) if how == "bare" else end_to_end(instances)
            return {name: values[name] for name in ROWS}

        bare(4)  # the first pictures compile shaders
        end_to_end(4)
        results = [measure(backwards=bool(i % 2)) for i in range(rounds)]

    rows = rows_of_rounds(results, "images/s", ratio_to="bare", remarks=REMARKS)
    show("Drawing and streaming, Solid 640 x 480 RGBA", rows, args.json)
    print_times(rows)


def print_times(rows: list[Row]) -> None:
    """The table of the predecessor's README."""
    print(f"\n| Blender instances | seconds per batch of {BATCH_SIZE} | seconds per image |\n|:-:|:-:|:-:|")
    for row in rows:
        how, instances = ROWS[row.name]
        if how == "end-to-end":
            print(f"| {instances} | {BATCH_SIZE / row.value:.3f} | {1 / row.value:.4f} |")


if __name__ == "__main__":
    main()
