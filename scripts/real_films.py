#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train the shipped autoencoder on real films and measure it on frames that it was not trained on.

    scripts/real_films.py BUILD_FOLDER WORK_FOLDER [--model DIR] [--seconds 600] [--threads 1] [--size 64]

Takes five films from Debian's package opencv-doc (apt-get download, 96 MB; installs nothing), reads them through the
FFmpeg plug-in, and cuts them into clips of 32 frames, scaled and cropped to a square, each beside its caption:

    WORK_FOLDER/clips/train     the first four fifths of three films
    WORK_FOLDER/clips/later     what follows in the same films, 16 frames later
    WORK_FOLDER/clips/unseen    two other films

Then: moviegen eval, train, eval. Prints one JSON object a line; a second run trains the same again.
"""
import argparse
import gzip
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INSIDE = Path("usr/share/doc/opencv-doc")
LENGTH, GAP = 32, 16
# name, place in the package, caption
FILMS = (
    ("box", "opencv4/html/box.mp4.gz", "a hand holds a printed box in front of the camera"),
    ("cup", "opencv4/html/cup.mp4.gz", "a cup on a table, seen by a moving camera"),
    ("megamind", "examples/data/Megamind.avi", "a scene of an animated film"),
    ("vtest", "examples/data/vtest.avi", "people walk across a square, seen from above"),
    ("tree", "examples/data/tree.avi", "a tree in the wind beside a road"),
)
UNSEEN = ("cup", "tree")


def run(*command: object, **options: object) -> str:
    done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, **options)
    return done.stdout


def fetch(work: Path) -> Path:
    """The films, unpacked."""
    films = work / "films"
    if films.exists():
        return films
    if not list(work.glob("opencv-doc_*.deb")):
        run("apt-get", "download", "opencv-doc", cwd=work)
    run("dpkg-deb", "-x", next(work.glob("opencv-doc_*.deb")), work / "package")
    part = work / "films.part"
    shutil.rmtree(part, ignore_errors=True)
    for name, place, _ in FILMS:
        source = work / "package" / INSIDE / place
        data = gzip.decompress(source.read_bytes()) if source.suffix == ".gz" else source.read_bytes()
        target = part / name / (name + Path(place.replace(".gz", "")).suffix)
        target.parent.mkdir(parents=True)
        target.write_bytes(data)
    shutil.rmtree(work / "package")
    part.rename(films)
    return films


def library(build: Path) -> object:
    """The Python binding, on the library of that build."""
    os.environ.setdefault("MOVIEGEN_LIBRARY", str(build / "libmoviegen.so.0"))
    sys.path.insert(0, str(ROOT / "bindings/python"))
    return importlib.import_module("moviegen")


def write_piece(moviegen: object, context: object, whole: object, first: int, path: Path, caption: str) -> None:
    frames, height, width, _ = whole.shape
    piece = moviegen.Clip.create(context, width=width, height=height, frames=LENGTH, fps=whole.fps)
    each = height * width * 3
    memoryview(piece).cast("B")[:] = memoryview(whole).cast("B")[first * each:(first + LENGTH) * each]
    piece.write(path)
    path.with_suffix(".txt").write_text(caption + "\n")


def cut(moviegen: object, build: Path, films: Path, clips: Path, size: int) -> None:
    """All films into clips."""
    part = clips.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    for folder in ("train", "later", "unseen"):
        (part / folder).mkdir(parents=True)
    with moviegen.Context(threads=1, plugin_dir=build / "lib/plugins") as context:
        for name, _, caption in FILMS:
            source = next((films / name).iterdir())
            count = moviegen.Clip.read(context, source).frames
            dataset = moviegen.Dataset.from_folder(context, films / name, width=size, height=size, frames=count)
            whole = dataset.read(0)[0]
            until = 0 if name in UNSEEN else count * 4 // 5
            for i, first in enumerate(range(0, until - LENGTH + 1, LENGTH)):
                write_piece(moviegen, context, whole, first, part / "train" / f"{name}{i:03}.y4m", caption)
            begin = until + GAP if until else 0
            for i, first in enumerate(range(begin, count - LENGTH + 1, LENGTH)):
                folder = part / ("later" if until else "unseen")
                write_piece(moviegen, context, whole, first, folder / f"{name}{i:03}.y4m", caption)
    part.rename(clips)


def recipe(config: dict) -> dict:
    return {"format": "moviegen-recipe", "version": 1, "stages": [{
        "name": "tae", "kind": "autoencoder", "tae": config, "start_from": "tae", "precision": "bf16", "steps": 1000000,
        "batch": 2, "frames": 32, "image_every": 4, "image_batch": 8, "validate_every": 0,
        "l1": 1, "mse": 10, "kl": 0.0003,
        "optimizer": {"lr": 0.0004, "warmup": 50, "schedule": "constant", "beta1": 0.9, "beta2": 0.99, "clip": 0.5,
                      "ema": 0.99}}]}


def prepare_model(source: Path, model: Path) -> None:
    """The autoencoder alone, in a folder of its own, with the recipe."""
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir()
    for name in ("tae.json", "tae.safetensors"):
        shutil.copy(source / name, model)
    config = json.loads((model / "tae.json").read_text())["config"]
    pipeline = {"format": "moviegen-pipeline", "version": 1, "tae": "tae", "width": 64, "height": 64, "frames": 32,
                "fps": 16}
    (model / "pipeline.json").write_text(json.dumps(pipeline))
    (model / "recipe.json").write_text(json.dumps(recipe(config), indent=2))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("build", type=Path)
    options.add_argument("work", type=Path)
    options.add_argument("--model", type=Path, default=ROOT / "examples/models/toybox", help="where training begins")
    options.add_argument("--seconds", type=float, default=600.0, help="of training")
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--size", type=int, default=64, help="pixels of a side")
    args = options.parse_args()
    build = args.build.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    clips, model = args.work / f"clips{args.size}", args.work / "model"
    films = fetch(args.work)
    if not clips.exists():
        cut(library(build), build, films, clips, args.size)
    cli = build / "examples/cli/moviegen"
    shared = ("--size", args.size, "--frames", LENGTH, "--threads", args.threads)
    prepare_model(args.model, model)

    def measure(when: str) -> None:
        for folder in ("later", "unseen"):
            line = run(cli, "eval", "tae", "--model", model, "--data", clips / folder, *shared, "--json", "--quiet")
            print(json.dumps({"when": when, "clips": folder, **json.loads(line)}), flush=True)

    measure("before")
    run(cli, "train", "--recipe", model / "recipe.json", "--stage", "tae", "--dir", model, "--data", clips / "train",
        *shared, "--max-seconds", args.seconds, "--log", args.work / "log.jsonl", "--seed", 1, "--quiet")
    measure("after")
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    print(json.dumps({"train_clips": len(list((clips / "train").glob("*.y4m"))), "cpu_seconds": round(used, 1),
                      "last": json.loads((args.work / "log.jsonl").read_text().splitlines()[-1])}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
