# SPDX-License-Identifier: MIT
"""Models of pictures, and plans of recipes."""
import json
import os

from test_python import raises

TEXT = {"text_encoder": {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8, "ff_dim": 16, "tokens_max": 64}}
RECIPE = {
    "format": "moviegen-recipe", "version": 1, "stages": [
        {"name": "picture_tae", "kind": "autoencoder", "steps": 2, "batch": 2, "frames": 1, "optimizer": {"lr": 0.001},
         "tae": {"channels": [2, 4, 4, 8], "latent_channels": 6, "blocks": 1, "temporal": False}},
        {"name": "pictures", "kind": "text_to_video", "steps": 2, "batch": 2, "clips": 2, "tae": "picture_tae",
         "buckets": [{"width": 64, "height": 48, "frames": 1}], **TEXT,
         "video_model": {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 6, "patch": [1, 2, 2], "frames_max": 1,
                         "rows_max": 4, "columns_max": 4, "text_dim": 16},
         "optimizer": {"lr": 0.001}, "plan": {"gpus": 2}}]}


def recipe(world):
    path = world.path("pictures.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(RECIPE, f)
    return path


def test_a_picture(world):
    mg, folder = world.moviegen, world.path("pictures")
    for name in ("picture_tae", "pictures"):
        with mg.Trainer(world.context, recipe(world), name, folder) as trainer:
            trainer.run()
            trainer.save()
    with mg.Pipeline(world.context, folder) as pipeline:
        assert pipeline.frames == 1
        clip = pipeline.generate("a red ball on grass", steps=2)
        assert clip.shape == (1, 48, 64, 3)
        clip.write(world.path("picture.png"))
        assert os.path.getsize(world.path("picture.png")) > 100
        raises(mg.UnsupportedError, pipeline.generate, "a red ball", steps=2, frames=8, holds="makes pictures")
        report = mg.evaluate(pipeline, "alignment", n=1, steps=2)
        assert "colour" in report and "camera" not in report and "motion" not in report, report


def test_a_recipe_is_planned(world):
    mg = world.moviegen
    plan = mg.plan_recipe(world.context, recipe(world))
    tae, pictures = plan["stages"]
    assert tae["not_planned"] and pictures["mesh"] == {"dp": 2, "cp": 1, "tp": 1, "shard": 2}, plan
    (only,) = mg.plan_recipe(world.context, recipe(world), "pictures", gpus=1, gpu="a100-80gb", recompute="full")["stages"]
    assert only["gpus"] == 1 and only["recompute"] == "full" and only["passes"] * only["samples_per_rank"] == 2, only
    raises(mg.InvalidError, mg.plan_recipe, world.context, recipe(world), "nobody", holds="has no stage")
