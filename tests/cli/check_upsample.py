# SPDX-License-Identifier: MIT
"""The moviegen program enlarges films: moviegen upsample, and generate --upsample.

    check_upsample.py PROGRAM        prints TAP

On a tiny model with an upsampler, which the program trains here first, in seconds.
"""
import json
import os
import re
import signal
import subprocess
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli
from check_cli import FAST, PROMPT, expect, read_png_size, read_y4m

UPSAMPLER = {
    "name": "upsampler", "kind": "upsampler", "steps": 2, "batch": 2, "clips": 2, "tae": "tae", "world": {"scale": 2},
    "buckets": [{"width": 128, "height": 128, "frames": 2}],
    "text_encoders": {"ul2": {"from": "text_encoder", "frozen": True}},
    "upsampler": {"factor": 2, "frames": 6, "overlap": 2, "steps": 3,
                  "transformer": {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4,
                                  "condition_channels": 4, "patch": [1, 2, 2], "frames_max": 6, "rows_max": 8,
                                  "columns_max": 8, "text": {"ul2": 16}, "guidance": 2}},
    "optimizer": check_cli.OPTIMIZER}


def write_film(w, name, width=40, height=24, frames=9, rate="25:1"):
    """Stripes that move."""
    path = w.path(name)
    with open(path, "wb") as f:
        f.write(f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C420jpeg\n".encode())
        chroma = bytes([100]) * ((width + 1) // 2 * ((height + 1) // 2))
        for frame in range(frames):
            row = bytes(40 + (x + 2 * frame) * 9 % 160 for x in range(width))
            f.write(b"FRAME\n" + row * height + chroma * 2)
    return path


def upsample(w, film, name, *more):
    """The file that it makes, whole."""
    run = w.run("upsample", film, "--model", w.need_model(), "--out", w.path(name), "-q", "--threads", "2", *more)
    expect(run, 0)
    with open(w.path(name), "rb") as f:
        return f.read()


def close(one, other):
    """Whether two files are the same to rounding."""
    return len(one) == len(other) and max(abs(a - b) for a, b in zip(one, other)) <= 2


# ---- the command line ----

def test_no_film(w):
    expect(w.run("upsample"), 2, "no film given", "upsample INPUT")
    expect(w.run("upsample", "a.y4m", "b.y4m"), 2, "unexpected 'b.y4m'")


def test_bad_options(w):
    expect(w.run("upsample", "x", "--stepz", "3"), 2, "unknown option '--stepz'", "--steps", "--width")
    for option, value in (("--steps", "0"), ("--steps", "1001"), ("--frames", "0"), ("--width", "0"),
                          ("--height", "65537"), ("--threads", "257")):
        expect(w.run("upsample", "x", option, value), 2, option + " needs a whole number from 1", f"'{value}'")
    expect(w.run("upsample", "x", "--guidance", "101"), 2, "--guidance needs a number from")
    expect(w.run("upsample", "x", "--solver", "rk4"), 2, "--solver", "'rk4'")
    expect(w.run("upsample", "x", "--precision", "f16"), 2, "--precision", "'f16'")
    expect(w.run("upsample", "x", "--out", w.path("movie")), 2, "--out needs a file name with an ending")


def test_bad_output(w):
    film = write_film(w, "film.y4m")
    expect(w.run("upsample", film, "--out", w.path("nowhere/big.y4m")), 1, "nowhere/big.y4m")
    os.makedirs(w.path("folder.y4m"))
    expect(w.run("upsample", film, "--out", w.path("folder.y4m")), 1, "folder.y4m", "folder")


def test_own_input(w):
    film = write_film(w, "own.y4m")
    with open(film, "rb") as f:
        was = f.read()
    os.symlink(film, w.path("alias.y4m"))
    for out in "own.y4m", "alias.y4m":
        expect(w.run("upsample", film, "--model", w.need_model(), "--out", w.path(out)), 2, "own.y4m' is read", "--out another name")
    with open(film, "rb") as f:
        assert f.read() == was


def test_bad_film(w):
    out = ("--model", w.need_model(), "--out", w.path("big.y4m"))
    expect(w.run("upsample", w.path("none.y4m"), *out), 1, "none.y4m")
    with open(w.path("bad.y4m"), "wb") as f:
        f.write(b"YUV4MPEG2 W0 H24\n")
    expect(w.run("upsample", w.path("bad.y4m"), *out), 1, "bad.y4m")
    film = write_film(w, "film.y4m")
    expect(w.run("upsample", film, "--first", "9", *out), 1, "film.y4m")
    expect(w.run("upsample", w.path("film.mp4"), *out, env={"MOVIEGEN_PLUGINS": w.folder}), 1, "film.mp4")
    assert sorted(os.listdir(w.folder)) == ["bad.y4m", "film.y4m"], os.listdir(w.folder)


def test_bad_model(w):
    film, out = write_film(w, "film.y4m"), ("--out", w.path("big.y4m"))
    expect(w.run("upsample", film, "--model", w.path("no-model"), *out), 1, "no-model")
    plain = w.copy_model("plain")
    pipeline = os.path.join(plain, "pipeline.json")
    with open(pipeline, encoding="utf-8") as f:
        parts = json.load(f)
    with open(pipeline, "w", encoding="utf-8") as f:
        json.dump({key: value for key, value in parts.items() if key != "upsampler"}, f)
    expect(w.run("upsample", film, "--model", plain, *out), 1, "no upsampler", "docs/recipes.md")
    expect(w.run("generate", PROMPT, "--upsample", "--model", plain, *out), 1, "no upsampler")
    broken = w.copy_model("broken")
    os.truncate(os.path.join(broken, "upsampler.safetensors"), 100)
    expect(w.run("upsample", film, "--model", broken, *out), 1, "upsampler.safetensors")


def test_bad_request(w):
    film = write_film(w, "film.y4m")
    out = ("--model", w.need_model(), "--out", w.path("big.y4m"))
    expect(w.run("upsample", film, "--width", "400", *out), 1, "up to 128 x 128 pixels, not 400 x 48")
    expect(w.run("upsample", film, "--prompt", "a" * 4097, *out), 1, "prompt", "4096")
    expect(w.run("upsample", film, "--drop-text", "ul2", *out), 1, "must stay")
    expect(w.run("upsample", film, "--guidance-from", "0.6", "--guidance-to", "0.5", *out), 1, "guidance_from is 0.6")
    assert not os.path.exists(w.path("big.y4m"))


# ---- films ----

def test_upsample(w):
    film = write_film(w, "film.y4m")
    run = w.run("upsample", film, "--model", w.need_model(), "--out", w.path("big.y4m"), "--threads", "2")
    expect(run, 0)
    assert b"wrote" in run.stdout and b"9 frames of 80 x 48, 25 frames per second" in run.stdout, run.stdout
    assert b"upsampling" in run.stderr, run.stderr
    assert read_y4m(w.path("big.y4m")) == (80, 48, 9)
    with open(w.path("big.y4m"), "rb") as f:
        assert b"F25:1" in f.readline()


def test_size(w):
    film = write_film(w, "film.y4m", 41, 25, 3)  # sides off every grid
    for size, words in (((82, 50), ()), ((90, 50), ("--width", "90")), ((33, 31), ("-W", "33", "-H", "31"))):
        upsample(w, film, "big.y4m", *words)
        assert read_y4m(w.path("big.y4m")) == (*size, 3)


def test_picture(w):
    film = write_film(w, "film.y4m", frames=1)
    upsample(w, film, "big.png")
    assert read_png_size(w.path("big.png")) == (80, 48)
    upsample(w, w.path("big.png"), "small.png", "--width", "64", "--height", "32")
    assert read_png_size(w.path("small.png")) == (64, 32)


def test_frames(w):
    """Frames that are taken are those of a film of them alone."""
    film = write_film(w, "film.y4m")
    part = upsample(w, film, "part.y4m", "--first", "2", "--frames", "3")
    with open(film, "rb") as f:
        header, _, body = f.read().partition(b"\n")
    size = len(body) // 9
    with open(w.path("three.y4m"), "wb") as f:
        f.write(header + b"\n" + body[2 * size:5 * size])
    assert part == upsample(w, w.path("three.y4m"), "whole.y4m")


def test_mesh(w):
    """The film of one rank, written once."""
    film = write_film(w, "film.y4m", 24, 24, 7)
    plain = upsample(w, film, "plain.y4m")
    assert upsample(w, film, "rows.y4m", "--mesh", "dp=2") == plain
    assert close(upsample(w, film, "split.y4m", "--mesh", "tp=2"), plain)


def test_options(w):
    """The same film with the same options; another with another option."""
    film = write_film(w, "film.y4m", 24, 24, 7)
    films = {name: upsample(w, film, name + ".y4m", *words) for name, words in (
        ("plain", ()), ("own", ("--steps", "3", "--guidance", "2", "--seed", "1", "--prompt", "")),
        ("threads", ("--threads", "1")), ("tuned", ("--device", "cpu", "--autotune")), ("seed", ("--seed", "2")),
        ("steps", ("--steps", "2")), ("guidance", ("--guidance", "1", "--prompt", PROMPT)), ("prompt", ("--prompt", PROMPT)),
        ("negative", ("--prompt", PROMPT, "--negative", "a green cube")), ("solver", ("--solver", "midpoint")),
        ("schedule", ("--schedule", "linear")), ("bf16", ("--precision", "bf16")))}
    assert films["plain"] == films["own"] == films["threads"] == films["tuned"], "the defaults are not the defaults"
    assert len(set(films.values())) == len(films) - 3, "an option changes nothing"


def test_json(w):
    film = write_film(w, "film.y4m")
    run = w.run("upsample", film, "--model", w.need_model(), "--out", w.path("j.y4m"), "--json", "-q", "--seed", "4")
    expect(run, 0)
    assert run.stdout.count(b"\n") == 1
    line = json.loads(run.stdout)
    assert line["n"] == 1 and line["seed"] == 4 and re.fullmatch("[0-9a-f]{16}", line["model_hash"]), line
    assert line["input"] == film and line["prompt"] == "" and line["guidance"] == 2, line
    assert (line["width"], line["height"], line["frames"], line["fps"]) == (80, 48, 9, 25), line
    assert line["files"] == [w.path("j.y4m")] and line["seconds"] > 0, line


def test_fallback(w):
    empty = w.path("no plugins")
    os.makedirs(empty)
    run = w.run("upsample", write_film(w, "film.y4m"), "--model", w.need_model(), cwd=w.folder,
                env={"MOVIEGEN_PLUGINS": empty})
    expect(run, 0, "plug-in", ".y4m and a .png")
    assert read_y4m(w.path("upsampled.y4m")) == (80, 48, 9)
    assert not os.path.exists(w.path("upsampled.mp4"))
    run = w.run("upsample", w.path("upsampled.y4m"), "--model", w.need_model(), cwd=w.folder, env={"MOVIEGEN_PLUGINS": empty})
    assert run.returncode == 2 and b"upsampled.y4m' is read" in run.stderr, run


def test_cancel(w):
    out = w.path("cancelled.y4m")
    with subprocess.Popen([w.program, "upsample", write_film(w, "film.y4m", 64, 64, 200), "--model", w.need_model(), "--out",
                           out, "--steps", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130, (process.returncode, first, error)
    assert b"cancel" in error.lower(), error
    assert os.listdir(w.folder) == ["film.y4m"], os.listdir(w.folder)


# ---- generate --upsample ----

def test_generate(w):
    run = w.run("generate", PROMPT, "--model", w.need_model(), "--upsample", "--out", w.path("big.y4m"), "--json", *FAST)
    expect(run, 0)
    assert b"generating" in run.stderr and b"upsampling" in run.stderr, run.stderr
    line = json.loads(run.stdout)
    assert (line["width"], line["height"], line["frames"], line["steps"]) == (128, 128, 32, 2), line
    assert read_y4m(w.path("big.y4m")) == (128, 128, 32)
    expect(w.run("generate", PROMPT, "--model", w.need_model(), "--out", w.path("f%d.png"), "-q", "--frames", "1", *FAST), 0)
    expect(w.run("generate", PROMPT, "--model", w.need_model(), "--upsample", "--out", w.path("g%d.png"), "-q", "--frames",
                 "1", *FAST), 0)
    picture = [name for name in os.listdir(w.folder) if name.startswith("f")][0]
    # both of one film: what is generated, then enlarged with its prompt and seed (PNG keeps every bit)
    assert upsample(w, w.path(picture), "again.png", "--prompt", PROMPT) == open(w.path("g" + picture[1:]), "rb").read()


def test_generate_mesh(w):
    """As by one rank; what the ranks cannot divide is said before the film is made."""
    def film(name, *more):
        run = w.run("generate", PROMPT, "--model", w.need_model(), "--upsample", "--out", w.path(name), "-q", *FAST, *more)
        expect(run, 0)
        with open(w.path(name), "rb") as f:
            return f.read()
    plain = film("plain.y4m", "--frames", "9")
    assert film("rows.y4m", "--frames", "9", "--mesh", "dp=2") == plain
    assert close(film("split.y4m", "--frames", "9", "--mesh", "tp=2"), plain)
    run = w.run("generate", PROMPT, "--model", w.need_model(), "--upsample", "--out", w.path("no.y4m"), "--mesh", "cp=3", *FAST)
    expect(run, 1, "rank 0: ", "tokens cannot be split")
    assert not os.path.exists(w.path("no.y4m"))


if __name__ == "__main__":
    check_cli.TINY_RECIPE["stages"].append(UPSAMPLER)
    sys.exit(check_cli.main(globals()))
