# SPDX-License-Identifier: MIT
"""The moviegen program edits films: moviegen edit, by an editor and by the video model alone.

    check_edit.py PROGRAM        prints TAP

On a tiny model with an editor, which the program trains here first, in seconds.
"""
import json
import os
import re
import signal
import subprocess
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli
from check_cli import PROMPT, expect, read_png_size, read_y4m
from check_upsample import close, write_film

EDITOR = {
    "name": "editor", "kind": "editor", "steps": 6, "batch": 2, "clips": 2, "tae": "tae",
    "text_encoders": {"ul2": {"from": "text_encoder", "frozen": True}},
    "editor": {"steps": 3, "source_guidance": 2,
               "transformer": {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "condition_channels": 4,
                               "tasks": 8, "task_dim": 8, "patch": [1, 2, 2], "frames_max": 4, "rows_max": 4,
                               "columns_max": 4, "text": {"ul2": 16}, "guidance": 3}},
    "optimizer": {"lr": 0.05, "ema": 0.5}}
INSTRUCTION = "make the red ball blue"
TASKS = ("local", "style", "background", "removal", "addition", "texture", "segmentation")


def edit(w, film, name, *more, instruction=INSTRUCTION):
    """The file that it makes, whole."""
    run = w.run("edit", film, instruction, "--model", w.need_model(), "--out", w.path(name), "-q", "--threads", "2", *more)
    expect(run, 0)
    with open(w.path(name), "rb") as f:
        return f.read()


def line_of(w, film, *more):
    run = w.run("edit", film, INSTRUCTION, "--model", w.need_model(), "--out", w.path("j.y4m"), "--json", "-q", *more)
    expect(run, 0)
    assert run.stdout.count(b"\n") == 1, run.stdout
    return json.loads(run.stdout)


# ---- the command line ----

def test_no_words(w):
    expect(w.run("edit"), 2, "no film given", "edit INPUT \"INSTRUCTION\"")
    expect(w.run("edit", "a.y4m"), 2, "no instruction given", "edit INPUT \"INSTRUCTION\"")
    expect(w.run("edit", "a.y4m", "make", "it", "blue"), 2, "unexpected 'it'")
    with open(w.path("there.y4m"), "wb"):
        pass
    expect(w.run("edit", "make it blue", w.path("there.y4m")), 2, "'make it blue' is no file, but '", "the file comes first")


def test_help(w):
    run = w.run("--help")
    expect(run, 0)
    assert re.search(rb"(?m)^  edit +edit a film by an instruction$", run.stdout), run.stdout
    run = w.run("edit", "--help")
    expect(run, 0)
    for name in (b"usage: moviegen edit INPUT", b"--task", b"--strength", b"--source-guidance", *(t.encode() for t in TASKS)):
        assert name in run.stdout, name


def test_bad_options(w):
    words = ("edit", "x", "y")
    expect(w.run(*words, "--stepz", "3"), 2, "unknown option '--stepz'", "--steps", "--task")
    expect(w.run(*words, "--mesh", "dp=2000"), 2, "a mesh of more than 64 ranks needs processes")
    for option, value in (("--steps", "0"), ("--steps", "1001"), ("--frames", "0"), ("--width", "0"),
                          ("--height", "65537"), ("--threads", "257")):
        expect(w.run(*words, option, value), 2, option + " needs a whole number from 1", f"'{value}'")
    for option, value in (("--guidance", "101"), ("--source-guidance", "0"), ("--source-guidance", "101"), ("--strength", "0"),
                          ("--strength", "1"), ("--strength", "nan")):
        expect(w.run(*words, option, value), 2, option + " needs a number from", f"'{value}'")
    expect(w.run(*words, "--task", "text_to_video"), 2, "--task is 'text_to_video'",
           "auto, local, style, background, removal, addition, texture or segmentation")
    expect(w.run(*words, "--solver", "rk4"), 2, "--solver is 'rk4'; it must be euler, midpoint or dopri5")
    for more in (("--task", "style"), ("--source-guidance", "2")):
        expect(w.run(*words, "--strength", "0.5", *more), 2, "with --strength the video model edits", more[0])
    expect(w.run(*words, "--out", w.path("movie")), 2, "--out needs a file name with an ending")


