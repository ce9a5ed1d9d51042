# SPDX-License-Identifier: MIT
"""Clips and their views; contexts."""
import gc
import os
from fractions import Fraction

from test_python import MODEL, numpy, raises

from moviegen import _abi


def black(world, frames=3, fps=25):
    return world.moviegen.Clip.create(world.context, width=20, height=10, frames=frames, fps=fps)


def test_a_view_is_the_pixels_themselves(world):
    clip = black(world)
    view = memoryview(clip)
    assert (view.shape, view.format, view.readonly, view.c_contiguous) == ((3, 10, 20, 3), "B", False, True)
    assert clip.address == _abi.lib.mgen_clip_pixels(clip._core.pointer)
    view[2, 9, 19, 2] = 77
    assert clip.pixels[2, 9, 19, 2] == 77 and clip[-1][9, 19, 2] == 77 and memoryview(clip).cast("B")[-1] == 77
    clip[0] = bytes_view(range(200))
    assert clip[0].tolist()[0][0] == [0, 1, 2] and clip[1].tobytes() == bytes(600)
    raises(IndexError, clip.__getitem__, 3)
    raises(TypeError, clip.__getitem__, "1", holds="integer")
    assert [frame.tobytes() for frame in clip[::-2]] == [clip[2].tobytes(), clip[0].tobytes()] and clip[3:] == []
    raises(world.moviegen.InvalidError, clip.__setitem__, 0, bytes(600))


def bytes_view(numbers):
    return memoryview(bytearray(list(numbers) * 3)).cast("B", [10, 20, 3])


def test_what_a_clip_says_of_itself(world):
    clip = black(world, fps=Fraction(30000, 1001))
    assert (clip.frames, clip.height, clip.width, clip.fps, len(clip)) == (3, 10, 20, Fraction(30000, 1001), 3)
    assert clip.shape == (3, 10, 20, 3) and "20 x 10" in repr(clip) and isinstance(clip, world.moviegen.Clip)
    assert [frame.shape for frame in clip] == [(10, 20, 3)] * 3
    assert [black(world, fps=fps).fps for fps in (23.976, 29.97, 24000 / 1001, 12.5)] == [
        Fraction(2997, 125), Fraction(2997, 100), Fraction(24000, 1001), Fraction(25, 2)]
    for fps in (0, -3, -0.5):
        raises(world.moviegen.InvalidError, black, world, fps=fps, holds="must be above 0")
    raises(world.moviegen.InvalidError, black, world, frames=0)
    raises(world.moviegen.StateError, world.moviegen.Clip)


def test_a_view_keeps_the_memory(world):
    before = world.context.memory().now
    clip = black(world, frames=400)
    view, frame = memoryview(clip), clip[7]
    view[399, 0, 0, 0] = 5
    clip.close()
    del clip
    gc.collect()
    held = world.context.memory().now
    assert held >= before + 400 * 600 and view[399, 0, 0, 0] == 5
    del view
    gc.collect()
    assert world.context.memory().now == held  # the frame is a view too
    frame[0, 0, 0] = 1
    del frame
    gc.collect()
    assert world.context.memory().now == before


def test_a_clip_outlives_its_context(world):
    with world.moviegen.Context(threads=1) as context:
        clip = world.moviegen.Clip.create(context, width=8, height=8, frames=1)
    clip[0][0, 0, 0] = 9
    assert clip.pixels[0, 0, 0, 0] == 9
    raises(world.moviegen.StateError, clip.write, world.path("a.png"), holds="closed")
    clip.write(world.path("a.png"), context=world.context)
    assert os.path.getsize(world.path("a.png")) > 50


def test_a_closed_clip_refuses(world):
    clip = black(world)
    with clip:
        pass
    clip.close()
    assert clip.closed and "closed" in repr(clip)
    for use in (lambda: clip.pixels, lambda: clip.frames, lambda: clip.address, lambda: clip.write("a.png")):
        raises(world.moviegen.StateError, use, holds="closed")
        raises(ValueError, use)


