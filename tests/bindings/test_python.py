# SPDX-License-Identifier: MIT
"""The Python binding, with the library and the model in examples/models/toybox.

    test_python.py LIBRARY [NAME...]        prints TAP; NAME: only the cases whose names hold it

The cases stand in the files python_*.py beside this one. They get a World.
"""
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PACKAGE = os.path.join(ROOT, "bindings", "python")
MODEL = os.path.join(ROOT, "examples", "models", "toybox")
PROMPT = "a red ball rolls left on grass"
PARTS = ("python_layout", "python_clips", "python_generate", "python_upsample", "python_edit", "python_personalize",
         "python_rewrite", "python_sound", "python_parts", "python_training", "python_pictures", "python_curate", "python_wheel",
         "python_process", "python_misuse")


class Skip(Exception):
    """Why a case cannot run here."""


class World:
    """What every case gets: the library's path, a scratch folder, and a context with the model."""

    def __init__(self, library, folder):
        import moviegen
        self.library, self.folder, self.moviegen = library, folder, moviegen
        self.context = moviegen.Context(threads=2)
        self._pipeline = self._clip = None

    @property
    def pipeline(self):
        if not os.path.exists(os.path.join(MODEL, "video_model.safetensors")):
            raise Skip("there is no trained model in examples/models/toybox")
        if self._pipeline is None:
            self._pipeline = self.moviegen.Pipeline(self.context, MODEL)
        return self._pipeline

    @property
    def clip(self):
        """PROMPT in 4 steps of seed 1."""
        if self._clip is None:
            self._clip = self.pipeline.generate(PROMPT, steps=4, seed=1)
        return self._clip

    def path(self, name):
        return os.path.join(self.folder, name)

    def python(self, code, *arguments, env=None, timeout=120, **options):
        """Another interpreter with the binding."""
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=timeout,
                              env={**os.environ, **(env or {})}, check=False, **options)


def raises(kind, function, *arguments, holds="", **named):
    """The exception of that class, which its text is part of."""
    try:
        function(*arguments, **named)
    except kind as error:
        assert holds in str(error), f"the message does not say '{holds}' but: {error}"
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def numpy():
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise Skip("NumPy is not installed") from None


def cases():
    for part in PARTS:
        module = importlib.import_module(part)
        for name, case in vars(module).items():
            if name.startswith("test_"):
                yield f"{part[7:]}: {name[5:].replace('_', ' ')}", case


def main():
    library, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    os.environ["MOVIEGEN_LIBRARY"] = library
    os.environ["PYTHONPATH"] = PACKAGE
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.path[:0] = [PACKAGE, HERE]
    sys.dont_write_bytecode = True
    sys.modules["test_python"] = sys.modules["__main__"]  # one Skip, whichever name it is imported by
    folder = tempfile.mkdtemp(prefix="moviegen-python-")
    number = failed = 0
    try:
        world = World(library, folder)
        for name, case in cases():
            if wanted and not any(word in name for word in wanted):
                continue
            number += 1
            begun = time.monotonic()
            try:
                case(world)
                print(f"ok {number} - {name} ({time.monotonic() - begun:.2f} s)", flush=True)
            except Skip as reason:
                print(f"ok {number} - {name} # SKIP {reason}", flush=True)
            except Exception:  # pylint: disable=broad-except
                failed += 1
                print(f"not ok {number} - {name}")
                for line in traceback.format_exc().splitlines()[-12:]:
                    print(f"#   {line}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"1..{number}")
    return 1 if failed or not number else 0


if __name__ == "__main__":
    sys.exit(main())
