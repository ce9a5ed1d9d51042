# SPDX-License-Identifier: MIT
"""The moviegen program makes films of the person in a photo: moviegen personalize.

    check_personalize.py PROGRAM        prints TAP

On a tiny model with a personalizer, which the program trains here first, in seconds.
"""
import json
import os
import re
import signal
import subprocess
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli
from check_cli import Skip, expect, read_png_size, read_y4m
from check_upsample import close, write_film

PERSONALIZER = {
    "name": "personalizer", "kind": "personalizer", "steps": 4, "batch": 2, "clips": 2, "tae": "tae", "world": {"people": 1},
    "text_encoders": {"ul2": {"from": "text_encoder", "frozen": True}},
    "vision": {"config": {"image": 16, "patch": 8, "dim": 8, "layers": 2, "heads": 2, "ff_dim": 16}},
    "personalizer": {"steps": 3, "source_guidance": 2,
                     "transformer": {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "reference_width": 8,
                                     "patch": [1, 2, 2], "frames_max": 4, "rows_max": 4, "columns_max": 4,
                                     "text": {"ul2": 16}, "guidance": 3}},
    "optimizer": {"lr": 0.05, "ema": 0.5}}
PERSON = "a smiling person in a red shirt walks left on snow"
SMALL = ("--frames", "9", "-W", "32", "-H", "16")


def photo_of(w, name="photo.y4m", **size):
    return write_film(w, name, **{"width": 24, "height": 20, "frames": 1, **size})


def make(w, photo, name, *more, prompt=PERSON):
    """The file that it makes, whole."""
    run = w.run("personalize", photo, prompt, "--model", w.need_model(), "--out", w.path(name), "-q", "--threads", "2", *SMALL,
                *more)
    expect(run, 0)
    with open(w.path(name), "rb") as f:
        return f.read()


# ---- the command line ----

def test_no_words(w):
    expect(w.run("personalize"), 2, "no photo given", "personalize PHOTO \"PROMPT\"")
    expect(w.run("personalize", "a.y4m"), 2, "no prompt given", "personalize PHOTO \"PROMPT\"")
    expect(w.run("personalize", "a.y4m", "a", "person"), 2, "unexpected 'person'")
    expect(w.run("personalize", "a person", w.folder), 2, "'a person' is no file, but '", "the file comes first")


def test_help(w):
    run = w.run("--help")
    expect(run, 0)
    assert re.search(rb"(?m)^  personalize +generate a film of the person in a photo$", run.stdout), run.stdout
    run = w.run("personalize", "--help")
    expect(run, 0)
    for name in (b"usage: moviegen personalize PHOTO", b"--source-guidance", b"--frames", b"--width"):
        assert name in run.stdout, name


def test_bad_options(w):
    words = ("personalize", "x", "y")
    expect(w.run(*words, "--stepz", "3"), 2, "unknown option '--stepz'", "--steps")
    expect(w.run(*words, "--strength", "0.5"), 2, "unknown option '--strength'")
    for option, value in (("--steps", "0"), ("--steps", "1001"), ("--frames", "0"), ("--width", "0")):
        expect(w.run(*words, option, value), 2, option + " needs a whole number from 1", f"'{value}'")
    for option, value in (("--guidance", "101"), ("--source-guidance", "0"), ("--source-guidance", "101")):
        expect(w.run(*words, option, value), 2, option + " needs a number from", f"'{value}'")
    expect(w.run(*words, "--out", w.path("movie")), 2, "--out needs a file name with an ending")


def test_bad_files(w):
    photo = photo_of(w)
    out = ("--model", w.need_model(), "--out", w.path("new.y4m"))
    expect(w.run("personalize", photo, PERSON, "--out", w.path("nowhere/new.y4m")), 1, "nowhere/new.y4m")
    expect(w.run("personalize", w.path("none.y4m"), PERSON, *out), 1, "none.y4m")
    assert os.listdir(w.folder) == ["photo.y4m"], os.listdir(w.folder)


def test_no_personalizer(w):
    photo, out = photo_of(w), ("--out", w.path("new.y4m"))
    plain = w.copy_model("plain")
    pipeline = os.path.join(plain, "pipeline.json")
    with open(pipeline, encoding="utf-8") as f:
        parts = json.load(f)
    assert parts["personalizer"] == "personalizer", parts
    with open(pipeline, "w", encoding="utf-8") as f:
        json.dump({key: value for key, value in parts.items() if key != "personalizer"}, f)
    expect(w.run("personalize", photo, PERSON, "--model", plain, *out), 1, "the model has no personalizer",
           "docs/recipes.md#personalizer")
    broken = w.copy_model("broken")
    os.truncate(os.path.join(broken, "personalizer_vision.safetensors"), 100)
    expect(w.run("personalize", photo, PERSON, "--model", broken, *out), 1, "personalizer_vision.safetensors")


