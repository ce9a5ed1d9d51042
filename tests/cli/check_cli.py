# SPDX-License-Identifier: MIT
"""The moviegen program from outside: messages, exit statuses, outputs.

    check_cli.py PROGRAM        prints TAP

Most cases use a tiny model that the program trains here first, in seconds. The last ones look at the trained
model in examples/models/toybox and are skipped where there is none.
"""
import json
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FAST = ["--steps", "2", "--threads", "2"]


OPTIMIZER = {"lr": 0.001}
TINY_RECIPE = {
    "format": "moviegen-recipe", "version": 1, "stages": [
        {"name": "tae", "kind": "autoencoder", "steps": 12, "batch": 1, "frames": 8, "mse": 10, "kl": 0.0003,
         "tae": {"channels": [4, 4, 4, 8], "latent_channels": 4, "blocks": 1, "temporal": True},
         "validate_every": 12, "validate_clips": 8, "optimizer": OPTIMIZER},
        {"name": "video", "kind": "text_to_video", "steps": 2, "batch": 2, "clips": 2, "tae": "tae",
         "text_encoder": {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8, "ff_dim": 16,
                          "tokens_max": 64},
         "video_model": {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "patch": [1, 2, 2],
                         "frames_max": 4, "rows_max": 4, "columns_max": 4, "text_dim": 16},
         "optimizer": OPTIMIZER}]}


class Skip(Exception):
    pass


