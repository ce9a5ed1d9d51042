#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The report's comparisons in miniature: ablations.py --moviegen PROGRAM --model DIR --work DIR [--scale S] [--only WORD]

Trains small models on the whole world, for as many steps as the others of their table (what that cost stands beside
them), measures them and prints tables in Markdown. DIR is a model folder whose autoencoder and tokenizers are used. What is finished in
the work folder is not done again. --scale multiplies the lengths of all trainings.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys

CLIP = {"width": 64, "height": 64, "frames": 32}
IMAGE = {"width": 64, "height": 64, "frames": 1}
VIDEO_BATCH, IMAGE_BATCH = 32, 128  # as many tokens
LAYERS, DIM = 4, 128
STEPS = 900
CLIPS, GUIDANCE = 64, 3  # of each evaluation


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--moviegen", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--scale", type=float, default=1.0)
    p.add_argument("--threads", default="1")
    p.add_argument("--only", default="")
    return p.parse_args()


class Study:
    def __init__(self, o):
        self.o = o
        os.makedirs(o.work, exist_ok=True)
        with open(os.path.join(o.model, "recipe.json"), encoding="utf-8") as f:
            self.text = next(s["text_encoders"] for s in json.load(f)["stages"] if "text_encoders" in s)

    def steps(self, n):
        return max(2, round(n * self.o.scale))

    def folder(self, name):
        d = os.path.join(self.o.work, name)
        os.makedirs(d, exist_ok=True)
        for f in ("tae.json", "tae.safetensors", "captions.model", "vocab.json", "merges.txt"):
            if not os.path.exists(os.path.join(d, f)):
                shutil.copy(os.path.join(self.o.model, f), d)
        return d

    def run(self, *words):
        done = subprocess.run([self.o.moviegen, *words, "--threads", self.o.threads], capture_output=True, text=True,
                              env={**os.environ, "MOVIEGEN_CACHE": os.path.join(self.o.work, "cache")})
        if done.returncode:
            sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def train(self, folder, stage, seed=1):
        """The log's lines."""
        d, name = self.folder(folder), stage["name"]
        recipe, log = os.path.join(d, name + ".recipe.json"), os.path.join(d, name + ".jsonl")
        mark = os.path.join(d, name + ".done")
        with open(recipe, "w", encoding="utf-8") as f:
            json.dump({"format": "moviegen-recipe", "version": 1, "stages": [stage]}, f)
        if not os.path.exists(mark):
            if os.path.exists(log):
                os.remove(log)
            self.run("train", "--recipe", recipe, "--stage", name, "--dir", d, "--log", log, "--seed", str(seed), "-q")
            open(mark, "w", encoding="utf-8").close()
        with open(log, encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def align(self, model, file, n, guidance, *more):
        """What the alignment protocol reports, kept in the file."""
        if not os.path.exists(file):
            out = self.run("eval", "alignment", "--model", model, "-n", str(n), "--seed", "1", "--json",
                           "--guidance", str(guidance), *more)
            with open(file, "w", encoding="utf-8") as f:
                f.write(out)
        with open(file, encoding="utf-8") as f:
            return json.load(f)

    def evaluate(self, folder, tag=""):
        d = self.folder(folder)
        return self.align(d, os.path.join(d, f"alignment{tag}.json"), CLIPS, GUIDANCE)

    def video(self, name, steps, buckets, images=None, lr=0.002, start=None, model=None):
        s = {"name": name, "kind": "text_to_video", "tae": "tae", "precision": "bf16", "world": {},
             "steps": steps, "batch": VIDEO_BATCH, "clips": max(64, min(4096, self.steps(4096))), "drop": 0.1,
             "validate_every": steps, "buckets": buckets, "text_encoders": self.text,
             "video_model": {"layers": LAYERS, "dim": DIM, "heads": 4, "ff_dim": 352, "channels": 16,
                             "patch": [1, 2, 2], "frames_max": 8, "rows_max": 8, "columns_max": 8,
                             "text": {"ul2": 128, "byt5": 96, "metaclip": 128}, "fps_prefix": True, "time_dim": 128,
                             **(model or {})},
             "optimizer": {"lr": lr, "warmup": min(100, steps // 4), "cosine_from": 0.5, "lr_final": 0.05,
                           "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.01, "clip": 0.5, "ema": 0.99}}
        if images is not None:
            s["images"] = images
        if start:
            s["start_from"] = start
        return s

    def base(self):
        """The log of the model that the others are compared with."""
        return self.train("joint", self.video("video", self.steps(STEPS), BOTH, 0.1))


BOTH = [{**CLIP, "batch": VIDEO_BATCH}, {**IMAGE, "batch": IMAGE_BATCH}]
ALIGNED = ("colour", "background", "count", "shape", "motion")


def table(title, head, rows):
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print("| " + " | ".join(f"{c:.3g}" if isinstance(c, float) else str(c) for c in row) + " |")
    sys.stdout.flush()


def flops(log):
    """Of all steps: the mean of those that were logged, times their number."""
    each = [line["flops"] for line in log if "flops" in line]
    return sum(each) / len(each) * (log[-1]["step"] + 1)


def last(log, key):
    return next((line[key] for line in reversed(log) if key in line), float("nan"))


def row_of(study, name, log, label, work):
    seen = study.evaluate(name)
    flow = last(log, "val_loss_flow") if any("val_loss_flow" in line for line in log) else last(log, "val_loss")
    return [label, f"{work / 1e12:.0f}", flow, *(seen[k] for k in ALIGNED)]


def pretraining(study):
    n = study.steps(STEPS)
    rows = []
    log = study.base()
    rows.append(row_of(study, "joint", log, "images and videos from the beginning", flops(log)))
    first = study.video("images", n // 2, [BOTH[1]])
    first["save_as"] = "images"
    image_log = study.train("t2i", first)
    log = study.train("t2i", study.video("video", n - n // 2, BOTH, 0.1, start="images"))
    rows.append(row_of(study, "t2i", log, "half of the steps on images alone, then both", flops(image_log) + flops(log)))
    table("Images first", ["", "TFLOP", "val_loss", *ALIGNED], rows)


def networks(study):
    n = study.steps(STEPS)
    rows = []
    for name, label, model in (("joint", "flow matching, Llama block", {}),
                               ("diffusion", "v-prediction, Llama block", {"objective": "v_prediction"}),
                               ("dit", "flow matching, DiT block", {"block": "dit", "ff_dim": 528})):
        log = study.train(name, study.video("video", n, BOTH, 0.1, model=model))
        rows.append(row_of(study, name, log, label, flops(log)))
    table("Objective and block", ["", "TFLOP", "val_loss of the flow", *ALIGNED], rows)


def averaging(study):
    study.base()
    n = study.steps(STEPS // 4)
    rows = []
    source, d = study.folder("joint"), study.folder("average")
    for f in os.listdir(source):
        if f.startswith(("ul2", "byt5", "metaclip", "video_model")):
            shutil.copy(os.path.join(source, f), os.path.join(d, "base_" + f))
    runs = []
    for i in range(2):
        s = study.video(f"tune{i}", n, BOTH, 0.1, lr=0.0005, start="base")
        s["save_as"] = f"tune{i}"
        log = study.train("average", s, seed=7 + i)
        runs.append((f"run {i + 1}", f"tune{i}", last(log, "val_loss")))
    study.train("average", {"name": "mean", "kind": "average",
                            "models": [{"start_from": "tune0"}, {"start_from": "tune1"}], "save_as": "mean"})
    for label, prefix, loss in runs + [("their average", "mean", "")]:
        shutil.copy(os.path.join(d, prefix + "_pipeline.json"), os.path.join(d, "pipeline.json"))
        seen = study.evaluate("average", "_" + prefix)
        rows.append([label, loss, *(seen[k] for k in ALIGNED)])
    table("Averaging two finetunings", ["", "val_loss", *ALIGNED], rows)


def correlation(study):
    """Trainings of several lengths, each with a whole schedule."""
    points = []
    for share in (0.15, 0.3, 0.5, 0.75):
        name = f"length{int(100 * share)}"
        log = study.train(name, study.video("video", study.steps(STEPS * share), BOTH, 0.1))
        points.append((name, last(log, "val_loss"), study.evaluate(name)))
    points.append(("joint", last(study.base(), "val_loss"), study.evaluate("joint")))
    table("Validation loss and alignment", ["", "val_loss", *ALIGNED],
          [[n, loss, *(s[k] for k in ALIGNED)] for n, loss, s in points])
    for k in ALIGNED:
        print(f"\nrank correlation of -val_loss with {k}: {spearman([-p[1] for p in points], [p[2][k] for p in points]):.2f}")


def spearman(a, b):
    def ranks(x):
        return [sum(v < u for v in x) + (sum(v == u for v in x) - 1) / 2 for u in x]

    ra, rb = ranks(a), ranks(b)
    ma, mb = sum(ra) / len(ra), sum(rb) / len(rb)
    num = sum((x - ma) * (y - mb) for x, y in zip(ra, rb))
    den = (sum((x - ma) ** 2 for x in ra) * sum((y - mb) ** 2 for y in rb)) ** 0.5
    return num / den if den else float("nan")


def autoencoders(study):
    rows = []
    plain = {"channels": [16, 32, 64, 64], "latent_channels": 16, "blocks": 1, "temporal": False}
    for name, label, more in (("ae", "no norm, no penalty", {}),
                              ("ae_opl", "outlier penalty", {"opl": {"weight": 8, "r": 3}}),
                              ("ae_norm", "group norm", {"tae": {**plain, "norm": "group", "groups": 8}})):
        s = {"name": "tae", "kind": "autoencoder", "tae": plain, "precision": "bf16", "world": {},
             "steps": study.steps(1000), "batch": 16, "frames": 1, "validate_every": study.steps(250),
             "l1": 1, "mse": 10, "kl": 0.0003,
             "optimizer": {"lr": 0.001, "warmup": 50, "cosine_from": 0.3, "lr_final": 0.03,
                           "beta1": 0.9, "beta2": 0.99, "clip": 0.5, "ema": 0.99}, **more}
        log = study.train(name, s)
        psnr = [line["val_psnr"] for line in log if "val_psnr" in line]
        rows.append([label, f"{flops(log) / 1e12:.0f}", *psnr[:4], last(log, "opl") if "opl" in more else ""])
    table("Image autoencoders", ["", "TFLOP", "val_psnr at a quarter", "half", "three quarters", "end", "penalty"], rows)


def sampling(study):
    """Of the model itself, as it was shipped."""
    o, rows = study.o, []
    for schedule, steps in (("linear-quadratic", 10), ("linear-quadratic", 20), ("linear-quadratic", 50),
                            ("linear", 50), ("linear", 250)):
        row = [schedule, steps]
        for guidance in (1, 3, 7.5):
            file = os.path.join(o.work, f"sampling_{schedule}_{steps}_{guidance}.json")
            seen = study.align(o.model, file, 32, guidance, "--steps", str(steps), "--schedule", schedule)
            row.append(" / ".join(f"{seen[k]:.2f}" for k in ("shape", "motion", "count", "all_one")))
        rows.append(row)
    table("Steps, schedules and guidance (shape / motion / count / all_one)",
          ["schedule", "steps", "G = 1", "G = 3", "G = 7.5"], rows)


def main():
    o = options()
    study = Study(o)
    parts = (pretraining, networks, averaging, correlation, autoencoders, sampling)
    for part in parts:
        if o.only in part.__name__:
            part(study)


if __name__ == "__main__":
    main()
