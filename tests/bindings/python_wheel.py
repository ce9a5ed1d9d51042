# SPDX-License-Identifier: MIT
"""The wheel with the library and the model inside: made, installed into a new environment, asked for a film."""
import base64
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile

from python_layout import build
from test_python import MODEL, PROMPT, ROOT, Skip

SCRIPT = os.path.join(ROOT, "scripts", "make_wheel.py")
LIBRARY = "moviegen/_bundled/libmoviegen.so.0"
PLUGIN = "moviegen/_bundled/moviegen/mgen_ffmpeg.so"
WHICH = "import moviegen; print(moviegen._abi.lib._name)"


def make(world, folder, *options):
    return subprocess.run([sys.executable, SCRIPT, folder, world.path("wheels"), *options], capture_output=True, text=True,
                          check=False)


def wheel(world):
    """The file's path; made once."""
    if not glob.glob(os.path.join(ROOT, "examples", "models", "toybox", "video_model.safetensors")):
        raise Skip("there is no trained model in examples/models/toybox")
    if not shutil.which("readelf"):
        raise Skip("readelf is not installed")
    if not glob.glob(world.path("wheels/*.whl")):
        run = make(world, os.path.dirname(world.library))
        assert run.returncode == 0, run.stderr
        assert run.stdout.split()[-1:] == glob.glob(world.path("wheels/*")), run.stdout
    return glob.glob(world.path("wheels/*.whl"))[0]


def site(world):
    """The folder of modules of an environment that has the wheel and nothing else; made once."""
    home = world.path("environment")
    if not os.path.exists(home):
        path = wheel(world)
        run = subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], capture_output=True, text=True, check=False)
        if run.returncode:
            raise Skip("the module venv is missing: " + (run.stdout + run.stderr).strip().split("\n")[-1])
        folder = glob.glob(os.path.join(home, "lib", "python*", "site-packages"))[0]
        if world.python("import pip").returncode == 0:
            pip = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-compile",
                                  "--disable-pip-version-check", "--root-user-action=ignore", "--target", folder, path],
                                 capture_output=True, text=True, check=False)
            assert pip.returncode == 0, pip.stderr
        else:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
    return glob.glob(os.path.join(home, "lib", "python*", "site-packages"))[0]


def alone(world, code, **variables):
    """The environment's interpreter, in a folder of its own; it is told what stands here, and no more."""
    folder = site(world)
    here = world.path("empty")
    os.makedirs(here, exist_ok=True)
    return subprocess.run([world.path("environment/bin/python"), "-B", "-c", code], cwd=here, capture_output=True, text=True,
                          check=False, timeout=120, env=variables), folder


def test_one_file_is_all_that_a_film_needs(world):
    run, folder = alone(world, f"""
import moviegen
with moviegen.Context(threads=2) as context, moviegen.Pipeline(context) as pipeline:
    clip = pipeline.generate({PROMPT!r}, steps=2, seed=1)
    clip.write("film.y4m")
    try:
        clip.write("film.mp4")
    except moviegen.UnsupportedError as error:
        print(error)
    print(moviegen._abi.lib._name)
    print(moviegen.toybox_model())
""")
    assert run.returncode == 0, run.stderr
    said = run.stdout.split("\n")[:-1]
    assert said[-2:] == [os.path.join(folder, LIBRARY), os.path.join(folder, "moviegen/_bundled/toybox")], said
    same = world.path("same.y4m")
    world.pipeline.generate(PROMPT, steps=2, seed=1).write(same)
    with open(world.path("empty/film.y4m"), "rb") as mine, open(same, "rb") as expected:
        assert mine.read() == expected.read(), "the film is another than that of the library in its build folder"
    if os.path.exists(os.path.join(os.path.dirname(world.library), "lib", "plugins", "mgen_ffmpeg.so")):
        assert os.path.getsize(world.path("empty/film.mp4")) > 1000 and len(said) == 2, said
    else:
        assert len(said) == 3 and "mgen_ffmpeg.so" in said[0], said


def test_the_wheel_says_what_it_is(world):
    path = wheel(world)
    info = f"moviegen-{world.moviegen.__version__}.dist-info/"
    with zipfile.ZipFile(path) as archive:
        data = {name: archive.read(name) for name in archive.namelist()}
    for line in data[info + "RECORD"].decode().splitlines():
        name, digest, size = line.rsplit(",", 2)
        if name != info + "RECORD":
            hashed = base64.urlsafe_b64encode(hashlib.sha256(data[name]).digest()).decode().rstrip("=")
            assert (digest, size) == (f"sha256={hashed}", str(len(data[name]))), line
    assert len(data[info + "RECORD"].splitlines()) == len(data)
    with open(os.path.join(ROOT, "LICENSE"), "rb") as f:
        assert data[info + "LICENSE"] == f.read()
    tag = os.path.basename(path)[len(info) - len(".dist-info/") + 1:-len(".whl")]
    assert f"\nTag: {tag}\n" in data[info + "WHEEL"].decode() and "\nRoot-Is-Purelib: false\n" in data[info + "WHEEL"].decode()
    assert "\nName: moviegen\n" in data[info + "METADATA"].decode()
    # the newest version of glibc that stands in the library
    newest = max(int(found) for found in re.findall(rb"\0GLIBC_2\.(\d+)\0", data[LIBRARY].replace(b"\0", b"\0\0")))
    platform = re.fullmatch(r"py3-none-(.*)_(x86_64|aarch64)", tag).group(1)
    assert platform == ("linux" if PLUGIN in data else f"manylinux_2_{newest}"), tag
    model = {name for name in os.listdir(MODEL) if not name.endswith(".png")} | {"photo.png"}
    inside = "moviegen/_bundled/toybox/"
    assert {name[len(inside):] for name in data if name.startswith(inside)} == model
    assert "moviegen/py.typed" in data and not [name for name in data if "__pycache__" in name]


