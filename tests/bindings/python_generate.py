# SPDX-License-Identifier: MIT
"""Pipelines, jobs, streams, callbacks, buffers to generate into."""
import array
import gc
import threading
import time
import tracemalloc

from test_python import MODEL, PROMPT, numpy, raises

SHAPE = [32, 64, 64, 3]
SIZE = 32 * 64 * 64 * 3


def test_a_pipeline_says_what_it_is(world):
    pipe = world.pipeline
    assert (pipe.width, pipe.height, pipe.frames, pipe.fps) == (64, 64, 32, 16)
    assert pipe.tae.info.channels == pipe.video.info.channels and pipe.tae.info.spatial_factor == 8
    assert max(part.info.text_width for part in pipe.text) == pipe.video.info.text_width
    assert (pipe.video.info.guidance, pipe.video.info.fps_prefix) == (3, 1) and pipe.tae.info.guidance == 0
    assert len({part.info.hash for part in (pipe.tae, *pipe.text, pipe.video)}) == 5 and pipe.hash
    need = pipe.estimate(PROMPT, frames=64, steps=2)
    assert (need.width, need.height, need.frames) == (64, 64, 64) and need.host_bytes > 0 and need.flops > 0


def test_the_same_seed_gives_the_same_clip(world):
    again = world.pipeline.generate(PROMPT, steps=4, seed=1)
    other = world.pipeline.generate(PROMPT, steps=4, seed=2)
    assert again.shape == (32, 64, 64, 3) and again.fps == 16
    assert again.pixels == world.clip.pixels and other.pixels != world.clip.pixels


def test_options_reach_the_library(world):
    pipe = world.pipeline
    short = {"steps": 3, "seed": 1, "frames": 8}
    base = pipe.generate(PROMPT, **short)
    for options in ({"steps": 2}, {"guidance": 2.0}, {"schedule": "linear"}, {"negative_prompt": "a blue box"},
                    {"schedule": "linear_quadratic_1000"}, {"solver": "midpoint"}, {"solver": "dopri5", "steps": 40},
                    {"guidance_from": 0.2}, {"guidance_to": 0.2}, {"drop_text": "ul2"}, {"drop_text": ("ul2", "byt5")}):
        assert pipe.generate(PROMPT, **{**short, **options}).pixels != base.pixels, options
    assert pipe.generate(PROMPT, steps=1, frames=1).shape == (1, 64, 64, 3)
    assert pipe.generate(PROMPT, steps=1, width=96, height=32, frames=8).shape == (8, 32, 96, 3)
    invalid = world.moviegen.InvalidError
    raises(invalid, pipe.generate, "", holds="prompt")
    raises(invalid, pipe.generate, "a\0b", holds="NUL")
    raises(invalid, pipe.generate, PROMPT, steps=1001, holds="steps")
    raises(invalid, pipe.generate, PROMPT, steps=-1, holds="steps is -1")
    raises(invalid, pipe.generate, PROMPT, guidance=-1, holds="guidance")
    raises(invalid, pipe.generate, PROMPT, schedule="cubic", holds="'linear'")
    raises(invalid, pipe.generate, PROMPT, solver="rk4", holds="'dopri5'")
    raises(invalid, pipe.generate, PROMPT, guidance_from=0.6, guidance_to=0.5, holds="guidance_from")
    raises(invalid, pipe.generate, PROMPT, drop_text="clip", holds="'metaclip'")
    raises(invalid, pipe.generate, PROMPT, drop_text=world.moviegen.ROLES, holds="one must stay")
    raises(invalid, pipe.generate, "\ud800", holds="prompt: it is no text")
    raises(TypeError, pipe.generate, PROMPT, progress=3, holds="progress")
    raises(TypeError, pipe.generate, b"bytes")
    raises(world.moviegen.UnsupportedError, pipe.generate, PROMPT, width=60, holds="60")


