"""What the engine looks at twice a second: what has come to its end, and what the user has set up meanwhile."""

import time
from typing import TYPE_CHECKING

from blendtorch.errors import ConfigError, SceneError

from .engine_errors import clear_marks
from .properties import to_setup
from .scenes import find_scene

if TYPE_CHECKING:
    from .engine import Engine

_EVERY_S = 0.5


class Watch:
    """Looks, and has the engine do what follows from it.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._looked_at = float("-inf")
        self._refuses = False  # what is set up now

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return time.monotonic() - self._looked_at >= _EVERY_S

    def be_due(self) -> None:
        """It is time to look: something was started."""
        self._looked_at = float("-inf")

    def look(self) -> None:
        """Looks what the hub has done, and ends what has come to its end."""
        engine = self._engine
        self._looked_at = time.monotonic()
        if engine.hub is None:
            return
        engine.stats = stats = engine.hub.stats()
        for name in ("stream", "recording", "workers"):
            engine.errors.tell(name, str(getattr(stats, f"{name}_error") or ""))
        if engine.state.recording and not stats.recording:
            engine.notice = "" if stats.recording_error else f"The recording has all its {stats.recorded} samples."
            engine.stop_recording()
        if engine.state.stream and stats.stream_error:
            engine.stop_stream()
        making = engine.making
        alone = not (making.is_shared or engine.state.workers)  # workers that still start will make the rest
        if making.producer is not None and making.producer.is_over and alone and not stats.waiting:
            notice = f"All {making.producer.setup.output.episodes} episodes are made."
            if making.may_lack:
                notice = (
                    "The last episode is made. Some may be missing that were due to workers that were stopped or died"
                )
                notice += ": Record again makes them." if engine.state.recording else "."
            engine.stop_recording()
            engine.stop_stream()
            engine.notice = notice

    def follow_settings(self) -> None:
        """Goes by what is set up in the panel now, where samples do not have to be of one setup."""
        engine = self._engine
        producer = engine.making.producer
        scene = None if producer is None or engine.making.keeps_settings else find_scene(producer.scene_uid)
        if scene is None:
            return
        try:
            if producer.follow(to_setup(scene)) or self._refuses:
                clear_marks(scene)
                engine.notice = ""
            self._refuses = False
        except (SceneError, ConfigError) as error:
            self._refuses = True
            engine.notice = f"The settings of before are used: {error}"
