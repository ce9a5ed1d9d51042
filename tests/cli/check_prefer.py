# SPDX-License-Identifier: MIT
"""Stages that learn preferences over ranks: the same losses as of one. With the toybox's model, of which films are made.

    check_prefer.py PROGRAM        prints TAP
"""
import json
import os
import shutil
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli  # noqa: E402
from check_cli import expect  # noqa: E402

TOYBOX = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/models/toybox")
NETWORKS = ("tae", "ul2", "byt5", "metaclip", "video_model")


def make_model(w, prefer, world=None):
    """A folder with the model and a recipe of two steps."""
    folder = w.path("model")
    os.mkdir(folder)
    for name in [n + ending for n in NETWORKS for ending in (".json", ".safetensors")] + ["captions.model", "vocab.json", "merges.txt", "pipeline.json"]:
        shutil.copy(os.path.join(TOYBOX, name), folder)
    with open(os.path.join(folder, "video_model.json"), encoding="utf-8") as f:
        config = json.load(f)["config"]
    stage = {"name": "p", "kind": "text_to_video", "start_from": "video_model", "save_as": "p", "tae": "tae", "steps": 2, "batch": 2, "clips": 2,
             "prefer": prefer, "video_model": config, "optimizer": {"lr": 1e-4},
             "text_encoders": {role: {"from": role, "frozen": True} for role in NETWORKS[1:4]}}
    if world:
        stage["world"] = world
        stage["buckets"] = [{"width": 48, "height": 48, "frames": 16}]
    with open(w.path("recipe.json"), "w", encoding="utf-8") as f:
        json.dump({"format": "moviegen-recipe", "version": 1, "stages": [stage]}, f)


def train(w, *options, refused=()):
    """Losses and lengths of gradients."""
    log = w.path("log.jsonl")
    if os.path.exists(log):
        os.remove(log)
    run = w.run("train", "--recipe", w.path("recipe.json"), "--stage", "p", "--dir", w.path("model"), "--log", log, "--device", "cpu", "-q", *options)
    expect(run, 1 if refused else 0, *refused)
    if refused:
        return None
    with open(log, encoding="utf-8") as f:
        lines = [json.loads(line) for line in f]
    return [(line["loss"], line["grad_norm"]) for line in lines]


def same(one, other):
    assert len(one) == len(other) >= 1 and one[0][0] > 0, (one, other)
    for a, b in zip(one, other):
        assert all(abs(x / y - 1) < 1e-3 for x, y in zip(a, b)), (one, other)


def test_made(w):
    """Films that all ranks make together, of scenes in which much can go wrong."""
    os.environ["MOVIEGEN_CACHE"] = w.path("cache")
    make_model(w, {"prompts": 4, "films": 2, "steps": 4, "guidance_to": 0.1}, {"objects_min": 3, "sign": "always"})
    one = train(w)
    same(one, train(w, "--mesh", "tp=2"))
    same(one, train(w, "--mesh", "dp=2"))
    kept = [name for name in os.listdir(w.path("cache")) if name.startswith("preferred-")]
    assert len(kept) == 3, kept  # films of each mesh
    assert train(w) == one
    with open(w.path("recipe.json"), encoding="utf-8") as f:
        recipe = json.load(f)
    with open(w.path("recipe.json"), "w", encoding="utf-8") as f:
        json.dump({**recipe, "stages": [{**recipe["stages"][0], "adapter": {"rank": 2}, "save_as": "a"}]}, f)
    os.environ["MOVIEGEN_CACHE"] = w.path("other")  # films by the model that the adapter changes, of which there is one
    assert train(w)[0][0] == one[0][0]
    with open(w.path("recipe.json"), "w", encoding="utf-8") as f:
        json.dump(recipe, f)
    train(w, "--mesh", "dp=2,shard=2", refused=("that is not sharded", "folder of films with scores"))


def test_scored(w):
    """Films of a folder, over ranks that share the weights of both models."""
    make_model(w, {"strength": 0.5})
    films = w.path("films")
    os.mkdir(films)
    for i in range(6):
        expect(w.run("generate", "a red ball spins on grass", "--model", TOYBOX, "--width", "48", "--height", "48", "--frames", "16", "--steps", "1", "--seed", str(i), "--out", f"{films}/{i}.y4m", "-q"), 0)
        for ending, text in ((".txt", "a red ball spins on grass"), (".score.txt", str(i % 2 * 2 - 1))):
            with open(f"{films}/{i}{ending}", "w", encoding="utf-8") as f:
                f.write(text)
    data = ("--data", films, "--size", "48", "--frames", "16")
    same(train(w, *data), train(w, *data, "--mesh", "dp=2,shard=2"))


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
