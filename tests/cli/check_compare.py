# SPDX-License-Identifier: MIT
"""`moviegen compare` from outside: films, sides, what the page tells and does not tell, going on after a stop.

    check_compare.py PROGRAM        prints TAP

The page's script runs in compare_page.js where there is node.
"""
import csv
import fcntl
import html.parser
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import zlib

sys.dont_write_bytecode = True  # beside the sources
import check_cli
from check_cli import FAST, Skip, expect, wait_for

PROMPTS = ["a red ball rolls left on grass", 'a sign that says "so" </script><script>alert(1)</script>', "ein w\u00fctender B\u00e4r, 5 < 6 & 7",
           "four", "five"]
SMALL = ["--frames", "9", *FAST]


def prompts_file(w, prompts=None, name="prompts.txt"):
    with open(w.path(name), "w", encoding="utf-8") as f:
        f.write("".join(text + "\n" for text in prompts or PROMPTS))
    return w.path(name)


def twin(w):
    """The model in another folder."""
    return w.path("twin") if os.path.isdir(w.path("twin")) else w.copy_model("twin")


def compare(w, out, *options, a=None, b=None, prompts=None, env=None):
    """Without `b` of the model and its twin, or with itself where options are of one side."""
    of_one = any(option.endswith(("-a", "-b")) for option in options)
    a, b = a or w.need_model(), b or (w.need_model() if of_one else twin(w))
    return w.run("compare", a, b, "--prompts", prompts or prompts_file(w), "--out", w.path(out), *options, env=env)


def read(path, mode="rb"):
    with open(path, mode, **({} if "b" in mode else {"encoding": "utf-8"})) as f:
        return f.read()


def films(w, out):
    """What raters get, by name."""
    folder = w.path(out + "/raters/films")
    return {name: read(os.path.join(folder, name)) for name in sorted(os.listdir(folder))}