def test_bad_files(w):
    film = write_film(w, "film.y4m")
    out = ("--model", w.need_model(), "--out", w.path("new.y4m"))
    expect(w.run("edit", film, INSTRUCTION, "--out", w.path("nowhere/new.y4m")), 1, "nowhere/new.y4m")
    expect(w.run("edit", w.path("none.y4m"), INSTRUCTION, *out), 1, "none.y4m")
    expect(w.run("edit", film, INSTRUCTION, "--first", "9", *out), 1, "film.y4m")
    assert os.listdir(w.folder) == ["film.y4m"], os.listdir(w.folder)


def test_no_editor(w):
    film, out = write_film(w, "film.y4m"), ("--out", w.path("new.y4m"))
    plain = w.copy_model("plain")
    pipeline = os.path.join(plain, "pipeline.json")
    with open(pipeline, encoding="utf-8") as f:
        parts = json.load(f)
    assert parts["editor"] == "editor", parts
    with open(pipeline, "w", encoding="utf-8") as f:
        json.dump({key: value for key, value in parts.items() if key != "editor"}, f)
    run = w.run("edit", film, INSTRUCTION, "--model", plain, *out)
    expect(run, 1, "the model has no editor", "docs/recipes.md#editor", "--strength")
    expect(w.run("edit", film, PROMPT, "--model", plain, "--strength", "0.6", "--steps", "5", "-q", *out), 0)
    assert read_y4m(w.path("new.y4m")) == (40, 24, 9)
    broken = w.copy_model("broken")
    os.truncate(os.path.join(broken, "editor.safetensors"), 100)
    expect(w.run("edit", film, INSTRUCTION, "--model", broken, *out), 1, "editor.safetensors")


def test_bad_request(w):
    film = write_film(w, "film.y4m")
    out = ("--model", w.need_model(), "--out", w.path("new.y4m"))
    for more in ((), ("--strength", "0.5")):
        expect(w.run("edit", film, INSTRUCTION, "--width", "400", *out, *more), 1, "up to 64 x 64 pixels, not 400 x 24")
        expect(w.run("edit", film, "", *out, *more), 1, "the prompt, which is what to edit, is missing or empty")
        expect(w.run("edit", film, "a" * 4097, *out, *more), 1, "prompt", "4096")
        expect(w.run("edit", film, INSTRUCTION, "--drop-text", "ul2", *out, *more), 1, "must stay")
    assert not os.path.exists(w.path("new.y4m"))


# ---- films ----

def test_edit(w):
    film = write_film(w, "film.y4m")
    run = w.run("edit", film, INSTRUCTION, "--model", w.need_model(), "--out", w.path("new.y4m"), "--threads", "2")
    expect(run, 0)
    assert b"wrote" in run.stdout and b"9 frames of 40 x 24, 25 frames per second" in run.stdout, run.stdout
    assert b"editing" in run.stderr, run.stderr
    assert read_y4m(w.path("new.y4m")) == (40, 24, 9)
    with open(w.path("new.y4m"), "rb") as f:
        assert b"F25:1" in f.readline()


def test_size(w):
    film = write_film(w, "film.y4m", 41, 25, 3)  # sides off every grid
    for size, words in (((41, 25), ()), ((50, 25), ("--width", "50")), ((33, 31), ("-W", "33", "-H", "31")),
                        ((41, 25), ("--strength", "0.5"))):
        edit(w, film, "new.y4m", *words)
        assert read_y4m(w.path("new.y4m")) == (*size, 3)


def test_picture(w):
    edit(w, write_film(w, "film.y4m", frames=1), "new.png")
    assert read_png_size(w.path("new.png")) == (40, 24)


def test_frames(w):
    """Frames that are taken are those of a film of them alone."""
    film = write_film(w, "film.y4m")
    part = edit(w, film, "part.y4m", "--first", "2", "--frames", "3")
    with open(film, "rb") as f:
        header, _, body = f.read().partition(b"\n")
    size = len(body) // 9
    with open(w.path("three.y4m"), "wb") as f:
        f.write(header + b"\n" + body[2 * size:5 * size])
    assert part == edit(w, w.path("three.y4m"), "whole.y4m")


