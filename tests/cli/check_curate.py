# SPDX-License-Identifier: MIT
"""`moviegen curate` from outside, and training on what it kept.

    check_curate.py PROGRAM        prints TAP
"""
import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # beside the sources
import check_cli
from check_cli import OPTIMIZER, expect

RECIPE = {
    "format": "moviegen-recipe", "version": 1, "stages": [
        {"name": "tae", "kind": "autoencoder", "steps": 2, "batch": 1, "frames": 8, "mse": 10, "kl": 0.0003,
         "tae": {"channels": [2, 4, 4, 8], "latent_channels": 4, "blocks": 1, "temporal": True}, "optimizer": OPTIMIZER}]}


def film(w, name, frames, moves, seed):
    """A block on a checkered ground, of 96 x 64 pixels; it moves a pixel a frame or not at all. Another seed looks different."""
    os.makedirs(w.path("raw"), exist_ok=True)
    with open(os.path.join(w.path("raw"), name), "wb") as f:
        f.write(b"YUV4MPEG2 W96 H64 F16:1 C444\n")
        for i in range(frames):
            at = 8 + (i % 48 if moves else 0)
            top = 4 + 6 * seed
            rows = [bytes(230 if top <= y < top + 20 and at <= x < at + 24 else 90 + 20 * ((x // 9 + y // 7) % 2) for x in range(96))
                    for y in range(64)]
            f.write(b"FRAME\n" + b"".join(rows) + bytes([128]) * (2 * 96 * 64))


def films(w):
    for i in range(3):
        film(w, f"good{i}.y4m", 40, True, 3 * i)
    film(w, "still.y4m", 40, False, 1)
    film(w, "short.y4m", 8, True, 1)


def lines_of(path):
    with open(path, encoding="utf-8") as f:
        return {line["file"]: line for line in map(json.loads, f)}


def test_usage(w):
    expect(w.run("curate"), 2, "no folder given")
    expect(w.run("curate", w.path("nowhere")), 1, "nowhere")
    os.makedirs(w.path("empty"))
    expect(w.run("curate", w.path("empty")), 1, "no film in")


def test_folder(w):
    films(w)
    with open(os.path.join(w.path("raw"), "good0.txt"), "w", encoding="utf-8") as f:
        f.write("a block moves right\n")
    run = w.run("curate", w.path("raw"), "--rules", "toybox", "-o", w.path("list.jsonl"))
    expect(run, 0)
    assert b"duration             4" in run.stdout and b"3 clips, 6.8 s" in run.stdout, run.stdout.decode()
    lines = lines_of(w.path("list.jsonl"))
    assert [lines[f"good{i}.y4m"]["kept"] for i in range(3)] == [True] * 3, lines
    assert lines["good0.y4m"]["caption"] == "a block moves right" and lines["good0.y4m"]["first"] == 4, lines
    assert lines["still.y4m"]["dropped"] == "still" and lines["short.y4m"]["dropped"] == "duration", lines
    assert not os.path.exists(w.path("raw") + "/clips.jsonl")
    for text in ("5 films: 5 can be read, 3 of 4 clips are kept", "\"duration\" drops 1 film, 'short.y4m'",
                 "\"still\" drops 1 clip, of 'still.y4m'"):
        assert text in run.stderr.decode(), run.stderr
    run = w.run("curate", w.path("raw"), "--rules", "toybox", "--json", "-q")
    expect(run, 0)
    assert json.loads(run.stdout)["films"] == 5 and json.loads(run.stdout)["clips_resample"] == 3, run.stdout
    assert json.loads(run.stdout)["uneven"] == 0, run.stdout
    assert run.stderr == b"", run.stderr


def test_nothing_kept(w):
    """By the report's rules all is too small: an error, and the list says of each why."""
    films(w)
    expect(w.run("curate", w.path("raw"), "-q"), 1, "no clip of the 5 films", "\"duration\" drops 5 films, first of 'good0.y4m',",
           "duration_min, duration_max")
    assert lines_of(w.path("raw") + "/clips.jsonl")["still.y4m"]["dropped"] == "duration"
    assert not os.path.exists(w.path("raw") + "/clips.jsonl.seen")


def test_other_kinds(w):
    """Films of kinds that are not read are told, also where there are no others."""
    film(w, "good.y4m", 40, True, 0)
    for name in ("a.mts", "b.OGV"):
        with open(os.path.join(w.path("raw"), name), "wb"):
            pass
    run = w.run("curate", w.path("raw"), "--rules", "toybox", "--json", "-q")
    expect(run, 0, "2 of the files in", "the first is 'a.mts'")
    assert json.loads(run.stdout)["others"] == 2, run.stdout
    os.remove(os.path.join(w.path("raw"), "good.y4m"))
    run = w.run("curate", w.path("raw"), "-q")
    assert run.returncode == 1 and b"the first is 'a.mts'" in run.stderr and b"no film in" in run.stderr, run.stderr


def test_a_name_that_is_no_text(w):
    """It cannot stand in the list: the message says which one it is, as far as it is text."""
    film(w, "good.y4m", 40, True, 0)
    os.rename(os.path.join(w.path("raw"), "good.y4m"), os.path.join(w.path("raw").encode(), b"br\xfcder.y4m"))
    expect(w.run("curate", w.path("raw"), "-q"), 1, "'br...' in", "is no UTF-8 text from byte 2 on; rename it")


def test_edited(w):
    """Films after an edit are no films of their own: neither to curation nor to what is trained on it."""
    films(w)
    film(w, "good0.edited.y4m", 40, True, 7)
    film(w, "alone.edited.y4m", 40, True, 2)  # after no edit of another one
    expect(w.run("curate", w.path("raw"), "--rules", "toybox", "-o", w.path("list.jsonl"), "-q"), 0)
    lines = lines_of(w.path("list.jsonl"))
    assert "good0.edited.y4m" not in lines and "alone.edited.y4m" in lines and len(lines) == 6, lines


def kill_amid(w, list_path):
    """Curation of the raw films, killed when some of them are watched."""
    seen = list_path + ".seen"
    with subprocess.Popen([w.program, "curate", w.path("raw"), "--rules", "toybox", "-o", list_path, "--threads", "1"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        while run.poll() is None:
            if os.path.exists(seen) and os.path.getsize(seen) > 15000:  # two records and more
                run.kill()
                break
            time.sleep(0.001)
    return not os.path.exists(list_path)


def test_killed(w):
    """What was watched is not watched again, and the list is the same."""
    for i in range(24):
        film(w, f"f{i:02}.y4m", 40, True, i % 7)
    whole, again = w.path("whole.jsonl"), w.path("again.jsonl")
    expect(w.run("curate", w.path("raw"), "--rules", "toybox", "-o", whole, "-q"), 0)
    while not kill_amid(w, again):  # it was faster than the one who kills
        os.remove(again)
    run = w.run("curate", w.path("raw"), "--rules", "toybox", "-o", again, "--threads", "2")
    expect(run, 0, "watched before")
    with open(whole, "rb") as a, open(again, "rb") as b:
        assert a.read() == b.read()
    assert not os.path.exists(again + ".seen")


def test_rules(w):
    film(w, "good.y4m", 8, True, 0)
    with open(w.path("rules.json"), "w", encoding="utf-8") as f:
        f.write('{"base": "toybox", "txt_max": 1}')
    expect(w.run("curate", w.path("raw"), "--rules", w.path("rules.json")), 1, "rules.json", "txt_max")


def test_training(w):
    """Two commands: what is kept is trained on."""
    def train():
        with open(w.path("tae.json"), "w", encoding="utf-8") as f:
            json.dump(RECIPE, f)
        return w.run("train", "--recipe", w.path("tae.json"), "--stage", "tae", "--dir", w.path("trained"), "--data", w.path("raw"), "-q")
    films(w)
    expect(w.run("curate", w.path("raw"), "-q"), 1, "is kept")  # by the report's rules all is too short
    expect(train(), 1, "keeps no clip")
    expect(w.run("curate", w.path("raw"), "--rules", "toybox", "-q"), 0)
    expect(train(), 0)


def test_eval(w):
    run = w.run("eval", "curate", "-n", "5", "--seed", "3", "--json", "-q", "--threads", "1")
    expect(run, 0)
    line = json.loads(run.stdout)
    assert line["protocol"] == "curate" and line["films"] == 5 and "model_hash" not in line, line
    assert line["text_recall"] == 1 and line["kept_recall"] == 1, line


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
