# SPDX-License-Identifier: MIT
"""An autoencoder of images of Stable Diffusion 3.5's size, with random weights, in this library and in diffusers, in turns
on one core: seconds of the processor for one picture each way, and how far the results are apart.

    vae_compare.py BUILD_FOLDER [--size 256] [--core 1] [--rounds 3]

Needs torch, diffusers and safetensors (pip install). BUILD_FOLDER holds a release build. Both in f32, PyTorch channels last.
"""
import argparse
import os
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WIDTHS = (128, 256, 512, 512)


def timed(best, what, call):
    start = time.process_time()
    result = call()
    best[what] = min(best.get(what, float("inf")), time.process_time() - start)
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    o = parser.parse_args()
    os.sched_setaffinity(0, {o.core})
    os.environ["MOVIEGEN_LIBRARY"] = os.path.join(os.path.abspath(o.build), "libmoviegen.so")
    sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))
    import moviegen
    import torch
    from diffusers import AutoencoderKL

    torch.set_num_threads(1)
    torch.manual_seed(1)
    levels = len(WIDTHS)
    theirs = AutoencoderKL(block_out_channels=WIDTHS, layers_per_block=2, latent_channels=16,
                           down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
                           use_quant_conv=False, use_post_quant_conv=False, scaling_factor=1.5305, shift_factor=0.0609).eval()
    picture = torch.randint(0, 256, (1, o.size, o.size, 3), dtype=torch.uint8)
    x = (picture.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
    best = {}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        theirs.save_pretrained(os.path.join(folder, "vae"))
        theirs = theirs.to(memory_format=torch.channels_last)
        context = moviegen.Context(threads=1)
        ours = moviegen.Tae(context, folder, "vae")
        for _ in range(o.rounds):
            z = timed(best, "theirs, encode", lambda: theirs.encode(x).latent_dist.mean)
            y = timed(best, "theirs, decode", lambda: theirs.decode(z).sample)
            latents = timed(best, "ours, encode", lambda: ours.encode(picture.numpy()))
            frame = timed(best, "ours, decode", lambda: ours.decode(latents, 1, format="rgbf32"))
    z = ((z - 0.0609) * 1.5305)[0].permute(1, 2, 0).flatten()
    y = (y[0].permute(1, 2, 0).flatten() / 2 + 0.5).clamp(0, 1)
    for way in ("encode", "decode"):
        a, b = best["ours, " + way], best["theirs, " + way]
        print(f"{way}: {a:.2f} s, diffusers {b:.2f} s, {b / a:.2f} x")
    for what, own, other in (("latents", latents, z), ("pixels", frame, y)):
        own = torch.frombuffer(memoryview(own).cast("B"), dtype=torch.float32)
        print(f"{what} within {float((own - other).abs().max()):.1e}, of values up to {float(other.abs().max()):.1f}")


if __name__ == "__main__":
    main()