class World:
    """What every case gets: the program, a scratch folder, a tiny model."""

    def __init__(self, program, model, folder):
        self.program, self.model, self.folder = os.path.abspath(program), model, folder

    def recipe(self):
        path = self.path("recipe.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(TINY_RECIPE, f)
        return path

    def run(self, *arguments, cwd=None, env=None, timeout=240):
        return subprocess.run([self.program, *arguments], capture_output=True, cwd=cwd or self.folder, timeout=timeout,
                              env={**os.environ, **(env or {})}, check=False)

    def need_model(self):
        if not self.model:
            raise Skip("the tiny model could not be trained")
        return self.model

    def path(self, name):
        return os.path.join(self.folder, name)

    def copy_model(self, name):
        target = self.path(name)
        shutil.copytree(self.need_model(), target)
        return target


def expect(run, status, *texts):
    """Exit status, and one line on stderr that holds every text."""
    error = run.stderr.decode("utf-8", "replace")
    assert run.returncode == status, f"exit status {run.returncode}, not {status}; stderr: {error.strip()}"
    for text in texts:
        assert text in error, f"stderr does not say '{text}' but: {error.strip()}"
    if status in (1, 2):
        lines = error.strip("\n").split("\n")
        assert len(lines) == 1 and lines[0].startswith("moviegen"), f"not one line: {error.strip()}"
        assert run.stdout == b"", f"stdout is not empty: {run.stdout[:80]}"


# ---- the command line ----

def test_no_command(w):
    expect(w.run(), 2, "no command given", "generate", "upsample", "sound", "train", "eval", "sheet", "plot", "info", "plan", "average",
           "convert", "curate")


def test_unknown_command(w):
    expect(w.run("paint"), 2, "unknown command 'paint'", "generate")


def wait_for(condition, seconds=120, pause=0.02):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(pause)


def test_help(w):
    run = w.run("--help")
    expect(run, 0)
    for command in ("generate", "upsample", "sound", "train", "eval", "sheet", "plot", "info", "plan", "average",
                    "convert", "curate"):
        assert command.encode() in run.stdout
        one = w.run(command, "--help")
        expect(one, 0)
        assert f"usage: moviegen {command}".encode() in one.stdout


def test_version(w):
    run = w.run("--version")
    expect(run, 0)
    assert re.fullmatch(rb"moviegen \d+\.\d+\.\d+\n", run.stdout), run.stdout


def test_unknown_option(w):
    expect(w.run("generate", "--stepz", "3", "x"), 2, "unknown option '--stepz'", "--steps", "--prompt")
    expect(w.run("train", "-x"), 2, "unknown option '-x'", "--recipe")


def test_missing_value(w):
    expect(w.run("generate", "x", "--steps"), 2, "--steps needs a value")


def test_flag_with_value(w):
    expect(w.run("generate", "x", "--json=1"), 2, "--json takes no value")


def test_bad_numbers(w):
    for value in ("many", "0", "1001", "-3", "1.5", "", "0x10", "10 "):
        expect(w.run("generate", "x", "--steps=" + value), 2, "--steps needs a whole number from 1 to 1000",
               f"'{value}'")
    for value in ("nan", "inf", "-1", "0", "101", "7,5"):
        expect(w.run("generate", "x", "--guidance", value), 2, "--guidance needs a number from", f"'{value}'")
    for value in ("-1", "18446744073709551616", "1e3"):
        expect(w.run("generate", "x", "--seed", value), 2, "--seed needs a whole number from 0 to", f"'{value}'")
    expect(w.run("generate", "x", "--threads", "257"), 2, "--threads needs a whole number from 1 to 256")
    expect(w.run("eval", "tae", "-n", "0"), 2, "--clips needs a whole number from 1")


def test_no_prompt(w):
    expect(w.run("generate"), 2, "no prompt given")


def test_two_prompts(w):
    expect(w.run("generate", "--prompt", "a", "b"), 2, "two prompts")
    expect(w.run("generate", "a", "red", "ball"), 2, "unexpected 'red'")


def test_eval_protocol(w):
    expect(w.run("eval"), 2, "no protocol given", "tae", "alignment", "upsample")
    expect(w.run("eval", "beauty"), 2, "unknown protocol 'beauty'", "tae", "upsample")


def test_train_required(w):
    expect(w.run("train"), 2, "--recipe FILE is missing")
    expect(w.run("train", "--recipe", "r.json", "--stage", "tae"), 2, "--dir DIR is missing")


def test_sheet_ending(w):
    expect(w.run("sheet", "--out", "sheet.gif"), 2, ".png", "'sheet.gif'")


def test_full_disk(w):
    if not os.path.exists("/dev/full"):
        raise Skip("no /dev/full")
    with open("/dev/full", "wb") as full:
        run = subprocess.run([w.program, "--help"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert run.returncode == 1 and b"standard output" in run.stderr, run


def test_info(w):
    run = w.run("info")
    expect(run, 0)
    assert b"moviegen" in run.stdout and b"matmul" in run.stdout, run.stdout


# ---- output, before any model is needed ----

def test_output_folder_missing(w):
    expect(w.run("generate", "x", "--out", w.path("nowhere/movie.y4m")), 1, "nowhere/movie.y4m")
    expect(w.run("sheet", "--out", w.path("nowhere/sheet.png")), 1, "nowhere/sheet.png")


def test_output_is_folder(w):
    os.makedirs(w.path("folder.mp4"))
    expect(w.run("generate", "x", "--out", w.path("folder.mp4")), 1, "folder.mp4", "folder")


def test_output_without_ending(w):
    expect(w.run("generate", "x", "--out", w.path("movie")), 2, "--out needs a file name with an ending")


def test_output_read_only(w):
    folder = w.path("locked")
    os.makedirs(folder)
    os.chmod(folder, stat.S_IRUSR | stat.S_IXUSR)
    try:
        if os.access(folder, os.W_OK):
            folder = "/proc"
        expect(w.run("generate", "x", "--out", os.path.join(folder, "movie.y4m")), 1, "movie.y4m")
    finally:
        os.chmod(w.path("locked"), stat.S_IRWXU)


def test_probe_leaves_nothing(w):
    folder = w.path("clean")
    os.makedirs(folder)
    run = w.run("generate", "x", "--model", w.path("no-model"), "--out", os.path.join(folder, "movie.y4m"))
    expect(run, 1, "no-model")
    assert os.listdir(folder) == [], os.listdir(folder)


# ---- models ----

def test_model_missing(w):
    expect(w.run("generate", "x", "--model", w.path("no-model"), "--out", w.path("a.y4m")), 1, "no-model")
    expect(w.run("generate", "x", "--out", w.path("a.y4m"), env={"MOVIEGEN_MODEL": w.path("no-model-2")}), 1,
           "no-model-2")
    expect(w.run("generate", "x", "--out", w.path("a.y4m"), env={"MOVIEGEN_KERNELS": "abacus"}), 1,
           'no variant is named "abacus"')


def test_model_not_json(w):
    folder = w.path("not-json")
    os.makedirs(folder)
    for text in ("", "{", "{\"format\": \"moviegen-pipeline\",}", "[1]", "\x00", "{\"a\":1,\"a\":2}"):
        with open(os.path.join(folder, "pipeline.json"), "w", encoding="utf-8") as f:
            f.write(text)
        expect(w.run("generate", "x", "--model", folder, "--out", w.path("a.y4m")), 1, "pipeline.json")


def test_model_link(w):
    folder = w.path("linked")
    os.makedirs(folder)
    os.symlink("/etc/passwd", os.path.join(folder, "pipeline.json"))
    expect(w.run("generate", "x", "--model", folder, "--out", w.path("a.y4m")), 1, "pipeline.json")


def weights_of(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".safetensors"))


def test_weights_truncated(w):
    folder = w.copy_model("truncated")
    for name in weights_of(folder):
        path = os.path.join(folder, name)
        with open(path, "rb") as f:
            whole = f.read()
        for size in (0, 7, 8, 100, len(whole) // 2, len(whole) - 1):
            with open(path, "wb") as f:
                f.write(whole[:size])
            expect(w.run("generate", "x", "--model", folder, "--out", w.path("a.y4m")), 1, name)
        with open(path, "wb") as f:
            f.write(whole)


def test_weights_header(w):
    folder = w.copy_model("header")
    name = weights_of(folder)[0]
    path = os.path.join(folder, name)
    with open(path, "rb") as f:
        whole = f.read()
    for size in (0, 1 << 63, (1 << 64) - 1, len(whole)):
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", size) + whole[8:])
        expect(w.run("generate", "x", "--model", folder, "--out", w.path("a.y4m")), 1, name)


def test_weights_missing(w):
    folder = w.copy_model("missing")
    name = weights_of(folder)[0]
    os.remove(os.path.join(folder, name))
    expect(w.run("generate", "x", "--model", folder, "--out", w.path("a.y4m")), 1, name)


# ---- prompts ----

def test_prompt_empty(w):
    expect(w.run("generate", "--prompt", "", "--model", w.need_model(), "--out", w.path("a.y4m")), 1, "prompt")


def test_prompt_long(w):
    expect(w.run("generate", "--prompt", "a" * 4097, "--model", w.need_model(), "--out", w.path("a.y4m")), 1, "prompt",
           "4096")


def test_prompt_not_utf8(w):
    for bad in (b"a red \xff ball", b"\xc0\x80", b"\xed\xa0\x80", b"ball \xe2\x82"):
        run = subprocess.run([w.program.encode(), b"generate", bad, b"--model", w.need_model().encode(), b"--out",
                              w.path("a.y4m").encode()], capture_output=True, check=False)
        expect(run, 1, "prompt", "UTF-8")


# ---- films ----

def read_y4m(path):
    with open(path, "rb") as f:
        data = f.read()
    header, _, body = data.partition(b"\n")
    fields = header.split()
    assert fields[0] == b"YUV4MPEG2", header
    width, height = (int(field[1:]) for field in fields[1:3])
    frame = len(b"FRAME\n") + width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    assert len(body) % frame == 0, "the file does not hold whole frames"
    return width, height, len(body) // frame


def read_png_size(path):
    with open(path, "rb") as f:
        data = f.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, pixels = 8, b""
    while position < len(data):
        size, kind = struct.unpack(">I4s", data[position:position + 8])
        body = data[position + 8:position + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[position + 8 + size:position + 12 + size])[0]
        if kind == b"IHDR":
            width, height = struct.unpack(">II", body[:8])
        if kind == b"IDAT":
            pixels += body
        position += 12 + size
    assert len(zlib.decompress(pixels)) >= width * height * 3
    return width, height


PROMPT = "a red ball rolls left on grass"


def test_generate_y4m(w):
    run = w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path("one.y4m"), *FAST)
    expect(run, 0)
    assert b"wrote" in run.stdout and b"one.y4m" in run.stdout, run.stdout
    width, height, frames = read_y4m(w.path("one.y4m"))
    assert width >= 64 and height >= 64 and frames >= 8, (width, height, frames)
    assert b"generating" in run.stderr and b"\r" not in run.stderr, "no sparse progress lines"


def test_generate_size(w):
    made = ("generate", PROMPT, "--model", w.need_model(), "--out", w.path("wide.y4m"), "-q", "-H", "32", "--frames", "8", *FAST)
    expect(w.run(*made, "--width", "48"), 0)
    assert read_y4m(w.path("wide.y4m")) == (48, 32, 8)
    expect(w.run(*made, "-W", "49"), 1, "multiple of 16", "not 49 x 32")


def test_generate_same_seed(w):
    for name, seed in (("s1", "5"), ("s2", "5"), ("s3", "6")):
        expect(w.run("generate", PROMPT, "--model", w.need_model(), "--seed", seed, "--out", w.path(name + ".y4m"),
                     "--quiet", *FAST), 0)
    films = [open(w.path(name + ".y4m"), "rb").read() for name in ("s1", "s2", "s3")]
    assert films[0] == films[1], "the same seed gave another film"
    assert films[0] != films[2], "another seed gave the same film"


def test_generate_threads(w):
    for threads in ("1", "3"):
        expect(w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path(f"t{threads}.y4m"), "--steps", "2",
                     "--threads", threads, "-q"), 0)
    assert open(w.path("t1.y4m"), "rb").read() == open(w.path("t3.y4m"), "rb").read(), "threads change the film"


def test_generate_autotune(w):
    """There is nothing to choose on the CPU: the same film, and nothing is kept. Every command that multiplies has it."""
    for name, more in (("plain", []), ("tuned", ["--autotune"])):
        expect(w.run("generate", PROMPT, "--model", w.need_model(), "--device", "cpu", "--out", w.path(name + ".y4m"),
                     "-q", *more, *FAST, env={"MOVIEGEN_CACHE": w.path("choices")}), 0)
    assert open(w.path("plain.y4m"), "rb").read() == open(w.path("tuned.y4m"), "rb").read(), "another film"
    assert not os.path.exists(w.path("choices"))
    for command in ("generate", "train", "eval", "sheet"):
        assert b"--autotune" in w.run(command, "--help").stdout, command
    expect(w.run("generate", "x", "--autotune=2"), 2, "--autotune")


def test_generate_sampling(w):
    films = {}
    for name, words in (("plain", ()), ("all", ("--solver", "euler", "--schedule", "linear-quadratic", "--guidance-to", "1")),
                        ("midpoint", ("--solver", "midpoint")), ("dopri5", ("--solver", "dopri5", "--steps", "30")),
                        ("linear", ("--schedule", "linear")), ("other", ("--schedule", "linear-quadratic-1000")),
                        ("early", ("--guidance-from", "0", "--guidance-to", "0.01")), ("bf16", ("--precision", "bf16")),
                        ("quiet", ("--noise-scale", "0.5")), ("f32", ("--precision", "f32"))):
        expect(w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path(name + ".y4m"), "-q", *FAST, *words), 0)
        films[name] = open(w.path(name + ".y4m"), "rb").read()
    assert films["plain"] == films["all"] == films["f32"], "the defaults are not the defaults"
    assert len(set(films.values())) == len(films) - 2, "an option changes nothing"
    for command in (("generate", PROMPT), ("eval", "alignment")):
        expect(w.run(*command, "--model", w.need_model(), "--solver", "rk4"), 2, "--solver", "'rk4'", "dopri5")
        expect(w.run(*command, "--model", w.need_model(), "--schedule", "x"), 2, "--schedule", "'x'", "linear-quadratic")
        expect(w.run(*command, "--model", w.need_model(), "--precision", "f16"), 2, "--precision", "'f16'", "bf16")
        expect(w.run(*command, "--model", w.need_model(), "--guidance-to", "2"), 2, "--guidance-to", "'2'")
        expect(w.run(*command, "--model", w.need_model(), "--drop-text", "byt5,t5"), 2, "--drop-text", "'byt5,t5'")
    expect(w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path("x.y4m"), "--guidance-from", "0.6",
                 "--guidance-to", "0.5"), 1, "guidance_from is 0.6")
    for command in (("generate", PROMPT, "--out", w.path("x.y4m")), ("eval", "alignment")):
        expect(w.run(*command, "--model", w.need_model(), "--drop-text", "ul2,byt5,metaclip"), 1, "one must stay")
    expect(w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path("x.y4m"), "--solver", "dopri5", "--steps",
                 "2"), 1, "DOPRI5", "2 steps")