def test_numpy_shares_the_pixels(world):
    np = numpy()
    clip = black(world)
    array = clip.numpy()
    assert array.shape == (3, 10, 20, 3) and array.dtype == np.uint8 and array.flags.writeable
    assert array.__array_interface__["data"] == (clip.address, False)
    assert np.asarray(clip).ctypes.data == np.asarray(memoryview(clip)).ctypes.data == clip.address
    array[1] = 200
    assert clip.pixels[1, 5, 5, 1] == 200
    clip[2] = np.full((10, 20, 3), 3, np.uint8)
    assert (array[2] == 3).all()
    clip.close()
    del clip
    gc.collect()
    assert (array[1] == 200).all()


def test_clips_are_written_and_read(world):
    clip = black(world)
    for f in range(3):
        clip[f].cast("B")[:] = bytes([80 * f]) * 600
    path = world.path("film.y4m")
    clip.write(path)
    with open(path, "rb") as f:
        assert f.readline().startswith(b"YUV4MPEG2 W20 H10 F25:1")
    again = world.moviegen.Clip.read(world.context, path)
    assert again.shape == clip.shape and again.fps == 25
    assert all(abs(again.pixels[f, 5, 5, 0] - 80 * f) <= 2 for f in range(3))
    assert world.moviegen.Clip.read(world.context, path, first=1, count=1).pixels[0, 0, 0, 0] in range(78, 83)
    raises(world.moviegen.InvalidError, world.moviegen.Clip.read, world.context, path, first=-1, holds="first is -1")
    raises(world.moviegen.InvalidError, world.moviegen.Clip.read, world.context, path, count=2**64, holds="count is")
    raises(world.moviegen.InvalidError, clip.write, world.path("film.unknown"))
    raises(FileNotFoundError, clip.write, world.path("nowhere/film.y4m"))


def test_a_context_closes_once_and_refuses_then(world):
    moviegen = world.moviegen
    context = moviegen.Context(threads=1, kernels="ref")
    assert "ref" in context.kernels and context.memory().peak >= context.memory().now > 0
    context.trim()
    with context:
        assert not context.closed
    context.close()
    assert context.closed
    for use in (context.memory, context.trim, lambda: context.kernels, lambda: context.last_error,
                lambda: moviegen.plan(context, "1b", width=256, height=256, frames=8),
                lambda: moviegen.Pipeline(context, "x")):
        raises(moviegen.StateError, use, holds="this context was closed")


def test_functions_are_functions(world):
    for name in ("log", "progress"):
        raises(TypeError, world.moviegen.Context, **{name: 3}, holds=f"{name}: a function is wanted")


def test_limits_hold(world):
    limit = world.moviegen.LimitError
    raises(limit, world.moviegen.Context, host_memory_max=100)
    with world.moviegen.Context(threads=1, host_memory_max=4 << 20) as context:
        error = raises(limit, world.moviegen.Clip.create, context, width=1024, height=1024, frames=64)
        assert isinstance(error, MemoryError) and error.name == "MGEN_E_LIMIT"
        world.moviegen.Clip.create(context, width=64, height=64, frames=1)


def test_log_and_progress_reach_the_host(world):
    assert world.pipeline
    lines, told = [], []
    with world.moviegen.Context(threads=1, log=lambda level, text: lines.append((level, text)),
                                progress=lambda what, done, total: told.append((what, done, total))) as context:
        world.moviegen.Pipeline(context, MODEL).close()
    assert told and all(done <= total for _, done, total in told)
    assert all(world.moviegen.LOG_ERROR <= level <= world.moviegen.LOG_DEBUG and text for level, text in lines)


def test_an_exception_of_progress_comes_out_of_the_call(world):
    assert world.pipeline

    def stop(what, done, total):
        raise LookupError(what)
    with world.moviegen.Context(threads=1, progress=stop) as context:
        raises(LookupError, world.moviegen.Pipeline, context, MODEL)
        assert context.memory().now < 2 << 20
