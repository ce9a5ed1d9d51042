# SPDX-License-Identifier: MIT
"""The examples, hosts in other languages and the programs of README.md and docs, from an installed copy.

    check.py BUILD_FOLDER       prints TAP

The library is installed into a scratch folder. Programs are compiled in another one with what pkg-config says of the
installed copy and nothing else, and run on a copy of the toybox model; on one whose films are smaller where it does not
matter what they show.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import readme

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROMPT = "a red ball rolls left on grass"
SMALL = 32  # the side of films of World.small, which take a fourth of the time


class Skip(Exception):
    pass


class World:
    """What every case gets: the installed copy, a scratch folder, the ways to compile and run."""

    def __init__(self, build, folder):
        self.root, self.folder, self.programs = ROOT, folder, {}
        self.install(build)
        shutil.copytree(os.path.join(ROOT, "examples", "models", "toybox"), self.path("models/toybox"))
        self.model = self.path("models/toybox")
        self.small = self.path("small/toybox")
        shutil.copytree(self.model, self.small, copy_function=os.link)
        os.unlink(os.path.join(self.small, "pipeline.json"))
        with open(os.path.join(self.model, "pipeline.json"), encoding="utf-8") as f:
            pipeline = json.load(f)
        with open(os.path.join(self.small, "pipeline.json"), "w", encoding="utf-8") as f:
            json.dump({**pipeline, "width": SMALL, "height": SMALL}, f)

    def install(self, build):
        stage = self.path("stage")
        subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", stage], check=True,
                       stdout=subprocess.DEVNULL)
        self.files = sorted(os.path.join(d, name) for d, _, names in os.walk(stage) for name in names)
        self.header, = (f for f in self.files if f.endswith("/moviegen.h"))
        self.pc, = (f for f in self.files if f.endswith("/moviegen.pc"))
        self.library, = (f for f in self.files if f.endswith("/libmoviegen.so.0"))
        self.plugin = [f for f in self.files if f.endswith("/mgen_ffmpeg.so")]
        self.prefix = os.path.dirname(os.path.dirname(self.header))
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("MOVIEGEN", "PKG_CONFIG", "PYTHON"))}
        self.env = {**keep, "PKG_CONFIG_PATH": os.path.dirname(self.pc), "PKG_CONFIG_SYSROOT_DIR": stage,
                    "LD_LIBRARY_PATH": os.path.dirname(self.library)}

    @staticmethod
    def skip(why):
        raise Skip(why)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *command, cwd=None, env=None, timeout=600):
        return subprocess.run(command, cwd=cwd or self.folder, env={**self.env, **(env or {})}, timeout=timeout,
                              capture_output=True, text=True, check=False)

    def pkg_config(self, *options):
        run = self.run("pkg-config", *options, "moviegen")
        assert run.returncode == 0, run.stderr
        return run.stdout.split()

    def compile(self, source, name, *, compiler="cc", options=("-std=c17",), linked=True, folder=None):
        """Compile a copy of a source, far from the other sources, against the installed copy."""
        folder = folder or self.path("")
        copy = os.path.join(folder, os.path.basename(source))
        if os.path.abspath(source) != copy:
            shutil.copy(source, copy)
        flags = self.pkg_config("--cflags", "--libs") if linked else self.pkg_config("--cflags") + ["-ldl"]
        with open(copy, encoding="utf-8") as f:
            flags += ["-lm"] if "<math.h>" in f.read() else []  # nothing else, as those do who read the README
        program = os.path.join(folder, name)
        run = self.run(compiler, *options, "-Wall", "-Wextra", "-Werror", copy, *flags, "-o", program)
        assert run.returncode == 0, f"it does not compile: {run.stderr.strip()}"
        return program

    def example(self, number):
        """The program of an example, compiled once."""
        if number not in self.programs:
            name, = (f for f in os.listdir(ROOT + "/examples") if f.startswith(number) and f.endswith(".c"))
            with open(os.path.join(ROOT, "examples", name), encoding="utf-8") as f:
                lines = len(f.readlines())
            assert lines < 120, f"{name} has {lines} lines; an example has fewer than 120"
            self.programs[number] = self.compile(os.path.join(ROOT, "examples", name), name[:-2],
                                                 options=("-std=c17", "-D_GNU_SOURCE"))
        return self.programs[number]

    def film(self, small):
        """The name of PROMPT's film, made once by the first example, and what that said."""
        name = "film-small.y4m" if small else "film-whole.y4m"
        if name not in self.programs:
            self.programs[name] = good(self.run(self.example("01"), self.small if small else self.model, PROMPT, name))
        return name, self.programs[name]

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()