def key(w, out):
    with open(w.path(out + "/key.csv"), encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def page_data(text):
    return json.loads(re.search(r"<script type='application/json' id='data'>(.*?)</script>", text, re.S).group(1))


def side(w, out, which):
    """The films of A or B, in the order of items."""
    found = films(w, out)
    places = {row["item"]: "left" if row["left"] == which else "right" for row in key(w, out)}
    return [next(data for name, data in found.items() if name.startswith(f"{item}-{place}.")) for item, place in sorted(places.items())]


def has_plugin(w):
    return w.run("generate", "x", "--model", w.need_model(), "--out", w.path("try.mp4"), "-q", *SMALL).returncode == 0 and \
        os.path.exists(w.path("try.mp4"))


def need_plugin(w):
    if not has_plugin(w):
        raise Skip("no FFmpeg plug-in")


def no_plugin(w):
    os.makedirs(w.path("nothing"), exist_ok=True)
    return {"MOVIEGEN_PLUGINS": w.path("nothing")}


# ---- the command line ----

def test_usage(w):
    prompts = prompts_file(w)
    expect(w.run("compare"), 2, "A is missing", "usage: moviegen compare A B --prompts FILE --out DIR")
    expect(w.run("compare", "x"), 2, "B is missing")
    expect(w.run("compare", "x", "y", "--out", "z"), 2, "--prompts FILE is missing")
    expect(w.run("compare", "x", "y", "--prompts", prompts), 2, "--out DIR is missing")
    expect(w.run("compare", "x", "y", "z"), 2, "unexpected 'z'")
    for words, *texts in ((("--format", "gif"), "--format is 'gif'; it must be mp4 or png"),
                          (("--solver-b", "magic"), "--solver is 'magic'; it must be euler, midpoint or dopri5"),
                          (("--steps-a", "0"), "--steps-a needs a whole number from 1 to 1000"),
                          (("--axes", "a b"), "--axes needs video, sound, music or names"), (("--axes", "realness,,x"), "--axes needs"),
                          (("--axes", ",".join(f"x{i}" for i in range(33))), "more than 32 axes"),
                          (("--tags", "concept"), "--tags needs prompts in a .csv"), (("--axes", "sound"), "films that compare makes have no sound"),
                          (("--axes", "music-mood", "--format", "png"), "--format png has no sound")):
        expect(compare(w, "out", *words), 2, *texts)
    assert not os.path.exists(w.path("out"))
    run = w.run("compare", "--help")
    expect(run, 0)
    for text in (b"--steps-a", b"--guidance-b", b"raters/index.html", b"--axes"):
        assert text in run.stdout, text
    assert b"\n  compare      let people judge two models, blind\n" in w.run("--help").stdout


def test_one_twice(w):
    """One model with the same options is no comparison, however the folder is called and the options are said; nor are films with themselves."""
    model = w.need_model()
    os.symlink(model, w.path("link"))
    for b in (model, model + "/", os.path.relpath(model, w.folder), w.path("link")):
        expect(compare(w, "out", *SMALL, b=b), 2, f"A and B are both the model in '{b}' with the same options", "such as --steps-b 10")
    for words in (("--steps-a", "7", "--steps-b", "7"), ("--solver-a", "euler"), ("--schedule-b", "linear-quadratic"), ("--negative-a", ""),
                  ("--guidance", "3", "--guidance-b", "3"), ("--precision", "bf16"), ("--rewrite", "--rewrite-b")):
        expect(compare(w, "out", *words, a=model, b=model), 2, "A and B are both the model")
    folders = bytes_folders(w, 5)
    expect(compare(w, "out", "--steps-b", "3", a=folders["a"], b=folders["a"]), 2, "A and B are both the films in '", "take another folder")
    assert not os.path.exists(w.path("out"))
    two = prompts_file(w, PROMPTS[:2])
    for number, words in enumerate((("--steps-b", "3"), ("--guidance-a", "3"), ("--noise-scale-b", "0.9"), ("--solver-b", "midpoint"),
                                    ("--schedule-a", "linear"), ("--precision-b", "bf16"), ("--negative-a", "x"))):
        expect(compare(w, f"out{number}", "--format", "png", *SMALL, *words, "-q", a=model, b=model, prompts=two), 0)


def test_models_missing(w):
    prompts = prompts_file(w)
    expect(w.run("compare", w.path("nowhere"), w.need_model(), "--prompts", prompts, "--out", w.path("out")), 1, "nowhere")
    os.makedirs(w.path("empty"))
    expect(w.run("compare", w.need_model(), w.path("empty"), "--prompts", prompts, "--out", w.path("out")), 1, "empty' is neither a model",
           "nor a folder of films")
    expect(compare(w, "out", "--rewrite-b"), 1, "has no rewriter")
    expect(compare(w, "no/where/out", *SMALL), 1, "no/where")
    assert not os.path.exists(w.path("out"))


def test_bad_prompts(w):
    for name, text, *texts in (("a.csv", "concept,text\nx,y\n", "no column 'prompt'"), ("b.csv", "", "no column 'prompt'"),
                               ("c.csv", "prompt,concept\nx,y\n,z\n", "line 3 has no prompt"), ("d.csv", "prompt,concept\nx\n", "line 2 has 1 fields, its header 2"),
                               ("e.csv", "prompt\n", "has no prompts"), ("f.txt", "\n  \n", "has no prompts"), ("g.txt", "a\nb\0c\n", "line 2 holds a NUL"),
                               ("h.csv", 'prompt\n"a\nb\n', "line 2: the quote that opens there")):
        with open(w.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        expect(compare(w, "out", prompts=w.path(name)), 1, name, *texts)
    with open(w.path("i.csv"), "w", encoding="utf-8") as f:
        f.write("prompt\nx\n")
    expect(compare(w, "out", "--tags", "kind", prompts=w.path("i.csv")), 1, "no column 'kind', which --tags names")
    expect(compare(w, "out", prompts=w.path("none.csv")), 1, "none.csv")
    expect(compare(w, "out", prompts=w.path("none.txt")), 1, "none.txt")
    assert not os.path.exists(w.path("out"))


# ---- films ----

def test_films(w):
    """They are those of `moviegen generate` with the same options, each side's by its own; the same command makes none anew."""
    need_plugin(w)
    run = compare(w, "out", "--seed", "5", "--steps-a", "1", *SMALL, "--json", "-q")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert (line["items"], line["films"], line["made"], line["format"]) == (5, 10, 10, "mp4"), line
    assert line["page"] == w.path("out/raters/index.html") and os.path.exists(line["page"])
    for which, steps in (("a", "1"), ("b", "2")):
        for i, film in enumerate(side(w, "out", which)):
            expect(w.run("generate", PROMPTS[i], "--model", w.need_model(), "--seed", str(5 + i), "--out", w.path("film.mp4"), "-q", *SMALL,
                         "--steps", steps), 0)
            assert film == read(w.path("film.mp4")), (which, i)
    before = films(w, "out")
    run = compare(w, "out", "--seed", "5", "--steps-a", "1", *SMALL)
    expect(run, 0)
    assert b"5 pairs of films, of which 0 films are new" in run.stdout and f"give raters the folder {w.path('out')}/raters".encode() in run.stdout
    assert films(w, "out") == before


def test_same_model(w):
    """Two folders of one model: films are the same to the bit, on both sides."""
    formats = ["png", "mp4"] if has_plugin(w) else ["png"]
    for name in formats:
        expect(compare(w, name, "--format", name, *SMALL, "-q"), 0)
        assert side(w, name, "a") == side(w, name, "b") and len(set(side(w, name, "a"))) == len(PROMPTS), name


def png_pixels(data):
    """Rows of RGB of a PNG without interlace."""
    position, packed = 8, b""
    while position < len(data):
        size, kind = struct.unpack(">I4s", data[position:position + 8])
        body = data[position + 8:position + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour, body[12]) == (8, 2, 0)
        packed += body if kind == b"IDAT" else b""
        position += 12 + size
    raw, rows, above = zlib.decompress(packed), [], bytes(3 * width)
    for y in range(height):
        kind, line = raw[y * (3 * width + 1)], bytearray(raw[y * (3 * width + 1) + 1:(y + 1) * (3 * width + 1)])
        for x in range(3 * width):
            left, up, corner = line[x - 3] if x > 2 else 0, above[x], above[x - 3] if x > 2 else 0
            near = min((left, up, corner), key=lambda v, p=left + up - corner: abs(p - v))
            line[x] = (line[x] + (0, left, up, (left + up) // 2, near)[kind]) & 255
        rows.append(bytes(line))
        above = line
    return rows


def test_pictures(w):
    """Without the plug-in films are pictures of all frames, without loss."""
    prompts = prompts_file(w, PROMPTS[:1])
    run = compare(w, "out", *SMALL, prompts=prompts, env=no_plugin(w))
    expect(run, 0, "pictures of frames")
    [row], data = key(w, "out"), page_data(read(w.path("out/raters/index.html"), "r"))
    film = data["items"][0]["left" if row["left"] == "a" else "right"]
    assert (film["width"], film["height"], film["frames"], film["fps"]) == (64, 64, 9, 16), film
    assert film["name"] == f"pair-001-{'left' if row['left'] == 'a' else 'right'}.64x64x9.16-1.png", film
    rows = png_pixels(side(w, "out", "a")[0])
    assert len(rows) == 64 * 3 and film["columns"] == 3, (len(rows), film)
    expect(w.run("generate", PROMPTS[0], "--model", w.need_model(), "--out", w.path("f%d.png"), "-q", *SMALL), 0)
    frames = sorted(name for name in os.listdir(w.folder) if re.fullmatch(r"f\d+\.png", name))
    assert len(frames) == 9, frames
    for i, name in enumerate(frames):
        x, y = i % 3 * 64 * 3, i // 3 * 64
        assert [line[x:x + 64 * 3] for line in rows[y:y + 64]] == png_pixels(read(w.path(name))), name
    for name in "ab":
        os.makedirs(w.path(name))
        with open(w.path(name + "/wide.y4m"), "wb") as f:
            f.write(b"YUV4MPEG2 W16400 H2 F16:1 C444\nFRAME\n" + bytes(3 * 16400 * 2))
    expect(compare(w, "large", "--format", "png", a=w.path("a"), b=w.path("b"), prompts=prompts), 1, "1 frames of 16400 x 2 are more than a browser")


# ---- who is where ----

def test_blind(w):
    """With A and B exchanged raters get the same page and files of the same names: nothing there depends on who is where."""
    other = w.copy_model("the other model")
    pages, names, times = [], [], set()
    for out, a, b in (("one", w.need_model(), other), ("two", other, w.need_model())):
        expect(compare(w, out, "--format", "png", *SMALL, "-q", a=a, b=b), 0)
        text = read(w.path(out + "/raters/index.html"), "r")
        pages.append(text.replace(page_data(text)["comparison"], "NUMBER"))
        names.append(sorted(films(w, out)))
        times |= {os.stat(w.path(f"{out}/raters/films/{name}")).st_mtime for name in names[-1]}
        assert sorted(os.listdir(w.path(out + "/raters"))) == ["films", "index.html"], os.listdir(w.path(out + "/raters"))
        assert sorted(os.listdir(w.path(out))) == ["key.csv", "raters", "settings.csv"], os.listdir(w.path(out))
        for secret in (w.folder, "the other model", "tiny", "settings", "key.csv"):
            assert secret not in text, secret
    assert pages[0] == pages[1] and names[0] == names[1] and len(times) == 1, times
    assert [row["left"] for row in key(w, "one")] == [row["left"] for row in key(w, "two")]
    expect(compare(w, "steps", "--format", "png", "--steps-a", "1", *SMALL, "-q"), 0)
    text = read(w.path("steps/raters/index.html"), "r")
    assert text.replace(page_data(text)["comparison"], "NUMBER") == pages[0], "the page tells the steps"


def bytes_folders(w, count, one="a", two="b", ending=".mp4", name="film{}"):
    """Two folders of what look like films."""
    for which in (one, two):
        os.makedirs(w.path(which), exist_ok=True)
        for i in range(count):
            with open(os.path.join(w.path(which), name.format(i + 1) + ending), "wb") as f:
                f.write(f"{which} {i}".encode())
    return {"a": w.path(one), "b": w.path(two)}


def test_sides(w):
    """Half of the items have A on the left; another seed, other sides; the key says who."""
    seen = set()
    for count in (1, 2, 7, 40):
        shutil.rmtree(w.path("a"), ignore_errors=True)
        shutil.rmtree(w.path("b"), ignore_errors=True)
        folders = bytes_folders(w, count)
        prompts = prompts_file(w, [f"prompt {i}" for i in range(count)])
        for seed in range(6):
            out = f"out{count}-{seed}"
            expect(compare(w, out, "--seed", str(seed), "-q", prompts=prompts, **folders), 0)
            left = [row["left"] for row in key(w, out)]
            assert abs(2 * left.count("a") - count) <= 1, left
            assert all({row["left"], row["right"]} == {"a", "b"} for row in key(w, out))
            seen.add((count, "".join(left)))
            for which in "ab":
                assert side(w, out, which) == [f"{which} {i}".encode() for i in range(count)], (out, which)
    assert len([s for s in seen if s[0] == 40]) == 6 and len([s for s in seen if s[0] == 1]) == 2, "seeds give the same sides"


# ---- going on ----

def test_resume(w):
    expect(compare(w, "out", "--format", "png", *SMALL, "-q"), 0)
    before, page = films(w, "out"), read(w.path("out/raters/index.html"))
    gone = sorted(before)[3]
    os.remove(w.path("out/raters/films/" + gone))
    os.remove(w.path("out/raters/index.html"))
    os.remove(w.path("out/key.csv"))
    with open(w.path(f"out/raters/films/{gone}.tmp.123"), "wb") as f:
        f.write(before[gone][:100])
    run = compare(w, "out", "--format", "png", *SMALL, "--json")
    expect(run, 0)
    assert json.loads(run.stdout)["made"] == 1, run.stdout
    os.remove(w.path(f"out/raters/films/{gone}.tmp.123"))
    assert films(w, "out") == before and read(w.path("out/raters/index.html")) == page


def test_interrupt(w):
    """Ctrl-C in the middle; the same command ends with what it would have made at once."""
    words = ["compare", w.need_model(), w.need_model(), "--prompts", prompts_file(w), "--format", "png", "--steps-a", "60", "--steps", "90",
             "--threads", "2", "--frames", "9", "--out"]
    with subprocess.Popen([w.program, *words, w.path("out")], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: os.path.isdir(w.path("out/raters/films")) and any(n.endswith(".png") for n in os.listdir(w.path("out/raters/films"))))
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    if process.returncode == 0:
        raise Skip("it was over before it could be stopped")
    assert process.returncode == 130 and b"of 10 films; the same command goes on" in error, (process.returncode, error)
    assert not os.path.exists(w.path("out/raters/index.html"))
    run = w.run(*words, w.path("out"), "--json", "-q")
    expect(run, 0)
    assert 0 < json.loads(run.stdout)["made"] < 10, run.stdout
    expect(w.run(*words, w.path("whole"), "-q"), 0)
    assert films(w, "out") == films(w, "whole") and read(w.path("out/key.csv")) == read(w.path("whole/key.csv"))


def test_two_at_once(w):
    """The second one is refused before it writes anything; the first one is not disturbed."""
    words = ["compare", w.need_model(), w.need_model(), "--prompts", prompts_file(w), "--format", "png", "--steps-a", "300", "--steps", "600",
             "--threads", "1", "--frames", "9", "--out", w.path("out")]
    with subprocess.Popen([w.program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: os.path.isfile(w.path("out/settings.csv")))
        expect(w.run(*words), 1, "another 'moviegen compare' is at work in", "out'", "the same command goes on")
        assert process.poll() is None, "it was over before the second one began"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == 130, process.returncode
    held = os.open(w.path("out"), os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    expect(w.run(*words), 1, "another 'moviegen compare' is at work in")
    os.close(held)
    expect(compare(w, "copies", "-q", **bytes_folders(w, 5)), 0)
    expect(compare(w, "copies", "-q", **bytes_folders(w, 5)), 0)


def test_other_options(w):
    """What would mix two comparisons is refused, and it is said why."""
    folders = bytes_folders(w, 5)
    expect(compare(w, "out", "-q", **folders), 0)
    expect(compare(w, "out", "-q", **folders), 0)
    expect(compare(w, "out", "--seed", "2", **folders), 1, "settings.csv': 'seed,1,1', where now it would be 'seed,2,2'", "take another --out")
    expect(compare(w, "out", "--axes", "realness", **folders), 1, "settings.csv", "axes,realness,realness")
    expect(compare(w, "out", a=folders["b"], b=folders["a"]), 1, "settings.csv': 'name,")
    changed = prompts_file(w, PROMPTS[:4] + ["other"], "changed.txt")
    expect(compare(w, "out", prompts=changed, **folders), 1, "settings.csv': 'comparison,")
    with open(w.path("out/key.csv"), "a", encoding="utf-8") as f:
        f.write("pair-006,a,b,,x\n")
    expect(compare(w, "out", **folders), 1, "key.csv': 'pair-006,a,b,,x'")
    expect(compare(w, "new", "-q", **folders), 0)
    os.remove(w.path("new/raters/index.html"))
    os.makedirs(w.path("new/raters/index.html"))
    expect(compare(w, "new", **folders), 1, "cannot write", "new/raters/index.html")
    assert sorted(os.listdir(w.path("new/raters"))) == ["films", "index.html"], os.listdir(w.path("new/raters"))
    shutil.rmtree(w.path("new/raters"))
    prompts_file(w, name="new/raters")
    expect(compare(w, "new", **folders), 1, "cannot make the folder", "new/raters/films")
    os.makedirs(w.path("full"))
    prompts_file(w, name="full/prompts.txt")
    expect(compare(w, "full", **folders), 1, "full' is not empty and holds no comparison")
    expect(compare(w, "full/prompts.txt", **folders), 1, "full/prompts.txt")
    assert os.listdir(w.path("full")) == ["prompts.txt"]


# ---- films of others ----

def test_order(w):
    """In order of their numbers, or as a column says."""
    folders = bytes_folders(w, 12, name="{}")
    prompts = prompts_file(w, [f"prompt {i}" for i in range(12)])
    expect(compare(w, "out", "-q", prompts=prompts, **folders), 0)
    assert [row["film"] for row in key(w, "out")] == [str(i + 1) for i in range(12)]
    assert side(w, "out", "a") == [f"a {i}".encode() for i in range(12)]
    with open(w.path("named.csv"), "w", encoding="utf-8") as f:
        f.write("Film,Prompt\n7,seven\n2.mp4,two\n")
    expect(compare(w, "named", "-q", prompts=w.path("named.csv"), **folders), 0)
    assert side(w, "named", "b") == [b"b 6", b"b 1"]


def test_films_missing(w):
    folders = bytes_folders(w, 3)
    three = prompts_file(w, PROMPTS[:3], "three.txt")
    expect(compare(w, "out", **folders), 1, "has 3 films and", "5 prompts")
    with open(w.path("named.csv"), "w", encoding="utf-8") as f:
        f.write("prompt,film\nseven,film7\n")
    expect(compare(w, "out", prompts=w.path("named.csv"), **folders), 1, "/a' has no film 'film7'")
    with open(w.path("named.csv"), "w", encoding="utf-8") as f:
        f.write("prompt,film\none,film1\ntwo,\n")
    expect(compare(w, "out", prompts=w.path("named.csv"), **folders), 1, "no film for the prompt 'two'")
    os.rename(w.path("b/film2.mp4"), w.path("b/film4.mp4"))
    expect(compare(w, "out", prompts=three, **folders), 1, "/b' has no film 'film2'")
    shutil.copy(w.path("a/film1.mp4"), w.path("a/film1.webm"))
    expect(compare(w, "out", prompts=three, **folders), 1, "two films of one name", "film1.mp4", "film1.webm")
    assert not os.path.exists(w.path("out"))


def test_films_changed(w):
    """Endings that differ, or that browsers do not play: both are written anew, so that they do not tell the side."""
    for name, seed in (("a", "1"), ("b", "2")):
        os.makedirs(w.path(name))
        expect(w.run("generate", "x", "--model", w.need_model(), "--seed", seed, "--out", w.path(f"{name}/x.y4m"), "-q", *SMALL), 0)
    one = prompts_file(w, ["x"])
    folders = {"a": w.path("a"), "b": w.path("b")}
    expect(compare(w, "png", "--format", "png", "-q", prompts=one, **folders), 0)
    assert sorted(films(w, "png")) == ["pair-001-left.64x64x9.16-1.png", "pair-001-right.64x64x9.16-1.png"]
    expect(compare(w, "mp4", "-q", prompts=one, env=no_plugin(w), **folders), 1, "plug-in")
    need_plugin(w)
    expect(compare(w, "mp4", "-q", prompts=one, **folders), 0)
    assert sorted(films(w, "mp4")) == ["pair-001-left.mp4", "pair-001-right.mp4"]
    expect(compare(w, "sound", "--axes", "sound", "-q", prompts=one, **folders), 1, "x.y4m")  # which has none
    expect(w.run("generate", "x", "--model", w.need_model(), "--out", w.path("x.webm"), "-q", *SMALL), 0)
    os.remove(w.path("b/x.y4m"))
    shutil.move(w.path("x.webm"), w.path("b/x.webm"))
    expect(w.run("generate", "x", "--model", w.need_model(), "--out", w.path("a/x.mp4"), "-q", *SMALL), 0)
    os.remove(w.path("a/x.y4m"))
    expect(compare(w, "mixed", "-q", prompts=one, **folders), 0)
    assert sorted(films(w, "mixed")) == ["pair-001-left.mp4", "pair-001-right.mp4"]
    assert side(w, "mixed", "b") != [read(w.path("b/x.webm"))]


def test_model_and_films(w):
    """A model against films of others."""
    os.makedirs(w.path("films"))
    expect(w.run("generate", "x", "--model", w.need_model(), "--out", w.path("films/x.y4m"), "-q", *SMALL), 0)
    shutil.copytree(w.path("films"), w.path("again"))
    one = prompts_file(w, ["x"])
    for out, a, b in (("out", None, w.path("films")), ("models", None, None), ("films-only", w.path("again"), w.path("films"))):
        expect(compare(w, out, "--format", "png", "-q", *SMALL, a=a, b=b, prompts=one), 0)
    assert side(w, "out", "a") == side(w, "models", "a") and side(w, "out", "b") == side(w, "films-only", "b")
    assert side(w, "out", "a") != side(w, "out", "b")  # .y4m has fewer colours
    assert [row["film"] for row in key(w, "out")] == ["x"] and [row["film"] for row in key(w, "models")] == [""]


# ---- the page ----

class Page(html.parser.HTMLParser):
    """Every tag is closed in its turn, no id twice, nothing is loaded from elsewhere."""
    EMPTY = {"meta", "input", "link", "br"}

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.problems, self.declared = [], set(), [], None

    def handle_decl(self, decl):
        self.declared = decl

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id" and value in self.ids:
                self.problems.append(f"id {value} twice")
            self.ids.add(value if name == "id" else None)
            if name in ("src", "href", "action") or name.startswith("on"):
                self.problems.append(f"{tag} has {name}")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")


def test_page(w):
    expect(compare(w, "out", "-q", **bytes_folders(w, 5)), 0)
    text = read(w.path("out/raters/index.html"), "r")
    page = Page()
    page.feed(text)
    page.close()
    assert page.declared == "doctype html" and not page.open and not page.problems, (page.declared, page.open, page.problems)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|import\b.*from|fetch\(|XMLHttp|WebSocket", text), "something from elsewhere"
    data = page_data(text)
    assert [item["prompt"] for item in data["items"]] == PROMPTS and len(data["axes"]) == 9 and data["heard"] is False, data
    for item in data["items"]:
        for place in ("left", "right"):
            assert os.path.exists(w.path(f"out/raters/films/{item[place]['name']}"))


def test_axes(w):
    folders = bytes_folders(w, 2)
    two = prompts_file(w, PROMPTS[:2])
    for number, (axes, ids, heard) in enumerate((("music", 7, True), ("sound", 5, True), ("realness,fun,video", 10, False), ("fun,fun", 1, False),
                                                 ("sound-synchronisation", 1, True))):
        expect(compare(w, f"out{number}", "--axes", axes, "-q", prompts=two, **folders), 0)
        data = page_data(read(w.path(f"out{number}/raters/index.html"), "r"))
        assert (len(data["axes"]), data["heard"]) == (ids, heard), (axes, data)
        assert len({axis["id"] for axis in data["axes"]}) == ids
        assert all(axis["question"] or axis["id"] == "fun" for axis in data["axes"]), data["axes"]


def test_script(w):
    """A rater at work, on films, on films that are heard, and on pictures; and what is sent back is counted."""
    node = shutil.which("node")
    if not node:
        raise Skip("no node")
    folders = bytes_folders(w, 5)
    expect(compare(w, "video", "-q", **folders), 0)
    expect(compare(w, "heard", "--axes", "music", "-q", **folders), 0)
    expect(compare(w, "pictures", "--format", "png", *SMALL, "-q"), 0)
    for out, axes in (("video", 9), ("heard", 7), ("pictures", 9)):
        run = subprocess.run([node, os.path.join(check_cli.ROOT, "tests/cli/compare_page.js"), w.path(out + "/raters/index.html")],
                             capture_output=True, timeout=120, check=False)
        assert run.returncode == 0, (out, run.stderr.decode())
        with open(w.path("votes.csv"), "w", encoding="utf-8", newline="") as f:
            f.write(json.loads(run.stdout)["votes"])
        run = w.run("votes", w.path(out), w.path("votes.csv"), "--json")
        expect(run, 0)
        line = json.loads(run.stdout)
        # of the first pair left, tie, right in turn, the first one changed to right; of all others ties
        left = sum(a % 3 == 0 for a in range(1, axes))
        right = 1 + sum(a % 3 == 2 for a in range(axes))
        assert (line["raters"], line["votes"], line["left"], line["right"]) == (1, 5 * axes, left, right), (out, line)
        first = key(w, out)[0]["right"]
        net = {axis["axis"]: axis["net"] for axis in line["axes"]}
        assert net[page_data(read(w.path(out + "/raters/index.html"), "r"))["axes"][0]["id"]] == (20 if first == "a" else -20), (first, net)


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
