# SPDX-License-Identifier: MIT
"""The networks alone: a sampler of one's own gives the clip that the pipeline gives."""
import array
import threading

from test_python import MODEL, PROMPT, numpy, raises


def floats(view):
    return view.cast("B").cast("f")


def test_the_tae_encodes_and_decodes(world):
    tae = world.pipeline.tae
    latents = tae.encode(world.clip)
    assert latents.shape == (4, 8, 8, 16) and latents.format == "f"
    film = tae.decode(latents)
    assert film.shape == (32, 64, 64, 3) and film.format == "B"
    difference = [abs(a - b) for a, b in zip(film.tobytes(), world.clip.pixels.tobytes())]
    assert 0 < sum(difference) / len(difference) < 12
    assert tae.decode(latents, 29).tobytes() == film.tobytes()[:29 * 64 * 64 * 3]
    as_floats = floats(tae.decode(latents, format="rgbf32"))
    assert all(abs(255 * as_floats[i] - film.tobytes()[i]) <= 0.51 for i in range(0, 12288, 7))
    y, u, v = tae.decode(latents, format="yuv420")
    assert y.shape == (32, 64, 64) and u.shape == v.shape == (32, 32, 32)
    near = floats(tae.encode((y, u, v)))
    assert near != floats(latents) and max(abs(a - b) for a, b in zip(near, floats(latents))) < 6
    clip = world.moviegen.Clip.create(world.context, width=64, height=64, frames=32)
    assert tae.decode(latents, out=clip) is clip and clip.pixels == film


def test_any_float_buffer_will_do(world):
    tae = world.pipeline.tae
    latents = tae.encode(world.clip)
    copy = array.array("f", latents.tobytes())
    assert tae.decode(memoryview(copy).cast("B").cast("f", [4, 8, 8, 16])) == tae.decode(latents)
    frozen = memoryview(latents.tobytes()).cast("f", [4, 8, 8, 16])
    assert frozen.readonly and tae.decode(frozen) == tae.decode(latents)
    out = memoryview(copy).cast("B").cast("f", [4, 8, 8, 16])
    assert tae.encode(world.clip, out=out) is out and out == latents
    invalid = world.moviegen.InvalidError
    raises(invalid, tae.decode, copy, holds="4 dimensions of float32")
    raises(invalid, tae.decode, world.clip, holds="float32")
    raises(invalid, tae.encode, world.clip, out=frozen, holds="writable")
    raises(invalid, tae.encode, world.clip, out=memoryview(bytearray(4096)).cast("f", [1, 8, 8, 16]), holds="4 x 8")
    raises(invalid, tae.decode, latents, 33)
    raises(invalid, tae.decode, latents, -1, holds="frames is -1")
    raises(invalid, tae.decode, latents, format="gif", holds="'rgb8'")
    raises(TypeError, tae.decode, [1.0])


def sample(world, steps, seed):
    """The sampler of the library again, in plain Python."""
    moviegen, pipe, guidance = world.moviegen, world.pipeline, world.pipeline.video.info.guidance
    nothing = tuple(encoder.encode("") for encoder in pipe.text)
    said = [encoder.encode("FPS-16 " + PROMPT) for encoder in pipe.text]
    said[moviegen.ROLES.index("byt5")] = nothing[1]  # there are no quotation marks
    x = moviegen.noise(world.context, seed, (4, 8, 8, 16))
    flat = floats(x)
    for i in range(len(flat)):
        flat[i] *= pipe.video.info.noise_scale
    times = moviegen.schedule(steps)
    assert len(times) == steps + 1 and times[0] == 0 and times[-1] == 1
    for time, later in zip(times, times[1:]):
        prompted = floats(pipe.video.velocity(x, time, said))
        plain = floats(pipe.video.velocity(x, time, nothing))
        flat = floats(x)
        for i, (p, n) in enumerate(zip(prompted, plain)):
            flat[i] += (later - time) * (n + guidance * (p - n))
    return x


def test_a_sampler_of_ones_own(world):
    film = world.pipeline.tae.decode(sample(world, 4, 1), 32)
    difference = [abs(a - b) for a, b in zip(film.tobytes(), world.clip.pixels.tobytes())]
    assert sum(difference) / len(difference) < 1.0, sum(difference) / len(difference)


