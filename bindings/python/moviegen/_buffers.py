# SPDX-License-Identifier: MIT
"""Frames, latents and text in memory that Python objects own, by the buffer protocol."""
import ctypes
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from ._abi import CONSTANTS, Frames, Latents, Text, checked
from .errors import InvalidError, NoMemoryError

#: Anything with the buffer protocol: memoryview, bytearray, array.array, a NumPy array, a Clip.
Buffer = Any
#: Frames as stream() yields them: one view, or three (Y, U, V) for "yuv420".
FrameViews = Union[memoryview, Tuple[memoryview, memoryview, memoryview]]

FORMATS = {"rgb8": CONSTANTS["MGEN_FORMAT_RGB8"], "rgbf32": CONSTANTS["MGEN_FORMAT_RGBF32"],
           "yuv420": CONSTANTS["MGEN_FORMAT_YUV420"]}
SCHEDULES = {"linear_quadratic": CONSTANTS["MGEN_SCHEDULE_LINEAR_QUADRATIC"],
             "linear": CONSTANTS["MGEN_SCHEDULE_LINEAR"],
             "linear_quadratic_1000": CONSTANTS["MGEN_SCHEDULE_LINEAR_QUADRATIC_1000"]}
SOLVERS = {"euler": CONSTANTS["MGEN_SOLVER_EULER"], "midpoint": CONSTANTS["MGEN_SOLVER_MIDPOINT"],
           "dopri5": CONSTANTS["MGEN_SOLVER_DOPRI5"]}
PRECISIONS = {"default": CONSTANTS["MGEN_PRECISION_DEFAULT"], "f32": CONSTANTS["MGEN_PRECISION_F32"],
              "bf16": CONSTANTS["MGEN_PRECISION_BF16"], "fp8": CONSTANTS["MGEN_PRECISION_FP8"]}
TASKS = {name: CONSTANTS[f"MGEN_EDIT_{name.upper()}"] for name in (
    "auto", "local", "style", "background", "removal", "addition", "texture", "segmentation")}
EXTENSIONS = {"blended": CONSTANTS["MGEN_SOUND_BLENDED"], "one_by_one": CONSTANTS["MGEN_SOUND_ONE_BY_ONE"]}
_WORDS = {"f": "float32", "B": "bytes"}


def number_of(names: Dict[str, int], name: str, what: str) -> int:
    """A constant by its short name, with _ or, as the program has it, with - between words."""
    found = names.get(name.replace("-", "_")) if isinstance(name, str) else None
    if found is None:
        raise InvalidError(f"{what} is {name!r}; it must be one of {', '.join(map(repr, names))}")
    return found


class Borrowed(NamedTuple):
    """An object's memory; `keep` holds it in place."""
    address: int
    shape: Tuple[int, ...]
    kind: str
    keep: Any


def borrow(source: Buffer, kinds: str, dimensions: int, what: str, writable: bool = False) -> Borrowed:
    """The memory of a buffer of the kinds 'B' (bytes) or 'f' (float32). What is read only and cannot be reached
    otherwise is copied."""
    try:
        view = memoryview(source)
    except TypeError:
        raise TypeError(f"{what}: {type(source).__name__} has no buffer of {_words(kinds)}") from None
    kind, shape = view.format.lstrip("@=<"), tuple(view.shape or ())
    if kind not in kinds or view.ndim != dimensions:
        raise InvalidError(f"{what}: {dimensions} dimensions of {_words(kinds)} are wanted, "
                           f"not {view.ndim} of format '{view.format}'")
    if 0 in shape:
        raise InvalidError(f"{what}: the shape {shape} is empty")
    if writable and (view.readonly or not view.c_contiguous):
        raise InvalidError(f"{what}: it must be writable and without gaps")
    memory = ctypes.c_char * view.nbytes
    if not view.c_contiguous:
        keep = memory.from_buffer_copy(view.tobytes())
    elif view.readonly:
        keep = memory.from_buffer_copy(view)
    else:
        keep = memory.from_buffer(view)
    return Borrowed(ctypes.addressof(keep), shape, kind, keep)


def _words(kinds: str) -> str:
    return " or ".join(_WORDS[kind] for kind in kinds)


def fresh(kind: Any, shape: Sequence[int]) -> Any:
    """New memory, zero."""
    extents = [checked(extent, 2**32 - 1, "an extent of the shape") for extent in shape]
    if 0 in extents:
        raise InvalidError(f"the shape {tuple(extents)} is empty")
    count = ctypes.sizeof(ctypes.c_float) if kind == "f" else 1
    for extent in extents:
        count *= extent
    try:
        return memoryview(bytearray(count)).cast(kind, extents)
    except (MemoryError, OverflowError):
        raise NoMemoryError(f"the shape {tuple(extents)} needs {count} bytes, which there are not") from None


