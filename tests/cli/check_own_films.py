# SPDX-License-Identifier: MIT
"""docs/own_films.md is true: its commands are run one after the other, its Python too, on films that lie here as it says.

    check_own_films.py PROGRAM        prints TAP
"""
import glob
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import wave
import zlib

sys.dont_write_bytecode = True  # beside the sources
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import tap

WIDTH, HEIGHT, FPS, FRAMES = 256, 208, 24, 120


def pattern(seed, width):
    """Waves of their own for each film, wider than it."""
    rng = random.Random(seed)
    waves = [(rng.uniform(-1, 1) / size, rng.uniform(0.2, 1) / size, rng.uniform(0, 6)) for size in (20, 9, 6, 4)]
    across = [[math.sin(a * x + phase) for x in range(width)] for a, _, phase in waves]
    along = [[math.cos(b * y) for y in range(HEIGHT)] for _, b, _ in waves]
    return [bytes(int(125 + 27 * sum(c[x] * d[y] for c, d in zip(across, along))) for x in range(width)) for y in range(HEIGHT)]


def write_film(path, seed, frames=FRAMES, negative=False):
    """A pattern that drifts by 3 pixels a frame."""
    rows = pattern(seed, WIDTH + 3 * frames)
    chroma = [bytes([value]) * (WIDTH * HEIGHT // 4) for value in (60 + 29 * seed % 140, 190 - 23 * seed % 140)]
    if negative:
        turn = bytes(255 - value for value in range(256))
        rows, chroma = [row.translate(turn) for row in rows], [plane.translate(turn) for plane in chroma]
    with open(path, "wb") as f:
        f.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for i in range(frames):
            f.write(b"FRAME\n" + b"".join(row[3 * i:3 * i + WIDTH] for row in rows) + b"".join(chroma))


def write_sound(path, seed):
    with wave.open(path, "wb") as f:
        f.setnchannels(2)
        f.setsampwidth(2)
        f.setframerate(44100)
        one = [int(9000 * math.sin(i * (0.01 + 0.004 * seed))) for i in range(44100)]
        f.writeframes(struct.pack("<88200h", *[v for value in one for v in (value, value // 2)]) * (FRAMES // FPS))


def write_photo(path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + b"".join(bytes([4 * x, 5 * y, 128]) for x in range(50)) for y in range(40))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 50, 40, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write_text(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text + "\n")


def prepare(home):
    """What the page says that its reader has."""
    for folder in ("films", "pairs", "people"):
        os.mkdir(os.path.join(home, folder))
    for i in range(6):
        clip = os.path.join(home, "films", f"drift no. {i} \u00e4")
        write_film(clip + ".y4m", i)
        write_sound(clip + ".wav", i)
        write_text(clip + ".txt", f"a drifting pattern, number {i}")
        write_text(clip + ".sound.txt", "a steady tone")
    for i in range(2):
        clip = os.path.join(home, "pairs", f"clip{i}")
        write_film(clip + ".y4m", i, 20)
        write_film(clip + ".edited.y4m", i, 20, True)
        write_text(clip + ".edit.txt", "style: make it a negative")
        clip = os.path.join(home, "people", f"clip{i}")
        write_film(clip + ".y4m", i, 20)
        write_text(clip + ".txt", "somebody walks")
        write_photo(clip + ".face.png")
    write_photo(os.path.join(home, "photo.png"))


def parts(page):
    """What is to be done, in order: ("command", line), ("file", name, text), ("python", text)."""
    found = []
    for match in re.finditer(r"^    (moviegen|cp) ([^\n]*)$|^    (\{[^\n]*\})$|^```python\n(.*?)^```$|`(\{\"prompt\"[^`]*\})`", page, re.M | re.S):
        program, rest, rules, python, pair = match.groups()
        if program:
            found.append(("command", f"{program} {rest}"))
        elif rules:
            found.append(("file", "rules.json", rules))
        elif python:
            found.append(("python", python))
        else:
            found.append(("file", "pairs.jsonl", pair))
    return found


def look(home, command):
    """What else must be true after a command, or a list of what is not."""
    out = re.search(r"(?:--out|-o) (\S+)", command)
    if out and not os.path.getsize(os.path.join(home, out.group(1))):
        return [f"{out.group(1)} is empty"]
    if "curate" in command:
        with open(os.path.join(home, "films", "clips.jsonl"), encoding="utf-8") as f:
            clips = [json.loads(line) for line in f]
        if sum(clip["kept"] for clip in clips) < 5:
            return [f"{clip['file']}: {clip.get('dropped', 'kept')} {clip.get('scores', '')}" for clip in clips]
    return []


def run(report, name, words, home, env):
    done = subprocess.run(words, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, check=False)
    said = done.stderr.decode("utf-8", "replace").replace("\r", "\n")
    report.result(name, [] if done.returncode == 0 else [f"exit status {done.returncode}"] + said.splitlines()[-5:])
    return done.returncode == 0


def damaged(program, home, env):
    """A film that turns out to be damaged ends a training, which goes on once it is whole; what is wrong, or ""."""
    folder, state = os.path.join(home, "some"), os.path.join(home, "image.state")
    os.mkdir(folder)
    for i in range(24):
        write_film(os.path.join(folder, f"{i:02}.y4m"), i, 1)
    with open(os.path.join(home, "my_films.json"), encoding="utf-8") as f:
        write_text(os.path.join(home, "one.json"), f.read().replace('"batch": 8', '"batch": 1'))
    words = [program, "train", "--recipe", "one.json", "--stage", "image", "--dir", "one", "--data", "some", "--frames", "1", "--size", "32"]

    def train(*more):
        return subprocess.run(words + list(more), cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, check=False)

    for i in (11, 5, 17):  # one that the first step does not take
        path = os.path.join(folder, f"{i:02}.y4m")
        with open(path, "r+b") as f:
            whole = f.read()
            f.seek(whole.index(b"FRAME"))
            f.write(b"BRAKE")
        done = train("--checkpoint", state)
        with open(path, "wb") as f:
            f.write(whole)
        if done.returncode != 1 or f"some/{i:02}.y4m".encode() not in done.stderr:
            return f"film {i}: exit status {done.returncode}, {done.stderr!r}"
        if os.path.exists(state):
            told = re.search(rb"image: (\d+) of 60 steps, to go on from with --resume ", done.stdout)
            again = train("--resume", state, "--log", "again.jsonl")
            if not told or again.returncode:
                return f"film {i}: {done.stdout!r}, then {again.stderr!r}"
            with open(os.path.join(home, "again.jsonl"), encoding="utf-8") as f:
                first = json.loads(f.readline())["step"]
            return "" if first == int(told.group(1)) else f"step {first} follows {told.group(1)}"
    return "no step was taken before any of the films"


def main():
    program = os.path.abspath(sys.argv[1])
    build = os.path.dirname(os.path.dirname(os.path.dirname(program)))
    report = tap.Report()
    if not os.path.exists(os.path.join(build, "lib/plugins/mgen_ffmpeg.so")):
        report.skip("own films", "no FFmpeg plug-in in this build, and the page writes .mp4")
        return report.end()
    env = {key: value for key, value in os.environ.items() if not key.startswith("MOVIEGEN_")}
    env |= {"PYTHONPATH": os.path.join(ROOT, "bindings/python"), "MOVIEGEN_LIBRARY": os.path.join(build, "libmoviegen.so.0"),
            "MOVIEGEN_PLUGINS": os.path.join(build, "lib/plugins"), "PYTHONDONTWRITEBYTECODE": "1"}
    with open(os.path.join(ROOT, "docs/own_films.md"), encoding="utf-8") as f:
        todo = parts(f.read())
    report.result("the page has commands, files and Python",
                  [] if [len([1 for part in todo if part[0] == kind]) >= least for kind, least in
                         (("command", 20), ("file", 2), ("python", 1))] == [True] * 3 else [repr(todo)])
    with tempfile.TemporaryDirectory(prefix="own films ") as home:
        prepare(home)
        for kind, *what in todo:
            if kind == "file":
                write_text(os.path.join(home, what[0]), "\n".join(3 * what[1:]) if what[0] == "pairs.jsonl" else what[1])
            elif kind == "python":
                if run(report, "Python", [sys.executable, "-c", what[0]], home, env):
                    report.result("Python's film", [] if glob.glob(os.path.join(home, "from_python.mp4")) else ["is not there"])
            elif what[0].startswith("cp "):
                subprocess.run(["cp", os.path.join(ROOT, what[0].split()[1]), what[0].split()[2]], cwd=home, check=True)
            else:
                words = [text[0] or text[1] for text in re.findall(r'"([^"]*)"|(\S+)', what[0])]
                if run(report, what[0], [program, *words[1:]], home, env):
                    problems = look(home, what[0])
                    if problems:
                        report.result(what[0] + ": what it made", problems)
        report.result("a damaged film ends a training, which goes on once it is whole", damaged(program, home, env))
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
