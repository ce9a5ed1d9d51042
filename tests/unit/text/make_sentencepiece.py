# SPDX-License-Identifier: MIT
"""Make the fixtures of test_sentencepiece.c, here: nfkc.model, identity.model, sentencepiece.json.

    make_sentencepiece.py          needs spm_train and spm_encode (Debian's package sentencepiece, 0.1.97)

The models are trained on sentences made up below. nfkc.model: byte fallback, no start symbol, the rules of NFKC for
some blocks. identity.model: no rules, no byte fallback, spaces kept, a symbol defined by the user and a control
symbol; some pieces get other types and scores afterwards. The ids are those that spm_encode prints.
"""
import json
import os
import random
import struct
import subprocess
import tempfile
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = [
    "red green blue yellow dark bright small large old young".split(),
    "ball cube star dog cat woman man child house river street car bird tree mountain boat".split(),
    "moves|slides|bounces|jumps|runs|turns|flies|walks slowly|stands still|looks at the camera".split("|"),
    ("across a green field|over the sea at sunset|in a quiet room|under a grey sky|on a table|towards the viewer|"
     "through the snow|near the old bridge").split("|"),
]
OTHERS = ("Größe und Höhe|déjà vu à la fête|naïve café|здравствуй мир|привет, как дела|日本語の文字|映画を見る|"
          "中文字幕|한국어 자막|żółta łódź|١٢٣|2024, 1,000 frames at 16 fps|48 kHz|½ of it|"
          "it's the dog's; we're here, they'll say 'no'").split("|")
INPUTS = [
    "", " ", "     ", "\u3000\u3000", "a", "A", "a red ball bounces across a green field.", "  a red   ball ", "a\u00a0b",
    "two\ttabs\t\tand\rreturns\r", "e\u0301te\u0301 e\u0327\u0301 a\u0301\u0301\u0308", "ﬁne ﬂow", "ＡＢＣ１２３", "①②½ ™ ℃",
    "🎬🎥 a film 👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈", "日本語の文字と映画", "한국어 字幕", "żółta łódź", "привет, мир!", "שלום עולם",
    "क्षि नमस्ते", "<fps>16 <fps><fps> a::b:::c", "<unk> <s> </s> <pad> <quote>", "<0xE4><0x00>", "▁a▁b ▁", "\x01a\x02\x7f",
    "ﷺ", "Ǆ ǅ ǆ", "\u200b\ufeffword\u200b", "x\u0338= y", "1,000,000.00 000 0000 00000", "....,,,,!!!!????", "a" * 300,
    "ball" * 40, " ball" * 40, "日" * 60, "naïve déjà vu café", "NAÏVE", "it's they'll we're", "\U0010ffff\ue000\ufffd",
    "a red ball " * 60, "ß ẞ İ ı ſ", " leading", "trailing ", "\u2028line\u2029paragraph\u0085next",
]


def corpus():
    for _ in range(3000):
        if random.random() < 0.12:
            yield random.choice(OTHERS) + " " + random.choice(OTHERS)
        else:
            yield "a " + " ".join(random.choice(words) for words in WORDS) + random.choice([".", ""])


def rules():
    table = {}
    blocks = (range(0xA0, 0x180), range(0x2000, 0x2070), range(0x2100, 0x2190), range(0x2460, 0x2470),
              range(0xFB00, 0xFB07), range(0xFF01, 0xFF5F), range(0x3000, 0x3001), range(0xFDFA, 0xFDFB))
    sources = [chr(c) for block in blocks for c in block]
    sources += [b + chr(m) for b in "aeioucnszAEIOU" for m in (0x300, 0x301, 0x302, 0x303, 0x308, 0x30A, 0x327, 0x30C)]
    for source in sources:
        target = unicodedata.normalize("NFKC", source)
        if target != source and (len(source) == 1 or len(target) == 1):
            table[source] = target
    table.update({chr(c): "" for c in (*range(1, 9), 0xE, 0xF, 0x7F, 0x200B, 0x200E, 0xFEFF)})
    table.update({chr(c): " " for c in (9, 10, 13, 0xA0, 0x2028, 0x3000)})
    for source, target in table.items():
        yield "\t".join(" ".join(f"{ord(c):X}" for c in text) for text in (source, target))


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def lengths(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def change_types(path):
    """Of the pieces without a type (normal ones): a tenth user-defined, a tenth unused, a tenth with new scores."""
    with open(path, "rb") as f:
        data = f.read()
    at, out = 0, b""
    while at < len(data):
        key, at = varint(data, at)
        size, at = varint(data, at)
        body = data[at:at + size]
        at += size
        dice = random.random()
        if key >> 3 == 1 and body[-2] != 0x18 and dice < 0.3:
            body = (body + b"\x18\x04" if dice < 0.1 else body + b"\x18\x05" if dice < 0.2
                    else body[:-4] + struct.pack("<f", random.uniform(-20, 0)))
        out += bytes([key]) + lengths(len(body)) + body
    with open(path, "wb") as f:
        f.write(out)


def train(folder, name, *options):
    subprocess.run(["spm_train", "--input=corpus.txt", f"--model_prefix={name}", "--model_type=unigram", *options],
                   cwd=folder, check=True, capture_output=True)


def encode(model, text):
    run = subprocess.run(["spm_encode", f"--model={model}", "--output_format=id"], input=(text + "\n").encode(),
                         check=True, capture_output=True)
    return [int(word) for word in run.stdout.split()]


def main():
    random.seed(5)
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in (("corpus.txt", corpus()), ("rules.tsv", rules())):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.writelines(line + "\n" for line in lines)
        train(folder, "nfkc", "--vocab_size=440", "--byte_fallback=true", "--character_coverage=0.995", "--pad_id=0",
              "--eos_id=1", "--unk_id=2", "--bos_id=-1", "--normalization_rule_tsv=rules.tsv")
        train(folder, "identity", "--vocab_size=160", "--character_coverage=0.98", "--user_defined_symbols=<fps>,::",
              "--control_symbols=<quote>", "--normalization_rule_name=identity", "--remove_extra_whitespaces=false")
        for name in ("nfkc", "identity"):
            with open(os.path.join(folder, name + ".model"), "rb") as f, \
                 open(os.path.join(HERE, name + ".model"), "wb") as g:
                g.write(f.read())
    change_types(os.path.join(HERE, "identity.model"))
    with open(os.path.join(HERE, "sentencepiece.json"), "w", encoding="utf-8") as f:
        rows = [json.dumps({"text": text, **{name: encode(os.path.join(HERE, name + ".model"), text)
                                             for name in ("nfkc", "identity")}}) for text in INPUTS]
        f.write("[\n" + ",\n".join(rows) + "\n]\n")


if __name__ == "__main__":
    main()
