# SPDX-License-Identifier: MIT
"""Datasets and trainers."""
import ctypes
import itertools
from contextlib import ExitStack
from ctypes import byref, c_void_p
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple, Union

from . import _abi
from ._abi import (CANCELLED, ENDLESS, INTERNAL, OK, ON_STEP, READ_SAMPLE, RELEASED, DatasetParams, TrainerParams,
                   callback, checked, lib)
from ._buffers import TASKS, Buffer, borrow, function_of, number_of, text_of
from ._handles import ChildCore, Closing, SharedCore, answer, given, here
from .clip import Clip, wrap
from .context import Context, Path, core_of, path_of
from .errors import CancelledError, InvalidError
from .measure import Report, report_of, report_taken
from .sound import Sound



class Sample(NamedTuple):
    """What Dataset.from_samples() is answered with, where samples have more than pixels and a caption."""

    #: A Clip or any buffer of (frames, height, width, 3) bytes.
    pixels: Buffer
    caption: str = ""
    #: With sound_samples: so many floats in [-1, 1], 48,000 a second; a Sound of one channel or any buffer of float32, a
    #: NumPy array too, with or without the axis of the channel.
    sound: Optional[Buffer] = None
    #: What is heard; "": the caption.
    sound_caption: str = ""
    #: With edits=True: as pixels, the clip after an edit;
    edited: Optional[Buffer] = None
    #: its instruction;
    instruction: str = ""
    #: and what that is about: "local", "style", "background", ...
    edit_task: str = "auto"


#: read(index) -> (pixels, caption), or a Sample
ReadSample = Callable[[int], Union[Tuple[Buffer, str], Sample]]
#: on_step(step, report)
OnStep = Callable[[int, Report], Any]

_CAPTION_SIZE = 1 << 16

_readers: Dict[int, ReadSample] = {}
_keys = itertools.count(1)


@callback(READ_SAMPLE)
def _on_read(user: int, index: int, sample: Any) -> int:
    if not here.calls:
        return INTERNAL
    return CANCELLED if answer(_fill, _readers[user], index, sample.contents) else OK


@callback(RELEASED)
def _on_released(user: int) -> None:
    _readers.pop(user, None)


def _copy(source: Buffer, kind: str, wanted: Tuple[int, ...], address: int, index: int, what: str) -> None:
    """Into memory of the library."""
    memory = borrow(source, kind, len(wanted), f"{what} of sample {index}")
    if memory.shape != wanted:
        raise InvalidError(f"sample {index}: the {what} have the shape {memory.shape}; they must have {wanted}")
    ctypes.memmove(address, memory.address, len(memory.keep))


def _one_channel(sound: Any) -> Any:
    """Without the axis of the channel, if there is one channel."""
    try:
        view: Any = sound.samples if isinstance(sound, Sound) else memoryview(sound)
    except TypeError:
        return sound  # borrow() says so
    if view.ndim != 2 or view.shape[1] != 1 or view.format != "f":
        return view
    return memoryview(view.tobytes()).cast("f")


def _write(text: str, room: int, address: int, index: int, what: str) -> None:
    data = text_of(text, f"{what} of sample {index}") or b""
    if len(data) >= room:
        raise InvalidError(f"sample {index}: the {what} has {len(data)} bytes; there is room for {room - 1}")
    ctypes.memmove(address, data + b"\0", len(data) + 1)


def _has(given: Optional[Buffer], wanted: Any, index: int, what: str, option: str) -> bool:
    """Whether a part is there; InvalidError if it should be and is not, or the other way round."""
    if (given is not None) != bool(wanted):
        raise InvalidError(f"sample {index} has {'no ' if wanted else ''}{what}, but the dataset was made "
                           f"{'with' if wanted else 'without'} {option}")
    return given is not None


