"""How much of what Blender can draw arrives in the trainer?

The same frames (Blender's default cube, Solid, 640 x 480 RGBA, no anti-aliasing) are drawn and read back in a
bare loop inside Blender, and streamed into batches of 8 of a DataLoader, from 1, 2 and 4 instances. Every round measures
all of them, one after the other.
"""

import time
from pathlib import Path

from report import Row, parser, rows_of_rounds, show
from torch.utils.data import DataLoader

from blendtorch import btt

BATCH_SIZE = 8
# Rows by how many instances take part.
BARE = {"bare": 1, "bare/2": 2}
END_TO_END = {"end-to-end/1": 1, "end-to-end/2": 2, "end-to-end/4": 4}
REMARKS = {
    "bare": "drawing: Blender and the GPU, or its software stand-in, which takes all cores",
    "bare/2": "two bare loops at once: what the machine gives to two Blenders",
    "end-to-end/1": "drawing; one copy into the socket, one into the batch",
    "end-to-end/2": "as bare/2",
    "end-to-end/4": "as bare/2, where there are fewer cores than instances",
}


def main() -> None:
    args = parser(__doc__.splitlines()[0]).parse_args()
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

        def measure() -> dict[str, float]:
            return {name: bare(n) for name, n in BARE.items()} | {name: end_to_end(n) for name, n in END_TO_END.items()}

        bare(4)  # the first pictures compile shaders
        end_to_end(4)
        results = [measure() for _ in range(rounds)]

    rows = rows_of_rounds(results, "images/s", "bare", REMARKS)
    show("Drawing and streaming, Solid 640 x 480 RGBA", rows, args.json)
    print_times(rows)


def print_times(rows: list[Row]) -> None:
    """The table of the predecessor's README."""
    print(f"\n| Blender instances | seconds per batch of {BATCH_SIZE} | seconds per image |\n|:-:|:-:|:-:|")
    for row in rows:
        if row.name in END_TO_END:
            print(f"| {END_TO_END[row.name]} | {BATCH_SIZE / row.value:.3f} | {1 / row.value:.4f} |")


if __name__ == "__main__":
    main()