def test_a_pipeline_is_put_together_from_parts(world):
    moviegen = world.moviegen
    with moviegen.Context(threads=1) as other:
        parts = {"tae": moviegen.Tae(other, MODEL), "text": [moviegen.TextEncoder(other, MODEL, role) for role in moviegen.ROLES],
                 "video": moviegen.VideoModel(other, MODEL), "upsampler": moviegen.Upsampler(other, MODEL),
                 "editor": moviegen.Editor(other, MODEL), "audio": moviegen.AudioModel(other, MODEL),
                 "personalizer": moviegen.Personalizer(other, MODEL)}
        if world.pipeline.rewriter:
            parts["rewriter"] = moviegen.Rewriter(other, MODEL)
        pipe = moviegen.Pipeline.of(world.context, **parts, width=64, height=64, frames=32, fps=16)
        assert pipe.hash == world.pipeline.hash
        assert pipe.generate(PROMPT, steps=4, seed=1).pixels == world.clip.pixels
        pipe.close()
        assert not parts["tae"].closed  # they are the caller's
        half = moviegen.Pipeline.of(world.context, tae=parts["tae"], width=64, height=64, frames=32)
        raises(moviegen.StateError, half.generate, PROMPT)
        for wrong in ({"tae": parts["video"]}, {"text": [parts["tae"]]}, {"audio": parts["editor"]}, {"video": world.clip}):
            raises(TypeError, moviegen.Pipeline.of, world.context, **wrong, width=64, height=64, frames=32, holds="is wanted")
        half.video = parts["upsampler"]
        raises(TypeError, half.generate, PROMPT, holds="VideoModel is wanted, not Upsampler")


def test_a_closed_pipeline_refuses(world):
    pipe = world.moviegen.Pipeline(world.context, MODEL)
    tae = pipe.tae
    with pipe:
        pass
    pipe.close()
    assert pipe.closed and tae.closed
    raises(world.moviegen.StateError, pipe.generate, PROMPT, holds="pipeline was closed")
    raises(world.moviegen.StateError, tae.encode, world.clip, holds="tae was closed")
    raises(world.moviegen.StateError, lambda: pipe.hash)


def test_precision(world):
    with world.moviegen.Pipeline(world.context, MODEL, precision="bf16") as pipe:
        assert pipe.hash == world.pipeline.hash
        assert pipe.video.info.bytes < 0.52 * world.pipeline.video.info.bytes
        assert pipe.generate(PROMPT, steps=4, seed=1).pixels != world.clip.pixels
    raises(world.moviegen.InvalidError, world.moviegen.Pipeline, world.context, MODEL, precision="half", holds="'half'")


def test_a_running_job_keeps_what_it_needs(world):
    """Everything is let go but the job."""
    moviegen = world.moviegen
    context = moviegen.Context(threads=1)
    job = moviegen.Pipeline(context, MODEL).start(PROMPT, steps=4, seed=1)
    del context
    gc.collect()
    job.wait()
    assert job.clip().pixels == world.clip.pixels


def test_a_job_is_waited_for_polled_and_told(world):
    moviegen, told = world.moviegen, []
    with world.pipeline.start(PROMPT, steps=30, progress=lambda done, total: told.append((done, total))) as job:
        raises(TimeoutError, job.wait, 0)
        raises(moviegen.StateError, job.clip, holds="wait first")
        raises(moviegen.StateError, job.sound, holds="wait first")
        assert job.info.total >= 30 and job.info.frames == 32 and job.info.host_bytes > 0
        raises(moviegen.StateError, world.pipeline.generate, PROMPT, holds="job is running")
        raises(moviegen.StateError, world.context.trim, holds="job is running")
        while not job.poll():
            time.sleep(0.01)
        job.wait()
        assert job.info.done == job.info.total and job.info.frames_done == 32
        assert job.clip().shape == tuple(SHAPE)
        raises(moviegen.StateError, job.clip)  # once
    job.close()
    raises(moviegen.StateError, job.wait, holds="job was closed")
    raises(moviegen.StateError, job.cancel)
    assert [done for done, _ in told] == sorted(done for done, _ in told) and told[-1][0] == told[-1][1]


def test_a_job_is_cancelled(world):
    job = world.pipeline.start(PROMPT, steps=1000)
    threading.Timer(0.1, job.cancel).start()
    raises(world.moviegen.CancelledError, job.wait)
    raises(world.moviegen.CancelledError, job.poll)  # the same answer again
    assert world.pipeline.generate(PROMPT, steps=4, seed=1).pixels == world.clip.pixels
    job.close()
    dropped = world.pipeline.start(PROMPT, steps=1000)
    del dropped
    gc.collect()
    assert world.pipeline.generate(PROMPT, steps=1).frames == 32


