# SPDX-License-Identifier: MIT
"""What users get wrong: objects of another kind, copies, callbacks and numbers that are none, forks."""
import copy
import os
import pickle
import threading

from test_python import PROMPT, numpy, raises
from python_process import BEGIN, interrupted, quiet


def test_only_a_context_is_a_context(world):
    """C would take the pointer of a job or a trainer for one, and crash."""
    pipeline, clip = world.pipeline, world.clip
    sound = world.moviegen.Sound.create(world.context, samples=4, rate=8000)
    data = world.moviegen.Dataset.toybox(world.context)
    frames = bytearray(8 * 64 * 64 * 3)
    with pipeline.start(PROMPT, steps=1) as job:
        job.wait()
        for wrong in (job, clip, pipeline, 3, "cpu"):
            for call in (lambda c: clip.write(world.path("w.png"), context=c), lambda c: data.read(0, context=c),
                         lambda c: sound.write(world.path("w.wav"), context=c),
                         lambda c: pipeline.tae.encode(memoryview(frames).cast("B", [8, 64, 64, 3]), context=c),
                         lambda c: pipeline.text[0].encode("a", context=c), lambda c: world.moviegen.Ranks(c, 1),
                         lambda c: world.moviegen.evaluate(pipeline, "tae", n=1, context=c),
                         lambda c: world.moviegen.Pipeline.of(c, width=64, height=64, frames=32)):
                raises(TypeError, call, wrong, holds=f"a context of moviegen is wanted, not {type(wrong).__name__}")


def test_nothing_is_copied_or_pickled(world):
    """A copy would end what the first one uses; another process has none of it."""
    moviegen = world.moviegen
    things = [world.context, world.pipeline, world.pipeline.tae, world.clip, moviegen.Dataset.toybox(world.context),
              moviegen.Sound.create(world.context, samples=4, rate=8000)]
    for thing in things:
        for how in (copy.copy, copy.deepcopy, pickle.dumps):
            raises(TypeError, how, thing, holds=f"a {type(thing).__name__} of moviegen cannot be copied or pickled")
    assert bytes(world.clip) == bytes(memoryview(world.clip))


def test_errors_survive_pickling(world):
    moviegen = world.moviegen
    for status in set(moviegen.errors.STATUS.values()) - {0}:
        error = moviegen.errors.from_status(status, "what, where")
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.status, again.name) == (type(error), "what, where", status, error.name)
        assert getattr(again, "errno", None) == getattr(error, "errno", None)


def test_callbacks_are_functions(world):
    """Said at once, not by a job that ends with it."""
    moviegen, pipeline = world.moviegen, world.pipeline
    for name in ("progress", "preview", "on_frames"):
        raises(TypeError, pipeline.start, PROMPT, steps=1, **{name: True}, holds=f"{name}: a function is wanted, not bool")
    raises(TypeError, pipeline.start_sound, prompt="surf", progress="bar", holds="progress: a function")
    raises(TypeError, moviegen.evaluate, pipeline, "tae", n=1, on_progress=3, holds="on_progress: a function")
    raises(TypeError, moviegen.curate, world.context, world.folder, on_progress=3, holds="on_progress: a function")
    raises(TypeError, moviegen.Dataset.from_samples, world.context, None, 1, width=8, height=8, frames=1,
           holds="read: a function")
    raises(TypeError, world.context.join, exchange=b"", size=2, holds="exchange: a function")


def test_numbers_are_named(world):
    pipeline, context, moviegen = world.pipeline, world.context, world.moviegen
    raises(TypeError, pipeline.estimate, PROMPT, seed=1.5, holds="seed: an int is wanted, not float")
    raises(TypeError, pipeline.estimate, PROMPT, steps=None, holds="steps: an int is wanted, not NoneType")
    raises(TypeError, pipeline.estimate, PROMPT, guidance="7", holds="guidance: a number is wanted, not str")
    raises(moviegen.InvalidError, pipeline.estimate, PROMPT, guidance=10**400, holds="guidance is larger")
    for name in ("strength", "source_guidance"):
        raises(TypeError, pipeline.estimate_edit, world.clip, "a", **{name: None}, holds=f"{name}: a number is wanted")
    raises(TypeError, moviegen.Ranks, context, 2, timeout="soon", holds="timeout: a number is wanted")
    for fps in (float("nan"), float("inf"), "fast"):
        raises(moviegen.InvalidError, moviegen.Clip.create, context, width=8, height=8, frames=1, fps=fps, holds="fps is")
    raises(TypeError, moviegen.Clip.create, context, width=8, height=8, frames=1, fps=None, holds="fps: a number")
    with pipeline.start(PROMPT, steps=1) as job:
        raises(TypeError, job.wait, "long", holds="timeout: a number is wanted")
        raises(moviegen.InvalidError, job.wait, float("nan"), holds="timeout")
        job.wait(3600)


def test_shapes_are_shapes(world):
    moviegen, noise = world.moviegen, world.moviegen.noise
    raises(moviegen.InvalidError, noise, world.context, 1, (-1, 2, 2, 2), holds="it must be 0..")
    raises(moviegen.InvalidError, noise, world.context, 1, (1, 0, 2, 2), holds="the shape (1, 0, 2, 2) is empty")
    raises(TypeError, noise, world.context, 1, (1.5, 2, 2, 2), holds="an int is wanted, not float")
    error = raises(moviegen.NoMemoryError, noise, world.context, 1, (1 << 30, 1 << 30, 8, 8), holds="bytes")
    assert isinstance(error, MemoryError)
    channels = world.pipeline.tae.info.channels
    latents = noise(world.context, 1, (1, 8, 8, channels))
    raises(moviegen.InvalidError, world.pipeline.tae.decode, latents, 0, holds="is empty")