def good(run):
    assert run.returncode == 0 and not run.stderr, f"it ended with {run.returncode}: {run.stderr.strip()}"
    return run.stdout


def frames_of(data, side=SMALL):
    """Frames of a y4m of side x side, which must be whole."""
    head, frame = data.index(b"\n") + 1, len(b"FRAME\n") + side * side * 3 // 2
    begin = f"YUV4MPEG2 W{side} H{side} F16:1 ".encode()
    assert data.startswith(begin) and (len(data) - head) % frame == 0, "that is no whole film"
    assert all(data[i:i + 6] == b"FRAME\n" for i in range(head, len(data), frame)), "a frame has no mark"
    return (len(data) - head) // frame


def ball(data, frame):
    """The red pixels of one frame of a y4m of 64 x 64: how many in colour resolution, and their middle column."""
    start = data.index(b"\n") + 1 + frame * (6 + 64 * 64 * 3 // 2) + 6 + 64 * 64
    blue, red = data[start:start + 32 * 32], data[start + 32 * 32:start + 2 * 32 * 32]
    columns = [i % 32 for i in range(32 * 32) if red[i] > 170 and blue[i] < 128]
    return len(columns), sum(columns) / max(1, len(columns))


def numbers(pattern, text):
    return [int(word) for word in re.findall(pattern, text)]


# -- the installed copy ------------------------------------------------------------------------------------------

def test_installed_files(world):
    inside = [os.path.relpath(f, world.prefix) for f in world.files]
    libdir = os.path.relpath(os.path.dirname(world.library), world.prefix)
    allowed = re.compile(rf"include/moviegen\.h$|bin/moviegen$|share/moviegen/models/toybox/[^/]+$|{libdir}/"
                         r"(libmoviegen\.so(\.0(\.\d+\.\d+)?)?|moviegen/mgen_(ffmpeg|mpi)\.so|pkgconfig/moviegen\.pc)$")
    assert not [f for f in inside if not allowed.match(f)], f"not expected: {inside}"
    with open(world.header, encoding="utf-8") as f:
        version = ".".join(re.findall(r"#define MGEN_VERSION_\w+ (\d+)", f.read()))
    assert world.pkg_config("--modversion") == [version]
    (prefix,), (models,) = world.pkg_config("--variable=prefix"), world.pkg_config("--variable=models")
    assert os.path.isdir(os.path.join(world.prefix, os.path.relpath(models, prefix), "toybox")), models
    flags = world.pkg_config("--cflags", "--libs")
    assert sorted(f for f in flags if not f.startswith("-L")) == [f"-I{world.prefix}/include", "-lmoviegen"], flags


def test_one_film_in_every_format(world):
    program = world.example("01")
    linked = world.run("ldd", program).stdout
    assert f"libmoviegen.so.0 => {world.library} " in linked, linked
    name, out = world.film(small=False)
    assert "step 50 of 50" in out and f"{name}: 32 frames of 64 x 64, 16 frames per second" in out, out
    assert frames_of(world.read(name), 64) == 32
    good(world.run(program, world.small, PROMPT, "film.png"))
    assert world.read("film.png")[:8] == b"\x89PNG\r\n\x1a\n"
    last = world.run(program, world.small, PROMPT, "film.mp4")
    if world.plugin:
        good(last)
        assert world.read("film.mp4")[4:8] == b"ftyp"
    else:
        assert last.returncode == 1 and last.stderr.startswith("MGEN_E_UNSUPPORTED: "), last.stderr


def test_film_shows_what_was_asked_for(world):
    name, _ = world.film(small=False)
    good(world.run(world.example("01"), world.model, "a blue cube rolls left on grass", "other.y4m"))
    first, last = ball(world.read(name), 0), ball(world.read(name), 31)
    assert first[0] > 10 and last[0] > 10, f"no red ball: {first}, {last}"
    assert last[1] < first[1] - 4, f"it does not roll left: {first}, {last}"
    assert ball(world.read("other.y4m"), 0)[0] == 0, "the blue cube is red"


def test_failures_are_one_sentence(world):
    for arguments, status in ((["nowhere", PROMPT, "x.y4m"], "MGEN_E_NOT_FOUND"), ([world.model, "", "x.y4m"],
                              "MGEN_E_INVALID"), ([world.small, PROMPT, "x.unknown"], "MGEN_E_")):
        run = world.run(world.example("01"), *arguments)
        assert run.returncode == 1 and run.stderr.startswith(status) and run.stderr.count("\n") == 1, run.stderr
    assert not os.path.exists(world.path("x.y4m"))
    for number in ("01", "02", "03", "04", "06"):
        run = world.run(world.example(number))
        assert run.returncode == 2 and run.stderr.startswith("usage: "), run.stderr


# -- streams -----------------------------------------------------------------------------------------------------

def test_streamed_film_is_the_same(world):
    out = good(world.run(world.example("02"), world.small, PROMPT, "32", "streamed.y4m"))
    assert out.endswith("streamed.y4m: 32 frames\n"), out
    assert world.read("streamed.y4m") == world.read(world.film(small=True)[0])


def test_stop_in_the_middle(world):
    out = good(world.run(world.example("02"), world.small, PROMPT, "64", "stopped.y4m", "40"))
    assert "cancelled" in out and "a picture afterwards: MGEN_OK" in out, out
    assert out.endswith("stopped.y4m: 40 frames\n") and frames_of(world.read("stopped.y4m")) == 40, out


def catches(process, number):
    """Whether a process has a handler of that signal."""
    with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as f:
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", f.read(), re.M)
    return int(caught.group(1), 16) >> (number - 1) & 1


def test_interrupt(world):
    command = [world.example("02"), world.small, PROMPT, "1000", "interrupted.y4m"]
    with subprocess.Popen(command, cwd=world.folder, env=world.env, stdout=subprocess.PIPE, text=True) as child:
        time.sleep(0.5)
        while child.poll() is None and not catches(child.pid, signal.SIGINT):  # on a machine with much else to do
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=120)
    assert child.returncode == 0 and "cancelled" in out and "a picture afterwards: MGEN_OK" in out, out