def test_generate_quiet(w):
    run = w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path("q.y4m"), "--quiet", *FAST)
    expect(run, 0)
    assert run.stdout == b"" and run.stderr == b"", (run.stdout, run.stderr)


def test_generate_json(w):
    run = w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path("j.png"), "--json", "-q", *FAST)
    expect(run, 0)
    assert run.stdout.count(b"\n") == 1
    line = json.loads(run.stdout)
    assert line["n"] == 1 and line["seed"] == 1 and re.fullmatch("[0-9a-f]{16}", line["model_hash"]), line
    assert line["prompt"] == PROMPT and line["files"] == [w.path("j.png")], line
    width, height = read_png_size(w.path("j.png"))
    assert width > height


def test_generate_frames(w):
    expect(w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path("f%03d.png"), "-q", *FAST), 0)
    assert len([name for name in os.listdir(w.folder) if re.fullmatch(r"f\d\d\d\.png", name)]) >= 16


def test_generate_mp4(w):
    run = w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path("movie.mp4"), *FAST)
    assert run.returncode == 0, run.stderr
    if b"plug-in" in run.stderr:
        raise Skip("the FFmpeg plug-in was not built")
    with open(w.path("movie.mp4"), "rb") as f:
        assert f.read(12)[4:8] == b"ftyp"