def test_exceptions_of_callbacks_end_the_job_and_are_raised(world):
    def at_two(done, total):
        if done == 2:
            raise KeyError("two")

    def preview(step, latents):
        raise ZeroDivisionError
    raises(KeyError, world.pipeline.generate, PROMPT, steps=1000, progress=at_two)
    raises(ZeroDivisionError, world.pipeline.generate, PROMPT, steps=1000, preview=preview)
    with world.pipeline.start(PROMPT, steps=2, on_frames=lambda first, frames: 1 / 0) as job:
        raises(ZeroDivisionError, job.wait)
        raises(ZeroDivisionError, job.poll)
    assert world.pipeline.generate(PROMPT, steps=4, seed=1).pixels == world.clip.pixels


def test_callbacks_cannot_use_their_context(world):
    state = world.moviegen.StateError
    raises(state, world.pipeline.generate, PROMPT, steps=50, holds="callback",
           progress=lambda done, total: world.pipeline.tae.encode(world.clip))
    raises(state, world.pipeline.generate, PROMPT, steps=50, holds="callback",
           progress=lambda done, total: world.context.close())
    job = world.pipeline.start(PROMPT, steps=50, progress=lambda done, total: job.close())
    raises(state, job.wait, holds="callback")
    job.close()


def test_previews_are_decoded_on_another_context(world):
    seen = []
    with world.moviegen.Context(threads=1) as other:
        def preview(step, latents):
            film = world.pipeline.tae.decode(latents, 30, context=other)
            seen.append((step, latents.shape, film.shape))
        clip = world.pipeline.generate(PROMPT, steps=4, seed=1, preview=preview)
    assert clip.pixels == world.clip.pixels
    assert [step for step, _, _ in seen] == list(range(seen[0][0], seen[0][0] + 4))
    assert {entry[1:] for entry in seen} == {((4, 8, 8, 16), (30, 64, 64, 3))}


def test_the_last_preview_is_the_clip(world):
    last = []
    world.pipeline.generate(PROMPT, steps=4, seed=1, preview=lambda step, latents: last.append(latents))
    assert world.pipeline.tae.decode(last[-1], 32) == world.clip.pixels


def test_frames_come_as_they_are_decoded(world):
    stream = world.pipeline.stream(PROMPT, steps=4, seed=1)
    assert stream.frames == 32
    pixels, expected = world.clip.pixels.cast("B"), 0
    for first, frames in stream:
        assert first == expected and frames.format == "B" and frames.shape[1:] == (64, 64, 3)
        expected += len(frames)
        assert frames.tobytes() == pixels[first * 12288:expected * 12288].tobytes()
    assert expected == 32 and next(stream, None) is None
    stream.close()


def test_a_long_film_streams_in_flat_memory(world):
    """Python holds a few frames of it, however long it is, and so does the library."""
    peaks = []
    for frames in (64, 256):
        with world.moviegen.Context(threads=2) as context:
            pipe = world.moviegen.Pipeline(context, MODEL)
            tracemalloc.start()
            total = sum(len(part) for _, part in pipe.stream(PROMPT, steps=1, frames=frames))
            peaks.append((tracemalloc.get_traced_memory()[1], context.memory().peak))
            tracemalloc.stop()
            assert total == frames
    assert peaks[1][0] < 256 * 12288 // 4, peaks
    assert peaks[1][1] - peaks[0][1] < 192 * 12288 // 2, peaks  # less than half of the frames that are more


def test_streams_in_other_formats(world):
    pixels = world.clip.pixels.cast("B")
    for first, frames in world.pipeline.stream(PROMPT, steps=4, seed=1, format="rgbf32"):
        assert frames.format == "f" and frames.shape[1:] == (64, 64, 3)
        flat, begin = frames.cast("B").cast("f"), first * 12288
        assert all(abs(flat[i] * 255 - pixels[begin + i]) <= 0.51 for i in range(0, len(flat), 97))
    count = 0
    for first, (y, u, v) in world.pipeline.stream(PROMPT, steps=4, seed=1, format="yuv420"):
        assert y.shape[1:] == (64, 64) and u.shape[1:] == v.shape[1:] == (32, 32)
        assert 16 <= min(y.tobytes()) and max(y.tobytes()) <= 235
        count += len(y)
    assert count == 32
    raises(world.moviegen.InvalidError, world.pipeline.stream, PROMPT, format="jpeg", holds="'yuv420'")


