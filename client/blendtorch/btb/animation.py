"""Plays the frames of episodes, and lets a script act before and after each."""

import sys
import traceback
from collections.abc import Iterator

import bpy

from ..errors import ConfigError
from . import compat
from .physics import set_cache_range
from .session import current_session
from .signal import Signal

# How soon a window looks again whether the trainer has taken a sample.
_FULL_QUEUE_PAUSE_S = 0.01


class AnimationController:
    """Plays a range of frames, once an episode, and invokes signals in between.

    Two episodes of frames 1..3 invoke, in this order: pre_play, (pre_animation, (pre_frame, post_frame) x 3,
    post_animation) x 2, post_play. `pre_frame` comes before Blender evaluates the frame (randomize here), `post_frame`
    after it (render and publish here). Callbacks get no arguments but those bound when they were added.

    Any callback may call `stop` or `rewind`. An exception in a callback ends the playing; see `play`.

    Attributes:
        pre_play, pre_animation, pre_frame, post_frame, post_animation, post_play: The signals.
        frameid: The frame being played.
        episode: The running number of the episode, from 0; an instance that was restarted goes on with the one that it was
            at. Unless the script has asked for `btb.sample_indices`, it numbers what is published: the samples of the
            instance's n-th episode have the index `btid + n * num_instances`.
        playing: Whether the controller is playing.
    """

    def __init__(self) -> None:
        self.pre_play = Signal()
        self.pre_animation = Signal()
        self.pre_frame = Signal()
        self.post_frame = Signal()
        self.post_animation = Signal()
        self.post_play = Signal()
        self.frameid = bpy.context.scene.frame_current
        self.episode = 0
        self.playing = False
        self._stop = False
        self._rewind = False
        self._first = bpy.context.scene.frame_start

    def play(
        self,
        frame_range: tuple[int, int] | None = None,
        num_episodes: int = -1,
        use_animation: bool = True,
        use_offline_render: bool = True,
        use_physics: bool = True,
    ) -> None:
        """Plays episodes.

        In background mode this returns when all episodes are played or `stop` was called, and an exception of a callback
        passes through. In a window it returns at once and the frames are played between Blender's own events, so that
        the window stays usable; frames wait, without holding the window, while the trainer is slower than Blender. An
        exception there is printed and sent to the clients; it ends Blender with exit status 1 if a launcher started it.

        Args:
            frame_range: First and last frame, both included. By default the scene's.
            num_episodes: How often the range is played; -1 plays for ever. Episodes that were played and delivered before a
                restart count.
            use_animation: False plays in a window, too, without returning before the end. The window stands still.
            use_offline_render: Accepted for scripts of the predecessor; rendering works in `post_frame` either way.
            use_physics: Whether the ranges of the scene's point caches are set to `frame_range`, so that physics plays
                over the whole of it and starts afresh with each episode.

        Raises:
            ConfigError: The range is empty, `num_episodes` is neither -1 nor positive, or it is playing already.
        """
        del use_offline_render
        scene = bpy.context.scene
        first, last = frame_range if frame_range is not None else (scene.frame_start, scene.frame_end)
        if first > last:
            raise ConfigError(f"frame_range is ({first}, {last}), expected the first frame not to come after the last.")
        if num_episodes < 1 and num_episodes != -1:
            raise ConfigError(f"num_episodes is {num_episodes}, expected a positive number, or -1 to play for ever.")
        if self.playing:
            raise ConfigError("this controller is playing already; call stop() first.")
        if use_physics:
            set_cache_range(scene, first, last)
        self._first = first
        self._stop = self._rewind = False
        self.episode = 0
        self.playing = True
        frames = self._frames(scene, first, last, num_episodes)
        if compat.is_background() or not use_animation:
            for _ in frames:
                pass
        else:
            self._play_by_timer(frames)

    def stop(self) -> None:
        """Ends the playing when the running signal is through.

        The frame is not finished; `post_animation` (of a begun episode) and `post_play` are still invoked.
        """
        self._stop = True

    def rewind(self) -> None:
        """Goes back to the first frame.

        While playing, the episode ends when the running signal is through (`post_animation`), and the next one begins.
        Otherwise the scene is set to the first frame at once.
        """
        if self.playing:
            self._rewind = True
        else:
            bpy.context.scene.frame_set(self._first)

    def _frames(self, scene: bpy.types.Scene, first: int, last: int, num_episodes: int) -> Iterator[None]:
        """The one sequence of signals, for all ways of playing; yields after each frame."""
        try:
            self.pre_play.invoke()
            while not self._stop:
                self._choose_episode()
                if num_episodes != -1 and self.episode >= num_episodes:
                    break
                yield from self._play_episode(scene, first, last)
                self.episode += 1
            self.post_play.invoke()
        finally:
            self.playing = False

    def _choose_episode(self) -> None:
        """Makes the episode the index of what is published, and passes over those that a predecessor has delivered."""
        session = current_session()
        if session is None or session.position.chosen_by_script:
            return
        position, args = session.position, session.args
        self.episode = max(self.episode, (position.owed_index - args.btid) // args.num_instances)
        position.index = args.btid + self.episode * args.num_instances

    def _play_episode(self, scene: bpy.types.Scene, first: int, last: int) -> Iterator[None]:
        self.frameid = first
        self.pre_animation.invoke()
        self._rewind = False
        for frame in range(first, last + 1):
            if self._stop or self._rewind:
                break
            self.frameid = frame
            self.pre_frame.invoke()
            if self._stop or self._rewind:
                break
            scene.frame_set(frame)
            self.post_frame.invoke()
            yield
        self.post_animation.invoke()

    def _play_by_timer(self, frames: Iterator[None]) -> None:
        def play_one() -> float | None:
            session = current_session()
            if session and not self._stop and not session.ready():
                return _FULL_QUEUE_PAUSE_S
            try:
                next(frames)
            except StopIteration:
                return None
            except SystemExit:
                raise  # which ends Blender with that status
            except BaseException as error:  # Blender prints exceptions of timers and goes on
                if session is None:
                    traceback.print_exception(error, file=sys.stderr)
                    return None
                session.fail(error)
                if session.args.control:
                    session.exit(1)
                return None
            return 0.0

        bpy.app.timers.register(play_one)
