# SPDX-License-Identifier: MIT
"""The moviegen program makes pictures, and plans recipes: moviegen train, generate and eval of a model of pictures, moviegen plan
--recipe.

    check_pictures.py PROGRAM       prints TAP

On a tiny model that the program trains here first, in seconds, and that goes on with an image autoencoder of other latents.
"""
import json
import os
import struct
import sys

sys.dont_write_bytecode = True  # beside the sources
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_cli
from check_cli import FAST, OPTIMIZER, PROMPT, expect

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
REPORT = os.path.join(ROOT, "examples", "recipes")
MODEL = {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 6, "patch": [1, 2, 2], "frames_max": 4, "rows_max": 6,
         "columns_max": 6, "text_dim": 16}


def stage(name, start, **more):
    return {"name": name, "kind": "text_to_video", "start_from": start, "tae": "picture_tae", "steps": 2, "batch": 2, "clips": 2,
            "buckets": [{"width": 96, "height": 64, "frames": 1}], "video_model": MODEL,
            "text_encoders": {"ul2": {"from": "text_encoder", "frozen": True}}, "optimizer": OPTIMIZER, **more}


RECIPE = {
    "format": "moviegen-recipe", "version": 1, "stages": [
        {"name": "picture_tae", "kind": "autoencoder", "steps": 2, "batch": 2, "frames": 1, "optimizer": OPTIMIZER,
         "tae": {"channels": [2, 4, 4, 8], "latent_channels": 6, "blocks": 1, "temporal": False}},
        stage("pictures", "video_model", save_as="pictures", steps=4, optimizer={"lr": 0.05}),
        stage("tuned", "pictures", plan={"gpus": 2}),
        stage("films", "video_model", buckets=[{"width": 96, "height": 64, "frames": 9}])]}


