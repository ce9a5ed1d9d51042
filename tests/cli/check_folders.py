# SPDX-License-Identifier: MIT
"""The moviegen program makes model folders of model folders: moviegen average, moviegen convert; and what it says of one that
cannot be written, of a folder that is none, and of words that are not quite its own.

    check_folders.py PROGRAM        prints TAP

On a tiny model that the program trains here first, in seconds.
"""
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli
from check_cli import FAST, PROMPT, expect


def test_average(w):
    expect(w.run("average"), 2, "OUT is missing")
    expect(w.run("average", w.path("mean")), 2, "IN is missing")
    for text in ("1", "1,2,3", "1,-1", "1,0", "1,x", "1,nan", ""):
        expect(w.run("average", w.path("mean"), "a", "b", "--weights", text), 2, "--weights needs 2 numbers above 0")
    expect(w.run("average", w.path("mean"), "none"), 1, "cannot open the folder 'none'")
    w.need_model()
    run = w.run("average", w.path("mean"), w.model, w.model, "--weights", "1,0.5")
    expect(run, 0)
    assert b"the average of 2 models is in" in run.stdout, run.stdout
    expect(w.run("info", "--model", w.path("mean")), 0)
    # who forgets the first folder does not lose the model that is named first
    before = {name: open(os.path.join(w.path("mean"), name), "rb").read() for name in os.listdir(w.path("mean"))}
    expect(w.run("average", w.path("mean"), w.model), 2, "there is a model in", "mean' already", "average OUT IN")
    assert before == {name: open(os.path.join(w.path("mean"), name), "rb").read() for name in os.listdir(w.path("mean"))}


def test_folder_without_a_model(w):
    os.makedirs(w.path("no-model"))
    expect(w.run("generate", "x", "-o", w.path("x.y4m"), "--model", w.path("no-model")), 1,
           "no-model' is no model folder, or no video model was trained in it yet", "pipeline.json")
    expect(w.run("generate", "x", "-o", w.path("x.y4m"), "--model", w.path("nowhere")), 1, "cannot open the folder", "nowhere")


def test_train_writes_where_it_can(w):
    """Said before the training, not at its end."""
    expect(w.run("train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("unmade"), "--checkpoint",
                 w.path("nowhere/state"), "-q"), 1, "nowhere/state", "its folder does not exist; make it first")
    assert not os.path.exists(w.path("unmade")), os.listdir(w.path("unmade"))
    expect(w.run("train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("unmade"), "--log", w.folder, "-q"), 1,
           "Is a directory")
    # the first rank finds it out; no other waits for it
    run = w.run("train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("unmade"), "--checkpoint", w.path("nowhere/state"), "-q",
                "--mesh", "dp=2", timeout=60)
    assert run.returncode == 1 and b"its folder does not exist; make it first" in run.stderr, run
    os.mkdir(w.path("locked"), 0o500)
    if not os.access(w.path("locked"), os.W_OK):  # as root it can be written all the same
        expect(w.run("train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("locked"), "-q"), 1, "locked': Permission denied")


def test_a_limit_of_file_sizes(w):
    """Told as a full disk is; nothing half written stays."""
    os.mkdir(w.path("small"))
    run = subprocess.run([w.program, "generate", PROMPT, "--model", w.need_model(), "--out", w.path("small/a.y4m"), "-q", *FAST], check=False,
                         capture_output=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)))
    expect(run, 1, "small/a.y4m", "limits the size of files")
    assert os.listdir(w.path("small")) == [], os.listdir(w.path("small"))


def test_plot_spares_its_logs(w):
    with open(w.path("log.jsonl"), "w", encoding="utf-8") as f:
        f.write('{"step":1,"loss":2}\n{"step":2,"loss":1}\n')
    expect(w.run("plot", w.path("log.jsonl"), "-o", w.path("log.jsonl")), 2, "log.jsonl' is read and would be written over")
    os.mkdir(w.path("charts"))
    words = [w.program, "plot", w.path("log.jsonl"), "-o", w.path("charts/a.svg")]
    assert subprocess.run(words, check=False, capture_output=True).returncode == 0
    with open(w.path("charts/a.svg"), "rb") as f:
        chart = f.read()
    run = subprocess.run(words, check=False, capture_output=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900)))
    expect(run, 1, "charts/a.svg", "too large")
    with open(w.path("charts/a.svg"), "rb") as f:
        assert f.read() == chart and os.listdir(w.path("charts")) == ["a.svg"], os.listdir(w.path("charts"))
    run = w.run("plot", w.path("log.jsonl"), "-o", "/dev/stdout", "-q")
    assert run.returncode == 0 and run.stdout == chart, run


