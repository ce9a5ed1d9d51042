# SPDX-License-Identifier: MIT
"""The moviegen program as ranks, under mpirun and as a launcher like torchrun starts them: training goes the course of
one process.

    check_ranks.py PROGRAM                       prints TAP
    check_ranks.py --launch RANKS COMMAND...     such a launcher
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

MODEL = {"layers": 2, "dim": 16, "heads": 2, "ff_dim": 32, "channels": 4, "patch": [1, 2, 2], "frames_max": 4,
         "rows_max": 4, "columns_max": 4, "text_dim": 16}
TEXT = {"vocab": 259, "dim": 16, "layers": 1, "heads": 2, "head_dim": 8, "ff_dim": 16, "tokens_max": 64}
RECIPE = {
    "format": "moviegen-recipe", "version": 1, "stages": [
        {"name": "tae", "kind": "autoencoder", "steps": 4, "batch": 4, "frames": 8, "mse": 10, "kl": 0.0003,
         "tae": {"channels": [4, 4, 4, 8], "latent_channels": 4, "blocks": 1, "temporal": True},
         "optimizer": {"lr": 0.001}},
        {"name": "video", "kind": "text_to_video", "steps": 20, "batch": 4, "clips": 8, "tae": "tae",
         "text_encoder": TEXT, "video_model": MODEL, "validate_every": 20, "validate_clips": 8,
         "optimizer": {"lr": 0.01}},
        {"name": "long", "kind": "text_to_video", "steps": 100000, "batch": 4, "clips": 8, "tae": "tae",
         "text_encoder": TEXT, "video_model": MODEL, "optimizer": {"lr": 0.01}}]}
ROUNDING = 2e-4  # of a loss, relative: sums are made in another order
MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
       "OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMPI_MCA_rmaps_base_oversubscribe": "1",
       "OMPI_MCA_mpi_yield_when_idle": "1"}


def launch(ranks, command):
    """Start a command as ranks, as torchrun does, and wait for all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1",
           "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    processes = [subprocess.Popen(command, env={**env, "RANK": str(rank), "LOCAL_RANK": str(rank)})
                 for rank in range(ranks)]
    return max(abs(process.wait()) for process in processes)


class World:
    def __init__(self, program, home, launcher):
        self.program, self.home, self.launcher = os.path.abspath(program), home, launcher
        self.recipe, self.model = self.path("recipe.json"), self.path("model")
        with open(self.recipe, "w", encoding="utf-8") as f:
            json.dump(RECIPE, f)

    def path(self, name):
        return os.path.join(self.home, name)

    def start(self, ranks, stage, *more):
        launcher = [*self.launcher, str(ranks)] if ranks > 1 else []
        words = [self.program, "train", "--recipe", self.recipe, "--stage", stage, "--dir", self.model, "--threads", "1"]
        return subprocess.Popen([*launcher, *words, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, **MPI, "MOVIEGEN_CACHE": self.path("cache")})

    def train(self, ranks, stage, *more):
        process = self.start(ranks, stage, *more)
        out, error = process.communicate(timeout=600)
        return process.returncode, out.decode("utf-8", "replace"), error.decode("utf-8", "replace")

    def curve(self, name, ranks, *more, stage="video"):
        """The losses, when all went well."""
        log = self.path(name + ".jsonl")
        status, out, error = self.train(ranks, stage, "--log", log, "--log-every", "1", *more)
        assert status == 0, f"exit status {status}: {error}"
        assert out.count("steps in") == 1, f"not one rank speaks: {out}"
        with open(log, encoding="utf-8") as f:
            return {line["step"]: (line["loss"], line.get("val_loss")) for line in map(json.loads, f)}


def same(a, b):
    for step in b:
        for x, y in zip(a[step], b[step]):
            assert (x is None) == (y is None) and (x is None or abs(x - y) <= ROUNDING * abs(x)), (step, a[step], b[step])


def weights(w):
    with open(os.path.join(w.model, "video_model.safetensors"), "rb") as f:
        return f.read()


