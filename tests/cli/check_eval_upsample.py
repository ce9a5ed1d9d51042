# SPDX-License-Identifier: MIT
"""`moviegen eval upsample` from outside, with a tiny upsampler that the program trains first.

    check_eval_upsample.py PROGRAM        prints TAP
"""
import json
import os
import sys
import tempfile

sys.dont_write_bytecode = True  # beside the sources
from check_cli import OPTIMIZER, World, expect, train_tiny

RECIPE = {
    "format": "moviegen-recipe", "version": 1, "stages": [
        {"name": "upsampler", "kind": "upsampler", "steps": 2, "batch": 1, "clips": 2, "tae": "tae", "world": {"scale": 2},
         "buckets": [{"width": 128, "height": 128, "frames": 2}],
         "text_encoders": {"ul2": {"from": "text_encoder", "frozen": True}},
         "upsampler": {"steps": 3, "transformer": {
             "layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "condition_channels": 4,
             "patch": [1, 2, 2], "frames_max": 14, "rows_max": 8, "columns_max": 8, "text_dim": 16, "guidance": 1}},
         "optimizer": OPTIMIZER}]}
WAYS = ("", "bilinear_", "clean_", "clean_bilinear_", "ceiling_")


def evaluate(w, *options):
    return w.run("eval", "upsample", "--model", w.model, "-n", "1", "--seed", "2", "--threads", "2", "-q", *options)


def line_of(run):
    expect(run, 0)
    assert run.stdout.count(b"\n") == 1, run.stdout
    return json.loads(run.stdout)


def own_line(w, kept=[]):  # pylint: disable=dangerous-default-value
    """Without options: measured once."""
    if not kept:
        kept.append(line_of(evaluate(w, "--json")))
    return kept[0]


def test_without_upsampler(w):
    expect(evaluate(w, "--json"), 1, "lacks its upsampler")


def test_training(w):
    with open(w.path("upsampler.json"), "w", encoding="utf-8") as f:
        json.dump(RECIPE, f)
    expect(w.run("train", "--recipe", w.path("upsampler.json"), "--stage", "upsampler", "--dir", w.model, "-q"), 0)


def test_line(w):
    line = own_line(w)
    assert list(line)[:4] == ["protocol", "n", "seed", "model_hash"], line
    assert line["protocol"] == "upsample" and line["n"] == 1 and line["seed"] == 2, line
    assert len(line["model_hash"]) == 16 and line["steps"] == 3 and line["guidance"] == 1, line
    for way in WAYS:
        assert 1 < line[way + "psnr"] < 60 and -1 < line[way + "ssim"] < 1, line
        assert line[way + "sharpness"] > 0 and 0 <= line[way + "checker"] <= 1, line
    assert line["clean_bilinear_psnr"] > 20 and line["checker_truth"] > 0.7, line
    assert line == line_of(evaluate(w, "--json")), "another result"


def test_options(w):
    own, other = own_line(w), line_of(evaluate(w, "--json", "--steps", "2", "--guidance", "3"))
    assert other["steps"] == 2 and other["guidance"] == 3 and other["psnr"] != own["psnr"], other
    assert other["bilinear_psnr"] == own["bilinear_psnr"], other


def test_table(w):
    run = evaluate(w)
    expect(run, 0)
    assert run.stdout.startswith(b"upsample, 1 clips, seed 2, model "), run.stdout
    assert b"  clean_bilinear_psnr" in run.stdout, run.stdout


def main():
    os.environ.pop("MOVIEGEN_MODEL", None)
    tests = [(name[5:], test) for name, test in globals().items() if name.startswith("test_")]
    failures = 0
    with tempfile.TemporaryDirectory(prefix="moviegen eval ") as home:
        model, problem = train_tiny(sys.argv[1], home)
        if not model:
            print(f"1..0\nBail out! no tiny model could be trained: {problem}")
            return 1
        for number, (name, test) in enumerate(tests, 1):
            try:
                test(World(sys.argv[1], model, home))
                print(f"ok {number} - {name}")
            except (AssertionError, OSError, ValueError, KeyError) as found:
                failures += 1
                print(f"not ok {number} - {name}\n#   {type(found).__name__}: {found}")
            sys.stdout.flush()
    print(f"1..{len(tests)}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
