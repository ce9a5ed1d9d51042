# SPDX-License-Identifier: MIT
"""moviegen plan from outside: what it refuses, and numbers that can be told beforehand.

    check_plan.py PROGRAM        prints TAP
"""
import json
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli  # noqa: E402
from check_cli import expect  # noqa: E402


def test_plan(w):
    expect(w.run("plan"), 2, "toybox, 1b, 5b, 7b, 13b and 30b")
    expect(w.run("plan", "70b"), 1, '"70b"', "30b")
    expect(w.run("plan", "5b", "--recompute", "some"), 1, '"some"', "selective")
    expect(w.run("plan", "5b", "--width", "770"), 1, "multiples of 16", "770")
    run = w.run("plan", "5b", "--width", "352", "--height", "192", "--frames", "128", "--json")
    expect(run, 0)
    plan = json.loads(run.stdout)
    assert plan["tokens"] == 16 * 24 * 44 // 4, plan
    assert 4.8e9 < plan["parameters"] < 5.2e9, plan
    assert plan["master_bytes"] == 4 * plan["parameters"] and plan["step_flops"] > 3 * plan["forward_flops"], plan
    for what in ("7b = 114240", "7b -W 256 -H 128 -f 3 = 384", "7b --gpus 2 = 114240", "13b = 750", "13b --gpus 2 = 750"):
        *words, _, tokens = what.split()  # of an upsampler as many latent frames; of an audio model latents
        run = w.run("plan", "--json", *words)
        assert run.returncode == 0 and json.loads(run.stdout)["tokens"] == int(tokens), run
    expect(w.run("plan", "7b", "--frames", "15"), 1, "15 x 136 x 240", "14 x 136 x 240")
    expect(w.run("plan", "13b", "-W", "64"), 1, "width and height must be 0", "64 x 0")
    assert b"13b, 750 latents of sound, batch 1" in w.run("plan", "13b").stdout
    assert b"toybox, 64 x 64 pixels, 32 frames" in w.run("plan", "toybox").stdout
    run = w.run("plan", "5b", "--width", "352", "--height", "192")
    expect(run, 0)
    assert all(word in run.stdout for word in (b"optimizer", b"GB", b"352 x 192 pixels, 256 frames")), run.stdout


def test_plan_mesh(w):
    small = ("--width", "352", "--height", "192", "--frames", "128", "--gpus", "8")
    expect(w.run("plan", "5b", "--mesh", "tp=2"), 2, "need --gpus")
    expect(w.run("plan", "5b", *small, "--gpu", "h90"), 1, '"h90"', "h100-80gb", "attention")
    expect(w.run("plan", "5b", *small, "--gpu", "h100-80gb,node=x"), 1, "node must be a number from 1")
    expect(w.run("plan", "5b", *small, "--mesh", "tp=5"), 1, "has 5 places for 8 GPUs")
    expect(w.run("plan", "30b", "--gpus", "3", "--mesh", "tp=3"), 1, "tp=3", "legal are 1, 2, 4, 8, 16")
    expect(w.run("plan", "5b", *small, "--mesh", "cp=2,tp=4", "--global-batch", "3", "--batch", "2"), 1,
           "global batch of 3", "dp=1 x 2")
    expect(w.run("plan", "5b", *small, "--mesh", "dp=8,shard=3"), 1, "shard")
    run = w.run("plan", "--preset", "5b", *small, "--gpu", "h100-80gb", "--mesh", "dp=2,cp=2,tp=2", "--json")
    expect(run, 0)
    assert run.stdout.count(b"\n") == 1, run.stdout
    plan = json.loads(run.stdout)
    assert plan["mesh"] == {"dp": 2, "cp": 2, "tp": 2, "shard": 4}, plan
    for key in ("memory_per_rank_bytes", "flops_per_step", "step_seconds", "mfu", "exposed_comm_seconds"):
        assert plan[key] > 0, (key, plan)
    assert plan["bytes"]["all_gather"] > 0 and plan["bytes"]["reduce_scatter"] > 0, plan
    work = plan["step_seconds"] * plan["mfu"] * 989.4e12 * 8
    assert abs(work / plan["flops_per_step"] - 1) < 1e-4 and plan["global_batch"] == 2, plan
    assert abs(sum(plan["seconds"].values()) / plan["step_seconds"] - 1) < 1e-4, plan
    run = w.run("plan", "5b", *small, "--mesh", "dp=4,tp=2")
    expect(run, 0)
    assert b"cross-attention   FSDP+TP+SP" in run.stdout and b"limit" not in run.stdout, run.stdout
    run = w.run("plan", "5b", *small, "--timeline")
    expect(run, 0)
    for word in (b"backward of one block", b"attention_grad", b"dp=", b"limit"):
        assert word in run.stdout, (word, run.stdout)


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
