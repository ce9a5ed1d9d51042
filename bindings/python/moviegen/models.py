# SPDX-License-Identifier: MIT
"""The networks, and the mathematics between them, for hosts that build their own loops.

Latents are (frames, height, width, channels) and text is (tokens, width), both float32, in anything with the buffer
protocol. What is returned is a memoryview of that shape (numpy.asarray() of it makes no copy), or the `out` given.
"""
from contextlib import ExitStack
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_void_p, cast, pointer
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple, Type, TypeVar, Union

from . import errors
from ._abi import OK, Text, checked, lib, real
from ._abi import ModelInfo as _ModelInfo
from ._buffers import (FORMATS, PRECISIONS, SCHEDULES, Borrowed, Buffer, fresh, frames_fresh, frames_in, latents_in, number_of,
                       text_in, text_of)
from ._handles import Closing, SharedCore
from .context import Context, Path, core_of, path_of

#: The text encoders of a video model, in order.
ROLES = ("ul2", "byt5", "metaclip")
#: One of ROLES, or some.
Roles = Union[str, Sequence[str]]
_STEPS_MAX = 1000

_Part = TypeVar("_Part", bound="Part")


class ModelInfo(NamedTuple):
    """What a network is; 0 where a field does not apply."""
    channels: int
    spatial_factor: int
    temporal_factor: int
    text_width: int
    text_tokens: int
    parameters: int
    bytes: int
    hash: int
    guidance: float
    fps_prefix: int
    upsampling: int
    noise_scale: float
    tasks: int
    source_guidance: float
    rate: int
    sees_clips: int


class Part(Closing):
    """A network. Immutable: any context and any thread may use it; `context` is the one that calls on it use."""

    _core: SharedCore
    KIND = ""
    NAME = ""

    def __init__(self, context: Context, directory: Path, name: Optional[str] = None) -> None:
        """Load <name>.json and <name>.safetensors from a folder."""
        opened = core_of(context).make(self._call("release"), self._call("open"), path_of(directory),
                                       text_of(name or self.NAME, "name"))
        self._adopt(context, opened)

    @classmethod
    def _call(cls, verb: str) -> Callable[..., Any]:
        return getattr(lib, f"mgen_{cls.KIND}_{verb}")  # type: ignore[no-any-return]

    def _adopt(self, context: Context, handle: Any) -> None:
        self.context = context
        self._own(SharedCore(handle, self.KIND.replace("_", " "), self._call("retain"), self._call("release")))

    @property
    def info(self) -> ModelInfo:
        """What it is."""
        info = _ModelInfo()
        with self._core.hold() as handle:
            self._call("get_info")(handle, byref(info))
        return ModelInfo(*(getattr(info, name) for name in ModelInfo._fields))


def adopt(kind: Type[_Part], context: Context, handle: Any) -> _Part:
    """The object for a handle, of which it becomes the owner."""
    part = kind.__new__(kind)
    part._adopt(context, handle)
    return part


