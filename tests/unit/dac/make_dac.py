# SPDX-License-Identifier: MIT
"""Make the fixtures of test_audio_codec_dac.c, here: the folder of a tiny Descript Audio Codec as transformers saves it,
and golden.safetensors, what transformers makes of a sound with it.

    make_dac.py                    needs torch (2.15.0), transformers (5.24.0), safetensors: pip install

Weights are random. They are rounded to the dtype they are stored in, saved, loaded again by transformers and run in f32.
"""
import os
import shutil

import torch
from safetensors.torch import save_file
from transformers import DacConfig, DacModel

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    config = DacConfig(encoder_hidden_size=2, downsampling_ratios=[2, 4], decoder_hidden_size=12, upsampling_ratios=[4, 2],
                       hidden_size=6, n_codebooks=1, codebook_size=4, codebook_dim=2, sampling_rate=44100)
    model = DacModel(config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            near = 1.0 if name.endswith("alpha") else 0.0
            wide = p[0].numel() if p.dim() == 3 and not near else 16
            small = 0.1 if name.startswith("decoder.conv2") else 1.0  # what tanh does not flatten
            p.copy_(near + torch.randn(p.shape) * small * wide ** -0.5)
    folder = os.path.join(HERE, "dac")
    shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(folder)

    model = DacModel.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(7)
    x = torch.randn(1, 1, 5 * 8) * 0.3
    z = torch.randn(1, 6, 5)
    z[:, 3:] = z[:, 3:, :1]  # alike at all places: half of them come as a bias in the test
    with torch.no_grad():
        h = model.encoder(x)
        y = model.decoder(z)
    # channels last, as in the library
    golden = {name: t[0].T.contiguous() for name, t in (("x", x), ("h", h), ("z", z), ("y", y))}
    save_file(golden, os.path.join(HERE, "golden.safetensors"))


if __name__ == "__main__":
    main()