def test_noise_and_schedules(world):
    moviegen = world.moviegen
    first = moviegen.noise(world.context, 5, (2, 4, 4, 16))
    values = list(floats(first))
    assert abs(sum(values) / len(values)) < 0.2 and 0.8 < sum(v * v for v in values) / len(values) < 1.2
    assert moviegen.noise(world.context, 5, (2, 4, 4, 16)) == first != moviegen.noise(world.context, 6, (2, 4, 4, 16))
    out = memoryview(bytearray(first.nbytes)).cast("f", first.shape)
    assert moviegen.noise(world.context, 5, out=out) is out and out == first
    raises(TypeError, moviegen.noise, world.context, 5)
    raises(moviegen.InvalidError, moviegen.noise, world.context, 5, (2, 4))
    raises(moviegen.InvalidError, moviegen.noise, world.context, -1, (1, 1, 1, 1), holds="seed")
    assert moviegen.schedule(4, "linear") == [0, 0.25, 0.5, 0.75, 1]
    assert moviegen.schedule(9, "linear-quadratic-1000") == moviegen.schedule(9, "linear_quadratic_1000")  # as the program has it
    for steps in (0, -1, 1001):
        raises(moviegen.InvalidError, moviegen.schedule, steps, holds="steps")
    raises(moviegen.InvalidError, moviegen.schedule, 4, "cubic", holds="kind")


def test_text_is_encoded(world):
    encoder = world.pipeline.text[0]
    said, nothing = encoder.encode(PROMPT), encoder.encode("")
    assert said.shape[1] == nothing.shape[1] == encoder.info.text_width and said.format == "f"
    assert len(nothing) < len(said) <= encoder.info.text_tokens
    assert encoder.encode(PROMPT) == said
    raises(world.moviegen.InvalidError, encoder.encode, "x" * 5000)


def test_velocity_checks_its_arguments(world):
    moviegen, video = world.moviegen, world.pipeline.video
    x = moviegen.noise(world.context, 1, (4, 8, 8, 16))
    text = world.pipeline.text[0].encode(PROMPT)
    assert video.velocity(x, 0.5, text, out=x) is x
    raises(moviegen.InvalidError, video.velocity, x, 1.5, text, holds="time")
    raises(moviegen.InvalidError, video.velocity, x, 0.5, (None, text))
    raises(moviegen.InvalidError, video.velocity, x, 0.5, (text,) * 4, holds="4 roles")
    raises(moviegen.InvalidError, video.velocity, x, 0.5, x, holds="2 dimensions")


def test_numpy_goes_in_and_comes_out(world):
    np = numpy()
    tae, video = world.pipeline.tae, world.pipeline.video
    pixels = world.clip.numpy()
    latents = np.asarray(tae.encode(pixels))
    assert latents.shape == (4, 8, 8, 16) and latents.dtype == np.float32
    assert (np.asarray(tae.encode(world.clip)) == latents).all()
    out = np.empty_like(latents)
    assert tae.encode(pixels.astype(np.float32) / 255, out=out) is out
    assert np.abs(out - latents).max() < 0.05
    assert (np.asarray(tae.encode(pixels[:, :, ::-1])) ==
            np.asarray(tae.encode(np.ascontiguousarray(pixels[:, :, ::-1])))).all()  # gaps are read through a copy
    text = np.asarray(world.pipeline.text[0].encode(PROMPT))
    velocity = np.asarray(video.velocity(latents, 0.5, text))
    assert velocity.shape == latents.shape and np.isfinite(velocity).all()
    raises(world.moviegen.InvalidError, tae.decode, latents.astype(np.float64), holds="format 'd'")
    raises(world.moviegen.InvalidError, tae.decode, latents.astype(">f4"), holds="format")


def test_a_network_is_used_on_any_context_and_thread(world):
    moviegen = world.moviegen
    tae = moviegen.Tae(world.context, MODEL)
    expected, results = world.pipeline.tae.encode(world.clip), []

    def work():
        with moviegen.Context(threads=1) as context:
            results.append(tae.encode(world.clip, context=context) == expected)
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3
    with moviegen.Context(threads=1) as home:
        moved = moviegen.Tae(home, MODEL)
    assert moved.encode(world.clip, context=world.context) == expected  # it outlives its context
    raises(moviegen.StateError, moved.encode, world.clip, holds="context was closed")
    moved.close()
    moved.close()
    raises(moviegen.StateError, lambda: moved.info)
    raises(moviegen.CorruptError, moviegen.Tae, world.context, MODEL, "video_model")