class Tae(Part):
    """The temporal autoencoder: pixels to latents and back, in flat memory however long the film is."""

    KIND = "tae"
    NAME = "tae"

    def encode(self, frames: Union[Buffer, Sequence[Buffer]], *, out: Optional[Buffer] = None,
               context: Optional[Context] = None) -> Any:
        """Latents of frames: a Clip, or (frames, height, width, 3) bytes or float32 0..1, or planes (Y, U, V)."""
        source, keep = frames_in(frames, "frames")
        info = self.info
        if out is None:
            out = fresh("f", (-(-source.count // info.temporal_factor), source.height // info.spatial_factor or 1,
                              source.width // info.spatial_factor or 1, info.channels))
        target, kept = latents_in(out, "out", writable=True)
        with self._core.hold() as handle:
            core_of(context or self.context).call(lib.mgen_tae_encode, handle, byref(source), byref(target))
        del keep, kept
        return out

    def decode(self, latents: Buffer, frames: Optional[int] = None, *, format: str = "rgb8",
               out: Optional[Union[Buffer, Sequence[Buffer]]] = None, context: Optional[Context] = None) -> Any:
        """Frames of latents, the first `frames` (None = all). Their format is "rgb8", "rgbf32" or "yuv420", or that
        of `out`, which may be a Clip."""
        source, keep = latents_in(latents, "latents")
        info = self.info
        if out is None:
            count = source.frames * info.temporal_factor if frames is None else checked(frames, 65536, "frames")
            out = frames_fresh(number_of(FORMATS, format, "format"), count, source.height * info.spatial_factor,
                               source.width * info.spatial_factor)
        target, kept = frames_in(out, "out", writable=True)
        with self._core.hold() as handle:
            core_of(context or self.context).call(lib.mgen_tae_decode, handle, byref(source), byref(target))
        del keep, kept
        return out


class TextEncoder(Part):
    """Prompt to vectors."""

    KIND = "text_encoder"
    NAME = "text_encoder"

    def encode(self, prompt: str, *, context: Optional[Context] = None) -> "memoryview[float]":
        """(tokens, width) float32. "" is what guidance leads away from."""
        info = self.info
        room = fresh("f", (info.text_tokens, info.text_width))
        text, keep = text_in(room, "text")
        with self._core.hold() as handle:
            core_of(context or self.context).call(lib.mgen_text_encode, handle, text_of(prompt, "prompt"), byref(text))
        del keep
        used = room.cast("B")[:text.tokens * room.strides[0]]
        return used.cast("f", [text.tokens, info.text_width])  # type: ignore[no-any-return]


class VideoModel(Part):
    """The flow-matching video transformer."""

    KIND = "video_model"
    NAME = "video_model"

    def velocity(self, x: Buffer, time: float, text: Union[Buffer, Sequence[Optional[Buffer]]], *,
                 out: Optional[Buffer] = None, context: Optional[Context] = None) -> Any:
        """Velocity of the flow at latents `x` and `time` (0 = noise, 1 = data). `text` is that of the first role,
        or a tuple for the roles of ROLES, with None where the model has none. `out` may be `x`."""
        source, keep = latents_in(x, "x")
        if out is None:
            out = fresh("f", (source.frames, source.height, source.width, source.channels))
        target, kept = latents_in(out, "out", writable=True)
        roles: Sequence[Optional[Buffer]] = text if isinstance(text, (tuple, list)) else (text,)
        if len(roles) > len(ROLES):
            raise errors.InvalidError(f"text: {len(roles)} roles; there are {len(ROLES)}")
        texts: List[Tuple[Text, Borrowed]] = []
        pointers = (POINTER(Text) * len(ROLES))()
        for i, buffer in enumerate(roles):
            if buffer is not None:
                texts.append(text_in(buffer, f"text of {ROLES[i]}"))
                pointers[i] = pointer(texts[-1][0])
        with self._core.hold() as handle:
            core_of(context or self.context).call(lib.mgen_video_velocity, handle, byref(source), real(time, "time"),
                                                  pointers, byref(target))
        del keep, kept, texts
        return out


class Upsampler(Part):
    """Clip to larger clip: the transformer, and the autoencoder that its file names. Pipeline.upsample() uses it."""

    KIND = "upsampler"
    NAME = "upsampler"


class Editor(Part):
    """Clip and instruction to clip: the transformer; the other networks are the pipeline's. Pipeline.edit() uses it."""

    KIND = "editor"
    NAME = "editor"


class AudioModel(Part):
    """Clip or text to sound: the transformer, and the networks that its file names. Pipeline.sound() uses it."""

    KIND = "audio_model"
    NAME = "audio"


class Personalizer(Part):
    """Photo of a face and prompt to clip: the transformer, and the image encoder that its file names; the other networks are
    the pipeline's. Pipeline.personalize() uses it."""

    KIND = "personalizer"
    NAME = "personalizer"


class Rewriter(Part):
    """Prompt as one types it to prompt as the captions of training are. Pipeline.rewrite() uses it."""

    KIND = "rewriter"
    NAME = "rewriter"


def schedule(steps: int, kind: str = "linear_quadratic") -> List[float]:
    """Times of a sampler's schedule, from 0 to 1: one more than steps. kind: "linear_quadratic",
    "linear" or "linear_quadratic_1000"."""
    times = (c_float * (checked(steps, _STEPS_MAX, "steps") + 1))()
    status = lib.mgen_schedule(number_of(SCHEDULES, kind, "kind"), steps, times)
    if status != OK:
        raise errors.from_status(status, f"steps is {steps}; it must be 1..{_STEPS_MAX}")
    return list(times)


def noise(context: Context, seed: int, shape: Optional[Sequence[int]] = None, *, out: Optional[Buffer] = None) -> Any:
    """The latents that a request with `seed` and a noise_scale of 1 begins with, of `shape` or into `out`."""
    if (shape is None) == (out is None):
        raise TypeError("noise: either a shape or out is wanted")
    if out is None:
        out = fresh("f", shape or ())
    target, keep = latents_in(out, "out", writable=True)
    core_of(context).call(lib.mgen_noise, checked(seed, 2**64 - 1, "seed"), byref(target))
    del keep
    return out


def average(context: Context, directories: Sequence[Path], out: Path, *, weights: Optional[Sequence[float]] = None) -> None:
    """Average the video models and text encoders of model folders of one TAE into the folder `out`, made if missing; a
    model that is there is replaced when the new one is whole. weights: numbers above 0, one for each folder; None = all alike."""
    if isinstance(directories, (str, bytes)):
        raise TypeError("directories: a list of folders is wanted")
    names = [path_of(directory) for directory in directories]
    if weights is not None and len(weights) != len(names):
        raise errors.InvalidError(f"{len(weights)} weights for {len(names)} folders")
    core_of(context).call_long(lib.mgen_pipeline_average, cast((c_char_p * len(names))(*names), POINTER(c_void_p)),
                               None if weights is None else (c_double * len(names))(*[real(weight, "weights") for weight in weights]), len(names), path_of(out))


def convert(context: Context, directory: Path, precision: str) -> None:
    """Store the transformers of a model folder anew, in their places: "fp8", in half the space, which rounds their weights,
    or "bf16"."""
    core_of(context).call_long(lib.mgen_pipeline_convert, path_of(directory), number_of(PRECISIONS, precision, "precision"))


def roles_of(roles: Roles) -> int:
    """The bits of some roles."""
    names = (roles,) if isinstance(roles, str) else tuple(roles)
    bits = {role: 1 << i for i, role in enumerate(ROLES)}
    return sum({number_of(bits, name, "drop_text") for name in names})


def hold_all(stack: ExitStack, parts: Sequence[Optional[Part]]) -> List[Any]:
    """The handles of parts, valid until the stack is left."""
    return [None if part is None else stack.enter_context(part._core.hold()) for part in parts]
