# SPDX-License-Identifier: MIT
"""A Descript Audio Codec with random weights in this library and in transformers, in turns on one core: seconds of the
processor for encoding and decoding a sound, and for forward and backward of training.

    dac_compare.py BUILD_FOLDER [--seconds 4] [--core 1] [--rounds 5] [--rate 44100]

Needs torch, transformers and safetensors (pip install). BUILD_FOLDER holds a release build. A ratio is the median over the
rounds of (their time / our time): above 1 we are faster. Neither has a quantiser here, nor weight norm, which transformers
adds when it is asked to.
"""
import argparse
import copy
import os
import statistics
import subprocess
import tempfile
import time

SIZES = {44100: {"downsampling_ratios": [2, 4, 8, 8]}, 24000: {"downsampling_ratios": [2, 4, 5, 8]}}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rate", type=int, default=44100, choices=SIZES)
    o = parser.parse_args()
    os.sched_setaffinity(0, {o.core})
    import torch
    from transformers import DacConfig, DacModel

    torch.set_num_threads(1)
    torch.manual_seed(1)
    ratios = SIZES[o.rate]["downsampling_ratios"]
    model = DacModel(DacConfig(downsampling_ratios=ratios, upsampling_ratios=ratios[::-1], sampling_rate=o.rate))
    program = os.path.join(o.build, "tests", "bench", "bench_codec")
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(os.path.join(folder, "dac"))
        ours = subprocess.Popen([program, folder, "dac", str(o.seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        samples = int(ours.stdout.readline())
    half = copy.deepcopy(model).to(torch.bfloat16)
    nets = {"f32": (model.encoder, model.decoder), "bf16": (half.encoder, half.decoder)}
    types = {"f32": torch.float32, "bf16": torch.bfloat16}
    sound = torch.rand(1, 1, samples) - 0.5

    def theirs(what, dtype):
        encoder, decoder = nets[dtype]
        x = sound.to(types[dtype])
        if what == "train":
            x = x.view(4, 1, -1)
            for p in (*encoder.parameters(), *decoder.parameters()):
                p.grad = None
            torch.nn.functional.mse_loss(decoder(encoder(x)).float(), x.float()).backward()
        else:
            with torch.no_grad():
                if what == "encode":
                    latents[dtype] = encoder(x)
                else:
                    decoder(latents[dtype])

    latents, times = {}, {}
    for _ in range(o.rounds):
        for what in ("encode", "decode", "train"):
            for dtype in types:
                ours.stdin.write(f"{what} {dtype}\n")
                ours.stdin.flush()
                own, flops = map(float, ours.stdout.readline().split())
                start = time.process_time()
                theirs(what, dtype)
                times.setdefault((what, dtype), []).append((own, time.process_time() - start, flops))
    ours.stdin.close()
    print(f"{samples} samples, {o.rate} a second")
    print("| | ms | GFLOP/s | PyTorch ms | ratio |\n|---|---:|---:|---:|---:|")
    for (what, dtype), rows in times.items():
        own, other = min(r[0] for r in rows), min(r[1] for r in rows)
        ratio = statistics.median(r[1] / r[0] for r in rows)
        print(f"| {what} {dtype} | {own * 1e3:.0f} | {rows[0][2] / own / 1e9:.0f} | {other * 1e3:.0f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