def test_generate_fallback(w):
    empty = w.path("no plugins")
    os.makedirs(empty)
    run = w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path("fallback.mp4"), *FAST,
                env={"MOVIEGEN_PLUGINS": empty})
    assert run.returncode == 0, run.stderr
    assert b"plug-in" in run.stderr and b".y4m and a .png" in run.stderr, run.stderr
    assert not os.path.exists(w.path("fallback.mp4"))
    read_y4m(w.path("fallback.y4m"))
    read_png_size(w.path("fallback.png"))


def test_generate_spaces(w):
    folder = w.path("a folder with spaces")
    os.makedirs(folder)
    expect(w.run("generate", PROMPT, "--model", w.need_model(), "--out", "my film.y4m", "-q", *FAST, cwd=folder), 0)
    assert os.listdir(folder) == ["my film.y4m"], os.listdir(folder)


def slow_model(w):
    """The tiny model with a video transformer large enough to be interrupted."""
    recipe = json.loads(json.dumps(TINY_RECIPE))
    recipe["stages"][1]["video_model"].update(layers=8, dim=192, heads=6, ff_dim=512)
    with open(w.path("slow.json"), "w", encoding="utf-8") as f:
        json.dump(recipe, f)
    folder = w.copy_model("slow")
    expect(w.run("train", "--recipe", w.path("slow.json"), "--stage", "video", "--dir", folder, "-q"), 0)
    return folder