def test_misspelt_words(w):
    expect(w.run("paint"), 2, "unknown command 'paint'; commands are")
    expect(w.run("generat"), 2, "unknown command 'generat'; is generate meant? commands are")
    expect(w.run("traim"), 2, "is train meant?")
    expect(w.run("train", "-x"), 2, "unknown option '-x'; allowed are")
    expect(w.run("generate", "--sed", "3", "x"), 2, "unknown option '--sed'; is --seed meant? allowed are")
    expect(w.run("generate", "--neg=3", "x"), 2, "unknown option '--neg'; is --negative meant?")
    expect(w.run("generate", "--strength", "3", "x"), 2, "unknown option '--strength'; allowed are")
    expect(w.run("compare", "--boguss", "3"), 2, "'--boguss'; allowed are", "--quiet, --help")


def test_options_of_what_is_not_given(w):
    """Refused, not passed over."""
    stage = ("train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("none"))
    for option in (("--size", "32"), ("--frames", "8")):
        expect(w.run(*stage, *option), 2, "--size and --frames are of the films of --data")
        expect(w.run("eval", "tae", *option), 2, "--size and --frames are of the films of --data")
    for option in ("--first", "--frames"):
        expect(w.run("sound", "--seconds", "1", option, "1"), 2, "--first and --frames are of a film, and there is none")


def test_text_without_quotation_marks(w):
    expect(w.run("generate", "a", "red", "ball"), 2, "unexpected 'red': text of several words goes into quotation marks")
    expect(w.run("curate", "a", "b"), 2, "unexpected 'b'; usage")


def reads_weights(pid):
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(os.path.join(folder, name)).endswith(".safetensors"):
                return True
    return False


def test_interrupt_while_weights_are_read(w):
    """Control-C is no failure: the status of one who was stopped, whatever the program was at."""
    for words in (("generate", PROMPT, "--out", w.path("no.y4m"), "--steps", "1000"), ("eval", "tae", "-n", "100")):
        with subprocess.Popen([w.program, *words, "--model", check_cli.toybox()], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            check_cli.wait_for(lambda: reads_weights(process.pid), pause=0.001)
            process.send_signal(signal.SIGINT)
            error = process.communicate(timeout=120)[1]
        assert process.returncode == 130 and b"callback" not in error, (words, process.returncode, error)
    assert not os.path.exists(w.path("no.y4m"))


def film_of(w, model, name, *options):
    path = w.path(name)
    expect(w.run("generate", PROMPT, *FAST, "--model", model, "-o", path, "-q", *options), 0)
    with open(path, "rb") as f:
        return f.read()


def weights_of(folder):
    with open(os.path.join(folder, "video_model.safetensors"), "rb") as f:
        return f.read()


def test_convert(w):
    expect(w.run("convert"), 2, "DIR is missing")
    expect(w.run("convert", "none"), 2, "--store needs fp8 or bf16")
    expect(w.run("convert", "none", "--store", "f32"), 2, "--store needs fp8 or bf16, not 'f32'")
    expect(w.run("convert", "none", "more", "--store", "fp8"), 2)
    expect(w.run("convert", w.path("none"), "--store", "fp8"), 1, "none")
    folder = shutil.copytree(w.need_model(), w.path("model"))
    before = weights_of(folder)
    run = w.run("convert", folder, "--store", "fp8")
    expect(run, 0)
    assert b"are stored in fp8" in run.stdout, run.stdout
    coded = weights_of(folder)
    assert len(coded) < len(before) and b"F8_E4M3" in coded and b"F8_E4M3" not in before
    # the very codes that would be held of the other file
    assert film_of(w, folder, "a.y4m", "--precision", "fp8") == film_of(w, w.model, "b.y4m", "--precision", "fp8")
    assert film_of(w, folder, "c.y4m") != film_of(w, w.model, "d.y4m")
    run = w.run("convert", folder, "--store", "bf16", "-q")
    expect(run, 0)
    assert not run.stdout, run.stdout
    assert film_of(w, folder, "e.y4m") == film_of(w, folder, "f.y4m") and len(weights_of(folder)) == len(before)


def test_train_not_saved(w):
    """A model that cannot be written: what was learned is in the checkpoint."""
    words = ["train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("m"), "--checkpoint", w.path("state")]
    os.makedirs(w.path("m/tae.safetensors/in the way"))
    run = w.run(*words)
    assert run.returncode == 1 and b"cannot move a finished file into" in run.stderr, run.stderr
    assert b"tae: 12 of 12 steps, to go on from with --resume " in run.stdout and b"saved to" not in run.stdout, run.stdout
    shutil.rmtree(w.path("m/tae.safetensors"))
    run = w.run(*words, "--resume", w.path("state"))
    expect(run, 0)
    assert b" saved to" in run.stdout and b"nothing" not in run.stdout, run.stdout
    expect(w.run("train", "--recipe", w.recipe(), "--stage", "tae", "--dir", w.path("whole"), "-q"), 0)
    weights = [open(w.path(name + "/tae.safetensors"), "rb").read() for name in ("m", "whole")]
    assert weights[0] == weights[1], "what is saved later is not what was learned"


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