def test_a_sound_is_a_sequence_of_samples(world):
    sound = world.moviegen.Sound.create(world.context, samples=5, rate=8000, channels=2)
    sound.samples[3, 1] = 0.5
    sound[4][0] = -0.25
    assert len(list(sound)) == len(sound) == 5
    assert sound[3].tolist() == [0, 0.5] and sound[-1].tolist() == [-0.25, 0] and len(sound[1:]) == 4
    raises(IndexError, sound.__getitem__, 5)
    raises(IndexError, sound.__getitem__, -6)
    raises(TypeError, sound.__setitem__, 0, 1.0, holds="sound.samples")
    last = sound[4]
    sound.close()
    raises(world.moviegen.StateError, sound.__getitem__, 0, holds="closed")
    del sound
    assert last.tolist() == [-0.25, 0]


def test_numpy_sees_a_sound_as_floats(world):
    np = numpy()
    sound = world.moviegen.Sound.create(world.context, samples=5, rate=8000, channels=2)
    for array in (np.asarray(sound), sound.numpy()):
        assert array.dtype == np.float32 and array.shape == (5, 2) and array.flags.writeable
    np.asarray(sound)[:] = 0.125
    assert sound[2].tolist() == [0.125, 0.125]


def test_a_sample_takes_a_sound(world):
    """As it was read, with the axis of its one channel; not of two."""
    moviegen = world.moviegen

    def first(channels):
        sound = moviegen.Sound.create(world.context, samples=16, rate=48000, channels=channels)
        for given in (sound, sound.samples):
            data = moviegen.Dataset.from_samples(
                world.context, lambda index, given=given: moviegen.Sample(bytes_of(8), sound=given), 1, width=8, height=8,
                frames=1, sound_samples=16)
            data.read(0)
    first(1)
    raises(moviegen.InvalidError, first, 2, holds="samples of the sound of sample 0")


def bytes_of(side):
    return memoryview(bytes(side * side * 3)).cast("B", [1, side, side, 3])


def test_a_forked_process_does_not_wait_for_the_parents_job(world):
    assert world.pipeline
    quiet(world.python(BEGIN + """
job = pipeline.start(prompt, steps=1000)
warnings.simplefilter("ignore")  # newer interpreters advise against forking beside threads
child = os.fork()
if not child:
    try:
        job.wait()
    except moviegen.StateError as error:
        os._exit(3 if "forked" in str(error) else 4)
print(os.waitpid(child, 0)[1] >> 8)
job.close()
"""), "3")


def test_control_c_ends_the_wait_for_ranks(world):
    meet = f"file://{world.path('meet')}"
    said = interrupted(world, f"""
threading.Thread(target=lambda: (time.sleep(0.5), print("go", flush=True)), daemon=True).start()
try:
    context.join(meet={meet!r}, rank=0, size=2, timeout=50)
except KeyboardInterrupt:
    print("interrupted", context.ranks)
print("usable" if moviegen.Clip.create(context, width=8, height=8, frames=1) else "odd")
""")
    assert said == ["interrupted", "1", "usable"] and not os.path.exists(world.path("meet"))


def test_control_c_ends_a_barrier(world):
    """And with it the run, which the other rank is told; in a thread that is not the main one nothing is different."""
    said = interrupted(world, """
ranks = moviegen.Ranks(context, 2, timeout=50)
other = moviegen.Context(threads=1)
def work():
    other.join(ranks=ranks, rank=1)
    other.barrier()
    time.sleep(0.5)
    print("go", flush=True)
thread = threading.Thread(target=work)
thread.start()
context.join(ranks=ranks, rank=0)
context.barrier()
begun = time.monotonic()
try:
    context.barrier()
except KeyboardInterrupt:
    print("interrupted" if time.monotonic() - begun < 25 else "late")
thread.join()
for one in (context, other):
    try:
        one.barrier()
    except moviegen.PeerLostError:
        print("lost")
""")
    assert said == ["interrupted", "lost", "lost"], said


def test_requests_of_threads_take_turns(world):
    """On one context: another's job under way is waited for, not told of."""
    pipeline, ended = world.pipeline, []

    def run():
        try:
            for _ in range(3):
                ended.append(pipeline.generate(PROMPT, steps=1, frames=8).frames)
                ended.append(len(world.context.kernels) and 8)
        except world.moviegen.Error as error:
            ended.append(str(error))
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert ended == [8] * 24, ended


def test_a_forked_process_is_told_of_a_thread_that_generates(world):
    """It does not wait for the turn of a thread that it does not have."""
    assert world.pipeline
    quiet(world.python(BEGIN + """
begun = threading.Event()
def run():
    try:
        pipeline.generate(prompt, steps=1000, progress=lambda done, total: begun.set())
    except moviegen.StateError:
        pass
thread = threading.Thread(target=run)
thread.start()
begun.wait()
warnings.simplefilter("ignore")
child = os.fork()
if not child:
    try:
        pipeline.generate(prompt, steps=1)
    except moviegen.StateError as error:
        os._exit(3 if "forked" in str(error) else 4)
print(os.waitpid(child, 0)[1] >> 8)
context.close()
thread.join()
""", timeout=60), "3")