def test_without_the_plugin_any_machine_with_that_glibc_will_do(world):
    wheel(world)
    run = world.python("""
import sys
sys.path.insert(0, sys.argv[1])
import make_wheel
files, demands, plugin = make_wheel.contents(sys.argv[2], False)
print(make_wheel.tag_of(demands), plugin, *[name for name, _ in files])
""", os.path.dirname(SCRIPT), os.path.dirname(world.library))
    tag, plugin, *names = run.stdout.split()
    assert re.match(r"py3-none-manylinux_2_\d+_", tag) and plugin == "None" and LIBRARY in names and PLUGIN not in names, \
        run.stdout + run.stderr


def test_what_does_not_belong_into_a_wheel_is_refused(world):
    wheel(world)
    empty = world.path("no-build")
    os.makedirs(empty)
    run = make(world, empty)
    assert run.returncode == 1 and "there is no libmoviegen.so.0 in" in run.stderr and empty in run.stderr, run.stderr
    os.makedirs(world.path("leaning"))
    build(world, "leaning/libmoviegen.so.0", "int nothing;", "-Wl,--no-as-needed", world.library,
          f"-Wl,-rpath,{os.path.dirname(world.library)}")
    run = make(world, world.path("leaning"))
    assert run.returncode == 1 and "needs libmoviegen.so.0, which other machines may not have" in run.stderr, run.stderr
    os.makedirs(world.path("old"))
    build(world, "old/libmoviegen.so.0", "const char *mgen_version(void) { return \"0.0.9\"; }")
    run = make(world, world.path("old"))
    assert run.returncode == 1 and "does not fit this binding" in run.stderr and "it lacks mgen_" in run.stderr, run.stderr
    os.makedirs(world.path("stale/lib/plugins"))
    shutil.copy(world.library, world.path("stale/libmoviegen.so.0"))
    build(world, "stale/lib/plugins/mgen_ffmpeg.so", "int nothing;")
    run = make(world, world.path("stale"))
    assert run.returncode == 1 and "belongs to another version of libmoviegen" in run.stderr and "--no-ffmpeg" in run.stderr, run.stderr
    assert len(os.listdir(world.path("wheels"))) == 1


def test_the_library_in_the_wheel_comes_second(world):
    """After what MOVIEGEN_LIBRARY names, before what the loader finds; and the loader's if it does not load."""
    loaders = os.path.dirname(world.library)
    _, folder = alone(world, "")
    bundled, kept = os.path.join(folder, LIBRARY), os.path.join(folder, LIBRARY + ".kept")
    run, _ = alone(world, WHICH, MOVIEGEN_LIBRARY=world.library, LD_LIBRARY_PATH=loaders)
    assert run.stdout.split() == [world.library], run.stderr
    run, _ = alone(world, WHICH, LD_LIBRARY_PATH=loaders)
    assert run.stdout.split() == [bundled], run.stderr
    os.rename(bundled, kept)
    try:
        with open(bundled, "w", encoding="utf-8") as f:
            f.write("no library")
        run, _ = alone(world, WHICH, LD_LIBRARY_PATH=loaders)
        assert run.stdout.split() == ["libmoviegen.so.0"], run.stderr
        run, _ = alone(world, WHICH)
        assert run.returncode == 1 or run.stdout == "libmoviegen.so.0\n", run.stdout  # where one is installed
        if run.returncode:
            assert "tried with MOVIEGEN_LIBRARY not set, in this package, by the dynamic loader and below" in run.stderr \
                and bundled in run.stderr, run.stderr
        os.remove(bundled)
        shutil.copy(build(world, "lacking.so", "const char *mgen_version(void) { return \"0.0.9\"; }"), bundled)
        run, _ = alone(world, WHICH, LD_LIBRARY_PATH=loaders)
        assert run.returncode == 1 and f"ImportError: {bundled} is older than this binding: it lacks mgen_" in run.stderr, \
            run.stderr
    finally:
        os.replace(kept, bundled)


def test_a_model_that_nobody_names(world):
    """MOVIEGEN_MODEL's, or the one of the repository that holds the build folder."""
    code = "import moviegen; c = moviegen.Context(threads=1); print(moviegen.toybox_model()); moviegen.Pipeline(c)"
    run = world.python(code, cwd=world.folder, env={"MOVIEGEN_MODEL": "/no/model"})
    assert run.returncode == 1 and "/no/model" in run.stderr.split("\n")[-2], run.stderr
    if os.path.dirname(os.path.dirname(world.library)) == ROOT:
        assert run.stdout.split() == [MODEL], run.stdout
    copy = world.path("elsewhere/lib/libmoviegen.so.0")
    os.makedirs(os.path.dirname(copy))
    shutil.copy(world.library, copy)
    run = world.python(code, env={"MOVIEGEN_LIBRARY": copy, "MOVIEGEN_MODEL": ""})
    assert run.returncode == 1 and "NotFoundError" in run.stderr and "the toybox's model is in none of " in run.stderr \
        and world.path("elsewhere/share/moviegen/models/toybox") in run.stderr, run.stderr