def test_bad_request(w):
    out = ("--model", w.need_model(), "--out", w.path("new.y4m"))
    photo = photo_of(w)
    expect(w.run("personalize", photo, PERSON, "--width", "400", *out), 1, "a multiple of 16 up to 64")
    expect(w.run("personalize", photo, "", *out), 1, "the prompt is missing or empty")
    expect(w.run("personalize", photo, PERSON, "--drop-text", "ul2", *out), 1, "must stay")
    assert not os.path.exists(w.path("new.y4m"))


# ---- films ----

def test_personalize(w):
    run = w.run("personalize", photo_of(w), PERSON, "--model", w.need_model(), "--out", w.path("new.y4m"), "--threads", "2",
                *SMALL)
    expect(run, 0)
    assert b"wrote" in run.stdout and b"9 frames of 32 x 16, 16 frames per second" in run.stdout, run.stdout
    assert b"generating" in run.stderr, run.stderr
    assert read_y4m(w.path("new.y4m")) == (32, 16, 9)


def test_picture(w):
    """The model's own size; one frame."""
    expect(w.run("personalize", photo_of(w), PERSON, "--model", w.need_model(), "--out", w.path("new.png"), "-q", "--frames", "1"), 0)
    assert read_png_size(w.path("new.png")) == (64, 64)


def test_photos(w):
    """Of a film the first frame is seen; another photo gives another film."""
    photo = photo_of(w)
    plain = make(w, photo, "plain.y4m")
    assert make(w, photo_of(w, "film.y4m", frames=3), "same.y4m") == plain
    assert make(w, photo_of(w, "other.y4m", height=24), "other_film.y4m") != plain


def write_jpeg(w, name, orientation):
    """16 x 8 pixels of grey, black left and white right as they are stored, with an EXIF that says how they are seen."""
    def segment(marker, *data):
        return bytes((0xFF, marker, 0, 2 + len(data), *data))
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes((orientation, 0, 0, 0, 0, 0, 0, 0))
    counts = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
    with open(w.path(name), "wb") as f:
        f.write(b"\xFF\xD8" + segment(0xE1, *exif) + segment(0xDB, 0, *[8] * 64) + segment(0xC0, 8, 0, 8, 0, 16, 1, 1, 0x11, 0) +
                segment(0xC4, 0, *counts, *range(12)) + segment(0xC4, 0x10, 1, *[0] * 15, 0) + segment(0xDA, 1, 1, 0, 0, 63, 0) +
                b"\xF9\xFD\xF7\xFB\xFF\xD9")
    return w.path(name)


def test_jpeg(w):
    """As a phone stores it: another film where it was held otherwise; without the plug-in, what to do."""
    photo = write_jpeg(w, "photo.jpg", 1)
    empty = w.path("no plugins")
    os.makedirs(empty)
    run = w.run("personalize", photo, PERSON, "--model", w.need_model(), "--out", w.path("x.y4m"), "-q", *SMALL,
                env={"MOVIEGEN_PLUGINS": empty})
    expect(run, 1, photo, "JPEG pictures are read by a plug-in; convert it to PNG, or install that")
    run = w.run("personalize", photo, PERSON, "--model", w.need_model(), "--out", w.path("new.y4m"), "-q", *SMALL)
    if run.returncode and b"plug-in" in run.stderr:
        raise Skip("the FFmpeg plug-in was not built")
    plain = make(w, photo, "plain.y4m")
    assert make(w, write_jpeg(w, "same.JPEG", 1), "same.y4m") == plain
    assert make(w, write_jpeg(w, "turned.jpg", 6), "turned.y4m") != plain
    with open(photo, "rb") as f:
        cut = f.read()[:-3]
    with open(w.path("cut.jpg"), "wb") as f:
        f.write(cut)
    expect(w.run("personalize", w.path("cut.jpg"), PERSON, "--model", w.need_model(), "--out", w.path("x.y4m"), *SMALL), 1, "cut.jpg",
           "ends within the picture")


def test_mesh(w):
    """The film of one rank, written once."""
    photo = photo_of(w)
    plain = make(w, photo, "plain.y4m")
    assert make(w, photo, "rows.y4m", "--mesh", "dp=3") == plain
    assert close(make(w, photo, "split.y4m", "--mesh", "tp=2"), plain)


