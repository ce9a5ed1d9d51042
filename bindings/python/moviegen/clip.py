# SPDX-License-Identifier: MIT
"""Clips: frames of RGB bytes, seen by the buffer protocol without a copy."""
import ctypes
import functools
import operator
from ctypes import byref, c_void_p
from fractions import Fraction
from typing import Any, Iterator, List, Optional, Tuple, Type, Union, cast, overload

from ._abi import ClipInfo, checked, lib
from ._handles import Closing, FreedCore
from .context import Context, Path, core_of, path_of
from .errors import InvalidError, StateError


_RATE_PARTS = 1001  # of a second that a rate given as a float is a multiple of, at most


class Byte(ctypes.Union):
    """A byte whose buffer format is "B", which memoryview can index; that of c_uint8 is "<B", which it cannot."""
    _fields_ = [("value", ctypes.c_uint8)]


class Clip(Closing):
    """Frames of RGB bytes. Made by Pipeline.generate(), Clip.create(), Clip.read(), Dataset.read().

    memoryview(clip) is its pixels themselves, writable, of the shape (frames, height, width, 3); numpy.asarray(clip)
    too. A view keeps the memory alive. For that reason close() only ends what can be done with the object by name:
    the memory is freed when neither the clip nor a view of it is left.
    """

    _core: FreedCore
    _context: Context
    _fps: Fraction
    _closed = False

    @classmethod
    def create(cls, context: Context, *, width: int, height: int, frames: int,
               fps: Union[int, float, Fraction] = 16) -> "Clip":
        """A black clip."""
        try:
            rate = Fraction(fps)
        except TypeError:
            raise TypeError(f"fps: a number is wanted, not {type(fps).__name__}") from None
        except (ValueError, OverflowError, ZeroDivisionError):
            raise InvalidError(f"fps is {fps}; it must be a number above 0") from None
        if isinstance(fps, float):  # 23.976 is written so for 24000/1001 or 2997/125
            rate = rate.limit_denominator(_RATE_PARTS)
        if rate <= 0:
            raise InvalidError(f"fps is {fps}; it must be above 0")
        info = ClipInfo(width=width, height=height, frames=frames, fps_num=rate.numerator, fps_den=rate.denominator)
        return wrap(context, core_of(context).make(lib.mgen_clip_destroy, lib.mgen_clip_create, byref(info)))

    @classmethod
    def read(cls, context: Context, path: Path, first: int = 0, count: int = 0) -> "Clip":
        """Frames of a film or picture; count 0 = all from `first` on. .y4m and .png without the FFmpeg
        plug-in; .jpg and .webp turned as EXIF says."""
        return wrap(context, core_of(context).make(lib.mgen_clip_destroy, lib.mgen_clip_read, path_of(path),
                                                   checked(first, 2**64 - 1, "first"), checked(count, 2**64 - 1, "count")))

    def write(self, path: Path, *, context: Optional[Context] = None) -> None:
        """Write to a file, in the format that its name ends with: .mp4, .mkv, ... (FFmpeg plug-in), .y4m, .png."""
        core_of(context or self._context).call(lib.mgen_clip_write, self._live(), path_of(path))

    @property
    def shape(self) -> Tuple[int, int, int, int]:
        """(frames, height, width, 3)"""
        return cast(Tuple[int, int, int, int], self._view().shape)

    @property
    def frames(self) -> int:
        """Count of frames."""
        return self.shape[0]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.shape[1]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.shape[2]

    @property
    def fps(self) -> Fraction:
        """Frames per second."""
        return self._fps

    @property
    def address(self) -> int:
        """Where the pixels are: mgen_clip_pixels()."""
        self._live()
        return ctypes.addressof(cast(Any, self))

    @property
    def pixels(self) -> memoryview:
        """memoryview(self), but refused once the clip is closed."""
        return self._view()

    def numpy(self) -> Any:
        """The pixels as a NumPy array, without a copy. ImportError without NumPy."""
        import numpy  # pylint: disable=import-outside-toplevel
        return numpy.asarray(self._view())

    def __len__(self) -> int:
        return self.frames

    @overload
    def __getitem__(self, index: int) -> memoryview: ...

    @overload
    def __getitem__(self, index: slice) -> List[memoryview]: ...

    def __getitem__(self, index: Union[int, slice]) -> Union[memoryview, List[memoryview]]:
        """One frame: its pixels (height, width, 3), without a copy; of a slice, a list of them."""
        count = self.frames
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(count))]
        index = operator.index(index)
        if not -count <= index < count:
            raise IndexError(f"frame {index} of {count}")
        return memoryview(ctypes.Array.__getitem__(cast(Any, self), index % count))

    def __setitem__(self, index: int, frame: Any) -> None:
        """Copy a frame in."""
        index = operator.index(index)
        view = memoryview(frame)
        if view.format not in ("B", "<B") or view.shape != self.shape[1:]:
            raise InvalidError(f"a frame of {self.shape[1:]} bytes is wanted, not {view.shape} of '{view.format}'")
        self[index].cast("B")[:] = view.tobytes()

    def __iter__(self) -> Iterator[memoryview]:
        return (self[i] for i in range(self.frames))

    def __repr__(self) -> str:
        if self.closed:
            return "<moviegen.Clip, closed>"
        count, height, width, _ = self.shape
        return f"<moviegen.Clip of {count} frames, {width} x {height}, {self._fps} per second>"

    def _live(self) -> Any:
        if self._closed:
            raise StateError("this clip was closed")
        return self._core.pointer

    def _view(self) -> memoryview:
        self._live()
        return memoryview(cast(Any, self))

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    def close(self) -> None:
        """No more use by name. Calling it again is harmless."""
        self._closed = True

    def __new__(cls, *arguments: Any) -> "Clip":
        raise StateError("clips are made by Clip.create(), Clip.read() and the calls that answer with one")


# ctypes types have a buffer; so a clip is an instance of an array type, one for each shape, on the C memory.
@functools.lru_cache(maxsize=32)
def _class_of(frames: int, height: int, width: int) -> Type[Any]:
    element = Byte * 3 * width * height
    return type("Clip", (Clip, ctypes.Array), {"_type_": element, "_length_": frames, "__module__": __name__})


def wrap(context: Context, pointer: Any) -> Clip:
    """The object for an mgen_clip, which becomes its own."""
    info = ClipInfo()
    lib.mgen_clip_get_info(pointer, byref(info))
    kind = _class_of(info.frames, info.height, info.width)
    clip = kind.from_address(lib.mgen_clip_pixels(c_void_p(pointer)))
    clip._context = context
    clip._fps = Fraction(info.fps_num, info.fps_den)
    clip._own(FreedCore(pointer, "clip", lib.mgen_clip_destroy))
    return cast(Clip, clip)
