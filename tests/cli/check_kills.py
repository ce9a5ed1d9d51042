# SPDX-License-Identifier: MIT
"""Training that is stopped, and killed, at any moment and goes on: the same bits as without a break.

    check_kills.py PROGRAM      prints TAP; MOVIEGEN_KILLS: how often it is killed (5)
"""
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

KILLS = int(os.environ.get("MOVIEGEN_KILLS", "5"))
STEPS = 30
BUCKETS = [{"width": 64, "height": 48, "frames": 8, "batch": 2}, {"width": 48, "height": 64, "frames": 1, "batch": 4}]
RECIPE = {
    "format": "moviegen-recipe", "version": 1, "stages": [
        {"name": "tae", "kind": "autoencoder", "steps": 2, "batch": 1, "frames": 8, "mse": 10, "kl": 0.0003,
         "tae": {"channels": [4, 4, 4, 8], "latent_channels": 4, "blocks": 1, "temporal": True},
         "optimizer": {"lr": 0.001}},
        {"name": "video", "kind": "text_to_video", "world": {}, "steps": STEPS, "batch": 2, "accumulate": 2, "clips": 8,
         "tae": "tae", "buckets": BUCKETS, "images": 0.4, "validate_every": 10,
         "text_encoder": {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8, "ff_dim": 16,
                          "tokens_max": 64},
         "video_model": {"layers": 1, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "patch": [1, 2, 2],
                         "frames_max": 4, "rows_max": 4, "columns_max": 4, "text_dim": 16},
         "optimizer": {"lr": 0.001, "schedule": "plateau", "patience": 1}}]}


class Training:
    def __init__(self, program, home):
        self.program, self.home = os.path.abspath(program), home
        self.model, self.checkpoint = os.path.join(home, "model"), os.path.join(home, "checkpoint")
        self.recipe = os.path.join(home, "recipe.json")
        with open(self.recipe, "w", encoding="utf-8") as f:
            json.dump(RECIPE, f)

    def start(self, stage, *more):
        words = [self.program, "train", "--recipe", self.recipe, "--stage", stage, "--dir", self.model, "--threads", "1",
                 "--quiet", *more]
        if stage == "video":
            words += ["--checkpoint", self.checkpoint]
            if os.path.exists(self.checkpoint):
                words += ["--resume", self.checkpoint]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                env={**os.environ, "MOVIEGEN_CACHE": os.path.join(self.home, "cache")})

    def start_encoding(self, cache="", *more):
        """A stage with clips enough to be met while it encodes them; it shows how far it is."""
        recipe = json.loads(json.dumps(RECIPE))
        recipe["stages"][1]["clips"] = 20000
        path = os.path.join(self.home, "long.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(recipe, f)
        return subprocess.Popen([self.program, "train", "--recipe", path, "--stage", "video", "--dir", self.model,
                                 "--threads", "1", *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "MOVIEGEN_CACHE": cache})

    def end(self, process):
        error = process.communicate(timeout=120)[1].decode("utf-8", "replace")
        assert process.returncode in (0, -signal.SIGKILL), f"exit status {process.returncode}: {error}"
        return process.returncode == 0

    def done(self):
        """Steps in the checkpoint, by its own header; 0 if there is none."""
        if not os.path.exists(self.checkpoint):
            return 0
        with open(self.checkpoint, "rb") as f:
            size, = struct.unpack("<Q", f.read(8))
            return int(json.loads(f.read(size))["__metadata__"]["step"])

    def result(self):
        files = {}
        for name in ("checkpoint", "model/video_model.safetensors", "model/text_encoder.safetensors"):
            with open(os.path.join(self.home, name), "rb") as f:
                files[name] = f.read()
        return files

    def assert_one_save(self):
        """The models that were killed while they were saved can be opened."""
        if os.path.exists(os.path.join(self.model, "pipeline.json")) or os.path.exists(os.path.join(self.model, ".save")):
            info = subprocess.run([self.program, "info", "--model", self.model], capture_output=True, check=False, text=True)
            assert info.returncode == 0, info.stderr

    def again(self):
        os.remove(self.checkpoint)


def assert_same(t, expected, killed=False):
    """killed: after the last step, perhaps while the models were saved."""
    assert t.done() == STEPS, f"{t.done()} steps are done"
    left = [name for folder in (t.home, t.model) for name in os.listdir(folder) if ".tmp" in name or name == ".save"]
    assert killed or not left, f"left behind: {left}"
    for name, data in t.result().items():
        assert data == expected[name], f"{name} differs"


def check_limit(t, expected, _):
    """A limit of time again and again."""
    runs, limit = 0, 0.05
    while t.done() < STEPS:
        before = t.done()
        assert t.end(t.start("video", "--max-seconds", str(limit)))
        if t.done() > before:
            runs += 1
        else:  # the machine is slow to begin
            limit *= 2
            assert limit < 60, "no step is done"
    assert_same(t, expected)
    assert runs > 1, "it was not stopped"


def check_encoding(t, expected, _):
    """Ctrl-C before the first step, while clips are encoded."""
    with t.start_encoding() as process:
        first = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=120)
    assert "encoding clips" in first, first + error
    assert process.returncode == 130 and "encoding clips: cancelled" in error and not out, (process.returncode, out, error)
    t.end(t.start("video"))
    assert_same(t, expected)


