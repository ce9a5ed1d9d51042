# SPDX-License-Identifier: MIT
"""Callbacks of jobs. They come from the job's own thread; what they raise is kept for whoever waits."""
import itertools
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from ._abi import DONE_TOTAL, ON_FRAMES, ON_PREVIEW, Frames, GenerateParams, SoundParams, callback
from ._buffers import FrameViews, frames_out, function_of, latents_out
from ._handles import ContextCore, here

Progress = Callable[[int, int], Any]
Preview = Callable[[int, Any], Any]
OnFrames = Callable[[int, FrameViews], Any]

_relays: Dict[int, "Relay"] = {}
_keys = itertools.count(1)


class Relay:
    """What a job's callbacks are for. `keep` lives as long as the job."""

    def __init__(self, core: ContextCore, progress: Optional[Progress], preview: Optional[Preview],
                 on_frames: Optional[OnFrames]) -> None:
        self.progress: Optional[Progress] = function_of(progress, "progress")
        self.preview: Optional[Preview] = function_of(preview, "preview")
        self.on_frames: Optional[OnFrames] = function_of(on_frames, "on_frames")
        self.core = core
        self.keep: List[Any] = []
        self.error: Optional[BaseException] = None
        self.ended = False
        self.key = next(_keys)
        _relays[self.key] = self

    def attach(self, params: Union[GenerateParams, SoundParams]) -> None:
        params.user = self.key
        if self.progress is not None:
            params.on_progress = _on_progress
        if self.preview is not None:
            params.on_preview = _on_preview
        if self.on_frames is not None:
            params.on_frames = _on_frames

    def into(self, params: GenerateParams, frames: Frames, memory: Any) -> None:
        self.keep += [frames, memory]
        params.into = type(params.into)(frames)

    def end(self) -> List[Any]:
        """Nothing more gets to the host. The answer must live until the job is gone."""
        self.ended = True
        kept, self.keep = self.keep, []
        _relays.pop(self.key, None)
        return kept


def _guarded(key: int, work: Callable[[Relay], Any]) -> int:
    relay = _relays.get(key)
    if relay is None or relay.ended:
        return 1
    here.within.append(relay.core)
    try:
        work(relay)
    except BaseException as error:  # pylint: disable=broad-except
        if relay.error is None:
            relay.error = error
        return 1
    finally:
        here.within.pop()
    return int(relay.ended)


@callback(DONE_TOTAL)
def _on_progress(user: int, done: int, total: int) -> int:
    return _guarded(user, lambda relay: relay.progress and relay.progress(done, total))


@callback(ON_PREVIEW)
def _on_preview(user: int, step: int, latents: Any) -> int:
    return _guarded(user, lambda relay: relay.preview and relay.preview(step, latents_out(latents.contents)))


@callback(ON_FRAMES)
def _on_frames(user: int, first: int, frames: Any) -> int:
    return _guarded(user, lambda relay: relay.on_frames and relay.on_frames(first, frames_out(frames.contents)))


class Abandoned(Exception):
    """Nobody takes frames any more."""


class Slot:
    """Hands frames from the job's thread to another, one piece at a time: the job waits until one is taken."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._piece: Optional[Tuple[int, FrameViews]] = None
        self._abandoned = False

    def put(self, first: int, frames: FrameViews) -> None:
        with self._changed:
            while self._piece is not None and not self._abandoned:
                self._changed.wait()
            if self._abandoned:
                raise Abandoned
            self._piece = first, frames
            self._changed.notify_all()

    def take(self, timeout: float) -> Optional[Tuple[int, FrameViews]]:
        with self._changed:
            if self._piece is None:
                self._changed.wait(timeout)
            piece, self._piece = self._piece, None
            self._changed.notify_all()
            return piece

    def abandon(self) -> None:
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