def recipe(w):
    path = w.path("pictures.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(RECIPE, f)
    return path


def model(w):
    """A folder whose pipeline makes pictures; trained once."""
    folder = w.path("with_pictures")
    if not os.path.isdir(folder):
        w.copy_model("with_pictures")
        for name in ("picture_tae", "pictures", "tuned"):
            expect(w.run("train", "--recipe", recipe(w), "--stage", name, "--dir", folder, "--threads", "2", "-q"), 0)
    return folder


def size_of_png(path):
    with open(path, "rb") as f:
        head = f.read(24)
    assert head[:8] == b"\x89PNG\r\n\x1a\n", head
    return struct.unpack(">II", head[16:24])


# ---- pictures ----

def test_picture(w):
    out = w.path("picture.png")
    run = w.run("generate", PROMPT, "--model", model(w), "--out", out, *FAST)
    expect(run, 0)
    assert b"picture.png: a picture of 96 x 64, in " in run.stdout and b"frames" not in run.stdout, run.stdout
    assert size_of_png(out) == (96, 64)
    run = w.run("generate", PROMPT, "--model", model(w), "--out", out, "--frames", "1", "-W", "32", "--json", "-q", *FAST)
    expect(run, 0)
    line = json.loads(run.stdout)
    assert (line["frames"], line["width"], line["height"]) == (1, 32, 64), line
    assert size_of_png(out) == (32, 64)


def test_no_film(w):
    out = w.path("film.png")
    expect(w.run("generate", PROMPT, "--model", model(w), "--out", out, "--frames", "9", *FAST), 1, "makes pictures",
           "frames must be 1 or 0, not 9")
    expect(w.run("generate", PROMPT, "--model", model(w), "--out", out, "--upsample", *FAST), 1, "no upsampler")
    assert not os.path.exists(out)
    expect(w.run("train", "--recipe", recipe(w), "--stage", "films", "--dir", model(w), "-q"), 1, "is an image autoencoder",
           "bucket 1 of stage \"films\" has clips of 9 frames")


def test_train_on_pictures(w):
    """A folder of .png files, with a caption beside one; photos of who is in a film are none of them."""
    folder, data = model(w), w.path("drawn")
    os.makedirs(data, exist_ok=True)
    for i in range(3):
        expect(w.run("generate", PROMPT, "--model", folder, "--out", os.path.join(data, f"{i}.png"), "--seed", str(i), "-q", *FAST), 0)
    with open(os.path.join(data, "0.txt"), "w", encoding="utf-8") as f:
        f.write("a picture")
    words = ("train", "--recipe", recipe(w), "--stage", "tuned", "--dir", folder, "--data", data, "--threads", "2", "-q")
    expect(w.run(*words, "--frames", "1", "--size", "64", "--log", w.path("log.jsonl")), 0)
    with open(w.path("log.jsonl"), encoding="utf-8") as f:
        assert len(f.readlines()) == 2
    expect(w.run(*words, "--frames", "2"), 1, "no film in")
    for i in range(3):
        os.rename(os.path.join(data, f"{i}.png"), os.path.join(data, f"x.face{i or ''}.png"))
    expect(w.run(*words, "--frames", "1"), 1, "no film in", "in .png")


def test_train_on_a_mesh(w):
    """Layers that begin anew begin as the same where ranks have shares of them: the losses of all steps are."""
    losses = {}
    for mesh in ("", "dp=2,shard=2", "tp=2"):
        log = w.path(f"mesh{len(losses)}.jsonl")
        folder = w.copy_model(f"mesh{len(losses)}")
        for stage_name in ("picture_tae", "pictures"):
            options = ("--mesh", mesh) if mesh and stage_name == "pictures" else ()
            expect(w.run("train", "--recipe", recipe(w), "--stage", stage_name, "--dir", folder, "--log", log, "--log-every", "1",
                         "-q", "--threads", "2", *options), 0)
        with open(log, encoding="utf-8") as f:
            losses[mesh] = [line["loss"] for line in map(json.loads, f) if line["stage"] == "pictures"]
    assert len(losses[""]) == 4, losses
    for mesh, values in losses.items():
        for a, b in zip(values, losses[""]):
            assert abs(a / b - 1) < 1e-4, (mesh, losses)


def test_alignment(w):
    run = w.run("eval", "alignment", "--model", model(w), "-n", "2", "--steps", "2", "--threads", "2", "--json", "-q")
    expect(run, 0)
    line = json.loads(run.stdout)
    for name in ("colour", "background", "count", "shape", "size"):
        assert 0 <= line[name] <= 1 and 0 <= line["ceiling_" + name] <= 1 and 0 <= line["control_" + name] <= 1, line
    for name in line:
        assert "motion" not in name and "camera" not in name and "fps" not in name, line


# ---- plans of recipes ----

def test_plan_of_the_report(w):
    """Table 3 of the report on its own GPUs."""
    run = w.run("plan", "--recipe", os.path.join(REPORT, "video.json"), "--json")
    expect(run, 0)
    plan = json.loads(run.stdout)
    stages = {s["stage"]: s for s in plan["stages"]}
    assert plan["gpu"] == "h100-80gb" and len(stages) == 15, plan
    table = {"images_256": (1536, 1, 1, 9216), "joint_256_a": (3072, 1, 4, 1536), "joint_256_b": (6144, 1, 4, 3072),
             "joint_768_a": (6144, 1, 4, 1536), "joint_768_b": (6144, 1, 4, 1536), "joint_768_c": (6144, 2, 4, 768),
             "joint_768_d": (4096, 2, 4, 512)}
    for name, (gpus, cp, tp, batch) in table.items():
        s = stages[name]
        assert (s["gpus"], s["mesh"]["cp"], s["mesh"]["tp"], round(s["global_batch"])) == (gpus, cp, tp, batch), s
        assert s["fits"] and s["passes"] == 1 and 29e9 < s["parameters"] < 31e9, s
        assert abs(s["days"] * 86400 / (s["steps"] * s["step_seconds"]) - 1) < 1e-5, s
    assert 'no "plan" that says how many GPUs' in stages["tae"]["not_planned"], stages["tae"]
    run = w.run("plan", "--recipe", os.path.join(REPORT, "video.json"), "--stage", "tae", "--gpus", "1", "--json")
    expect(run, 0)
    (tae,) = json.loads(run.stdout)["stages"]
    assert tae["mesh"] == {"dp": 1, "cp": 1, "tp": 1, "shard": 1} and tae["days"] > 0 and tae["memory_per_rank_bytes"] > 1e9, tae


def test_plan_of_a_stage(w):
    path = os.path.join(REPORT, "audio.json")
    run = w.run("plan", "--recipe", path, "--stage", "sound_finetuned")
    expect(run, 0)
    lines = run.stdout.decode().splitlines()
    assert lines[0].startswith(path) and "h100-80gb" in lines[0] and len(lines) == 7, lines
    assert lines[-1] == "not counted, as they are not in the recipe's folder: t5, metaclip_h14", lines
    assert lines[4].split()[:6] == ["sound_finetuned", "12.45", "750", "256", "64", "dp=64,cp=1,tp=1"], lines
    run = w.run("plan", "--recipe", path, "--stage", "sound_finetuned", "--gpus", "8", "--gpu", "h200-141gb", "--json")
    expect(run, 0)
    (s,) = json.loads(run.stdout)["stages"]
    assert s["text_encoders"] == {"ul2": False} and s["image_encoder"] is False, s
    assert s["gpus"] == 8 and s["samples_per_rank"] * s["passes"] * s["mesh"]["dp"] == 256, s


def test_plan_options(w):
    expect(w.run("plan", "--recipe", w.path("nowhere.json")), 1, "nowhere.json")
    expect(w.run("plan", "--recipe", recipe(w), "--stage", "nobody"), 1, "has no stage \"nobody\"", "\"pictures\"")
    expect(w.run("plan", "--recipe", recipe(w), "--stage", "pictures"), 1, "no \"plan\"")
    expect(w.run("plan", "--stage", "pictures", "30b"), 2, "--stage is of a --recipe")
    for words in (("30b",), ("--width", "64"), ("--precision", "f32"), ("--timeline",), ("--global-batch", "4")):
        expect(w.run("plan", "--recipe", recipe(w), *words), 2, "--recipe says what is trained")
    expect(w.run("plan", "--recipe", recipe(w), "--stage", "tuned", "--recompute", "some"), 1, "\"some\"", "selective")
    expect(w.run("plan", "--recipe", recipe(w), "--stage", "tuned", "--mesh", "tp=3"), 1, "3 places for 2 GPUs")
    run = w.run("plan", "--recipe", recipe(w), "--gpus", "1")
    expect(run, 0)
    (tae,) = (line for line in run.stdout.decode().splitlines() if line.startswith("picture_tae"))
    assert "dp=1,cp=1,tp=1" in tae and " yes " in tae, run.stdout
    assert b"--recipe" in w.run("plan", "--help").stdout


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