def test_the_course_of_one_process(w):
    """TP2 x FSDP2, and whatever an mpirun without more means; each saves a whole model."""
    w.one = w.curve("one", 1)
    assert len(w.one) == 20
    saved = [weights(w)]
    same(w.one, w.curve("four", 4, "--mesh", "dp=2,tp=2,shard=2"))
    saved.append(weights(w))
    same(w.one, w.curve("two", 2))
    saved.append(weights(w))
    assert len({len(one) for one in saved}) == 1 and len(set(saved)) == 3, "one of them did not save"


def test_a_film(w):
    """Of the model just trained, by two ranks and by one."""
    words = [w.program, "generate", "a ball", "--model", w.model, "--steps", "2", "--threads", "1", "--quiet", "--out"]
    films = []
    for name, launcher in (("one.y4m", []), ("two.y4m", [*w.launcher, "2"])):
        run = subprocess.run([*launcher, *words, w.path(name)], capture_output=True, env={**os.environ, **MPI}, check=False)
        assert run.returncode == 0, run.stderr.decode("utf-8", "replace")
        with open(w.path(name), "rb") as f:
            films.append(f.read())
    assert len(films[0]) == len(films[1]) and max(abs(a - b) for a, b in zip(*films)) <= 2


def test_it_goes_on_on_another_mesh(w):
    status, _, error = w.train(2, "long", "--mesh", "tp=2", "--checkpoint", w.path("checkpoint"), "--max-seconds", "0.001")
    assert status == 0, error
    w.curve("on", 4, "--mesh", "dp=2,cp=2", "--resume", w.path("checkpoint"), "--max-seconds", "0.001", stage="long")
    with open(w.path("on.jsonl"), encoding="utf-8") as f:
        assert json.loads(f.readline())["step"] >= 1


def test_one_rank_stops_all(w):
    """A signal to one process: all save and end."""
    log = w.path("stop.jsonl")
    process = w.start(2, "long", "--log", log, "--log-every", "1")
    end = time.monotonic() + 300
    while not (os.path.exists(log) and os.path.getsize(log) > 0):
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.05)
    children = subprocess.run(["pgrep", "-P", str(process.pid), "moviegen"], capture_output=True, check=True, text=True)
    os.kill(int(children.stdout.split()[-1]), signal.SIGTERM)
    out, error = process.communicate(timeout=300)
    assert process.returncode != 0 and b"saved to" in out, (process.returncode, out, error)


def test_errors_are_told_by_one_rank(w):
    status, out, error = w.train(2, "none")
    said = [line for line in error.split("\n") if line.startswith("moviegen")]
    assert status == 1 and not out and len(said) == 1 and said[0].startswith("moviegen train: rank 0: "), (status, error)
    status, _, error = w.train(2, "video", "--mesh", "dp=3")
    assert status == 1 and "as many places as there are ranks, 2" in error, (status, error)


def run_tests(way, launcher, tests, first):
    """How many of them fail."""
    failures = 0
    with tempfile.TemporaryDirectory(prefix="moviegen ranks ") as home:
        world = World(sys.argv[1], home, launcher)
        status, _, error = world.train(1, "tae", "-q")
        assert status == 0, error
        for number, (name, test) in enumerate(tests, first):
            try:
                test(world)
                print(f"ok {number} - {way}: {name}")
            except (AssertionError, OSError, ValueError, KeyError, subprocess.SubprocessError) as found:
                failures += 1
                print(f"not ok {number} - {way}: {name}\n#   {type(found).__name__}: {found}")
            sys.stdout.flush()
    return failures


def main():
    if sys.argv[1] == "--launch":
        return launch(int(sys.argv[2]), sys.argv[3:])
    plugin = os.path.join(os.path.dirname(os.path.abspath(sys.argv[1])), "../../lib/plugins/mgen_mpi.so")
    os.environ["MOVIEGEN_PLUGINS"] = os.path.dirname(plugin)
    tests = [(name[5:], test) for name, test in globals().items() if name.startswith("test_")]
    failures = run_tests("sockets", [sys.executable, os.path.abspath(__file__), "--launch"], tests, 1)
    if not shutil.which("mpirun") or not os.path.exists(plugin):
        print(f"ok {len(tests) + 1} - mpirun # SKIP no mpirun, or no MPI plug-in in this build\n1..{len(tests) + 1}")
        return failures > 0
    failures += run_tests("mpirun", ["mpirun", "-np"], tests, len(tests) + 1)
    print(f"1..{2 * len(tests)}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
