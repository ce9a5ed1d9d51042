# SPDX-License-Identifier: MIT
"""The binding against moviegen.h and the library; finding the library; installing; exceptions."""
import ctypes
import os
import re
import shutil
import subprocess
import sys

from test_python import PACKAGE, ROOT, Skip, raises

from moviegen import _abi, errors

PRINT_VERSION = "import moviegen; print(moviegen.version())"


def header():
    with open(os.path.join(ROOT, "include", "moviegen.h"), encoding="utf-8") as f:
        return re.sub(r"/\*.*?\*/", " ", f.read().replace("\\\n", " "), flags=re.S)


def library_table():
    return _abi.table(_abi.lib.mgen_abi_name, _abi.lib.mgen_abi_value)


def test_layouts_are_the_librarys(world):
    ours = {**_abi.declared(), **{name: _abi.CONSTANTS[name] for name in _abi.VERSIONS}}
    theirs = library_table()
    assert ours == theirs, f"only here or different: {sorted(set(ours.items()) ^ set(theirs.items()))}"


def test_constants_are_the_headers(world):
    defined = {name: int(value) for name, value in re.findall(r"#define (MGEN_[A-Z0-9_]+)\s+\(?(-?\d+)\)?", header())}
    assert defined == _abi.CONSTANTS, f"different: {sorted(set(defined.items()) ^ set(_abi.CONSTANTS.items()))}"


def test_calls_are_the_headers(world):
    """Every call with the types of its arguments: none missing, none more."""
    numbers = {"uint32_t": ctypes.c_uint32, "int32_t": ctypes.c_int32, "uint64_t": ctypes.c_uint64,
               "int64_t": ctypes.c_int64, "float": ctypes.c_float, "double": ctypes.c_double,
               "mgen_status": ctypes.c_int32, "void": None}
    structs = {struct.NAME: struct for struct in _abi.STRUCTS}

    def kind(text):
        text = re.sub(r"\bconst\b", " ", text)
        base, stars = re.match(r"\s*(\w+)\s*([\s*]*)", text).groups()
        depth = stars.count("*") + text.count("[")
        if base in structs and depth:
            found = structs[base]
            for _ in range(depth):
                found = ctypes.POINTER(found)
            return {found}
        if depth == 0:
            return {numbers[base]}
        if depth == 2:
            return {ctypes.POINTER(ctypes.c_void_p)}
        return {"char": {ctypes.c_char_p, ctypes.c_void_p}, "uint64_t": {ctypes.POINTER(ctypes.c_uint64)}}.get(
            base, {ctypes.c_void_p})

    found = re.findall(r"MGEN_API\s+([\w\s]+?[\s*]+)(mgen_\w+)\s*\(([^;]*?)\)\s*;", header(), re.S)
    names = {name for _, name, _ in found}
    assert names == set(_abi.CALLS), f"only on one side: {sorted(names ^ set(_abi.CALLS))}"
    for result, name, arguments in found:
        wanted = [kind(result)] + [kind(argument) for argument in arguments.split(",") if argument.strip() != "void"]
        ours = _abi.CALLS[name]
        assert len(ours) == len(wanted) and all(mine in theirs for mine, theirs in zip(ours, wanted)), \
            f"{name}: {ours} here, {wanted} in the header"


def test_a_mismatch_is_an_import_error_that_names_it(world):
    theirs = library_table()
    _abi.check(theirs, "0")
    moved = {**theirs, "offsetof mgen_frames.plane": 32}
    raises(ImportError, _abi.check, moved, "9.9", holds="offsetof mgen_frames.plane is 24 here and 32 in the library")
    raises(ImportError, _abi.check, moved, "9.9", holds="version 9.9")
    raises(ImportError, _abi.check, {**theirs, "MGEN_E_IO": -99}, "0", holds="MGEN_E_IO")
    raises(ImportError, _abi.check, {**theirs, "sizeof mgen_job_info": 8}, "0", holds="sizeof mgen_job_info")
    raises(ImportError, _abi.check, {**theirs, "sizeof mgen_allocator": 32}, "0", holds="sizeof mgen_allocator")
    del moved["sizeof mgen_clip_info"]
    raises(ImportError, _abi.check, moved, "0", holds="sizeof mgen_clip_info is unknown to the library")


