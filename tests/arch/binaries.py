# SPDX-License-Identifier: MIT
"""The code for GPUs as the compiler made it: no GPU is needed, and no disassembler.

    binaries.py ROOT [--cache DIR] [--jobs N] [--only WORD] [--record]        prints TAP

For each kernel and each architecture, of all its instances together:
  - registers and spilled bytes are at most those of cuda_allowance.txt (--record writes that file anew);
  - the instructions that cuda_claims.txt names are in the binary, and in the PTX it was made from.
Instructions are counted in the machine code itself: 16 bytes each, the operation in the lowest 12 bits. That these
numbers mean what they are taken for is shown first, by small kernels with and without each instruction.
What was compiled is kept in DIR (default: ROOT/build-binaries) until one of its files changes.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Report  # noqa: E402

ARCHS = ["80", "90a", "100f"]
# As in meson.build; a file for each architecture, so that they can be compiled side by side.
FLAGS = ["-std=c++17", "-O3", "--threads", "1", "-Xptxas", "-v", "-Xcompiler",
         "-fPIC,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics"]

# operation -> (its number, the same in PTX; None: not looked for there)
OPERATIONS = {
    "HMMA": (0x23c, r"\b(?:wmma\.mma|mma\.sync)"),  # tensor cores, by warps
    "LDSM": (0x83b, r"\b(?:ldmatrix|wmma\.load)"),  # matrices from shared memory
    "LDGSTS": (0xfae, r"\bcp\.async\.c[ag]\."),  # copies to shared memory that go on meanwhile
    "HGMMA": (0x9f0, r"\bwgmma\.mma_async[\w.]*\.bf16\.bf16"),  # tensor cores, by groups of four warps
    "QGMMA": (0x9f3, r"\bwgmma\.mma_async[\w.]*\.e4m3\.e4m3"),  # the same of 8-bit codes
    "UTMALDG": (0x5b4, r"\bcp\.async\.bulk\.tensor.*\.shared.*\.global"),  # tiles by the tensor memory accelerator
    "LDG": (0x981, None),
    "STG": (0x986, None),
    "LDG128": (0x981, None),  # of them those of 16 bytes
    "STG128": (0x986, None),
    "MEMBAR_GPU": (0x992, None),  # fences of all memory of the GPU, or of more
}


def find_nvcc():
    for place in (os.environ.get("CUDA_HOME", "") + "/bin/nvcc", shutil.which("nvcc"), "/usr/local/cuda/bin/nvcc"):
        if place and os.access(place, os.X_OK):
            try:
                done = subprocess.run([place, "--version"], capture_output=True, text=True, check=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            return place, re.search(r"release ([\d.]+)", done.stdout).group(1)
    return None, None


def code_sections(path):
    """name of a kernel -> its machine code, from an ELF file."""
    with open(path, "rb") as f:
        data = f.read()
    at, = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    heads = [struct.unpack_from("<IIQQQQ", data, at + i * size) for i in range(count)]
    strings = heads[names][4]
    out = {}
    for name, kind, _, _, offset, length in heads:
        end = data.index(b"\0", strings + name)
        text = data[strings + name:end].decode()
        if text.startswith(".text.") and kind == 1:
            out[text[6:]] = data[offset:offset + length]
    return out


def count_operations(code):
    counts = dict.fromkeys(OPERATIONS, 0)
    for at in range(0, len(code) - 15, 16):
        low, high = struct.unpack_from("<QQ", code, at)
        operation, wide, scope = low & 0xfff, high >> 9 & 7 == 6, high >> 12 & 7
        for name, (number, _) in OPERATIONS.items():
            if operation == number and (wide or not name.endswith("128")) and (scope >= 2 or not name.endswith("_GPU")):
                counts[name] += 1
    return counts


def count_ptx(text):
    """name of a kernel -> operation -> number"""
    out = {}
    for part in re.split(r"\.entry\s+", text)[1:]:
        name = re.match(r"[\w$]+", part).group(0)
        out[name] = {op: len(re.findall(ptx, part)) for op, (_, ptx) in OPERATIONS.items() if ptx}
    return out


def compile_file(nvcc, source, arch, includes):
    """-> list of files that it was made from, {mangled name: facts}"""
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "x.cubin")
        command = [nvcc, *FLAGS, *includes, f"-gencode=arch=compute_{arch},code=sm_{arch}", "-cubin", "-MD", "-MF",
                   os.path.join(folder, "x.d"), "--keep", "--keep-dir", folder, source, "-o", target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{os.path.basename(source)} for {arch}:\n{done.stderr}")
        ptx_file = next(f for f in os.listdir(folder) if f.endswith(".ptx"))
        with open(os.path.join(folder, ptx_file), encoding="utf-8") as f:
            ptx = count_ptx(f.read())
        with open(os.path.join(folder, "x.d"), encoding="utf-8") as f:
            files = re.sub(r"\\\n", " ", f.read()).split(":", 1)[1].split()
        facts = {}
        for name, code in code_sections(target).items():
            facts[name] = {"count": count_operations(code), "ptx": ptx.get(name, {}), "registers": 0, "spills": 0}
        name = None
        for line in done.stderr.splitlines():
            found = re.search(r"Compiling entry function '(\S+)'", line)
            name = found.group(1) if found else name
            found = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line)
            if found and name in facts:
                facts[name]["spills"] = max(facts[name]["spills"], int(found.group(1)), int(found.group(2)))
            found = re.search(r"Used (\d+) registers", line)
            if found and name in facts:
                facts[name]["registers"] = int(found.group(1))
        return files, facts


def digest(files, salt):
    sum_ = hashlib.sha256(salt.encode())
    for name in files:
        with open(name, "rb") as f:
            sum_.update(f.read())
    return sum_.hexdigest()


def cached(nvcc, version, source, arch, root, cache):
    includes = [f"-I{root}", f"-I{root}/lib", f"-I{root}/include"]
    salt = repr((version, FLAGS, OPERATIONS, arch))
    kept = os.path.join(cache, f"{os.path.basename(source)}.{arch}.json")
    try:
        with open(kept, encoding="utf-8") as f:
            old = json.load(f)
        if digest(old["files"], salt) == old["digest"]:
            return old["facts"]
    except (OSError, ValueError, KeyError):
        pass
    files, facts = compile_file(nvcc, source, arch, includes)
    own = [os.path.abspath(f) for f in files if os.path.abspath(f).startswith(root + os.sep)]
    with open(kept, "w", encoding="utf-8") as f:
        json.dump({"files": own, "digest": digest(own, salt), "facts": facts}, f)
    return facts


def plain_names(names):
    done = subprocess.run(["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True)
    plain = (re.sub(r"[<(].*", "", n.replace("(anonymous namespace)::", "")) for n in done.stdout.splitlines())
    return dict(zip(names, (n.split("::")[-1].split()[-1] for n in plain)))


def gather(facts):
    """All instances of a kernel together: the most registers and spills, the fewest and most of each operation."""
    names = plain_names(list(facts))
    out = {}
    for mangled, f in facts.items():
        k = out.setdefault(names[mangled], {"registers": 0, "spills": 0, "instances": []})
        k["registers"] = max(k["registers"], f["registers"])
        k["spills"] = max(k["spills"], f["spills"])
        k["instances"].append(f)
    return out


# ---- the numbers of operations mean what they are taken for ------------------------------------------------------

PROBE = r"""
#include <stdint.h>
#include <mma.h>
#include <cuda_bf16.h>
using namespace nvcuda;
__global__ void plain(const float *a, float *b) { b[threadIdx.x] = a[threadIdx.x] + 1.0f; }
__global__ void wide(const float4 *a, float4 *b) { float4 v = a[threadIdx.x]; v.x += 1.0f; b[threadIdx.x] = v; }
__global__ void async_copy(const float4 *a, float *b)
{
    __shared__ float4 s[32];
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((unsigned)__cvta_generic_to_shared(s + threadIdx.x)), "l"(a + threadIdx.x) : "memory");
    asm volatile("cp.async.wait_all;" ::: "memory");
    b[threadIdx.x] = s[threadIdx.x].x;
}
__global__ void tensor_core(const uint32_t *a, float *b)
{
    __shared__ __align__(16) uint32_t s[128];
    float d[4] = {0, 0, 0, 0};
    uint32_t r[4];
    s[threadIdx.x] = a[threadIdx.x];
    __syncthreads();
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"((unsigned)__cvta_generic_to_shared(s + threadIdx.x % 32 * 4)) : "memory");
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%4,%5}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]));
    b[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
"""
PROBE_90A = r"""
__global__ void group_core(float *b)
{
    __shared__ __align__(128) unsigned char s[16384];
    float d[4] = {0, 0, 0, 0};
    uint64_t desc = (uint64_t)((unsigned)__cvta_generic_to_shared(s) >> 4);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0,%1,%2,%3}, %4, %4, 1, 1, 1, 0, 0;"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(desc));
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
    b[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
__global__ void group_core_of_codes(float *b)
{
    __shared__ __align__(128) unsigned char s[16384];
    float d[4] = {0, 0, 0, 0};
    uint64_t desc = (uint64_t)((unsigned)__cvta_generic_to_shared(s) >> 4);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {%0,%1,%2,%3}, %4, %4, 1, 1, 1;"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "l"(desc));
    asm volatile("wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;" ::: "memory");
    b[threadIdx.x] = d[0] + d[1] + d[2] + d[3];
}
__global__ void fences(float *b)
{
    __threadfence_block();
    b[threadIdx.x] = 1;
    __threadfence();
}
__global__ void tile_copy(const void *map, float *b)
{
    __shared__ __align__(128) float s[64];
    __shared__ __align__(8) uint64_t bar;
    if (threadIdx.x == 0)
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                     ::"r"((unsigned)__cvta_generic_to_shared(s)), "l"(map), "r"(0), "r"(0), "r"((unsigned)__cvta_generic_to_shared(&bar)) : "memory");
    __syncthreads();
    b[threadIdx.x] = s[threadIdx.x];
}
"""


def probe(nvcc, version, arch, cache):
    """What the probes show otherwise than they should."""
    source = os.path.join(cache, f"probe_{arch}.cu")
    with open(source, "w", encoding="utf-8") as f:
        f.write(PROBE + (PROBE_90A if arch == "90a" else ""))
    kernels = gather(cached(nvcc, version, source, arch, os.path.abspath(cache), cache))
    expected = {"plain": {"LDG": 1, "STG": 1}, "wide": {"LDG": 1, "STG": 1, "LDG128": 1, "STG128": 1},
                "async_copy": {"LDGSTS": 1, "STG": 1}, "tensor_core": {"HMMA": 1, "LDSM": 1, "LDG": 1, "STG": 1}}
    if arch == "90a":
        expected["group_core"] = {"HGMMA": 1, "STG": 1}
        expected["group_core_of_codes"] = {"QGMMA": 1, "STG": 1}
        expected["tile_copy"] = {"UTMALDG": 1, "STG": 1}
        expected["fences"] = {"MEMBAR_GPU": 1, "STG": 1}
    problems = []
    for name, want in expected.items():
        got = kernels[name]["instances"][0]["count"] if name in kernels else {}
        got = {op: n for op, n in got.items() if n}
        if got != want:
            problems.append(f"{name}: found {got}, there are {want}")
    return problems


# ---- tables --------------------------------------------------------------------------------------------------------

def read_table(path):
    with open(path, encoding="utf-8") as f:
        return [line.split() for line in f if line.strip() and not line.startswith("#")]


def check_claims(claims, kernels):
    """kernels: (file, arch) -> gather()"""
    problems = []
    for file, kernel, archs, *words in claims:
        for arch in ARCHS if archs == "all" else archs.split(","):
            if (file, arch) not in kernels:
                continue
            found = {n: k for n, k in kernels[file, arch].items() if re.fullmatch(kernel, n)}
            if not found:
                problems.append(f"{file} for {arch}: there is no kernel {kernel}")
            for word in words:
                op, limit, allowed = word.partition("<=")
                for name, k in found.items() if limit else ():
                    most = max(i["count"][op] for i in k["instances"])
                    if most > int(allowed):
                        problems.append(f"{file} for {arch}: {name} has {most} {op}, {allowed} at most are claimed")
                if limit:
                    continue
                op, least = (word.split(">=") + ["1"])[:2]
                for name, k in found.items():
                    # A share of the instances may be for dtypes or widths that have no such instruction.
                    most = max(i["count"][op] for i in k["instances"])
                    ptx = max(i["ptx"].get(op, 0) for i in k["instances"])
                    if most < int(least):
                        problems.append(f"{file} for {arch}: {name} has {most} {op}, {least} or more are claimed")
                    if OPERATIONS[op][1] and not ptx:
                        problems.append(f"{file} for {arch}: the PTX of {name} has nothing that becomes {op}")
    return problems


ALLOWANCE_HEAD = """# Registers a thread and spilled bytes that each kernel may take, the most of its instances: written by
# tests/arch/binaries.py --record with nvcc {version}. What it takes less of is fine; more needs a reason.
# file kernel {archs}
"""


def allowance_lines(kernels):
    lines = []
    files = sorted({file for file, _ in kernels})
    for file in files:
        names = sorted({n for (f, _), ks in kernels.items() if f == file for n in ks})
        for name in names:
            cells = [f"{k['registers']}+{k['spills']}" if (k := kernels[file, arch].get(name)) else "-" for arch in ARCHS]
            lines.append(" ".join([file, name, *cells]))
    return lines


def check_allowance(table, kernels):
    allowed = {(file, name, arch): cell for file, name, *cells in table for arch, cell in zip(ARCHS, cells)}
    problems = []
    for (file, arch), found in kernels.items():
        for name, k in found.items():
            cell = allowed.get((file, name, arch), "-")
            if cell == "-":
                problems.append(f"{file} for {arch}: {name} is not in the table: binaries.py --record")
                continue
            registers, spills = (int(v) for v in cell.split("+"))
            if k["registers"] > registers or k["spills"] > spills:
                problems.append(f"{file} for {arch}: {name} takes {k['registers']} registers and spills {k['spills']} bytes, "
                                f"{registers} and {spills} are allowed")
    for file, name, *_ in table:
        if any(f == file for f, _ in kernels) and not any(f == file and name in ks for (f, _), ks in kernels.items()):
            problems.append(f"{file}: there is no kernel {name} any more: binaries.py --record")
    return problems


def check_checks(kernels, table):
    """The guards themselves: each must object to what it is there for."""
    problems = []
    (file, arch), found = next((key, ks) for key, ks in kernels.items() if ks)
    name, k = next(iter(found.items()))
    one = {(file, arch): {name: k}}
    worse = {(file, arch): {name: {**k, "registers": k["registers"] + 1}}}
    spilled = {(file, arch): {name: {**k, "spills": k["spills"] + 4}}}
    own = [row for row in table if row[0] == file and row[1] == name]
    if check_allowance(own, one) or not check_allowance(own, worse) or not check_allowance(own, spilled):
        problems.append("one register or one spill more is not noticed")
    if not check_allowance([], one):
        problems.append("a kernel that is not in the table is not noticed")
    bare = {"count": dict.fromkeys(OPERATIONS, 0), "ptx": {}}
    if not check_claims([[file, name, arch, "HMMA"]], {(file, arch): {name: {**k, "instances": [bare]}}}):
        problems.append("an instruction that is not there is not noticed")
    fenced = {(file, arch): {name: {**k, "instances": [bare, {**bare, "count": {**bare["count"], "MEMBAR_GPU": 3}}]}}}
    if check_claims([[file, name, arch, "MEMBAR_GPU<=3"]], fenced) or not check_claims([[file, name, arch, "MEMBAR_GPU<=2"]], fenced):
        problems.append("one fence more is not noticed")
    if not check_claims([[file, "no_such_kernel", arch, "HMMA"]], one):
        problems.append("a claim about no kernel is not noticed")
    return problems


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--cache")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="only files whose name has this word")
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    root = os.path.abspath(args.root)
    cache = os.path.abspath(args.cache or os.path.join(root, "build-binaries"))
    here = os.path.dirname(os.path.abspath(__file__))
    allowance = os.path.join(here, "cuda_allowance.txt")
    report = Report()
    nvcc, version = find_nvcc()
    if not nvcc or not shutil.which("c++filt"):
        report.skip("binaries for GPUs", "nvcc is not here" if not nvcc else "c++filt is not here")
        report.end()
        return 0
    os.makedirs(cache, exist_ok=True)
    sources = sorted(os.path.join(folder, f) for folder, _, files in os.walk(os.path.join(root, "kernels"))
                     for f in files if f.endswith(".cu") and args.only in f)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        probes = {arch: pool.submit(probe, nvcc, version, arch, cache) for arch in ARCHS}
        work = {(os.path.basename(s), arch): pool.submit(cached, nvcc, version, s, arch, root, cache)
                for s in sources for arch in ARCHS}
        for arch in ARCHS:
            report.result(f"operations are counted as they are, {arch}", probes[arch].result())
        broken, kernels = [], {}
        for key, future in work.items():
            try:
                kernels[key] = gather(future.result())
            except RuntimeError as e:
                broken.extend(str(e).splitlines()[:10])
    report.result(f"{len(sources)} files compile for {', '.join(ARCHS)}", broken)
    if args.record:
        lines = allowance_lines(kernels)
        if args.only:
            lines = sorted(lines + [" ".join(r) for r in read_table(allowance) if args.only not in r[0]])
        with open(allowance, "w", encoding="utf-8") as f:
            f.write(ALLOWANCE_HEAD.format(version=version, archs=" ".join(ARCHS)))
            f.write("".join(line + "\n" for line in lines))
    table = read_table(allowance)
    with open(allowance, encoding="utf-8") as f:
        pinned = re.search(r"nvcc ([\d.]+)\.\s", f.read()).group(1)
    for arch in ARCHS:
        own = {key: ks for key, ks in kernels.items() if key[1] == arch}
        if version == pinned:
            report.result(f"registers and spills, {arch}", check_allowance(table, own))
        else:
            report.skip(f"registers and spills, {arch}", f"the table is of nvcc {pinned}, this is {version}")
        report.result(f"claimed instructions, {arch}", check_claims(read_table(os.path.join(here, "cuda_claims.txt")), own))
    if kernels:
        report.result("the checks object to what they are there for", check_checks(kernels, allowance_table(kernels)))
    return 1 if report.end() else 0


def allowance_table(kernels):
    return [line.split() for line in allowance_lines(kernels)]


if __name__ == "__main__":
    sys.exit(main())
