# SPDX-License-Identifier: MIT
"""Control-C, finalizers, the end of the interpreter, terminals: each in an interpreter of its own."""
import json
import os
import pty
import signal
import subprocess
import sys

from test_python import MODEL, PROMPT
from python_training import RECIPE

BEGIN = f"""
import gc, os, sys, threading, time, warnings
import moviegen
model, prompt = {MODEL!r}, {PROMPT!r}
context = moviegen.Context(threads=1)
pipeline = moviegen.Pipeline(context, model)
"""


def quiet(run, *lines):
    """Ended well, said nothing else."""
    assert (run.returncode, run.stderr) == (0, ""), f"exit status {run.returncode}; {run.stderr}"
    assert run.stdout.split("\n")[:-1] == list(lines), run.stdout


def interrupted(world, code, *arguments):
    """Send control-C as soon as the program says "go"; what it says then."""
    assert world.pipeline
    with subprocess.Popen([sys.executable, "-c", BEGIN + code, *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "go\n", child.stderr.read()
            child.send_signal(signal.SIGINT)
            out, error = child.communicate(timeout=60)
        finally:
            child.kill()
    assert (child.returncode, error) == (0, ""), f"exit status {child.returncode}; {error}"
    return out.split()


GO = """
begun = []
def go(*numbers):
    if not begun:
        begun.append(1)
        print("go", flush=True)
"""
USABLE = """
print("usable" if pipeline.generate(prompt, steps=1).frames == 32 else "odd")
"""


def test_control_c_cancels_a_job(world):
    said = interrupted(world, GO + """
try:
    pipeline.generate(prompt, steps=1000, progress=go)
except KeyboardInterrupt:
    print("interrupted")
""" + USABLE)
    assert said == ["interrupted", "usable"]


def test_control_c_in_wait_waits_for_the_end(world):
    """The job is kept, and yet its context is free."""
    said = interrupted(world, GO + """
job = pipeline.start(prompt, steps=1000, progress=go)
try:
    job.wait()
except KeyboardInterrupt:
    print("interrupted", job.closed)
""" + USABLE)
    assert said == ["interrupted", "False", "usable"]


def test_control_c_ends_a_stream(world):
    said = interrupted(world, GO + """
try:
    for first, frames in pipeline.stream(prompt, steps=1000, progress=go):
        pass
except KeyboardInterrupt:
    print("interrupted")
""" + USABLE)
    assert said == ["interrupted", "usable"]


def test_control_c_ends_an_evaluation(world):
    """Even where Python would raise it at the first line of a callback, which ctypes forgets."""
    said = interrupted(world, GO + """
try:
    moviegen.evaluate(pipeline, "tae", n=100000, on_progress=go)
except KeyboardInterrupt:
    print("interrupted")
import signal
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
""" + USABLE)
    assert said == ["interrupted", "usable"]


def test_control_c_ends_a_run_of_training(world):
    recipe = world.path("long.json")
    with open(recipe, "w", encoding="utf-8") as f:
        json.dump({**RECIPE, "stages": [{**RECIPE["stages"][0], "steps": 100000}]}, f)
    said = interrupted(world, GO + """
trainer = moviegen.Trainer(context, sys.argv[1], "tae", sys.argv[2])
try:
    trainer.run(on_step=go)
except KeyboardInterrupt:
    print("interrupted")
print(trainer.run(2))
""" + USABLE, recipe, world.path("long"))
    assert said == ["interrupted", "2", "usable"]


def test_the_interpreter_ends_with_everything_open(world):
    assert world.pipeline
    quiet(world.python(BEGIN + """
clip = pipeline.generate(prompt, steps=1)
view = memoryview(clip)
data = moviegen.Dataset.from_samples(context, lambda index: 1, 3, width=8, height=8, frames=1)
job = pipeline.start(prompt, steps=1000, progress=lambda done, total: None, preview=lambda step, latents: None)
other = moviegen.Context(threads=1, log=lambda level, text: None)
stream = moviegen.Pipeline(other, model).stream(prompt, steps=1, frames=64)
next(stream)
print("end")
"""), "end")


def test_an_exception_leaves_with_everything_open(world):
    assert world.pipeline
    run = world.python(BEGIN + """
job = pipeline.start(prompt, steps=1000, progress=lambda done, total: None)
raise SystemExit(7)
""")
    assert (run.returncode, run.stderr) == (7, "")


def test_rings_of_references_are_collected(world):
    """In any order, on whatever thread the collector runs: a job's own too."""
    assert world.pipeline
    quiet(world.python(BEGIN + RINGS), "collected")


RINGS = """
class Ring:
    pass
def ring(collect):
    context = moviegen.Context(threads=1)
    r = Ring()
    r.self, r.context = r, context
    r.job = moviegen.Pipeline(context, model).start(prompt, steps=1000, progress=collect)
    r.clip = moviegen.Clip.create(moviegen.Context(threads=1), width=8, height=8, frames=1)
gc.disable()
for _ in range(3):
    ring(None)
    ring(lambda done, total: gc.collect())
    time.sleep(0.5)  # only the job's own thread collects
    gc.collect()
gc.enable()
with pipeline.start(prompt, steps=20, progress=lambda done, total: gc.collect()) as job:
    ring(None)
    job.wait()
pipeline.generate(prompt, steps=1)  # ends what was put off
gc.collect()
pipeline.context.close()
threads = len(os.listdir("/proc/self/task"))
print("collected" if threads == 1 else f"{threads} threads are left")
"""


def test_a_fork_leaves_the_parents_objects_alone(world):
    assert world.pipeline
    quiet(world.python(BEGIN + """
clip = pipeline.generate(prompt, steps=1)
other = moviegen.Context(threads=2)
job = moviegen.Pipeline(other, model).start(prompt, steps=1000)
sys.stdout.flush()
warnings.simplefilter("ignore")  # newer interpreters advise against forking beside threads
child = os.fork()
if not child:
    pipeline.close()
    sys.exit(3)  # its finalizers do not wait for a thread that only the parent has
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if hasattr(os, "waitstatus_to_exitcode")
      else os.waitpid(child, 0)[1] >> 8)
print(pipeline.generate(prompt, steps=1).pixels == clip.pixels)
"""), "3", "True")


def test_a_progress_bar_on_a_terminal_only(world):
    assert world.pipeline
    code = BEGIN + "pipeline.generate(prompt, steps=3, progress=True)"
    run = world.python(code)
    quiet(run)
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=theirs) as child:
            os.close(theirs)
            theirs = -1
            seen = b""
            try:
                while True:
                    seen += os.read(ours, 4096)
            except OSError:  # the other end is closed
                pass
            assert child.wait(60) == 0
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    last = seen.decode().replace("\r\n", "\n").split("\r")[-1]
    done, total = last.split("] ")[1].split("\n")[0].split("/")
    assert PROMPT[:20] in last and done == total and "=" * 28 in last and last.endswith("\n"), seen
