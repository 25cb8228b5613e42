"""One launched Blender process: its log, its end, and what to say of it."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from .guardian import Guardian, kill_tree

_POLL_S = 0.02
_TAIL_LINES = 30
_TAIL_BYTES = 16_384


class Instance:
    """A Blender process that leads a process group of its own and writes its output to a log file.

    Args:
        btid: Id of the instance.
        command: Its command line.
        log_file: Where its standard output and error go; overwritten, unless it takes the place of another.
        env: Its environment.
        guardian: Ends it when this process dies, if there is one.
        epoch: How often it has been restarted with this one.
        reason: Why the one before was ended or had ended; for the log.

    Raises:
        OSError: The command cannot be started.
    """

    def __init__(
        self,
        btid: int,
        command: Sequence[str],
        log_file: Path,
        env: dict[str, str],
        guardian: Guardian | None = None,
        epoch: int = 0,
        reason: str = "",
    ) -> None:
        self.btid = btid
        self.epoch = epoch
        self.command = list(command)
        self.log_file = log_file
        self._guardian = guardian
        self._is_buried = False
        with open(log_file, "ab" if epoch else "wb") as log:
            if epoch:
                log.write(f"\n--- blendtorch: instance {btid} is restarted (epoch {epoch}): it {reason} ---\n".encode())
                log.flush()
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        if guardian:
            guardian.watch(self.pid)

    @property
    def pid(self) -> int:
        """Process id; also the id of the process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit status, negative for the signal that killed it; None while it runs."""
        if self._process.returncode is not None or not hasattr(os, "waitid"):
            return self._process.poll()
        # Only looked at: until `kill` takes it, nobody else can get its process id, which is also that of its group.
        end = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None:
            return None
        return end.si_status if end.si_code == os.CLD_EXITED else -end.si_status

    def wait(self, timeout_s: float) -> int | None:
        """Waits for its end; returns the exit status, or None when it still runs."""
        deadline = time.monotonic() + timeout_s
        while (code := self.exit_code) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return code

    def terminate(self) -> None:
        """Asks it to end: its script ends as by `sys.exit`."""
        if self.exit_code is None:
            self._process.terminate()

    def kill(self) -> None:
        """Ends it and everything it has started, for certain. Nothing happens when that is done."""
        if self._is_buried:  # its id may be somebody else's by now
            return
        self._is_buried = True
        kill_tree(self.pid)
        if self._guardian:
            self._guardian.forget(self.pid)
        self._process.wait()

    def send_kill(self) -> None:
        """As `kill`, without waiting for the end; `kill` is still to be called."""
        if not self._is_buried:
            kill_tree(self.pid)

    def request_stacks(self) -> None:
        """Makes a hanging script print to its log where it hangs, which takes it a moment."""
        if hasattr(signal, "SIGUSR1") and self.exit_code is None:
            os.kill(self.pid, signal.SIGUSR1)

    def describe_end(self) -> str:
        """How it ended, in words."""
        code = self.exit_code
        if code is None:
            return "is still running"
        if code < 0:
            return f"was killed by {_signal_name(-code)}"
        return f"ended with exit status {code}"

    def report(self, what: str) -> str:
        """A message about this instance: what happened, its command line, and the tail of its log."""
        return (
            f"Blender instance {self.btid} {what}\n"
            f"command: {subprocess.list2cmdline(self.command)}\n"
            f"--- end of its log ---\n{self.log_tail()}"
        )

    def log_tail(self) -> str:
        """The last lines of its log."""
        try:
            with open(self.log_file, "rb") as log:
                log.seek(0, os.SEEK_END)
                log.seek(max(0, log.tell() - _TAIL_BYTES))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError as error:
            return f"(the log cannot be read: {error})"
        return "\n".join(lines[-_TAIL_LINES:]) or "(it printed nothing)"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has none
        return f"signal {number}"
