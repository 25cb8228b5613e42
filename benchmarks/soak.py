"""Does the stream lose, repeat or spoil anything when processes are killed, hang and pause for half an hour?

Blender instances stream small pictures, one colour each that follows from the sample's index, while a thread does harm
at random moments: kills an instance, or all, with SIGKILL; stops one with SIGSTOP for good, so that the launcher has to
replace it, or for some seconds; has the trainer pause. The same --seed chooses the same faults at the same times.

Afterwards every index must have arrived exactly once, without a gap, up to the end; pictures must be whole, also those of
batches that the trainer has kept for a while; the loader's own counts must agree; the trainer must not have grown; and no
process and no file may be left. Exit status 1 otherwise.
"""

import argparse
import random
import re
import signal
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from soak_picture import color_of

from blendtorch import btt

BATCH_SIZE = 8
TIMEOUT_MS = 90_000
# After the last fault: how long all instances may take to be back, with all that they owed.
SETTLE_S = 60.0
SETTLE_SAMPLES = 200
GROWTH_MB = 64  # of the trainer, after the first report, by which buffers and mapped memory have come to their size
KEEP_EVERY, KEPT = 10, 5  # one batch of so many is kept, until so many were kept after it
MB = 1e6


def main() -> int:
    args = parse_args()
    torch.set_num_threads(1)
    launcher = btt.BlenderLauncher(
        script=Path(__file__).parent / "soak.blend.py",
        num_instances=args.instances,
        seed=args.seed,
        instance_args=[[str(args.rate)]] * args.instances,
        blend_path=args.blender,
        proto=args.proto,
        **({} if args.shm else {"shm_bytes": 0}),
    )
    processes: set[psutil.Process] = set()
    with launcher:
        folders = folders_of(launcher)
        with btt.StreamLoader(launcher.launch_info.addresses["DATA"], BATCH_SIZE, timeoutms=TIMEOUT_MS) as loader:
            soak = Soak(launcher, loader, args, processes)
            try:
                soak.run()
            finally:
                soak.faults.end()
            wrong = soak.judge()
    wrong += leftovers(processes, folders)
    print("\n".join(f"OFF: {what}" for what in wrong) or "nothing is off")
    return 1 if wrong else 0


def parse_args() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--minutes", type=float, default=30, help="how long faults are injected (default: 30)")
    made.add_argument("--seed", type=int, default=1, help="chooses the faults (default: 1)")
    made.add_argument("--instances", type=int, default=2, help="how many Blenders (default: 2)")
    made.add_argument("--rate", type=float, default=500, help="samples a second of each; 0: all it can (default: 500)")
    made.add_argument("--every", type=float, default=12, help="mean seconds between faults (default: 12)")
    made.add_argument("--report", type=float, default=30, help="seconds between lines (default: 30)")
    made.add_argument("--proto", default="auto", help="auto, ipc or tcp (default: auto)")
    made.add_argument("--no-shm", dest="shm", action="store_false", help="no shared memory")
    made.add_argument("--blender", help="blender executable, or Python that has bpy (default: found by itself)")
    return made.parse_args()