def test_a_struct_may_grow_at_its_end(world):
    theirs = library_table()
    theirs["sizeof mgen_generate_params"] += 8
    theirs["offsetof mgen_generate_params.new"] = 104
    _abi.check(theirs, "0")


def build(world, name, source, *options):
    """A small shared library."""
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if not compiler:
        raise Skip("there is no C compiler")
    path = world.path(name)
    with open(path + ".c", "w", encoding="utf-8") as f:
        f.write(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, path + ".c", *options], check=True)
    return path


def test_another_library_is_refused(world):
    """A library whose table differs in one line, and one that lacks calls."""
    shifted = build(world, "shifted.so", """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdint.h>
        #include <string.h>
        extern const char *mgen_abi_name(uint32_t);
        int64_t mgen_abi_value(uint32_t i) {
            int64_t (*next)(uint32_t) = (int64_t (*)(uint32_t))dlsym(RTLD_NEXT, "mgen_abi_value");
            const char *name = mgen_abi_name(i);
            return next(i) + (name && !strcmp(name, "offsetof mgen_text.data"));
        }""", "-Wl,--no-as-needed", world.library, f"-Wl,-rpath,{os.path.dirname(world.library)}", "-ldl")
    run = world.python(PRINT_VERSION, env={"MOVIEGEN_LIBRARY": shifted})
    assert run.returncode == 1 and "offsetof mgen_text.data is 16 here and 17 in the library" in run.stderr, run.stderr
    old = build(world, "old.so", "const char *mgen_version(void) { return \"0.0.9\"; }")
    run = world.python(PRINT_VERSION, env={"MOVIEGEN_LIBRARY": old})
    assert run.returncode == 1 and "is older than this binding: it lacks mgen_" in run.stderr, run.stderr


def test_what_was_tried_is_said_when_there_is_no_library(world):
    run = world.python(PRINT_VERSION, env={"MOVIEGEN_LIBRARY": "/nowhere/libmoviegen.so"})
    for text in ("ImportError", "/nowhere/libmoviegen.so", "MOVIEGEN_LIBRARY"):
        assert text in run.stderr, run.stderr
    run = world.python(PRINT_VERSION, env={"MOVIEGEN_LIBRARY": "", "LD_LIBRARY_PATH": ""})
    if run.returncode == 0:
        raise Skip("a libmoviegen is installed where the loader finds it")
    for text in ("ImportError", "libmoviegen.so.0", "MOVIEGEN_LIBRARY not set", "LD_LIBRARY_PATH"):
        assert text in run.stderr, run.stderr


def test_an_installed_library_is_found(world):
    """meson install into a folder; found by path and by the loader."""
    build_folder, meson = os.path.dirname(world.library), shutil.which("meson")
    if not meson or not os.path.exists(os.path.join(build_folder, "build.ninja")):
        raise Skip("this needs meson and the library in its build folder")
    prefix = world.path("prefix")
    subprocess.run([meson, "install", "-C", build_folder, "--no-rebuild", "--destdir", prefix], check=True,
                   stdout=subprocess.DEVNULL)
    found = [os.path.join(folder, "libmoviegen.so.0") for folder, _, names in os.walk(prefix)
             if "libmoviegen.so.0" in names]
    assert len(found) == 1, found
    for env in ({"MOVIEGEN_LIBRARY": found[0]},
                {"MOVIEGEN_LIBRARY": "", "LD_LIBRARY_PATH": os.path.dirname(found[0])}):
        run = world.python(PRINT_VERSION + "; print(moviegen._abi.lib._name, moviegen.toybox_model())", env=env)
        assert run.returncode == 0, run.stderr
        *said, model = run.stdout.split()
        assert said == [world.moviegen.version(), env["MOVIEGEN_LIBRARY"] or "libmoviegen.so.0"]
        assert model.startswith(prefix) and model.endswith("/share/moviegen/models/toybox"), model


