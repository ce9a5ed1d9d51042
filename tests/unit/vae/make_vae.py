# SPDX-License-Identifier: MIT
"""Make the fixtures of test_tae_diffusers.c, here: folders of tiny autoencoders as diffusers saves them, and
golden.safetensors, what diffusers makes of a picture with them.

    make_vae.py                    needs torch (2.15.0), diffusers (0.42.1), safetensors: pip install

Weights are random. They are rounded to the dtype they are stored in, saved, loaded again by diffusers and run in f32.

    vae     AutoencoderKL, three levels, two of them of one width; f16
    early   the same with other widths, two blocks a level, convolutions around the latents and attention's names as
            early versions had them; bf16, in several files with an index
"""
import json
import os
import shutil

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
EARLY = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def make(channels, layers, seed, mixes, **more):
    levels = len(channels)
    model = AutoencoderKL(block_out_channels=channels, layers_per_block=layers, norm_num_groups=2, latent_channels=3,
                          down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
                          use_quant_conv=mixes, use_post_quant_conv=mixes, **more)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            near = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            wide = p[0].numel() if p.dim() > 1 else 16
            p.copy_(near + torch.randn(p.shape) * wide ** -0.5)
    return model


def save(model, name, dtype, **options):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, **options)
    return folder


def run(name, folder, golden):
    model = AutoencoderKL.from_pretrained(folder).float().eval()
    torch.manual_seed(7)
    x = torch.rand(1, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        moments = model.encode(x).latent_dist.parameters
        y = model.decode(moments[:, :3]).sample
    for key, value in (("x", x), ("moments", moments), ("y", y)):
        golden[f"{name}.{key}"] = value[0].permute(1, 2, 0).contiguous()  # channels last, as in the library


def rename(folder):
    """Attention as early versions named it."""
    def early(key):
        for new, old in EARLY.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        return key

    index = os.path.join(folder, "diffusion_pytorch_model.safetensors.index.json")
    with open(index, encoding="utf-8") as f:
        names = json.load(f)
    names["weight_map"] = {early(k): v for k, v in names["weight_map"].items()}
    with open(index, "w", encoding="utf-8") as f:
        json.dump(names, f, indent=1)
    for name in sorted(set(names["weight_map"].values())):
        path = os.path.join(folder, name)
        save_file({early(k): v for k, v in load_file(path).items()}, path, metadata={"format": "pt"})


def main():
    golden = {}
    folder = save(make((4, 8, 8), 1, 1, False, scaling_factor=1.5305, shift_factor=0.0609), "vae", torch.float16)
    run("vae", folder, golden)
    folder = save(make((6, 4, 8), 2, 2, True), "early", torch.bfloat16, max_shard_size="10KB")
    run("early", folder, golden)
    rename(folder)
    save_file(golden, os.path.join(HERE, "golden.safetensors"))


if __name__ == "__main__":
    main()