class Faults:
    """A thread that does harm at random.

    Args:
        launcher: Its instances are the victims.
        seed: Chooses the faults and when they come.
        every_s: Mean seconds between two.

    Attributes:
        pause_s: How long the trainer is to pause now; it sets this back to 0.
        counts: How often each fault was injected.
    """

    def __init__(self, launcher: btt.BlenderLauncher, seed: int, every_s: float) -> None:
        self._launcher = launcher
        self._random = random.Random(seed)
        self._every_s = every_s
        self._ending = threading.Event()
        self.pause_s = 0.0
        self.counts: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="faults", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Injects no more."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        kinds = {
            "kill": self._kill,
            "kill all": self._kill_all,
            "hang": self._hang,
            "stop": self._stop,
            "pause": self._pause,
        }
        while not self._ending.wait(self._random.uniform(0.3, 1.7) * self._every_s):
            kind = self._random.choice(list(kinds))
            # Drawn whether it is needed or not, so that every fault takes as many random numbers.
            victim = self._random.randrange(len(self._launcher.launch_info.pids))
            duration_s = self._random.uniform(2, 6)
            kinds[kind](victim, duration_s)
            self.counts[kind] += 1

    def _kill(self, victim: int, duration_s: float) -> None:
        self._signal(victim, signal.SIGKILL)

    def _kill_all(self, victim: int, duration_s: float) -> None:
        for btid in range(len(self._launcher.launch_info.pids)):
            self._signal(btid, signal.SIGKILL)

    def _hang(self, victim: int, duration_s: float) -> None:
        """Stops it for good: only the launcher's watch over heartbeats can bring it back."""
        self._signal(victim, signal.SIGSTOP)

    def _stop(self, victim: int, duration_s: float) -> None:
        """Stops it for a time that is too short to be taken for a hang."""
        process = self._signal(victim, signal.SIGSTOP)
        self._ending.wait(duration_s)
        with suppress(psutil.NoSuchProcess):  # or taken for a hang after all
            if process is not None:
                process.send_signal(signal.SIGCONT)

    def _pause(self, victim: int, duration_s: float) -> None:
        self.pause_s = 3 * duration_s

    def _signal(self, btid: int, number: signal.Signals) -> psutil.Process | None:
        """Sends a signal to the process that an instance is at the moment; None when there is none."""
        try:
            process = psutil.Process(self._launcher.launch_info.pids[btid])
            process.send_signal(number)
        except psutil.NoSuchProcess:  # it has not been restarted yet
            return None
        return process


