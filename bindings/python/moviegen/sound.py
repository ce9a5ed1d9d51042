# SPDX-License-Identifier: MIT
"""Sounds: samples, floats in [-1, 1], seen without a copy; and films with them."""
import ctypes
import functools
import operator
from ctypes import byref, c_void_p
from typing import Any, Iterator, List, Optional, Tuple, Type, Union, cast, overload

from ._abi import SoundInfo, checked, lib
from ._handles import Closing, FreedCore, given
from .clip import Byte, Clip
from .context import Context, Path, core_of, path_of
from .errors import StateError


class Sound(Closing):
    """Samples on the host. Made by Sound.create() and Sound.read().

    sound.samples is a view of them, writable, of the shape (samples, channels), float32; sound.numpy() and
    numpy.asarray(sound) too; sound[i] is that of one sample, of the shape (channels,). A view keeps the memory alive:
    close() only ends what can be done with the object by name.
    """

    _core: FreedCore
    _context: Context
    _rate: int
    _channels: int
    _closed = False

    @classmethod
    def create(cls, context: Context, *, samples: int, rate: int = 48000, channels: int = 1) -> "Sound":
        """A silent sound."""
        info = SoundInfo(samples=samples, rate=rate, channels=channels)
        return wrap(context, core_of(context).make(lib.mgen_sound_destroy, lib.mgen_sound_create, byref(info)))

    @classmethod
    def read(cls, context: Context, path: Path, rate: int = 0, channels: int = 0) -> "Sound":
        """A sound, or that of a film, converted to a rate and a number of channels; 0 = as it is. .wav without the FFmpeg
        plug-in."""
        return wrap(context, core_of(context).make(
            lib.mgen_sound_destroy, lib.mgen_sound_read, path_of(path), checked(rate, 2**32 - 1, "rate"),
            checked(channels, 2**32 - 1, "channels")))

    def write(self, path: Path, *, context: Optional[Context] = None) -> None:
        """Write to a file, in the format that its name ends with: .wav, or .m4a, .flac, ... (FFmpeg plug-in)."""
        core_of(context or self._context).call(lib.mgen_sound_write, self._live(), path_of(path))

    def write_movie(self, clip: Clip, path: Path, *, context: Optional[Context] = None) -> None:
        """Write a clip with this sound, which is cut to its length or goes on in silence: .mp4, .mkv, .webm, ..."""
        shown = given(clip, "clip", "clip")._live()
        core_of(context or self._context).call(lib.mgen_movie_write, shown, self._live(), path_of(path))

    @property
    def shape(self) -> Tuple[int, int]:
        """(samples, channels)"""
        return cast(Tuple[int, int], self.samples.shape)

    @property
    def rate(self) -> int:
        """Samples a second."""
        return self._rate

    @property
    def channels(self) -> int:
        """Count of channels."""
        return self._channels

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.shape[0] / self._rate

    @property
    def samples(self) -> "memoryview[float]":
        """The samples themselves, (samples, channels), float32."""
        view = self._bytes()
        return view.cast("f", [len(view) // (4 * self._channels), self._channels])

    def _bytes(self) -> memoryview:
        self._live()
        return memoryview((Byte * ctypes.sizeof(cast(Any, self))).from_buffer(cast(Any, self)))

    def numpy(self) -> Any:
        """The samples as a NumPy array, without a copy. ImportError without NumPy."""
        import numpy  # pylint: disable=import-outside-toplevel
        return numpy.asarray(self.samples)

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, index: int) -> "memoryview[float]": ...

    @overload
    def __getitem__(self, index: slice) -> "List[memoryview[float]]": ...

    def __getitem__(self, index: Union[int, slice]) -> "Union[memoryview[float], List[memoryview[float]]]":
        """One sample: the values of its channels, without a copy; of a slice, a list of them."""
        count, step = len(self), 4 * self._channels
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(count))]
        index = operator.index(index)
        if not -count <= index < count:
            raise IndexError(f"sample {index} of {count}")
        index %= count
        return self._bytes()[step * index:step * (index + 1)].cast("f")

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError("samples are written through sound.samples, sound.numpy() or the view that sound[i] is")

    def __iter__(self) -> "Iterator[memoryview[float]]":
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        if self.closed:
            return "<moviegen.Sound, closed>"
        samples, channels = self.shape
        return f"<moviegen.Sound of {samples} samples, {channels} channels, {self._rate} per second>"

    def _live(self) -> Any:
        if self._closed:
            raise StateError("this sound was closed")
        return self._core.pointer

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    def close(self) -> None:
        """No more use by name. Calling it again is harmless."""
        self._closed = True

    def __new__(cls, *arguments: Any) -> "Sound":
        raise StateError("sounds are made by Sound.create(), Sound.read() and the calls that answer with one")


# As clips: an instance of an array type, one for each shape, on the C memory. Its views are of bytes first: memoryview cannot
# index what ctypes calls a float, but can look at bytes as floats.
@functools.lru_cache(maxsize=32)
def _class_of(samples: int, channels: int) -> Type[Any]:
    element = ctypes.c_float * channels
    return type("Sound", (Sound, ctypes.Array), {"_type_": element, "_length_": samples, "__module__": __name__})


def wrap(context: Context, pointer: Any) -> Sound:
    """The object for an mgen_sound, which becomes its own."""
    info = SoundInfo()
    lib.mgen_sound_get_info(pointer, byref(info))
    kind = _class_of(info.samples, info.channels)
    sound = kind.from_address(lib.mgen_sound_samples(c_void_p(pointer)))
    sound._context = context
    sound._rate, sound._channels = info.rate, info.channels
    sound._own(FreedCore(pointer, "sound", lib.mgen_sound_destroy))
    return cast(Sound, sound)
