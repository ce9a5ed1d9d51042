# SPDX-License-Identifier: MIT
"""`moviegen eval frechet` from outside, with a tiny model.

    check_eval_frechet.py PROGRAM        prints TAP
"""
import json
import os
import shutil
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli  # noqa: E402
from check_cli import FAST, PROMPT, expect  # noqa: E402

NAMES = [kind + what for kind in ("", "floor_", "ceiling_") for what in ("frechet_frames", "frechet_films")]


def evaluate(w, *options):
    return w.run("eval", "frechet", "--model", w.need_model(), *options, "-q", *FAST)


def line_of(run):
    expect(run, 0)
    assert run.stdout.count(b"\n") == 1, run.stdout
    return json.loads(run.stdout)


def test_line(w):
    run = evaluate(w, "-n", "2", "--json")
    assert b"2 films are fewer than the 480 dimensions" in run.stderr, run.stderr
    line = line_of(run)
    assert line["protocol"] == "frechet" and line["n"] == 2 and line["steps"] == 2, line
    assert line["dims"] == 240 and line["film_dims"] == 480 and list(line)[-6:] == NAMES, line
    assert all(line[name] > 0 for name in NAMES), line
    assert line == line_of(evaluate(w, "-n", "2", "--json")), "another result"
    other = line_of(evaluate(w, "-n", "2", "--json", "--seed", "7"))
    assert other["frechet_frames"] != line["frechet_frames"], other
    assert other["floor_frechet_frames"] == line["floor_frechet_frames"], other


def test_table(w):
    run = evaluate(w, "-n", "2")
    expect(run, 0)
    assert run.stdout.startswith(b"frechet, 2 clips, seed 1, model "), run.stdout
    assert b"  ceiling_frechet_films" in run.stdout, run.stdout


def test_too_few(w):
    expect(evaluate(w, "-n", "1"), 1, "n of 2 or more")


def test_folder(w):
    """Films of the model's own size unless another is asked for; half of them are compared with."""
    films = w.path("films")
    os.mkdir(films)
    for seed in ("1", "2"):
        expect(w.run("generate", PROMPT, "--model", w.need_model(), "--seed", seed, "--out",
                     os.path.join(films, seed + ".y4m"), "-q", *FAST), 0)
    expect(evaluate(w, "--data", films), 1, "twice as many samples")
    for film in ("3", "4", "5"):
        shutil.copy(os.path.join(films, "1.y4m"), os.path.join(films, film + ".y4m"))
    line = line_of(evaluate(w, "--data", films, "--json"))
    assert line["n"] == 2 and line["frechet_films"] > 0, line
    expect(evaluate(w, "--data", films, "--frames", "1"), 1, "are not in a dataset of")


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