def differ(w, alike, other, base=()):
    """Films with these options are the plain one; with those, each another."""
    film = write_film(w, "film.y4m", 24, 24, 7)
    plain = edit(w, film, "plain.y4m", *base)
    for words in alike:
        assert edit(w, film, "new.y4m", *base, *words) == plain, f"{words} change something"
    found = [plain]
    for words in other:
        found.append(edit(w, film, "new.y4m", *base, *words))
        assert found.count(found[-1]) == 1, f"{words} change nothing"


def test_options(w):
    differ(w, (("--steps", "3", "--guidance", "3", "--source-guidance", "2", "--seed", "1"), ("--task", "auto"),
               ("--task", "local"), ("--threads", "1"), ("--device", "cpu", "--autotune"), ("-W", "24", "-H", "24")),
           (("--seed", "2"), ("--steps", "2"), ("--guidance", "1"), ("--source-guidance", "1"), ("--task", "style"),
            ("--task", "removal"), ("--negative", "a green cube"), ("--solver", "midpoint"), ("--schedule", "linear"),
            ("--precision", "bf16"), ("--strength", "0.5", "--steps", "3")))


def test_strength(w):
    differ(w, (("--seed", "1"), ("--threads", "1"), ("--strength", "0.62")),  # of 5 steps three, too
           (("--seed", "2"), ("--strength", "0.4"), ("--steps", "4"), ("--schedule", "linear-quadratic")),
           ("--strength", "0.6", "--steps", "5", "--schedule", "linear"))


def test_tasks(w):
    """An instruction's words tell the task; another task, another film."""
    film = write_film(w, "film.y4m", 24, 24, 3)
    words = "remove the ball"
    found = edit(w, film, "new.y4m", "--steps", "1", instruction=words)
    for task in TASKS:
        same = edit(w, film, "task.y4m", "--steps", "1", "--task", task, instruction=words) == found
        assert same == (task == "removal"), task


def test_mesh(w):
    """The film of one rank, written once, whoever edits; a mistake is told once."""
    film = write_film(w, "film.y4m", 24, 24, 7)
    for more in ((), ("--strength", "0.6", "--steps", "5")):
        plain = edit(w, film, "plain.y4m", *more)
        assert edit(w, film, "rows.y4m", "--mesh", "dp=2", *more) == plain
        assert close(edit(w, film, "split.y4m", "--mesh", "tp=2", *more), plain)
    out = ("--model", w.need_model(), "--out", w.path("new.y4m"), "--mesh", "dp=2")
    for words in ((w.path("none.y4m"), INSTRUCTION), (film, INSTRUCTION, "--width", "400")):
        run = w.run("edit", *words, *out)
        expect(run, 1, "rank 0: ")
        assert run.stderr.count(b"\n") == 1, run.stderr
    assert not os.path.exists(w.path("new.y4m"))


def test_left_out(w):
    """An editor that a mesh cannot share: told once, and why, where it is asked for; the video model edits on it."""
    folder, film = w.copy_model("model"), write_film(w, "film.y4m", 24, 24, 3)
    with open(os.path.join(folder, "editor.json")) as f:
        config = json.load(f)
    config["config"]["transformer"]["heads"] = 1
    with open(os.path.join(folder, "editor.json"), "w") as f:
        json.dump(config, f)

    def run(*more):
        return w.run("edit", film, INSTRUCTION, "--model", folder, "--out", w.path("new.y4m"), "--mesh", "tp=2", "-q", *more)
    asked = run()
    warning, error = asked.stderr.decode().strip("\n").split("\n")
    assert asked.returncode == 1 and not os.path.exists(w.path("new.y4m"))
    assert "warning: " in warning and "the editor \"editor\" is left out" in warning, warning
    assert "rank 0: the pipeline lacks its editor, which its mesh cannot share: 1 heads" in error, error
    begun = run("--strength", "0.6", "--steps", "5")
    assert begun.returncode == 0 and begun.stderr.count(b"\n") == 1, begun.stderr