def check_told(t, expected, _):
    """Clips that a training which was killed has encoded are told by the next one, in one line, unless it is to be quiet."""
    cache, told = os.path.join(t.home, "told"), " clips have been encoded before\n"
    lines = []
    for more in ((), (), ("--quiet",)):
        with t.start_encoding(cache, *more) as process:
            lines.append("" if more else process.stderr.readline())
            if more:
                time.sleep(2)
            elif len(lines) == 2:  # and how far it is from there
                lines.append(process.stderr.readline())
            process.kill()
            rest = process.communicate(timeout=120)[1]
    assert "encoding clips" in lines[0], lines
    assert lines[1].startswith("moviegen train: ") and lines[1].endswith(told), lines
    assert "encoding clips" in lines[2] and not rest, (lines, rest)
    t.end(t.start("video"))
    assert_same(t, expected)


def check_kills(t, expected, duration):
    """SIGKILL at random moments of a training that saves after each step."""
    dice = random.Random(int(os.environ.get("MOVIEGEN_SEED", "1")))
    kills, finished = 0, True
    while kills < KILLS or t.done() < STEPS:
        before = t.done()
        if before == STEPS:
            assert_same(t, expected, not finished)
            t.again()
            before = 0
        process = t.start("video", "--save-every", "1")
        if kills < KILLS:
            time.sleep(dice.uniform(0.0, 0.7 * duration))
            process.kill()
        finished = t.end(process)
        kills += not finished
        if not finished:
            t.assert_one_save()
        assert t.done() >= before, f"step {before} was lost: there is {t.done()}"
        assert not finished or t.done() == STEPS, "it ended too early"
    assert_same(t, expected)


def main():
    failures = 0
    with tempfile.TemporaryDirectory(prefix="moviegen kills ") as home:
        t = Training(sys.argv[1], home)
        assert t.end(t.start("tae"))
        assert t.end(t.start("video"))
        expected = t.result()
        t.again()
        begun = time.monotonic()  # with clips encoded already
        assert t.end(t.start("video", "--save-every", "1"))
        duration = time.monotonic() - begun
        assert_same(t, expected)
        for number, check in enumerate((check_limit, check_encoding, check_told, check_kills), 1):
            t.again()
            try:
                check(t, expected, duration)
                print(f"ok {number} - {check.__name__[6:]}")
            except AssertionError as found:
                failures += 1
                print(f"not ok {number} - {check.__name__[6:]}\n#   {found}")
            sys.stdout.flush()
    print("1..4")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
