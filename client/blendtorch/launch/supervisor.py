"""One instance over all its restarts: from what is seen of it follows that it goes on, starts again, or has failed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import ConfigError, InstanceError, ScriptError
from ..wire import Kind, Message
from .instance import Instance
from .usage import can_measure
from .vitals import Vitals

OnFailure = Literal["restart", "raise"]

# How long instances get to end by themselves before they are killed.
TERMINATE_GRACE_S = 3.0
# How long a hanging process gets to print where it hangs.
STACK_DUMP_S = 0.5
_FIRST_BACK_OFF_S = 0.5  # before the second restart in a row; the first comes at once
_LONGEST_BACK_OFF_S = 30.0
_LONGEST_SILENCE_S = 60.0  # that is believed when an instance announces it


@dataclass(frozen=True)
class Policy:
    """When instances are started again. See the arguments of `BlenderLauncher`, which have the same names.

    Raises:
        ConfigError: A value is out of range.
    """

    on_failure: OnFailure = "restart"
    max_restarts: int = 5
    memory_budget_mb: float | None = None
    frame_budget: int | None = None
    heartbeat_timeout_s: float | None = 10.0
    start_timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.on_failure not in get_args(OnFailure):
            raise ConfigError(f"on_failure is {self.on_failure!r}, expected 'restart' or 'raise'.")
        if self.max_restarts < 0:
            raise ConfigError(f"max_restarts is {self.max_restarts}, expected 0 or more.")
        if self.frame_budget is not None and self.frame_budget < 1:
            raise ConfigError(
                f"frame_budget is {self.frame_budget}, expected at least 1 sample, or None for no budget."
            )
        if self.memory_budget_mb is not None and not 0 < self.memory_budget_mb < math.inf:
            raise ConfigError(
                f"memory_budget_mb is {self.memory_budget_mb}, expected megabytes, such as 4000, or None for no budget."
            )
        if self.memory_budget_mb is not None and not can_measure():
            raise ConfigError(
                f"memory_budget_mb is {self.memory_budget_mb}, but how much memory a process uses is not known here: "
                "this Python has no psutil, and the system no /proc. Leave it out, or pip install psutil."
            )
        # Instances beat every second.
        if self.heartbeat_timeout_s is not None and not self.heartbeat_timeout_s >= 2:
            raise ConfigError(
                f"heartbeat_timeout_s is {self.heartbeat_timeout_s}, expected at least 2 s, or None to let instances hang."
            )


@dataclass(frozen=True)
class Restart:
    """One restart of an instance.

    Attributes:
        btid: The instance.
        epoch: How often it has been restarted with this one.
        reason: Why, such as "was killed by SIGKILL".
    """

    btid: int
    epoch: int
    reason: str


@dataclass(frozen=True)
class InstanceState:
    """What one instance does.

    Attributes:
        btid: The instance.
        state: "starting", "running", "restarting" (it ended or is being ended, and starts again), "ended" (its script has
            come to its end) or "died" (and is given up on).
        detail: Why it died, with the tail of its log, or why it was last restarted; empty when there is nothing to tell.
        epoch: How often it has been restarted.
        published: How many samples its present process has published, as far as it has told (it does once a second).
    """

    btid: int
    state: Literal["starting", "running", "restarting", "ended", "died"]
    detail: str
    epoch: int
    published: int


@dataclass(frozen=True)
class _Ending:
    """An end that the supervisor has brought about."""

    reason: str
    kill_at: float
    is_failure: bool


class Supervisor:
    """Watches and restarts one instance. Driven by the monitor's thread: nothing here waits. Times are monotonic.

    Args:
        instance: The running instance.
        start: Starts its successor, given an epoch and the reason for the log.
        policy: When.
        now: The time.

    Attributes:
        instance: The last process that was started.
        greeted: Whether it has ever reported that its script runs.
        seed: The seed that it has reported then.
        classes: The names of classes, by their ids as texts, that it has reported then.
        failure: Why it is given up on, or None.
        over: Whether its last process has ended, and no other will be started.
    """

    def __init__(self, instance: Instance, start: Callable[[int, str], Instance], policy: Policy, now: float) -> None:
        self.instance = instance
        self.greeted = False
        self.seed: int | None = None
        self.classes: dict[str, str] = {}
        self.failure: InstanceError | None = None
        self.over = False
        self._start = start
        self._policy = policy
        self._started_at = now
        self._vitals: Vitals | None = None  # from its hello on
        self._ending: _Ending | None = None
        self._due: tuple[float, str] | None = None  # when it is to be started again, and why
        self._fruitless = 0  # restarts in a row after which no sample came
        self._too_big_since: float | None = None
        self._last_reason = ""
        self._condemned = ""

    def condemn(self, reason: str) -> None:
        """Has the running process ended and started again, as one that hangs; for other threads to call."""
        self._condemned = reason

    @property
    def state(self) -> InstanceState:
        """What it does, for people."""
        instance, vitals, failure = self.instance, self._vitals, self.failure  # the monitor's thread changes them
        state: Literal["starting", "running", "restarting", "ended", "died"]
        if failure is not None:
            state = "died"
        elif self.over:
            state = "ended"
        elif self.restarting:
            state = "restarting"
        else:
            state = "running" if self.greeted else "starting"
        detail = str(failure) if failure is not None else self._last_reason
        return InstanceState(instance.btid, state, detail, instance.epoch, vitals.published if vitals else 0)

    @property
    def restarting(self) -> bool:
        """Whether it is being ended to be started again, or was started again and has not reported since."""
        if self.over or self.failure is not None:
            return False
        is_starting = self.instance.epoch > 0 and self._vitals is None
        return self._due is not None or self._ending is not None or is_starting

    def take(self, message: Message, now: float) -> None:
        """Takes what the instance reports. What the predecessor of the running process had sent is passed over."""
        body = message.body
        if message.epoch != self.instance.epoch or not isinstance(body, dict):
            return
        if message.kind == Kind.HELLO:
            seed = body.get("seed")
            self.seed = seed if isinstance(seed, int) else None
            self.classes = _names(body.get("classes"))
            self.greeted = True
            pid = body.get("pid")
            self._vitals = Vitals(pid if isinstance(pid, int) else self.instance.pid, self.instance.pid, now)
        elif message.kind == Kind.BEAT and self._vitals:
            published, silent_s = body.get("published"), body.get("silent_s")
            if isinstance(published, int) and isinstance(silent_s, float):
                self._vitals.beat(published, min(silent_s, _LONGEST_SILENCE_S), now)
        elif message.kind == Kind.ERROR:
            # Starting again does not cure a mistake in a script.
            self.failure = ScriptError(self.instance.report(f"failed: {body.get('error')}"))

    def step(self, ended: bool, now: float) -> Restart | None:
        """Does what is to be done next.

        Args:
            ended: Whether the process had ended before the last reports were taken: what it said last comes first.
            now: The time.

        Returns:
            The restart, if it was restarted.
        """
        if self.over:
            return None
        if self._due is not None:
            return self._restart(self._due[1], now) if now >= self._due[0] else None
        if ended:
            self._judge_end(now)
        elif self._ending is not None:
            if now >= self._ending.kill_at:
                self.instance.send_kill()
        elif self.failure is None:
            self._check(now)
        return None

    def _judge_end(self, now: float) -> None:
        ending = self._ending
        if self.failure is not None:
            self.over = True
        elif ending is not None and not ending.is_failure:
            self._start_at(now, ending.reason)
        elif ending is not None or self.instance.exit_code != 0 or not self._vitals:
            self._judge_failure(ending.reason if ending else self.instance.describe_end(), now)
        else:
            self.over = True

    def _judge_failure(self, reason: str, now: float) -> None:
        if not self._vitals and not self._ending:
            reason += " before it reported that its script called btb.parse_blendtorch_args() or btb.env.run()"
        if self._vitals and self._vitals.published:
            self._fruitless = 0
        # A start that never worked is not cured by trying again.
        if self._policy.on_failure == "raise" or not self.greeted:
            self._give_up(f"{reason}.")
        elif self._fruitless >= self._policy.max_restarts:
            self._give_up(
                f"{reason}, and is given up on: {self._fruitless} restarts in a row have brought no sample "
                f"(max_restarts is {self._policy.max_restarts})."
            )
        else:
            back_off_s = _FIRST_BACK_OFF_S * 2 ** min(self._fruitless - 1, 10) if self._fruitless else 0.0
            self._fruitless += 1
            self._start_at(now + min(back_off_s, _LONGEST_BACK_OFF_S), reason)

    def _give_up(self, what: str) -> None:
        self.failure = InstanceError(self.instance.report(what))
        self.over = self.instance.exit_code is not None

    def _start_at(self, due_at: float, reason: str) -> None:
        self.instance.kill()  # what it has started may still run
        self._due = (due_at, reason)
        self._last_reason = reason

    def _restart(self, reason: str, now: float) -> Restart | None:
        self._vitals = self._too_big_since = None
        self._condemned = ""
        self._started_at = now
        epoch = self.instance.epoch + 1
        try:
            self.instance = self._start(epoch, reason)
        except OSError as error:
            self._give_up(f"{reason}, and could not be started again: {error}.")
            return None
        finally:
            self._due = self._ending = None
        return Restart(self.instance.btid, epoch, reason)

    def _check(self, now: float) -> None:
        """Looks at a running process, and ends it when it has to be."""
        policy, vitals = self._policy, self._vitals
        if self._condemned:
            self.instance.request_stacks()
            self._ending = _Ending(self._condemned, now + STACK_DUMP_S, is_failure=True)
            return
        if vitals is None:
            # The launcher itself waits for the first hello.
            limit_s = policy.start_timeout_s
            if self.instance.epoch and limit_s is not None and now - self._started_at > limit_s:
                self.instance.request_stacks()
                reason = f"has not called btb.parse_blendtorch_args() within {limit_s:g} s after its restart"
                self._ending = _Ending(reason, now + STACK_DUMP_S, is_failure=True)
            return
        vitals.look(now)
        if policy.heartbeat_timeout_s is not None and vitals.is_hung(policy.heartbeat_timeout_s, now):
            reason = f"has sent no heartbeat and used no CPU time for {policy.heartbeat_timeout_s:g} s: it hangs"
            self._ending = _Ending(reason, now, is_failure=True)
        elif vitals.is_ending:
            return
        elif policy.frame_budget is not None and vitals.published >= policy.frame_budget:
            self._recycle(f"has published {vitals.published} samples (frame_budget is {policy.frame_budget})", now)
        elif policy.memory_budget_mb is not None and vitals.memory_mb > policy.memory_budget_mb:
            self._check_memory(vitals, policy.memory_budget_mb, now)
        else:
            self._too_big_since = None

    def _check_memory(self, vitals: Vitals, budget_mb: float, now: float) -> None:
        what = f"uses {vitals.memory_mb:.0f} MB of memory"
        if vitals.published:
            self._recycle(f"{what} (memory_budget_mb is {budget_mb:g})", now)
        elif self._too_big_since is None:
            self._too_big_since = now
        elif vitals.beaten_at > self._too_big_since:  # so what it has published is not older news than its memory
            self._give_up(
                f"{what} before it has published a sample: starting it again would not help. memory_budget_mb is "
                f"{budget_mb:g}, too small for this scene; raise it."
            )
            self._recycle("is given up on", now)  # which ends it; a failure is never started again

    def _recycle(self, reason: str, now: float) -> None:
        self.instance.terminate()
        self._ending = _Ending(reason, now + TERMINATE_GRACE_S, is_failure=False)


def _names(reported: object) -> dict[str, str]:
    """What maps texts to texts; of anything else, nothing."""
    if not isinstance(reported, dict) or not all(type(word) is str for pair in reported.items() for word in pair):
        return {}
    return reported