def test_pip_installs_the_package(world):
    """Without the network; in a copy, because setuptools writes beside the sources."""
    if world.python("import setuptools, wheel, pip").returncode:
        raise Skip("pip, setuptools or wheel is not installed")
    copy, target = world.path("source"), world.path("site")
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    pip = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation",
                          "--disable-pip-version-check", "--root-user-action=ignore", "--target", target, copy],
                         capture_output=True, text=True, check=False)
    assert pip.returncode == 0, pip.stderr
    run = world.python("import moviegen; print(moviegen.__file__, moviegen.version())", env={"PYTHONPATH": target},
                       cwd=world.folder)
    assert run.stdout.split() == [os.path.join(target, "moviegen", "__init__.py"), world.moviegen.version()], run.stderr
    assert os.path.exists(os.path.join(target, "moviegen", "py.typed"))


def test_the_versions_agree(world):
    parts = [_abi.CONSTANTS[name] for name in _abi.VERSIONS]
    assert world.moviegen.__version__ == ".".join(map(str, parts)) == world.moviegen.version()


def test_every_status_has_its_exception(world):
    groups = {1: errors.UsageError, 2: errors.ResourceError, 3: errors.FileError, 4: errors.DeviceError,
              5: errors.PeerError, 6: errors.ControlError, 9: errors.InternalError}
    kinds = set()
    for name, status in errors.STATUS.items():
        assert _abi.lib.mgen_status_name(status).decode() == name
        if status:
            error = errors.from_status(status, "what, where")
            assert (error.name, error.status, str(error)) == (name, status, "what, where")
            assert isinstance(error, groups[-status // 10]), name
            assert error.object_failed == (_abi.lib.mgen_status_class(status) == _abi.CONSTANTS["MGEN_CLASS_DEAD"])
            kinds.add(type(error))
    assert len(kinds) == len(errors.STATUS) - 1
    assert type(errors.from_status(-77, "newer")) is errors.Error
    for kind, builtin in (("Invalid", ValueError), ("NoMemory", MemoryError), ("Limit", MemoryError),
                          ("NotFound", FileNotFoundError), ("ReadWrite", OSError), ("TimedOut", TimeoutError),
                          ("Numeric", ArithmeticError)):
        assert issubclass(getattr(errors, kind + "Error"), builtin)


def test_the_message_is_the_librarys(world):
    error = raises(FileNotFoundError, world.moviegen.Pipeline, world.context, "/no/model", holds="/no/model")
    assert world.context.last_error == str(error) and error.errno == 2
    raises(world.moviegen.InvalidError, world.moviegen.Context, threads=5000, holds="threads")
    raises(world.moviegen.UnsupportedError, world.moviegen.Context, device="abacus", holds="device")
    raises(world.moviegen.InvalidError, world.moviegen.Context, autotune=2, holds="autotune")
    world.moviegen.Context(device="cpu", threads=1, autotune=True).close()


def test_numbers_that_do_not_fit_are_refused(world):
    invalid = world.moviegen.InvalidError
    raises(invalid, world.moviegen.Context, threads=-1, holds="threads is -1")
    raises(invalid, world.moviegen.Context, threads=2**32 + 2, holds="threads is 4294967298")
    raises(TypeError, world.moviegen.Context, threads=1.5)
    raises(invalid, world.moviegen.Pipeline, world.context, "a\0b", holds="NUL")


def test_what_comes_first_is_a_context(world):
    moviegen, wanted = world.moviegen, "context: a context of moviegen is wanted, not str"
    for function in (moviegen.Pipeline, moviegen.Dataset.toybox):
        raises(TypeError, function, "model", holds=wanted)
    for function in (moviegen.Tae, moviegen.Clip.read, moviegen.Sound.read, moviegen.curate):
        raises(TypeError, function, "model", "x", holds=wanted)
    raises(TypeError, moviegen.Trainer, "recipe", "stage", "dir", "x", holds=wanted)


def test_the_package_is_clean_and_typed(world):
    """pyflakes, and mypy where it is installed."""
    sources = [os.path.join(folder, name) for folder in (os.path.join(PACKAGE, "moviegen"), os.path.dirname(__file__))
               for name in sorted(os.listdir(folder)) if name.endswith(".py")]
    ran = 0
    for tool, options in (("pyflakes", sources),
                          ("mypy", ["--strict", "--cache-dir", world.path("mypy"), os.path.join(PACKAGE, "moviegen")])):
        if world.python(f"import {tool}").returncode == 0:
            run = subprocess.run([sys.executable, "-m", tool, *options], capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stdout + run.stderr
            ran += 1
    if not ran:
        raise Skip("neither pyflakes nor mypy is installed")
