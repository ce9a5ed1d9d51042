# SPDX-License-Identifier: MIT
"""Datasets, trainers, planning, evaluation."""
import array
import json
import os
import threading

from test_python import MODEL, raises

OPTIMIZER = {"lr": 0.001}
RECIPE = {
    "format": "moviegen-recipe", "version": 1, "stages": [
        {"name": "tae", "kind": "autoencoder", "steps": 12, "batch": 1, "frames": 8, "mse": 10, "kl": 0.0003,
         "tae": {"channels": [4, 4, 4, 8], "latent_channels": 4, "blocks": 1, "temporal": True},
         "validate_every": 12, "validate_clips": 8, "optimizer": OPTIMIZER}]}


def recipe(world):
    path = world.path("recipe.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(RECIPE, f)
    return path


def trainer(world, name, **options):
    context = options.pop("context", world.context)
    return world.moviegen.Trainer(context, recipe(world), "tae", world.path(name), **options)


def weights(world, name):
    with open(os.path.join(world.path(name), "tae.safetensors"), "rb") as f:
        return f.read()


def stripes(index, width=64, height=64, frames=32):
    """A sample that its index can be read from."""
    return memoryview(bytes([index % 256]) * (frames * height * width * 3)).cast("B", [frames, height, width, 3])


def test_the_toybox(world):
    data = world.moviegen.Dataset.toybox(world.context, 3)
    clip, caption = data.read(5)
    assert data.count is None and clip.shape == (32, 64, 64, 3) and len(caption) > 10
    again, same = world.moviegen.Dataset.toybox(world.context, 3).read(5)
    assert again.pixels == clip.pixels and same == caption and data.read(6)[0].pixels != clip.pixels
    assert world.moviegen.Dataset.toybox(world.context, 4).read(5)[0].pixels != clip.pixels
    data.close()
    data.close()
    raises(world.moviegen.StateError, data.read, 5, holds="dataset was closed")
    raises(world.moviegen.StateError, lambda: data.count)


def test_samples_of_the_host(world):
    asked = []

    def read(index):
        asked.append((index, threading.current_thread()))
        return stripes(index, 16, 8, 4), f"grey {index} é"
    data = world.moviegen.Dataset.from_samples(world.context, read, 10, width=16, height=8, frames=4)
    clip, caption = data.read(7)
    assert data.count == 10 and clip.shape == (4, 8, 16, 3) and caption == "grey 7 é"
    assert clip.pixels[3, 7, 15, 2] == 7 and asked == [(7, threading.current_thread())]
    raises(world.moviegen.InvalidError, data.read, 10)
    raises(world.moviegen.InvalidError, data.read, -1, holds="index is -1")
    with world.moviegen.Context(threads=1) as other:
        assert data.read(2, context=other)[1] == "grey 2 é"
    raises(world.moviegen.InvalidError, world.moviegen.Dataset.from_samples, world.context, read, 10, width=15, height=8,
           frames=4)


def test_exceptions_of_samples_come_out_of_the_call(world):
    answers = {0: lambda: 1 / 0, 1: lambda: (bytes(5), "x"), 2: lambda: (stripes(1, 8, 8, 1), "x" * (1 << 20)),
               3: lambda: (stripes(1, 16, 8, 1), "wide"), 4: lambda: "no pair",
               5: lambda: data.read(0), 6: lambda: (stripes(6, 8, 8, 1), "fine")}
    data = world.moviegen.Dataset.from_samples(world.context, lambda i: answers[i](), 7, width=8, height=8, frames=1)
    invalid = world.moviegen.InvalidError
    raises(ZeroDivisionError, data.read, 0)
    raises(invalid, data.read, 1, holds="4 dimensions")
    raises(invalid, data.read, 2, holds="the caption has")
    raises(invalid, data.read, 3, holds="they must have (1, 8, 8, 3)")
    raises(ValueError, data.read, 4)
    raises(world.moviegen.StateError, data.read, 5, holds="callback")
    assert data.read(6)[1] == "fine"


def hum(count, value=0.5):
    """A sound that is the same all the time."""
    return array.array("f", [value] * count)


def test_samples_with_sound(world):
    mg, stage = world.moviegen, {
        "name": "codec", "kind": "audio_codec", "steps": 2, "batch": 1, "frames": 4, "l1": 1, "optimizer": OPTIMIZER,
        "codec": {"strides": [40, 48], "dim": 4, "decoder_dim": 8, "latent_channels": 4, "dilations": [1]}}
    path, asked = world.path("sound.json"), []
    with open(path, "w", encoding="utf-8") as f:
        json.dump({**RECIPE, "stages": [stage]}, f)

    def read(index):
        asked.append(index)
        return mg.Sample(stripes(index, 8, 8, 2), f"grey {index}", sound=hum(9600, index / 8), sound_caption="a hum")
    with mg.Dataset.from_samples(world.context, read, 6, width=8, height=8, frames=2, fps=10, sound_samples=9600) as data:
        clip, caption = data.read(3)
        assert (clip.fps, caption) == (10, "grey 3")
        with mg.Trainer(world.context, path, "codec", world.path("heard"), dataset=data) as t:
            assert all(report["loss"] > 0 for report in t) and len(asked) > 1
    answers = [mg.Sample(stripes(0, 8, 8, 2)), mg.Sample(stripes(1, 8, 8, 2), sound=hum(9599)),
               mg.Sample(stripes(2, 8, 8, 2), sound=bytes(9600)), mg.Sample(stripes(3, 8, 8, 2), sound=hum(9600, 1.5)),
               mg.Sample(stripes(4, 8, 8, 2), sound=hum(9600), sound_caption="x" * 5000),
               mg.Sample(stripes(5, 8, 8, 2), sound=hum(9600), edited=stripes(5, 8, 8, 2)), (stripes(6, 8, 8, 2), "")]
    data = mg.Dataset.from_samples(world.context, answers.__getitem__, 7, width=8, height=8, frames=2, sound_samples=9600)
    for index, said in enumerate(["has no sound, but the dataset was made with sound_samples", "they must have (9600,)",
                                  "float32", "sample 3: its sound is 1.5 at 0 of 9600", "the sound_caption has 5000 bytes",
                                  "has edited pixels, but the dataset was made without edits", "has no sound"]):
        raises(mg.InvalidError, data.read, index, holds=said)
    mute = mg.Dataset.from_samples(world.context, lambda i: answers[3], 1, width=8, height=8, frames=2)
    raises(mg.InvalidError, mute.read, 0, holds="sample 0 has sound, but the dataset was made without sound_samples")
    for wrong in ({"fps": 241}, {"fps": -1}, {"sound_samples": 1 << 40}):
        raises(mg.InvalidError, mg.Dataset.from_samples, world.context, read, 6, width=8, height=8, frames=2, **wrong)


def test_samples_that_are_edits(world):
    mg, size = world.moviegen, {"width": 8, "height": 8, "frames": 2}
    good = mg.Sample(stripes(1, 8, 8, 2), "a wall", edited=stripes(2, 8, 8, 2), instruction="make it blue", edit_task="style")
    answers = [good, good._replace(edit_task="auto"), good._replace(instruction=""), good._replace(edit_task="nothing"),
               good._replace(edited=None), good._replace(edited=stripes(2, 8, 8, 1)), good._replace(instruction="x" * 5000)]
    with mg.Dataset.from_samples(world.context, answers.__getitem__, 7, edits=True, **size) as data:
        for index in range(2):
            assert data.read(index)[1] == "a wall"
        for index, said in enumerate(["its instruction is", "edit_task of sample 3 is 'nothing'", "sample 4 has no edited pixels",
                                      "the edited pixels have the shape (1, 8, 8, 3)", "the instruction has 5000 bytes"], 2):
            raises(mg.InvalidError, data.read, index, holds=said)


def test_a_folder_of_films(world):
    folder = world.path("films")
    os.makedirs(folder, exist_ok=True)
    raises(FileNotFoundError, world.moviegen.Dataset.from_folder, world.context, folder, width=16, height=16, frames=2)
    clip = world.moviegen.Clip.create(world.context, width=16, height=16, frames=3)
    for number, name in enumerate("ba"):
        for frame in clip:
            frame.cast("B")[:] = bytes([100 + 50 * number]) * 768
        clip.write(os.path.join(folder, f"{name}.y4m"))
    with open(os.path.join(folder, "a.txt"), "w", encoding="utf-8") as f:
        f.write("a grey wall")
    data = world.moviegen.Dataset.from_folder(world.context, folder, width=16, height=16, frames=2)
    (first, caption), (second, none) = data.read(0), data.read(1)
    assert data.count == 2 and caption == "a grey wall" and none == ""
    assert abs(first.pixels[0, 8, 8, 0] - 150) <= 2 and abs(second.pixels[1, 8, 8, 0] - 100) <= 2


def test_a_stage_is_trained_and_saved(world):
    told = []
    with trainer(world, "whole", seed=3) as t:
        assert (t.steps, t.position) == (12, 0)
        report = t.step()
        assert report["step"] >= 0 and report["loss"] > 0 and t.position == 1
        assert t.run(5, on_step=lambda step, numbers: told.append((step, numbers["loss"]))) == 5
        assert len(told) == 5 and [step for step, _ in told] == sorted(step for step, _ in told)
        assert len(list(t)) == 6 and t.position == 12
        raises(world.moviegen.StateError, t.step)
        t.save()
    t.close()
    raises(world.moviegen.StateError, t.step, holds="trainer was closed")
    raises(world.moviegen.StateError, t.stop)
    assert world.moviegen.Tae(world.context, world.path("whole")).info.channels == 4


def test_training_goes_on_from_a_checkpoint(world):
    with trainer(world, "straight", seed=3) as t:
        assert t.run() == 12
        t.save()
    with trainer(world, "broken", seed=3) as t:
        t.run(5)
        t.checkpoint(world.path("checkpoint"))
    with trainer(world, "broken", seed=3, resume=world.path("checkpoint")) as t:
        assert t.position == 5 and t.run() == 7
        t.save()
    assert weights(world, "straight") == weights(world, "broken")
    raises(FileNotFoundError, trainer, world, "broken", resume=world.path("no checkpoint"))


def test_a_run_is_stopped(world):
    with trainer(world, "stopped") as t:
        assert t.run(on_step=lambda step, report: t.stop() if t.position >= 3 else None) == 3
        assert t.run(2) == 2 and t.position == 5
        raises(KeyError, t.run, on_step=lambda step, report: {}[step])
        assert t.position == 6
        raises(world.moviegen.StateError, t.run, on_step=lambda step, report: t.step(), holds="callback")
        assert t.run() == 5


def test_training_on_samples_of_the_host(world):
    broken = [False]

    def read(index):
        if broken[0]:
            raise LookupError(index)
        return stripes(index * 40), "grey"
    data = world.moviegen.Dataset.from_samples(world.context, read, 6, width=64, height=64, frames=32)
    with trainer(world, "host", dataset=data) as t:
        data.close()  # the trainer keeps it
        first = t.step()
        broken[0] = True
        raises(LookupError, t.run)
        broken[0] = False
        assert t.run() > 0 and t.position == 12 and first["loss"] > 0
    world.context.trim()


def test_ranks_train_together(world):
    """Two threads of one process; on both the course of training is that of one rank with the whole batch."""
    path = recipe(world)
    with open(path, encoding="utf-8") as f:
        text = json.load(f)
    text["stages"][0].update(batch=2, steps=2)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(text, f)
    mg, seen, errors = world.moviegen, {}, []

    def work(name, rank, ranks):
        try:
            with mg.Context(threads=1) as context:
                if ranks is not None:
                    context.join("dp=2", ranks=ranks, rank=rank)
                    context.barrier()
                with mg.Trainer(context, path, "tae", world.path(name), seed=2) as t:
                    seen[name, rank] = [report["loss"] for report in t]
                    t.save()
                seen["size", name, rank] = (context.rank, context.ranks)
                if ranks is not None:
                    raises(mg.StateError, context.join, holds="a rank already")
        except BaseException as error:
            errors.append(error)
    with mg.Ranks(world.context, 2, timeout=60) as ranks:
        threads = [threading.Thread(target=work, args=("many", rank, ranks)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    work("one", 0, None)
    assert not errors, errors
    assert seen["size", "many", 1] == (1, 2) and seen["size", "one", 0] == (0, 1)
    assert seen["many", 0] == seen["many", 1] and len(seen["one", 0]) == 2
    assert all(abs(a - b) < 1e-4 * b for a, b in zip(seen["many", 0], seen["one", 0])), seen
    with mg.Context(threads=1) as context, mg.Ranks(context, 2, timeout=0.05) as ranks:
        raises(mg.TimedOutError, context.join, ranks=ranks, holds="rank(s) 1 did not arrive")


def test_ranks_meet(world):
    """At an address, in a file, by an exchange of the host's own; and what that raises."""
    mg, errors, barrier, table = world.moviegen, [], threading.Barrier(2), {}

    def exchange(rank):
        def swap(mine):
            table[rank] = mine
            barrier.wait()
            return [table[0], table[1]]
        return swap

    def work(rank, how):
        try:
            with mg.Context(threads=1) as context:
                context.join(rank=rank, size=2, **how(rank))
                assert (context.rank, context.ranks) == (rank, 2)
                context.barrier()
        except BaseException as error:
            errors.append(error)
    for how in (lambda rank: {"meet": "file://" + world.path("meeting"), "run": "a"}, lambda rank: {"exchange": exchange(rank)}):
        threads = [threading.Thread(target=work, args=(rank, how)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
    with mg.Context(threads=1) as context:
        raises(mg.InvalidError, context.join, meet="nowhere", size=2, holds="tcp://host:port")
        raises(mg.InvalidError, context.join, meet="tcp://localhost:1", holds="rank 0 of 0")
        raises(mg.InvalidError, context.join, size=2, exchange=lambda mine: [mine], holds="2 ranks gave")
        raises(ZeroDivisionError, context.join, size=2, exchange=lambda mine: [bytes(1 // 0)])
        raises(mg.TimedOutError, context.join, meet="file://" + world.path("meeting"), size=2, timeout=0.05,
               holds="rank(s) 1 did not arrive")


def test_a_context_ends_its_trainers(world):
    context = world.moviegen.Context(threads=1)
    t = trainer(world, "ended", context=context)
    context.close()
    assert t.closed
    raises(world.moviegen.StateError, t.step)
    t.close()
    raises(FileNotFoundError, world.moviegen.Trainer, world.context, "/no/recipe", "tae", world.path("none"))
    raises(world.moviegen.Error, world.moviegen.Trainer, world.context, recipe(world), "no stage", world.path("none"),
           holds="no stage")


def test_a_training_step_is_planned(world):
    plan = world.moviegen.plan
    small, large = (plan(world.context, preset, width=256, height=256, frames=64) for preset in ("1b", "30b"))
    assert 5e8 < small["parameters"] < 2e9 < 2e10 < large["parameters"] < 4e10
    assert plan(world.context, "1b", width=256, height=256, frames=64, recompute="full")["activation_bytes"] < \
        small["activation_bytes"]
    assert plan(world.context, "13b", width=0, height=0, frames=750)["tokens"] == 750
    raises(world.moviegen.InvalidError, plan, world.context, "2b", width=256, height=256, frames=64, holds="2b")
    mesh = world.moviegen.plan_mesh(world.context, "1b", gpus=4, mesh="dp=2,tp=2", width=256, height=256, frames=64)
    assert mesh["mesh"] == {"dp": 2, "cp": 1, "tp": 2, "shard": 2} and mesh["step_seconds"] > 0
    raises(world.moviegen.InvalidError, world.moviegen.plan_mesh, world.context, "1b", gpus=4, gpu="h0", width=256,
           height=256, frames=64, holds="h100-80gb")


def test_a_pipeline_is_evaluated(world):
    told = []
    report = world.moviegen.evaluate(world.pipeline, "tae", n=1, on_progress=lambda *numbers: told.append(numbers))
    assert report["psnr"] > 20 and told and told[-1] == (1, 1)
    with world.moviegen.Dataset.from_samples(world.context, lambda index: (stripes(index, 16, 16, 2), ""), 3, width=16,
                                             height=16, frames=2) as dataset:
        assert world.moviegen.evaluate(world.pipeline, "tae", dataset=dataset)["n"] == 3
    raises(LookupError, world.moviegen.evaluate, world.pipeline, "tae", n=2, on_progress=lambda done, total: [][done])
    raises(world.moviegen.InvalidError, world.moviegen.evaluate, world.pipeline, "taste", holds="taste")
    raises(world.moviegen.InvalidError, world.moviegen.evaluate, world.pipeline, "tae", solver="rk4", holds="'dopri5'")
    raises(TypeError, world.moviegen.evaluate, world.pipeline, "tae", dataset=world.pipeline.tae, holds="a dataset")
    full, fewer = ({"n": 1, "steps": 2, "seed": 3, "guidance": 1.0, **more} for more in ({}, {"drop_text": ("ul2", "metaclip")}))
    assert world.moviegen.evaluate(world.pipeline, "alignment", **full) != world.moviegen.evaluate(
        world.pipeline, "alignment", **fewer)
    prompts = world.moviegen.toybox_prompts()
    assert len(prompts) == len(set(prompts)) == 36 and all(prompts)
    assert os.path.isdir(MODEL)