def test_generate_cancel(w):
    out, model = w.path("cancelled.y4m"), slow_model(w)
    with subprocess.Popen([w.program, "generate", PROMPT, "--model", model, "--out", out, "--steps", "1000"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130, (process.returncode, first, error)
    assert b"cancel" in error.lower(), error
    assert not os.path.exists(out) and not [name for name in os.listdir(w.folder) if "cancelled" in name]


# ---- eval, sheet, plot, train ----

def test_eval_json(w):
    run = w.run("eval", "tae", "--model", w.need_model(), "-n", "1", "--json", "-q")
    expect(run, 0)
    assert run.stdout.count(b"\n") == 1
    line = json.loads(run.stdout)
    assert line["n"] == 1 and line["seed"] == 1 and re.fullmatch("[0-9a-f]{16}", line["model_hash"]), line
    assert 1 < line["psnr"] < 99 and -1 < line["ssim"] <= 1, line
    assert line["seam_exact"] == 1 and line["seam_blend"] > 0 and line["object_psnr"] > 1, line


def test_eval_alignment(w):
    run = w.run("eval", "alignment", "--model", w.need_model(), "-n", "2", "--json", "-q", *FAST)
    expect(run, 0)
    line = json.loads(run.stdout)
    assert line["guidance"] == 7.5 and line["steps"] == 2, line
    for key in ("colour", "count", "camera", "all_one", "all_two"):
        for kind in ("", "ceiling_", "control_"):
            assert 0 <= line[kind + key] <= 1, line


def test_eval_data(w):
    films = w.path("films")
    missing = w.run("eval", "tae", "--model", w.need_model(), "--data", films, "-q")
    expect(missing, 1, "films")
    os.mkdir(films)
    for seed in ("1", "2"):
        expect(w.run("generate", PROMPT, "--model", w.need_model(), "--seed", seed, "--out",
                     os.path.join(films, seed + ".y4m"), "-q", *FAST), 0)
    run = w.run("eval", "tae", "--model", w.need_model(), "--data", films, "--size", "48", "--frames", "9", "--json", "-q")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert line["n"] == 2 and line["psnr_min"] <= line["psnr"] < 99 and line["ssim_min"] <= line["ssim"], line
    expect(w.run("eval", "alignment", "--model", w.need_model(), "--data", films, "-q"), 1, "protocol \"tae\"")


def test_eval_table(w):
    run = w.run("eval", "tae", "--model", w.need_model(), "-n", "1", "-q")
    expect(run, 0)
    assert b"psnr" in run.stdout


LOG = ['{"stage":"tae","step":%d,"loss":%g,"l1":%g,"seconds":%g}' % (i, 1 / i, 0.5 / i, i * 0.1) for i in range(1, 400)]


def test_plot(w):
    with open(w.path("log.jsonl"), "w", encoding="utf-8") as f:
        f.write("\n".join(LOG + [line.replace('"tae"', '"a < b & c"') for line in LOG[:50]]) + "\n")
    run = w.run("plot", w.path("log.jsonl"), "-o", w.path("curve.svg"), "--key", "loss,l1")
    expect(run, 0)
    assert b"4 curves" in run.stdout, run.stdout
    svg = open(w.path("curve.svg"), encoding="utf-8").read()
    import xml.dom.minidom
    document = xml.dom.minidom.parseString(svg)
    assert len(document.getElementsByTagName("polyline")) >= 4
    assert "nan" not in svg and "inf" not in svg, "a coordinate is not a number"


def test_plot_odd_logs(w):
    cases = {"flat": ['{"stage":"s","step":1,"loss":2}', '{"stage":"s","step":2,"loss":2}'],
             "single": ['{"step":7,"loss":0}'],
             "long": ['{"said":"' + 63 * "x" + r'\" y\\","step":1,"loss":2}', '{"step":2,"loss":1}'],
             "negative": ['{"step":1,"loss":-2}', '{"step":2,"loss":null}', '{"step":3,"loss":4}', ""]}
    for name, lines in cases.items():
        with open(w.path(name + ".jsonl"), "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        expect(w.run("plot", w.path(name + ".jsonl"), "-o", w.path(name + ".svg")), 0)
        svg = open(w.path(name + ".svg"), encoding="utf-8").read()
        assert "nan" not in svg and "inf" not in svg, name


def test_plot_mistakes(w):
    expect(w.run("plot"), 2, "no log given")
    expect(w.run("plot", w.path("none.jsonl")), 1, "none.jsonl", "No such file")
    for text, word in (("{\"step\":1,\"loss\":[1]}", "line 1"), ("hello", "line 1"), ("{\"step\":1}", "loss")):
        with open(w.path("bad.jsonl"), "w", encoding="utf-8") as f:
            f.write(text + "\n")
        expect(w.run("plot", w.path("bad.jsonl"), "-o", w.path("bad.svg")), 1, "bad.jsonl", word)
    with open(w.path("good.jsonl"), "w", encoding="utf-8") as f:
        f.write(LOG[0] + "\n")
    expect(w.run("plot", w.path("good.jsonl"), "-o", w.path("nowhere/x.svg")), 1, "nowhere/x.svg")


def test_train_mistakes(w):
    def train(recipe, stage, folder, status, *texts):
        expect(w.run("train", "--recipe", recipe, "--stage", stage, "--dir", w.path(folder), "-q"), status, *texts)
    train(w.path("none.json"), "tae", "m", 1, "none.json")
    with open(w.path("broken.json"), "w", encoding="utf-8") as f:
        f.write("{")
    train(w.path("broken.json"), "tae", "m", 1, "broken.json")
    train(w.recipe(), "sound", "m", 1, "sound", "tae", "video")
    train(w.recipe(), "video", "m", 1, "video")
    train(w.recipe(), "tae", "no/such/folder", 1, "no/such", "make the folder that it is to be in first")
    expect(w.run("train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("m"), "--log",
                 w.path("nowhere/log.jsonl"), "-q"), 1, "nowhere/log.jsonl", "make it first")


def test_train_mesh(w):
    """Ranks that are threads: the course of one, and one voice."""
    recipe = json.loads(json.dumps(TINY_RECIPE))
    recipe["stages"][1]["clips"] = 1
    recipe["stages"][1]["steps"] = 3
    with open(w.path("mesh.json"), "w", encoding="utf-8") as f:
        json.dump(recipe, f)
    model = w.copy_model("m")

    def train(log, *more):
        return w.run("train", "--recipe", w.path("mesh.json"), "--stage", "video", "--dir", model, "--log", w.path(log),
                     "--log-every", "1", "--threads", "1", *more, env={"MOVIEGEN_CACHE": w.path("cache")})
    expect(train("one", "-q"), 0)
    run = train("two", "--mesh", "tp=2", "--checkpoint", w.path("checkpoint"))
    expect(run, 0)
    assert run.stdout.count(b"3 of 3 steps") == 1 and os.listdir(w.path("checkpoint")), run.stdout
    losses = [[json.loads(line)["loss"] for line in open(w.path(log), encoding="utf-8")] for log in ("one", "two")]
    assert len(losses[0]) == len(losses[1]) == 3, losses
    assert all(abs(a - b) < 1e-4 * a for a, b in zip(*losses)), losses
    expect(train("no", "--mesh", "tp=3"), 1, "rank 0: ", "legal are 1, 2")
    expect(train("no", "--mesh", "dp=2,pp=2"), 1, "no mesh", "pp=2")
    expect(train("no", "--mesh", "dp=2000"), 2, "64 ranks", "mpirun")
    expect(train("no", "--rank", "0", "--ranks", "2"), 2, "need --meet ADDRESS")
    expect(train("no", "--meet", "tcp://localhost:1"), 2, "--rank and --ranks are needed")
    expect(train("no", "--meet", "tcp://localhost:1", "--rank", "2", "--ranks", "2"), 2, "there is no rank 2 of 2")
    expect(train("no", "--meet", "localhost:1", "--rank", "0", "--ranks", "2"), 1, "tcp://host:port")
    expect(train("no", "--meet", "file:///none/x", "--rank", "0", "--ranks", "2"), 1, "rank 0: ", "/none/x")
    launched = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "MOVIEGEN_PLUGINS": w.path("none")}
    run = w.run("train", env=launched)
    assert run.returncode == 2 and run.stderr == b"", run  # the first rank says it
    launched["OMPI_COMM_WORLD_RANK"] = "0"
    expect(w.run("train", env=launched), 2, "--recipe FILE")
    expect(w.run("train", "--recipe", w.path("mesh.json"), "--stage", "video", "--dir", model, env=launched), 1,
           "mgen_mpi.so")


def test_generate_mesh(w):
    """The film of one rank, to rounding, written once."""
    def film(name, *more):
        run = w.run("generate", "a ball", "--model", w.need_model(), "--out", w.path(name), "--json", *FAST, *more)
        expect(run, 0)
        said = json.loads(run.stdout)
        with open(w.path(name), "rb") as f:
            return said["model_hash"], f.read()
    one, two = film("one.y4m"), film("two.y4m", "--mesh", "dp=2")
    assert one[0] == two[0] and len(one[1]) == len(two[1]), (one[0], two[0])
    assert max(abs(a - b) for a, b in zip(one[1], two[1])) <= 2
    expect(w.run("generate", "a ball", "--model", w.path("none"), "--out", w.path("no.y4m"), "--mesh", "dp=2"), 1,
           "rank 0: ", "none")


def test_train_log(w):
    log = w.path("log.jsonl")
    run = w.run("train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("m"), "--log", log, "--log-every",
                "5", "--save-every", "4")
    expect(run, 0)
    assert b"12 of 12 steps" in run.stdout and b"saved to" in run.stdout, run.stdout
    assert b"tae: " in run.stderr and b"loss" in run.stderr, run.stderr
    with open(log, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    assert [line["step"] for line in lines] == [0, 4, 9, 11], lines
    assert all(line["stage"] == "tae" and line["loss"] > 0 and line["seconds"] > 0 for line in lines), lines
    assert sorted(os.listdir(w.path("m"))) == ["tae.json", "tae.safetensors"], os.listdir(w.path("m"))
    expect(w.run("plot", log, "-o", w.path("curve.svg")), 0)


def test_train_same_seed(w):
    for name, threads in (("one", "1"), ("two", "3")):
        expect(w.run("train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path(name), "--threads", threads,
                     "-q"), 0)
    weights = [open(w.path(name + "/tae.safetensors"), "rb").read() for name in ("one", "two")]
    assert weights[0] == weights[1], "the number of threads changes the weights"


def long_recipe(w):
    recipe = json.loads(json.dumps(TINY_RECIPE))
    recipe["stages"][0]["steps"] = 1000000
    with open(w.path("long.json"), "w", encoding="utf-8") as f:
        json.dump(recipe, f)
    return ["train", "--recipe", w.path("long.json"), "--stage", "tae", "--dir", w.path("m"), "--log",
            w.path("log.jsonl"), "--log-every", "1"]


def test_train_seconds(w):
    run = w.run(*long_recipe(w), "--max-seconds", "0.5")
    expect(run, 0)
    assert b"of 1000000 steps" in run.stdout and b"saved to" in run.stdout, run.stdout
    assert "tae.safetensors" in os.listdir(w.path("m"))
    run = w.run("train", "--recipe", w.recipe(), "--stage", "video", "--dir", w.copy_model("n"), "--max-seconds", "0.001")
    assert run.stdout.startswith(b"video: 0 of ") and b" s, nothing saved to" in run.stdout, run.stdout  # and no loss


def test_train_interrupt(w):
    with subprocess.Popen([w.program, *long_recipe(w)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: os.path.exists(w.path("log.jsonl")) and os.path.getsize(w.path("log.jsonl")) > 0)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=120)
    assert process.returncode == 130, (process.returncode, error)
    assert b"saved to" in out, out
    assert "tae.safetensors" in os.listdir(w.path("m"))


def test_meeting_interrupt(w):
    """A rank that waits for one that never comes, the first one and another."""
    meet = "file://" + w.path("meeting")
    for rank, kind in ((0, signal.SIGINT), (1, signal.SIGTERM)):
        words = ["--rank", str(rank), "--ranks", "2", "--meet", meet]
        with subprocess.Popen([w.program, *long_recipe(w), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            late = process.stderr.readline()
            assert late.decode().startswith(f"moviegen train: rank {rank} of 2 waits for the others at {meet}"), late
            process.send_signal(kind)
            out, error = process.communicate(timeout=120)
        assert process.returncode == 130 and not out, (process.returncode, out, error)
        assert error.decode() == f"moviegen train: rank {rank}: stopped while it waited for the others at {meet}\n", error


# ---- the model that comes with the project ----

def toybox():
    folder = os.path.join(ROOT, "examples/models/toybox")
    if not os.path.isfile(os.path.join(folder, "pipeline.json")):
        raise Skip("no trained model in examples/models/toybox")
    return folder


def test_toybox_found(w):
    toybox()
    run = w.run("generate", PROMPT, "--out", w.path("movie.y4m"), "--steps", "4", "-q", cwd=ROOT)
    expect(run, 0)
    assert read_y4m(w.path("movie.y4m")) == (64, 64, 32)


def test_toybox_tae(w):
    run = w.run("eval", "tae", "--model", toybox(), "-n", "2", "--json", "-q")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert line["psnr"] > 24 and line["ssim"] > 0.8 and line["checker_background"] == 1, line


def test_toybox_alignment(w):
    run = w.run("eval", "alignment", "--model", toybox(), "-n", "4", "--steps", "10", "--json", "-q")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert line["colour"] >= 0.5 and line["background"] >= 0.5 and line["guidance"] == 3, line
    assert line["count"] > 0.5 and line["control_count"] <= 1 - line["count"], line  # no film shows both numbers


def train_tiny(program, folder):
    """The model of most cases; None (and the cases are skipped) if it cannot be had."""
    world = World(program, None, folder)
    for stage in (stage["name"] for stage in TINY_RECIPE["stages"]):
        run = world.run("train", "--recipe", world.recipe(), "--stage", stage, "--dir", world.path("tiny"), "-q")
        if run.returncode != 0:
            return None, run.stderr.decode("utf-8", "replace").strip()
    return world.path("tiny"), None


def main(names):
    os.environ.pop("MOVIEGEN_MODEL", None)
    os.environ.pop("MOVIEGEN_PLUGINS", None)
    tests = [(name[5:], test) for name, test in names.items() if name.startswith("test_")]
    failures = 0
    with tempfile.TemporaryDirectory(prefix="moviegen cli ") as home:
        model, problem = train_tiny(sys.argv[1], home)
        failures += model is None
        print("ok 1 - a tiny model is trained" if model else f"not ok 1 - a tiny model is trained\n#   {problem}")
        for number, (name, test) in enumerate(tests, 2):
            folder = os.path.join(home, name)
            os.makedirs(folder)
            try:
                test(World(sys.argv[1], model, folder))
                print(f"ok {number} - {name}")
            except Skip as reason:
                print(f"ok {number} - {name} # SKIP {reason}")
            except (AssertionError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as found:
                failures += 1
                print(f"not ok {number} - {name}\n#   {type(found).__name__}: {found}")
            sys.stdout.flush()
    print(f"1..{len(tests) + 1}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main(globals()))