def test_json(w):
    film = write_film(w, "film.y4m")
    line = line_of(w, film, "--seed", "4")
    assert line["n"] == 1 and line["seed"] == 4 and re.fullmatch("[0-9a-f]{16}", line["model_hash"]), line
    assert line["input"] == film and line["prompt"] == INSTRUCTION and line["guidance"] == 3, line
    assert line["task"] == "auto" and line["source_guidance"] == 2 and "strength" not in line, line
    assert (line["width"], line["height"], line["frames"], line["fps"]) == (40, 24, 9, 25), line
    assert line["files"] == [w.path("j.y4m")] and line["seconds"] > 0, line
    line = line_of(w, film, "--task", "style", "--source-guidance", "1.5", "--steps", "2", "--guidance", "4")
    assert (line["task"], line["source_guidance"], line["steps"], line["guidance"]) == ("style", 1.5, 2, 4), line
    line = line_of(w, film, "--strength", "0.02")
    assert line["steps"] == 50 and abs(line["strength"] - 0.02) < 1e-6 and line["guidance"] == 7.5, line
    assert "task" not in line and "source_guidance" not in line, line


def test_fallback(w):
    empty = w.path("no plugins")
    os.makedirs(empty)
    run = w.run("edit", write_film(w, "film.y4m"), INSTRUCTION, "--model", w.need_model(), cwd=w.folder,
                env={"MOVIEGEN_PLUGINS": empty})
    expect(run, 0, "plug-in", ".y4m and a .png")
    assert read_y4m(w.path("edited.y4m")) == (40, 24, 9)
    assert not os.path.exists(w.path("edited.mp4"))