def test_a_stream_that_is_left_early_ends_the_job(world):
    for first, _ in world.pipeline.stream(PROMPT, steps=1, frames=128):
        if first:
            break
    gc.collect()
    assert world.pipeline.generate(PROMPT, steps=4, seed=1).pixels == world.clip.pixels
    stream = world.pipeline.stream(PROMPT, steps=1000)
    del stream  # never begun
    gc.collect()
    with world.pipeline.stream(PROMPT, steps=1, frames=64) as stream:
        next(stream)
    assert next(stream, None) is None
    assert world.pipeline.generate(PROMPT, steps=1).frames == 32
    raises(KeyError, lambda: list(world.pipeline.stream(PROMPT, steps=50, progress=lambda a, b: {}[a])))


def test_a_clip_is_generated_into_a_buffer(world):
    pipe, pixels = world.pipeline, world.clip.pixels
    memory = bytearray(SIZE)
    assert pipe.generate(PROMPT, steps=4, seed=1, into=memoryview(memory).cast("B", SHAPE)) is None
    assert memory == pixels.tobytes()
    clip = world.moviegen.Clip.create(world.context, width=64, height=64, frames=32)
    pipe.generate(PROMPT, steps=4, seed=1, into=clip)
    assert clip.pixels == pixels
    floats = array.array("f", bytes(4 * SIZE))
    pipe.generate(PROMPT, steps=4, seed=1, into=memoryview(floats).cast("B").cast("f", SHAPE))
    flat = pixels.cast("B")
    assert all(abs(floats[i] * 255 - flat[i]) <= 0.51 for i in range(0, SIZE, 991))
    planes = [memoryview(bytearray(32 * n * n)).cast("B", [32, n, n]) for n in (64, 32, 32)]
    pipe.generate(PROMPT, steps=4, seed=1, into=planes)
    assert min(planes[0].tobytes()) >= 16
    with pipe.start(PROMPT, steps=1, into=clip) as job:
        job.wait()
        raises(world.moviegen.StateError, job.clip)
    invalid = world.moviegen.InvalidError
    for wrong, text in ((memory, "4 dimensions"), (bytes(SIZE), "4 dimensions"),
                        (memoryview(bytes(SIZE)).cast("B", SHAPE), "writable"), (planes[:2], "2 planes"),
                        (memoryview(bytearray(SIZE)).cast("B", [32, 64, 96, 2]), "last extent"),
                        (memoryview(bytearray(SIZE // 2)).cast("B", [16, 64, 64, 3]), "16"),
                        (array.array("d", [0.0]), "format 'd'")):
        raises(invalid, pipe.generate, PROMPT, steps=1, into=wrong, holds=text)
    raises(TypeError, pipe.generate, PROMPT, into=7)


def test_a_buffer_of_a_running_job_stays_in_place(world):
    memory = bytearray(SIZE)
    job = world.pipeline.start(PROMPT, steps=20, into=memoryview(memory).cast("B", SHAPE))
    raises(BufferError, memory.clear)
    job.close()
    gc.collect()
    memory.clear()


def test_a_clip_is_generated_into_numpy(world):
    np = numpy()
    target = np.zeros(SHAPE, np.uint8)
    world.pipeline.generate(PROMPT, steps=4, seed=1, into=target)
    assert (target == world.clip.numpy()).all()
    gaps = np.zeros([32, 64, 64, 6], np.uint8)[..., ::2]
    raises(world.moviegen.InvalidError, world.pipeline.generate, PROMPT, into=gaps, holds="without gaps")


def test_the_interpreter_runs_on_meanwhile(world):
    """Calls release the interpreter's lock: another thread counts while this one is inside the library."""
    counts, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1
            time.sleep(0.001)
    thread = threading.Thread(target=count)
    thread.start()
    before, begun = counts[0], time.monotonic()
    for _ in range(3):
        world.pipeline.tae.encode(world.clip)
    counted, seconds = counts[0] - before, time.monotonic() - begun
    stop.set()
    thread.join()
    assert counted > seconds * 20, (counted, seconds)


def test_threads_take_turns_on_a_context(world):
    latents = world.pipeline.tae.encode(world.clip).tobytes()
    results = []

    def work():
        for _ in range(3):
            results.append(world.pipeline.tae.encode(world.clip).tobytes() == latents)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 12