# -- memory ------------------------------------------------------------------------------------------------------

def test_memory_stays_flat(world):
    first, peaks = [], []
    for frames in (300, 600):
        out = good(world.run(world.example("03"), world.small, str(frames)))
        now, peak = numbers(r"now (\d+) KiB", out), numbers(r"peak (\d+) KiB", out)
        assert len(now) == frames // 60, out
        assert max(now[:-1]) - min(now[:-1]) < 512, f"memory grows with the frames: {now} KiB"
        assert out.endswith("left in the allocator: 0 bytes\n"), out
        first.append(now[0])
        peaks.append(peak[-1])
    side = SMALL // 8
    latents = (300 // 8 + 1) * side * side * 16 * 4 // 1024  # of 300 frames more; as a clip they are 900 KiB
    assert first[1] - first[0] < 3 * latents, f"at frame 60 of 300 and of 600: {first} KiB"
    assert peaks[1] < peaks[0] * 1.2 and peaks[1] < 256 * 1024, f"peaks of 300 and 600 frames: {peaks} KiB"


def test_ranks_of_a_host(world):
    """Guidance shared by two processes, which leaves the bits alone; one that cannot go on ends all."""
    assert good(world.run(world.example("06"), world.small, PROMPT, "by_two.y4m", "2")) == ""
    assert world.read("by_two.y4m") == world.read(world.film(small=True)[0])
    run = world.run(world.example("06"), "nowhere", PROMPT, "x.y4m", "3")
    assert run.returncode == 1 and run.stderr.count("MGEN_E_NOT_FOUND: ") == 3, run.stderr


def test_limit_is_refused_beforehand(world):
    out = good(world.run(world.example("03"), world.model, "8"))
    need, = numbers(r"65536 frames as a clip need (\d+) MiB: MGEN_E_LIMIT: ", out)
    spent, = numbers(r"allocated on the way: (\d+) KiB", out)
    assert need > 256 and spent < 2048, out


# -- the parts, training -----------------------------------------------------------------------------------------

def test_own_loop_is_equal(world):
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        exact = " fma " in f.read()
    with open(os.path.join(ROOT, "examples", "04_own_sampling_loop.c"), encoding="utf-8") as f:
        source = f.read()
    assert source.count(" SIDE = 64") == 1
    smaller = world.path("own_loop.c")
    with open(smaller, "w", encoding="utf-8") as f:
        f.write(source.replace(" SIDE = 64", f" SIDE = {SMALL}"))
    program = world.compile(smaller, "own_loop", options=("-std=c17", "-D_GNU_SOURCE"))
    out = good(world.run(program, world.small, "FPS-16 " + PROMPT))
    differ, most = numbers(rf"(\d+) of {32 * SMALL * SMALL * 3} bytes", out) + numbers(r"up to (\d+)", out)
    assert differ == 0 and out.endswith(": equal\n") if exact else most <= 1, out


def test_training(world):
    program = world.example("05")
    shutil.copy(os.path.join(ROOT, "examples", "05_recipe.json"), world.path("05_recipe.json"))
    run = world.run(program, "05_recipe.json", "trained", "trained.png")
    out = good(run)
    for stage, steps in (("image", 60), ("tae", 20), ("video", 60), ("codec", 60)):
        assert f"{stage}: resumed after {steps // 2} of {steps} steps\n" in out, out
        loss = [float(x) for x in re.findall(rf"^{stage}, step \d+: loss ([\d.]+)$", out, re.M)]
        assert len(loss) == steps // 10 and loss[-1] < loss[0], f"{stage}: losses {loss}"
    assert out.count("nobody needs the dataset any more") == 1, out
    assert out.endswith("trained.png: 16 frames of 32 x 32\n"), out
    assert world.read("trained.png")[:8] == b"\x89PNG\r\n\x1a\n"
    again = world.run(program, "05_recipe.json", "again", "again.png")
    assert good(again).replace("again", "trained") == out, "trained anew, it is another model"
    assert world.read("trained/video_model.safetensors") == world.read("again/video_model.safetensors")


def train(world, name, *stages):
    """A model of these stages in the folder `name`."""
    with open(world.path(name + ".json"), "w", encoding="utf-8") as f:
        json.dump({"format": "moviegen-recipe", "version": 1, "stages": stages}, f)
    for stage in stages:
        good(world.run(os.path.join(world.prefix, "bin", "moviegen"), "train", "--recipe", name + ".json", "--stage",
                       stage["name"], "--dir", name, "-q"))


def test_upsampling(world):
    """With the tiny upsampler of the program's tests."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "cli"))
    from check_cli import TINY_RECIPE
    from check_upsample import UPSAMPLER, write_film
    train(world, "upsampler", *TINY_RECIPE["stages"], UPSAMPLER)
    program = world.example("07")
    write_film(world, "small.y4m")
    out = good(world.run(program, "upsampler", "small.y4m", "large.y4m"))
    assert re.match(r"80 x 48 pixels will need up to [\d.]+ MB\nstep 1 of 3\n", out), out
    assert out.endswith("step 3 of 3\nlarge.y4m: 9 frames of 80 x 48\n"), out
    assert world.read("large.y4m").startswith(b"YUV4MPEG2 W80 H48 F25:1 ")
    run = world.run(program, "upsampler", "none.y4m", "large.y4m")
    assert run.returncode == 1 and run.stderr.startswith("MGEN_E_NOT_FOUND: ") and "none.y4m" in run.stderr, run.stderr


def test_editing(world):
    """With the tiny editor of the program's tests, and without it."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "cli"))
    from check_cli import TINY_RECIPE
    from check_edit import EDITOR, INSTRUCTION
    from check_upsample import write_film
    program = world.example("08")
    write_film(world, "film.y4m")
    train(world, "editor", *TINY_RECIPE["stages"])
    out = good(world.run(program, "editor", "film.y4m", PROMPT, "begun.y4m"))
    assert re.match(r"without an editor\n9 frames of 40 x 24 pixels will need up to [\d.]+ MB\nstep 1 of 30\n", out), out
    assert out.endswith("step 30 of 30\nbegun.y4m was written\n"), out
    train(world, "editor", *TINY_RECIPE["stages"], EDITOR)
    out = good(world.run(program, "editor", "film.y4m", INSTRUCTION, "edited.y4m"))
    assert re.match(r"9 frames of 40 x 24 pixels will need up to [\d.]+ MB\nstep 1 of 3\n", out), out
    assert out.endswith("step 3 of 3\nedited.y4m was written\n"), out
    for name in ("begun.y4m", "edited.y4m"):
        assert world.read(name).startswith(b"YUV4MPEG2 W40 H24 F25:1 ")
    assert world.read("begun.y4m") != world.read("edited.y4m")
    run = world.run(program, "editor", "none.y4m", INSTRUCTION, "edited.y4m")
    assert run.returncode == 1 and run.stderr.startswith("MGEN_E_NOT_FOUND: ") and "none.y4m" in run.stderr, run.stderr


def test_personalizing(world):
    """With the tiny personalizer of the program's tests."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "cli"))
    from check_cli import TINY_RECIPE
    from check_personalize import PERSON, PERSONALIZER, photo_of
    program = world.example("10")
    photo_of(world)
    train(world, "personalizer", *TINY_RECIPE["stages"], PERSONALIZER)
    out = good(world.run(program, "personalizer", "photo.y4m", PERSON, "film.y4m"))
    assert re.match(r"32 frames of 64 x 64 pixels will need up to [\d.]+ MB\nstep 1 of 3\n", out), out
    assert out.endswith("step 3 of 3\nfilm.y4m was written\n"), out
    assert world.read("film.y4m").startswith(b"YUV4MPEG2 W64 H64 F16:1 ")
    run = world.run(program, "personalizer", "none.y4m", PERSON, "film.y4m")
    assert run.returncode == 1 and run.stderr.startswith("MGEN_E_NOT_FOUND: ") and "none.y4m" in run.stderr, run.stderr


def test_sound(world):
    """With the tiny audio model of the program's tests."""
    sys.path.insert(0, os.path.join(ROOT, "tests", "cli"))
    from check_cli import TINY_RECIPE
    from check_sound import AUDIO, CODEC, read_wav
    from check_upsample import write_film
    program = world.example("09")
    write_film(world, "film.y4m")
    train(world, "audio", *TINY_RECIPE["stages"], CODEC, AUDIO)
    out = good(world.run(program, "audio", "film.y4m", "a ball bounces", "film.wav"))
    assert re.match(r"this will need up to [\d.]+ MB\nstep 1 of 3\n", out), out
    assert re.search(r"step 3 of 3\n0\.36 s of sound, the loudest at 0\.\d\d s\nfilm\.wav was written\n$", out), out
    assert len(read_wav(world.path("film.wav"))[1]) == 48000 * 9 // 25
    out = good(world.run(program, "audio", "-", "waves of surf", "text.wav"))
    assert "2.00 s of sound" in out and len(read_wav(world.path("text.wav"))[1]) == 96000, out
    run = world.run(program, "audio", "none.y4m", "a ball bounces", "film.wav")
    assert run.returncode == 1 and run.stderr.startswith("MGEN_E_NOT_FOUND: ") and "none.y4m" in run.stderr, run.stderr


# -- hosts -------------------------------------------------------------------------------------------------------

def test_hosts_in_c_and_cplusplus(world):
    here = os.path.dirname(os.path.abspath(__file__))
    program = world.compile(here + "/host_dlopen.c", "host_dlopen", options=("-std=gnu17",), linked=False)
    assert "moviegen" not in world.run("ldd", program).stdout
    assert good(world.run(program, world.small, "dlopen.y4m")) == f"version {world.pkg_config('--modversion')[0]}\n"
    assert frames_of(world.read("dlopen.y4m")) == 32
    if not shutil.which("c++"):
        raise Skip("there is no C++ compiler")
    program = world.compile(here + "/host.cpp", "host_cpp", compiler="c++", options=("-std=c++11", "-pedantic"))
    assert good(world.run(program, world.small, "cpp.y4m")) == "10 steps\n"
    assert world.read("cpp.y4m") == world.read("dlopen.y4m")
    run = world.run(program, "nowhere", "x.y4m")
    assert run.returncode == 1 and run.stderr.startswith("MGEN_E_NOT_FOUND: "), run.stderr


# -- README.md ---------------------------------------------------------------------------------------------------

def test_readme_c(world):
    readme.film_of_c(world)


def test_readme_python(world):
    assert readme.run_python(world) == readme.film_of_c(world), "Python's film is another one than C's"


def test_readme_rust(world):
    assert readme.run_rust(world) == readme.film_of_c(world), "Rust's film is another one than C's"


def test_pages_of_docs(world):
    readme.run_pages(world)


def run_case(number, case, world):
    name = case.__name__[5:].replace("_", " ")
    try:
        case(world)
        print(f"ok {number} - {name}", flush=True)
    except Skip as why:
        print(f"ok {number} - {name} # SKIP {why}", flush=True)
    except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"not ok {number} - {name}\n# " + str(error).replace("\n", "\n# "), flush=True)


def main():
    cases = [value for name, value in globals().items() if name.startswith("test_")]
    print(f"1..{len(cases)}")
    if not os.path.isdir(os.path.join(ROOT, "examples", "models", "toybox")):
        for number, case in enumerate(cases, 1):
            print(f"ok {number} - {case.__name__[5:]} # SKIP there is no trained model")
        return
    with tempfile.TemporaryDirectory(prefix="mgen-examples-") as folder:
        world = World(os.path.abspath(sys.argv[1]), folder)
        for number, case in enumerate(cases, 1):
            run_case(number, case, world)


if __name__ == "__main__":
    main()