def copied(kind: str, shape: Sequence[int], address: int) -> Any:
    """A copy of memory of the library."""
    view = fresh(kind, shape)
    ctypes.memmove(ctypes.addressof(ctypes.c_char.from_buffer(view)), address, view.nbytes)
    return view


def latents_in(source: Buffer, what: str, writable: bool = False) -> Tuple[Latents, Borrowed]:
    """A view of (frames, height, width, channels) floats."""
    memory = borrow(source, "f", 4, what, writable)
    frames, height, width, channels = memory.shape
    return Latents(frames=frames, height=height, width=width, channels=channels, data=memory.address), memory


def latents_out(latents: Latents) -> Any:
    """A copy of latents of the library."""
    return copied("f", (latents.frames, latents.height, latents.width, latents.channels), latents.data)


def text_in(source: Buffer, what: str) -> Tuple[Text, Borrowed]:
    """A view of (tokens, width) floats."""
    memory = borrow(source, "f", 2, what)
    return Text(tokens=memory.shape[0], width=memory.shape[1], data=memory.address), memory


def frames_in(source: Union[Buffer, Sequence[Buffer]], what: str,
              writable: bool = False) -> Tuple[Frames, List[Borrowed]]:
    """A view of (frames, height, width, 3) bytes or floats; or of three planes Y, U, V of bytes."""
    if isinstance(source, (tuple, list)):
        if len(source) != 3:
            raise InvalidError(f"{what}: {len(source)} planes; they must be Y, U and V")
        planes = [borrow(plane, "B", 3, what, writable) for plane in source]
        count, height, width = planes[0].shape
        form = FORMATS["yuv420"]
        shapes = plane_shapes(form, count, height, width)
        if [plane.shape for plane in planes] != shapes:
            raise InvalidError(f"{what}: U and V beside Y of {planes[0].shape} must be {shapes[1]}")
    else:
        planes = [borrow(source, "Bf", 4, what, writable)]
        count, height, width, colours = planes[0].shape
        form = FORMATS["rgbf32" if planes[0].kind == "f" else "rgb8"]
        if colours != 3:
            raise InvalidError(f"{what}: the last extent is {colours}; it must be 3, for red, green and blue")
    frames = Frames(format=form, width=width, height=height, count=count)
    for i, plane in enumerate(planes):
        frames.plane[i] = plane.address
    return frames, planes


def plane_shapes(form: int, count: int, height: int, width: int) -> List[Tuple[int, ...]]:
    """The shapes of the planes of a format."""
    if form == FORMATS["yuv420"]:
        half = (count, (height + 1) // 2, (width + 1) // 2)
        return [(count, height, width), half, half]
    return [(count, height, width, 3)]


def frames_fresh(form: int, count: int, height: int, width: int) -> FrameViews:
    """New black frames (zeros) of a format."""
    kind = "f" if form == FORMATS["rgbf32"] else "B"
    return _joined([fresh(kind, shape) for shape in plane_shapes(form, count, height, width)])


def frames_out(frames: Frames) -> FrameViews:
    """A copy of frames of the library."""
    kind = "f" if frames.format == FORMATS["rgbf32"] else "B"
    item = 4 if kind == "f" else 1
    views = []
    for i, shape in enumerate(plane_shapes(frames.format, frames.count, frames.height, frames.width)):
        count, rows = shape[:2]
        row = item * shape[2] * (shape[3] if len(shape) == 4 else 1)
        row_stride = frames.row_stride[i] or row
        frame_stride = frames.frame_stride[i] or rows * row_stride
        if row_stride == row and frame_stride == rows * row:
            views.append(copied(kind, shape, frames.plane[i]))
            continue
        view = fresh(kind, shape)
        start = ctypes.addressof(ctypes.c_char.from_buffer(view))
        for f in range(count):
            for y in range(rows):
                ctypes.memmove(start + (f * rows + y) * row, frames.plane[i] + f * frame_stride + y * row_stride, row)
        views.append(view)
    return _joined(views)


def _joined(views: List[memoryview]) -> FrameViews:
    return views[0] if len(views) == 1 else (views[0], views[1], views[2])


def function_of(value: Any, what: str) -> Any:
    """A callback, or None; said before work begins, not by its first call."""
    if value is not None and not callable(value):
        raise TypeError(f"{what}: a function is wanted, not {type(value).__name__}")
    return value


def text_of(value: Optional[str], what: str) -> Optional[bytes]:
    """UTF-8 for a C string."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError(f"{what}: a str is wanted, not {type(value).__name__}")
    if "\0" in value:
        raise InvalidError(f"{what}: it holds a NUL character")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidError(f"{what}: it is no text: {error}") from None