def test_cancel(w):
    out = w.path("cancelled.y4m")
    with subprocess.Popen([w.program, "edit", write_film(w, "film.y4m", 64, 64, 60), INSTRUCTION, "--model", w.need_model(),
                           "--out", out, "--steps", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=120)
    assert process.returncode == 130, (process.returncode, first, error)
    assert b"cancel" in error.lower(), error
    assert os.listdir(w.folder) == ["film.y4m"], os.listdir(w.folder)


# ---- an editor of one's own pairs ----

def write_text(w, name, text):
    with open(w.path(name), "w", encoding="utf-8") as f:
        f.write(text)


def write_pairs(w, count=4):
    os.makedirs(w.path("pairs"), exist_ok=True)
    for i in range(count):
        write_film(w, f"pairs/{i}.y4m", 40 + 2 * i, 24 + 2 * i)
        write_film(w, f"pairs/{i}.edited.y4m", 40 + 2 * i, 24 + 2 * i)
        write_text(w, f"pairs/{i}.edit.txt", ("remove the ball", "style: darker", "add a cube", "make it blue")[i % 4] + "\n")


def train_own(w, folder, edits, *more, env=None):
    stage = {**EDITOR, "edits": edits, "clips": 8, "validate_every": 3, "validate_clips": 8}
    with open(w.path("own.json"), "w", encoding="utf-8") as f:
        json.dump({**check_cli.TINY_RECIPE, "stages": [stage]}, f)
    return w.run("train", "--recipe", w.path("own.json"), "--stage", "editor", "--dir", folder, "--data", w.path("pairs"),
                 "--size", "32", "--frames", "9", *more, env=env)


PAIRS = {"pairs": 2, "animated": 1, "segmentation": 0, "text": 0}


def test_train_pairs(w):
    """Trained, the same bits each time, from what the cache has kept, too, and asked; and by two ranks."""
    write_pairs(w)
    folders = [w.copy_model(name) for name in ("one", "two")]
    cache = {"MOVIEGEN_CACHE": w.path("cache")}
    expect(train_own(w, folders[0], PAIRS, "--log", w.path("log.jsonl"), env=cache), 0)
    assert len(os.listdir(w.path("cache"))) == 1, os.listdir(w.path("cache"))
    with open(w.path("log.jsonl"), encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    assert any("val_loss" in line for line in lines), lines
    expect(train_own(w, folders[1], PAIRS, "-q", "--threads", "1", env=cache), 0)
    assert len(os.listdir(w.path("cache"))) == 1, os.listdir(w.path("cache"))
    expect(train_own(w, w.copy_model("ranks"), PAIRS, "-q", "--mesh", "dp=2", "--threads", "1"), 0)
    weights = []
    for folder in folders:
        with open(os.path.join(folder, "editor.safetensors"), "rb") as f:
            weights.append(f.read())
    assert weights[0] == weights[1], "other bits"
    expect(w.run("edit", write_film(w, "film.y4m"), INSTRUCTION, "--model", folders[0], "--out", w.path("new.y4m"), "-q"), 0)
    assert read_y4m(w.path("new.y4m")) == (40, 24, 9)


def test_train_bad_pairs(w):
    write_pairs(w, 2)
    folder = w.copy_model("model")
    with open(os.path.join(folder, "editor.safetensors"), "rb") as f:
        before = f.read()

    def refused(*texts, edits=None):
        expect(train_own(w, folder, edits or PAIRS, "-q"), 1, *texts)
    refused("\"edits\" ask for \"segmentation\"", "the share 0", edits={"pairs": 1, "segmentation": 1, "text": 0})
    refused("the film '0.y4m' in '", "has no caption, '0.txt'", edits={"pairs": 1, "text": 1})
    write_text(w, "pairs/1.edit.txt", "remove the ball\nand the cube\n")
    refused("the instruction '", "1.edit.txt' has more than one line")
    os.remove(w.path("pairs/1.edit.txt"))
    refused("the films '1.y4m' and '1.edited.y4m' in '", "'1.edit.txt' is missing")
    os.remove(w.path("pairs/1.edited.y4m"))
    refused("the film '1.y4m' in '", "'1.edited.y4m' is missing")
    write_text(w, "pairs/1.edit.txt", "remove the ball")
    write_film(w, "pairs/1.edited.y4m", frames=5)
    refused("1.edited.y4m' has 5 frames, fewer than the 9 of a sample")
    write_film(w, "pairs/1.edited.y4m", rate="30:1")
    refused("'1.y4m' and '1.edited.y4m'", "25 and 30 frames a second")
    write_film(w, "pairs/1.edited.y4m", width=24)
    refused("'1.y4m' and '1.edited.y4m'", "an edit keeps the relation of the sides")
    for name in os.listdir(w.path("pairs")):
        if ".edit" in name:
            os.remove(os.path.join(w.path("pairs"), name))
    refused("an editor learns from edits, and the dataset has none", "clip.edited.mp4, clip.edit.txt")
    with open(os.path.join(folder, "editor.safetensors"), "rb") as f:
        assert f.read() == before, "a model was saved"
    write_pairs(w, 2)  # what the recipe does not ask for is not missed
    expect(train_own(w, folder, {"pairs": 1}, "-q"), 0)
    with open(os.path.join(folder, "editor.safetensors"), "rb") as f:
        assert f.read() != before, "no model was saved"


# ---- moviegen eval edit ----

def evaluate(w, *options, model=None):
    return w.run("eval", "edit", "--model", model or w.need_model(), "-n", "1", "--seed", "2", "--threads", "2", "-q", *options)


def test_eval(w):
    run = evaluate(w, "--json")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert line["protocol"] == "edit" and line["n"] == 1 and line["seed"] == 2 and len(line["model_hash"]) == 16, line
    assert (line["steps"], line["guidance"], line["source_guidance"]) == (3, 3, 2), line
    for way in ("", "copy_", "ceiling_", "sdedit_"):
        assert 0 <= line[way + "applied"] <= 1 and -1 < line[way + "ssim"] < 1.001, (way, line)
        for name in ("psnr", "kept_psnr", "changed_psnr"):
            assert 1 < line[way + name] < 100, (way + name, line)
    assert line["copy_kept_psnr"] > line["copy_changed_psnr"], line
    assert evaluate(w, "--json").stdout == run.stdout, "another result"
    other = json.loads(evaluate(w, "--json", "--steps", "2").stdout)
    assert other["steps"] == 2 and other["psnr"] != line["psnr"] and other["copy_psnr"] == line["copy_psnr"], other
    run = evaluate(w)
    expect(run, 0)
    assert run.stdout.startswith(b"edit, 1 clips, seed 2, model ") and b"  changed_psnr" in run.stdout, run.stdout


def test_eval_without_editor(w):
    plain = w.copy_model("plain")
    pipeline = os.path.join(plain, "pipeline.json")
    with open(pipeline, encoding="utf-8") as f:
        parts = json.load(f)
    with open(pipeline, "w", encoding="utf-8") as f:
        json.dump({key: value for key, value in parts.items() if key != "editor"}, f)
    expect(evaluate(w, "--json", model=plain), 1, "lacks its editor")


if __name__ == "__main__":
    check_cli.TINY_RECIPE["stages"].append(EDITOR)
    sys.exit(check_cli.main(globals()))