def _fill(read: ReadSample, index: int, sample: _abi.Sample) -> None:
    given = read(index)
    if not isinstance(given, Sample):
        pixels, caption = given
        given = Sample(pixels, caption)
    room, shape = sample.caption_size, (sample.frames, sample.height, sample.width, 3)
    _copy(given.pixels, "B", shape, sample.pixels, index, "pixels")
    _write(given.caption, room, sample.caption, index, "caption")
    if _has(given.sound, sample.sound, index, "sound", "sound_samples"):
        _copy(_one_channel(given.sound), "f", (sample.sound_samples,), sample.sound, index, "samples of the sound")
        _write(given.sound_caption, room, sample.sound_caption, index, "sound_caption")
    if _has(given.edited, sample.edited, index, "edited pixels", "edits"):
        _copy(given.edited, "B", shape, sample.edited, index, "edited pixels")
        _write(given.instruction, room, sample.instruction, index, "instruction")
        sample.edit_task = number_of(TASKS, given.edit_task, f"edit_task of sample {index}")


class Dataset(Closing):
    """Captioned clips of one size, by number. Any context and any thread may use it, one at a time."""

    _core: SharedCore
    context: Context

    @classmethod
    def toybox(cls, context: Context, seed: int = 0) -> "Dataset":
        """Endless drawn clips of 64 x 64 pixels and 32 frames, the same for the same seed."""
        return cls._made(context, lib.mgen_dataset_toybox, checked(seed, 2**64 - 1, "seed"))

    @classmethod
    def from_samples(cls, context: Context, read: ReadSample, count: int, *, width: int, height: int, frames: int,
                     fps: int = 0, sound_samples: int = 0, edits: bool = False) -> "Dataset":
        """Samples that read(index) answers with: pixels, a Clip or any buffer of (frames, height, width, 3) bytes, and
        a caption; or a Sample, which may have a sound (sound_samples: of each, at 48,000 a second) or be an edit
        (edits=True). fps: of the clips, 0 = 16. It runs on the thread of the call that needs the sample; what it raises
        comes out of that call."""
        if not callable(read):
            raise TypeError(f"read: a function is wanted, not {type(read).__name__}")
        key = next(_keys)
        params = DatasetParams(width=width, height=height, frames=frames, count=count, read=_on_read,
                               released=_on_released, user=key, fps=checked(fps, 2**32 - 1, "fps"), edits=int(edits),
                               sound_samples=checked(sound_samples, 2**64 - 1, "sound_samples"))
        _readers[key] = read
        try:
            return cls._made(context, lib.mgen_dataset_create, byref(params))
        except BaseException:
            _readers.pop(key, None)
            raise

    @classmethod
    def from_folder(cls, context: Context, directory: Path, *, width: int, height: int, frames: int) -> "Dataset":
        """A folder of films, each beside a caption in <name>.txt or without one; scaled and cropped. To train editors on, beside
        the film after an edit in <name>.edited.mp4 (or so) and the instruction in <name>.edit.txt, too."""
        params = DatasetParams(width=width, height=height, frames=frames)
        return cls._made(context, lib.mgen_dataset_open, path_of(directory), byref(params))

    @classmethod
    def _made(cls, context: Context, function: Callable[..., int], *arguments: Any) -> "Dataset":
        handle = core_of(context).make(lib.mgen_dataset_release, function, *arguments)
        self = cls.__new__(cls)
        self.context = context
        self._own(SharedCore(handle, "dataset", lib.mgen_dataset_retain, lib.mgen_dataset_release))
        return self

    @property
    def count(self) -> Optional[int]:
        """Samples; None where there is no end."""
        count: int = self._core.touch(lib.mgen_dataset_count)
        return None if count == ENDLESS else count

    def read(self, index: int, *, context: Optional[Context] = None) -> Tuple[Clip, str]:
        """One sample: its clip and its caption."""
        caption = ctypes.create_string_buffer(_CAPTION_SIZE)
        used = context or self.context
        core = core_of(used)
        with self._core.hold() as handle:
            clip = core.make(lib.mgen_clip_destroy, lib.mgen_dataset_read, handle,
                                   checked(index, 2**64 - 1, "index"), caption, _CAPTION_SIZE)
        return wrap(used, clip), caption.value.decode("utf-8", "replace")


