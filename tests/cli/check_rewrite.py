# SPDX-License-Identifier: MIT
"""The moviegen program rewrites prompts: moviegen rewrite, and moviegen generate --rewrite.

    check_rewrite.py PROGRAM        prints TAP

On a tiny model that the program trains here first, in seconds, with a rewriter beside it that answers always the same.
"""
import json
import os
import sys

sys.dont_write_bytecode = True  # beside the sources
sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import check_cli
import tiny_rewriter
from check_cli import FAST, expect, read_y4m
from tiny_rewriter import TEXT

PROMPT = "fox?"
QUOTED = 'a sign that says "so"'  # which the answer loses


def model(w):
    folder = w.copy_model("with_rewriter")
    tiny_rewriter.save(folder)
    return folder


def film(w, folder, prompt, name, *more):
    """The file that it makes, whole."""
    expect(w.run("generate", prompt, "--model", folder, "--out", w.path(name), "-q", "--frames", "9", *FAST, *more), 0)
    with open(w.path(name), "rb") as f:
        return f.read()


# ---- the command line ----

def test_no_words(w):
    expect(w.run("rewrite"), 2, "no prompt given", "rewrite \"PROMPT\"")
    expect(w.run("rewrite", "a", "fox"), 2, "unexpected 'fox'")


def test_help(w):
    run = w.run("--help")
    expect(run, 0)
    assert b"\n  rewrite      rewrite a prompt as the model's captions are\n" in run.stdout, run.stdout
    run = w.run("rewrite", "--help")
    expect(run, 0)
    for name in (b"usage: moviegen rewrite \"PROMPT\" [options]", b"--model", b"--json", b"quotation marks"):
        assert name in run.stdout, name
    run = w.run("generate", "--help")
    assert b"--rewrite" in run.stdout, run.stdout


def test_bad_options(w):
    expect(w.run("rewrite", "x", "--stepz", "3"), 2, "unknown option '--stepz'", "--precision")
    expect(w.run("rewrite", "x", "--precision", "f16"), 2, "--precision is 'f16'; it must be f32, bf16 or fp8")
    expect(w.run("rewrite", "x", "--threads", "0"), 2, "--threads needs a whole number from 1")


def test_no_rewriter(w):
    for words in (("rewrite", "x"), ("generate", "x", "--rewrite", "--out", w.path("film.y4m"))):
        expect(w.run(*words, "--model", w.need_model()), 1, "the model has no rewriter", "docs/rewriting.md")
    expect(w.run("rewrite", "x", "--model", w.path("nowhere")), 1, "nowhere")
    folder = model(w)
    os.truncate(os.path.join(folder, "rewriter.safetensors"), 100)
    expect(w.run("rewrite", "x", "--model", folder), 1, "rewriter.safetensors")
    assert not os.path.exists(w.path("film.y4m"))


def test_bad_prompts(w):
    folder = model(w)
    for prompt, text in (("", "the prompt is missing or empty"), ("  ", "the prompt is nothing but spaces"), (b"\xff", "not UTF-8"),
                         ("a" * 5000, "longer than 4096 bytes"), ("a" * 600, "shorten it")):
        expect(w.run("rewrite", prompt, "--model", folder), 1, text)
        expect(w.run("generate", prompt, "--rewrite", "--model", folder, "--out", w.path("film.y4m")), 1, text)
    assert not os.path.exists(w.path("film.y4m"))


# ---- prompts ----

def test_rewrite(w):
    folder = model(w)
    for words in ((), ("-q",), ("--threads", "1"), ("--precision", "bf16"), ("--device", "cpu")):
        run = w.run("rewrite", PROMPT, "--model", folder, *words)
        expect(run, 0)
        assert run.stdout.decode() == TEXT + "\n" and run.stderr == b"", (words, run.stdout, run.stderr)


def test_json(w):
    run = w.run("rewrite", PROMPT, "--model", model(w), "--json")
    expect(run, 0)
    assert run.stdout.count(b"\n") == 1 and run.stdout.startswith(b'{"prompt":'), run.stdout
    assert json.loads(run.stdout) == {"prompt": PROMPT, "rewritten": TEXT}, run.stdout


def test_refused_answer(w):
    """The prompt stays, and it is said why."""
    run = w.run("rewrite", QUOTED, "--model", model(w), "--json")
    expect(run, 0, "moviegen rewrite: warning: ")
    assert json.loads(run.stdout) == {"prompt": QUOTED, "rewritten": QUOTED}, run.stdout


# ---- films ----

def test_generate(w):
    """Of what the prompt became."""
    folder = model(w)
    plain = film(w, folder, TEXT, "plain.y4m")
    assert film(w, folder, PROMPT, "typed.y4m") != plain
    assert film(w, folder, PROMPT, "new.y4m", "--rewrite") == plain
    assert film(w, folder, PROMPT, "new.y4m", "--rewrite", "--mesh", "dp=2") == plain
    assert film(w, folder, QUOTED, "new.y4m", "--rewrite") == film(w, folder, QUOTED, "quoted.y4m")


def test_generate_says(w):
    words = ("generate", PROMPT, "--rewrite", "--model", model(w), "--frames", "9", *FAST)
    run = w.run(*words, "--out", w.path("film.y4m"))
    expect(run, 0, f"moviegen generate: rewritten: {TEXT}\n")
    assert run.stderr.count(b"rewritten") == 1, run.stderr
    assert read_y4m(w.path("film.y4m")) == (64, 64, 9)
    run = w.run(*words, "--out", w.path("film.y4m"), "-q")
    expect(run, 0)
    assert run.stderr == b"", run.stderr
    run = w.run(*words, "--out", w.path("film.y4m"), "--json", "-q")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert (line["prompt"], line["rewritten"]) == (PROMPT, TEXT), line
    run = w.run("generate", PROMPT, "--model", w.need_model(), "--frames", "9", *FAST, "--out", w.path("film.y4m"), "--json", "-q")
    assert "rewritten" not in json.loads(run.stdout), run.stdout


def test_train_keeps_it(w):
    """A video model that is trained anew has the prompts of the one before."""
    folder = model(w)
    expect(w.run("train", "--recipe", w.recipe(), "--stage", "video", "--dir", folder, "--threads", "2", "-q"), 0)
    run = w.run("rewrite", PROMPT, "--model", folder)
    expect(run, 0)
    assert run.stdout.decode() == TEXT + "\n", run.stdout


# ---- moviegen eval rewrite ----

def test_eval(w):
    options = ("eval", "rewrite", "-n", "2", "--seed", "3", "-q", *FAST)
    expect(w.run(*options, "--model", w.need_model()), 1, "rewriter")
    folder = model(w)
    run = w.run(*options, "--model", folder, "--json")
    expect(run, 0)
    assert run.stdout.count(b'"steps"') == 1, run.stdout
    line = json.loads(run.stdout)
    assert (line["protocol"], line["n"], line["seed"], line["steps"]) == ("rewrite", 2, 3, 2), line
    assert line["exact"] == 0, line  # of no scene is it said that a fox jumps
    for name in ("shape", "plain_shape", "told_shape"):
        assert 0 <= line[name] <= 1, (name, line)
    run = w.run(*options, "--model", folder)
    expect(run, 0)
    assert run.stdout.startswith(b"rewrite, 2 clips, seed 3, model ") and b"  told_shape" in run.stdout, run.stdout


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
