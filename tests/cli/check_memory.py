# SPDX-License-Identifier: MIT
"""The moviegen program under a limit of memory: --memory GB.

    check_memory.py PROGRAM        prints TAP

On a tiny model that the program trains here first, in seconds.
"""
import os
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli
from check_cli import FAST, PROMPT, expect

OPENS = ("generate", "upsample", "edit", "personalize", "sound", "train", "eval", "sheet", "info", "average", "convert", "curate",
         "rewrite", "compare")


def test_values(w):
    for command in OPENS:
        assert b"--memory GB" in w.run(command, "--help").stdout, command
        expect(w.run(command, "--memory"), 2, "--memory needs a value")
        for value in ("0", "-1", "many", "1e7", "nan"):
            expect(w.run(command, "--memory", value), 2, "--memory needs a number from 0.001 to 1e+06", f"'{value}'")
    for command in ("plan", "plot", "votes"):  # which compute next to nothing
        expect(w.run(command, "--memory", "1"), 2, "unknown option '--memory'")


def generate(w, name, *options):
    path = w.path(name)
    return path, w.run("generate", PROMPT, *FAST, "--model", w.need_model(), "-o", path, "-q", *options)


def test_generate(w):
    films = []
    for name, memory in (("free.y4m", []), ("much.y4m", ["--memory", "2"])):
        path, run = generate(w, name, *memory)
        expect(run, 0)
        with open(path, "rb") as f:
            films.append(f.read())
    assert films[0] == films[1], "a limit that is not met changes the film"
    path, run = generate(w, "none.y4m", "--memory", "0.001")
    expect(run, 1, "1000000", "(the limit is that of --memory)")
    assert not os.path.exists(path)
    # what does not fit is found before it is computed; the model itself does
    path, run = generate(w, "none.y4m", "--memory", "0.1", "--frames", "20001")
    expect(run, 1, "the limit", "(the limit is that of --memory)")
    assert not os.path.exists(path)


def test_train(w):
    train = ["train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("new"), "-q"]
    expect(w.run(*train, "--memory", "0.002"), 1, "host_memory_max 2000000", "(the limit is that of --memory)")
    assert not os.path.exists(os.path.join(w.path("new"), "tae.safetensors"))
    expect(w.run(*train, "--memory", "2"), 0)
    assert os.path.exists(os.path.join(w.path("new"), "tae.safetensors"))


def test_ranks(w):
    """Each has the limit for itself."""
    path, run = generate(w, "ranks.y4m", "--mesh", "cp=2", "--threads", "1", "--memory", "0.001")
    expect(run, 1, "1000000", "(the limit is that of --memory)")
    assert not os.path.exists(path)


def test_others(w):
    for words in (("eval", "tae", "--model", w.need_model(), "-n", "1"),
                  ("sheet", "--model", w.model, "-o", w.path("sheet.png"), *FAST)):
        expect(w.run(*words, "--memory", "0.001"), 1, "1000000", "(the limit is that of --memory)")


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
