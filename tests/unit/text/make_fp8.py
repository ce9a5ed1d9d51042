# SPDX-License-Identifier: MIT
"""Make two more fixtures of test_hf_text.c from hf/t5 here: hf/fp8, that encoder in FP8 with scales in every form that is read, over two
files with an index, some scales in another file than their codes; and hf/fp8_wide, what torch makes of them, codes times scales, in f32.

    make_fp8.py                    needs torch (2.15.0), safetensors: pip install; after make_hf.py
"""
import json
import os
import shutil

import torch
from safetensors.torch import load_file, save_file

HF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hf")
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
LARGEST = {E4M3: 448.0, E5M2: 57344.0}


def quantised(w, scale, dtype):
    """Codes, and what they stand for: in f32, scales as they are stored."""
    s = scale.float().reshape(-1, 1) if scale.numel() > 1 else scale.float()
    codes = (w / s).clamp(-LARGEST[dtype], LARGEST[dtype]).to(dtype)
    return codes, codes.float() * s


def one(w, dtype):
    return w.abs().max() / LARGEST[dtype]


def rows(w, dtype):
    return w.abs().amax(1, keepdim=True) / LARGEST[dtype]


def main():
    files, wide = [{}, {}], {}

    def put(name, w, scale=None, suffix=None, dtype=E4M3, apart=False):
        if scale is None:
            codes = w.to(dtype)
            wide[name] = codes.float()
        else:
            codes, wide[name] = quantised(w, scale, dtype)
            files[apart][name.removesuffix("weight") + suffix] = scale
        files[0][name] = codes

    for name, w in load_file(os.path.join(HF, "t5", "model.safetensors")).items():
        if name.startswith(("decoder.", "lm_head.")):
            continue
        kind = name.split(".")[-2]
        if kind == "q":
            put(name, w, one(w, E4M3), "weight_scale")  # of ()
        elif kind == "k":
            put(name, w, rows(w, E4M3), "weight_scale", apart=True)
        elif kind == "v":
            put(name, w, one(w, E4M3).reshape(1), "scale_weight")
            files[0][name.replace("weight", "scale_input")] = torch.ones(1)
        elif kind == "o":
            put(name, w, one(w, E4M3).reshape(1, 1).to(torch.bfloat16), "weight_scale_inv", apart=True)
        elif kind == "wi":
            put(name, w, rows(w, E5M2)[:, 0].to(torch.float16), "scale_weight", E5M2)
        elif kind == "wo":
            put(name, w, rows(w, E4M3).to(torch.bfloat16), "weight_scale")
            files[0][name.replace("weight", "input_scale")] = torch.ones(())
        elif kind == "relative_attention_bias":
            put(name, w, dtype=E5M2)
        else:  # the table, norms: a plain cast
            put(name, w)
    files[0]["scaled_fp8"] = torch.zeros(2).to(E4M3)
    for folder in ("fp8", "fp8_wide"):
        shutil.rmtree(os.path.join(HF, folder), ignore_errors=True)
        os.makedirs(os.path.join(HF, folder))
        shutil.copy(os.path.join(HF, "t5", "config.json"), os.path.join(HF, folder, "config.json"))
    names = [f"model-0000{i + 1}-of-00002.safetensors" for i in range(2)]
    for i in range(2):
        save_file({n: t.contiguous() for n, t in files[i].items()}, os.path.join(HF, "fp8", names[i]), {"format": "pt"})
    with open(os.path.join(HF, "fp8", "model.safetensors.index.json"), "w", encoding="utf-8") as f:
        json.dump({"metadata": {}, "weight_map": {n: names[i] for i in range(2) for n in sorted(files[i])}}, f, indent=1)
        f.write("\n")
    save_file(wide, os.path.join(HF, "fp8_wide", "model.safetensors"), {"format": "pt"})


if __name__ == "__main__":
    main()