def test_options(w):
    photo = photo_of(w)
    plain = make(w, photo, "plain.y4m")
    for words in (("--steps", "3", "--guidance", "3", "--source-guidance", "2", "--seed", "1"), ("--threads", "1"),
                  ("--device", "cpu", "--autotune")):
        assert make(w, photo, "new.y4m", *words) == plain, f"{words} change something"
    found = [plain]
    for words in (("--seed", "2"), ("--steps", "2"), ("--guidance", "1"), ("--source-guidance", "1"), ("--solver", "midpoint"),
                  ("--negative", "a green cube"), ("--schedule", "linear"), ("--precision", "bf16")):
        found.append(make(w, photo, "new.y4m", *words))
        assert found.count(found[-1]) == 1, f"{words} change nothing"
    assert make(w, photo, "new.y4m", prompt="a person jumps") not in found


def test_json(w):
    photo = photo_of(w)
    run = w.run("personalize", photo, PERSON, "--model", w.need_model(), "--out", w.path("j.y4m"), "--json", "-q", "--seed", "4",
                *SMALL)
    expect(run, 0)
    assert run.stdout.count(b"\n") == 1, run.stdout
    line = json.loads(run.stdout)
    assert line["n"] == 1 and line["seed"] == 4 and re.fullmatch("[0-9a-f]{16}", line["model_hash"]), line
    assert line["input"] == photo and line["prompt"] == PERSON, line
    assert (line["guidance"], line["source_guidance"]) == (3, 2), line
    assert (line["width"], line["height"], line["frames"], line["fps"]) == (32, 16, 9, 16), line
    assert line["files"] == [w.path("j.y4m")] and line["seconds"] > 0, line


def test_fallback(w):
    empty = w.path("no plugins")
    os.makedirs(empty)
    run = w.run("personalize", photo_of(w), PERSON, "--model", w.need_model(), *SMALL, cwd=w.folder,
                env={"MOVIEGEN_PLUGINS": empty})
    expect(run, 0, "plug-in", ".y4m and a .png")
    assert read_y4m(w.path("personalized.y4m")) == (32, 16, 9)
    assert not os.path.exists(w.path("personalized.mp4"))


def test_cancel(w):
    out = w.path("cancelled.y4m")
    with subprocess.Popen([w.program, "personalize", photo_of(w), PERSON, "--model", w.need_model(), "--out", out, "--steps",
                           "1000", "--frames", "400"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130, (process.returncode, first, error)
    assert b"cancel" in error.lower(), error
    assert os.listdir(w.folder) == ["photo.y4m"], os.listdir(w.folder)


# ---- moviegen eval personalize ----

def test_eval(w):
    options = ("eval", "personalize", "--model", w.need_model(), "-n", "1", "--seed", "2", "--threads", "2", "-q")
    run = w.run(*options, "--json")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert line["protocol"] == "personalize" and line["n"] == 1 and line["seed"] == 2, line
    assert (line["steps"], line["guidance"], line["source_guidance"]) == (3, 3, 2), line
    for name in ("identity", "identity_best", "identity_worst", "similarity"):
        for way in ("", "ceiling_", "control_", "unseen_"):
            assert 0 <= line[way + name] <= 1, (way + name, line)
    assert w.run(*options, "--json").stdout == run.stdout, "another result"
    run = w.run(*options)
    expect(run, 0)
    assert run.stdout.startswith(b"personalize, 1 clips, seed 2, model ") and b"  identity_worst" in run.stdout, run.stdout


# ---- the model that comes with the project ----

def test_toybox(w):
    folder = check_cli.toybox()
    run = w.run("personalize", os.path.join(folder, "photo.png"), PERSON, "--model", folder, "--out", w.path("person.y4m"),
                "--steps", "4", "-q")
    expect(run, 0)
    assert read_y4m(w.path("person.y4m")) == (64, 64, 32)
    run = w.run("eval", "personalize", "--model", folder, "-n", "3", "--steps", "8", "--json", "-q")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert line["identity"] > 0.6 and line["similarity"] > 0.7 and line["background"] == 1, line
    assert line["control_identity"] == 0 and line["control_similarity"] < 0.5 and line["unseen_identity"] == 0, line


if __name__ == "__main__":
    check_cli.TINY_RECIPE["stages"].append(PERSONALIZER)
    sys.exit(check_cli.main(globals()))