class _Steps:
    """Where on_step reaches the trainer that runs."""

    def __init__(self) -> None:
        self.on_step: Optional[OnStep] = None


_steps: Dict[int, _Steps] = {}


@callback(ON_STEP)
def _on_step(user: int, step: int, report: int) -> int:
    return answer(_tell, _steps[user].on_step, step, report)


def _tell(on_step: Optional[OnStep], step: int, report: int) -> None:
    if on_step is not None:
        on_step(step, report_of(report))


def _forget(key: int) -> None:
    _steps.pop(key, None)


class Trainer(Closing):
    """One stage of a recipe under way. dir: model folder, which earlier stages are read from and this one is saved to.
    dataset: None = the toybox of `seed`. resume: a file that checkpoint() wrote. Where the context is one of several
    ranks (Context.join), all of them train together, and a stop of one is one of all.

        with moviegen.Trainer(context, "recipe.json", "tae", "model") as trainer:
            for report in trainer:
                print(report["loss"])
            trainer.save()
    """

    _core: ChildCore

    def __init__(self, context: Context, recipe: Path, stage: str, dir: Path, *, seed: int = 0,
                 dataset: Optional[Dataset] = None, resume: Optional[Path] = None) -> None:
        key = next(_keys)
        self._steps = _steps[key] = _Steps()
        try:
            params = TrainerParams(recipe=path_of(recipe), stage=text_of(stage, "stage"), dir=path_of(dir), seed=seed,
                                   resume=path_of(resume), on_step=_on_step, user=key, mesh=core_of(context).mesh)
            with ExitStack() as stack:
                if dataset is not None:
                    params.dataset = stack.enter_context(given(dataset, "dataset", "dataset")._core.hold())
                handle = context._core.make(lib.mgen_trainer_destroy, lib.mgen_trainer_create, byref(params))
        except BaseException:
            _steps.pop(key, None)
            raise
        self.context = context
        self._own(ChildCore(context._core, handle, "trainer", lib.mgen_trainer_destroy,
                            lambda: _forget(key)))

    @property
    def steps(self) -> int:
        """Steps that the stage takes in all."""
        return self._core.touch(lib.mgen_trainer_steps)  # type: ignore[no-any-return]

    @property
    def position(self) -> int:
        """Steps taken so far. Any thread."""
        return self._core.touch(lib.mgen_trainer_position)  # type: ignore[no-any-return]

    def step(self) -> Report:
        """Take one step; its numbers: step, loss and its parts, and so on."""
        out = c_void_p()
        try:
            self._core.call_long(lib.mgen_trainer_step, byref(out))
        except BaseException:
            lib.mgen_report_destroy(out)
            raise
        return report_taken(out.value)

    def __iter__(self) -> Iterator[Report]:
        """The steps that are left."""
        while self.position < self.steps:
            yield self.step()

    def run(self, steps: int = 0, *, on_step: Optional[OnStep] = None) -> int:
        """Take up to `steps` steps (0 = all that are left), with on_step(step, report) after each. The answer is how
        many were taken, fewer after stop(). An exception of on_step, or control-C, ends the run and is raised; the
        next run goes on."""
        before = self.position
        self._steps.on_step = function_of(on_step, "on_step")
        try:
            self._core.call_long(lib.mgen_trainer_run, checked(steps, 2**64 - 1, "steps"))
        except CancelledError:
            pass
        finally:
            self._steps.on_step = None
        return self.position - before

    def stop(self) -> None:
        """Let run() end after the step under way. Any thread."""
        self._core.touch(lib.mgen_trainer_stop)

    def checkpoint(self, path: Path) -> None:
        """Write all that is needed to go on from here, to the bit: a file, or into the folder that `path` is or, of several
        ranks, becomes."""
        self._core.call(lib.mgen_trainer_checkpoint, path_of(path))

    def save(self) -> None:
        """Write the averaged weights and their configuration to the model folder."""
        self._core.call(lib.mgen_trainer_save)