class Account:
    """Which indices have arrived: its own count, independent of the loader's.

    Attributes:
        arrived: How many samples.
        repeated: How many indices came again.
        spoilt: How many pictures were not of one colour, that of their index.
        of_instance: How many samples came from each instance.
    """

    def __init__(self, instances: int) -> None:
        # Instance k of N makes k, k + N, ...: the first index of each that has not arrived, and those beyond it that have.
        self._next = list(range(instances))
        self._beyond: set[int] = set()
        self.arrived = 0
        self.repeated = 0
        self.spoilt = 0
        self.of_instance: Counter[int] = Counter()

    @property
    def missing(self) -> int:
        """How many indices are missing before the highest one of their instance."""
        instances = len(self._next)
        ends = {}
        for index in self._beyond:
            ends[index % instances] = max(index, ends.get(index % instances, 0))
        return sum((end - self._next[k]) // instances + 1 for k, end in ends.items()) - len(self._beyond)

    def take(self, batch: dict[str, Any]) -> None:
        """Takes note of a batch."""
        rows = zip(batch["btid"].tolist(), batch["btindex"].tolist(), batch["made_for"].tolist(), strict=True)
        for row, (btid, index, made_for) in enumerate(rows):
            self.arrived += 1
            self.of_instance[btid] += 1
            if made_for != index or not bool((batch["image"][row] == color_of(index)).all()):
                self.spoilt += 1
            self._note(index)

    def look_again(self, batch: dict[str, Any]) -> None:
        """Looks whether the pictures of a batch that was taken before are those that they were."""
        for index, image in zip(batch["btindex"].tolist(), batch["image"], strict=True):
            self.spoilt += not bool((image == color_of(index)).all())

    def _note(self, index: int) -> None:
        k = index % len(self._next)
        if index < self._next[k] or index in self._beyond:
            self.repeated += 1
            return
        self._beyond.add(index)
        while self._next[k] in self._beyond:
            self._beyond.remove(self._next[k])
            self._next[k] += len(self._next)


class Soak:
    """One run.

    Args:
        launcher: The running instances.
        loader: What comes from them.
        args: The command line's.
        processes: Where to note all processes that were seen.
    """

    def __init__(
        self,
        launcher: btt.BlenderLauncher,
        loader: btt.StreamLoader,
        args: argparse.Namespace,
        processes: set[psutil.Process],
    ) -> None:
        self._launcher = launcher
        self._loader = loader
        self._batches = iter(loader)
        self._taken = 0
        self._kept: deque[dict[str, Any]] = deque()
        self._args = args
        self._processes = processes
        self._account = Account(args.instances)
        self._started = self._reported = time.monotonic()
        self._rss_mb: list[float] = []  # of the trainer, at each report
        self.faults = Faults(launcher, args.seed, args.every)

    def run(self) -> None:
        """Takes samples while faults are injected, and after that until all are back."""
        while time.monotonic() - self._started < 60 * self._args.minutes:
            self._take()
            pause_s, self.faults.pause_s = self.faults.pause_s, 0.0
            time.sleep(pause_s)
        self.faults.end()
        seen = Counter(self._account.of_instance)
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline and not self._settled(seen):
            self._take()
        self._report()

    def judge(self) -> list[str]:
        """Prints the sums; returns what is off."""
        account, stats = self._account, self._loader.stats()
        start_mb, end_mb = self._rss_mb[0], self._rss_mb[-1]
        print(f"faults: {dict(self.faults.counts)}; restarts: {len(self._launcher.restarts)}")
        print(f"samples: {account.arrived}, by instance {dict(sorted(account.of_instance.items()))}")
        print(f"indices repeated: {account.repeated}, missing: {account.missing}; pictures spoilt: {account.spoilt}")
        print(f"loader: {stats.received} received, {stats.lost} lost, ", end="")
        print(f"{stats.duplicated} duplicated (and dropped), {stats.refused} refused")
        print(f"trainer: {start_mb:.0f} MB at the first report, {end_mb:.0f} MB at the end")
        ahead = stats.received - account.arrived
        checks = {
            f"{account.repeated} indices arrived more than once": account.repeated,
            f"{account.missing} indices are missing": account.missing,
            f"{account.spoilt} pictures are not those of their index": account.spoilt,
            f"instances that sent nothing: {self._args.instances - len(account.of_instance)}": (
                len(account.of_instance) != self._args.instances
            ),
            f"the loader counts {stats.lost} lost samples": stats.lost,
            f"the loader has refused {stats.refused} messages": stats.refused,
            # It reads a few batches ahead.
            f"the loader has received {ahead} samples more than were taken": not 0 <= ahead <= 10 * BATCH_SIZE,
            f"the trainer has grown by {end_mb - start_mb:.0f} MB": end_mb - start_mb > GROWTH_MB,
        }
        return [what for what, is_off in checks.items() if is_off]

    def _settled(self, seen: Counter[int]) -> bool:
        """Whether all instances are back, and nothing is missing."""
        back = all(self._account.of_instance[k] >= seen[k] + SETTLE_SAMPLES for k in range(self._args.instances))
        return back and not self._account.missing

    def _take(self) -> None:
        batch = next(self._batches)
        self._account.take(batch)
        self._taken += 1
        if self._taken % KEEP_EVERY == 0:
            self._kept.append(batch)
            if len(self._kept) > KEPT:
                self._account.look_again(self._kept.popleft())
        if time.monotonic() - self._reported >= self._args.report:
            self._report()

    def _report(self) -> None:
        self._reported = time.monotonic()
        self._processes.update(psutil.Process().children(recursive=True))
        self._rss_mb.append(rss_mb(psutil.Process().pid))
        instances_mb = " ".join(f"{rss_mb(pid):.0f}" for pid in self._launcher.launch_info.pids)
        print(
            f"{self._reported - self._started:5.0f} s: {self._account.arrived} samples; {self._loader.stats()}; "
            f"MB: trainer {self._rss_mb[-1]:.0f}, instances {instances_mb}; "
            f"faults {self.faults.counts.total()}, restarts {len(self._launcher.restarts)}",
            flush=True,
        )


def rss_mb(pid: int) -> float:
    """Resident memory, touched pages of shared memory included; 0 for a process that is not there."""
    try:
        return psutil.Process(pid).memory_info().rss / MB
    except psutil.NoSuchProcess:
        return 0.0


def folders_of(launcher: btt.BlenderLauncher) -> set[Path]:
    """The folders of the run, of which the instances are told on their command lines: sockets, logs, shared memory."""
    words = " ".join(word for command in launcher.launch_info.commands for word in command)
    return {Path(found) for found in re.findall(r"/[^\s=:]*?/blendtorch-[^\s/]+", words)}


def leftovers(processes: set[psutil.Process], folders: set[Path]) -> list[str]:
    """Processes and folders of the run that are still there."""
    _, alive = psutil.wait_procs(processes, timeout=5)
    left = [path for path in folders if path.exists()]
    print(f"left over: {len(alive)} of {len(processes)} processes, {len(left)} of {len(folders)} folders")
    return [f"{process} still runs" for process in alive] + [f"{path} is still there" for path in left]


if __name__ == "__main__":
    sys.exit(main())
