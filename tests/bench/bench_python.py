# SPDX-License-Identifier: MIT
"""What Python costs: the same generation from C and from Python, turn by turn.

    bench_python.py BUILD_FOLDER [--rounds 15] [--steps 50] [--threads 1]

Both programs have the model open and are asked in turn, the first one changing each round, so that whatever else the
machine does meets both. "clip" generates a clip; "frames" takes frames as they are decoded. Seconds by the clock and of
all processors, which another program's work disturbs less: the fastest and the median, and their ratios Python / C.
"""
import argparse
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "examples", "models", "toybox")
PYTHON = """
import sys, time
import moviegen
model, steps, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
prompt = "a red ball rolls left on grass"
with moviegen.Context(threads=threads) as context, moviegen.Pipeline(context, model) as pipeline:
    for line in sys.stdin:
        begun, used = time.monotonic(), time.process_time()
        if line.startswith("frames"):
            for first, frames in pipeline.stream(prompt, steps=steps):
                pass
        else:
            pipeline.generate(prompt, steps=steps)
        print(f"{time.monotonic() - begun:.6f} {time.process_time() - used:.6f}", flush=True)
"""


def ask(child, mode):
    child.stdin.write(mode + "\n")
    child.stdin.flush()
    return tuple(map(float, child.stdout.readline().split()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    settings = [MODEL, str(options.steps), str(options.threads)]
    env = {**os.environ, "PYTHONPATH": os.path.join(ROOT, "bindings", "python"), "PYTHONDONTWRITEBYTECODE": "1",
           "MOVIEGEN_LIBRARY": os.path.join(build, "libmoviegen.so.0")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": env}
    commands = {"C": [os.path.join(build, "tests", "bench", "bench_generate")],
                "Python": [sys.executable, "-c", PYTHON]}
    children = {name: subprocess.Popen(command + settings, **pipes) for name, command in commands.items()}
    modes = ("clip", "frames")
    seconds = {(name, mode): [] for name in children for mode in modes}
    for turn in range(options.rounds + 1):
        for mode in modes:
            for name in sorted(children, reverse=turn % 2 == 1):
                measured = ask(children[name], mode)
                if turn:  # the first round warms up
                    seconds[name, mode].append(measured)
    for child in children.values():
        child.stdin.close()
        child.wait()
    for mode in modes:
        for i, what in enumerate(("clock", "processors")):
            ours, theirs = ([each[i] for each in seconds[name, mode]] for name in ("Python", "C"))
            print(f"{mode} {what}: C {min(theirs):.4f} s, median {statistics.median(theirs):.4f} s; "
                  f"Python {min(ours):.4f} s, median {statistics.median(ours):.4f} s; "
                  f"ratio {min(ours) / min(theirs):.4f}, of medians "
                  f"{statistics.median(ours) / statistics.median(theirs):.4f}")


if __name__ == "__main__":
    main()
