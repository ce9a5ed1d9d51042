# SPDX-License-Identifier: MIT
"""Faults planted in kernels for GPUs: each must be caught where the host plays the GPU.

    kernel_mutations.py ROOT BUILD_FOLDER        prints TAP

BUILD_FOLDER was set up with -Dcuda=emulated and is built. A fault is an edit of a copy of one file; the kernels that
read it are compiled anew and checkkernel, or a unit test, is linked with them and must fail, which without the fault
it must not.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Report  # noqa: E402

# (what, file, old, new, kernels to compile, checkkernel's op); a fault is put wherever `old` stands
KERNEL_FAULTS = [
    ("a write behind the end of a buffer", "kernels/common/cuda.h", "i < (count); ", "i <= (count);", ["kernels/glu/glu_cuda.cu"], "glu"),
    ("a read behind the end of a buffer", "kernels/common/cuda.h", "i < n; i += blockDim.x", "i <= n; i += blockDim.x", ["kernels/loss/loss_cuda.cu"],
     "loss"),
    ("a barrier missing after a warp's sum", "kernels/common/cuda.h", "scratch[threadIdx.x / MGK_WARP] = x;\n    __syncthreads();",
     "scratch[threadIdx.x / MGK_WARP] = x;", ["kernels/loss/loss_cuda.cu"], "loss"),
    ("a barrier missing between the two buffers of a product", "kernels/common/cuda_gemm.h",
     "__syncthreads(); /* also: all are done with the other buffer */", "", ["kernels/matmul/matmul_cuda.cu"], "matmul"),
    ("a barrier that a part of the threads do not reach", "kernels/common/cuda.h", "scratch[threadIdx.x / MGK_WARP] = x;\n    __syncthreads();",
     "scratch[threadIdx.x / MGK_WARP] = x;\n    if (lane == 0)\n        __syncwarp();\n    else\n        __syncthreads();", ["kernels/loss/loss_cuda.cu"],
     "loss"),
]
# (what, header, old, new, unit test)
LAYOUT_FAULTS = [
    ("a wrong swizzle of shared memory", "kernels/common/hopper.h", r"(MGK_PURE uint32_t mgk_swizzle128\(uint32_t address\)\s*\{.*?return )(.*?);",
     r"\1(\2) ^ ((address >> 11 & 1) << 4);", "tests/unit/test_hopper.c"),
]


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, **more)


def command_of(build, target):
    return shlex.split(run(["ninja", "-C", build, "-t", "commands", target]).stdout.splitlines()[-1])


def overlay(root, folder, file, edit):
    """A copy of the file, edited, at the front of the search for headers."""
    with open(os.path.join(root, file), encoding="utf-8") as f:
        text = f.read()
    changed = edit(text)
    if changed == text:
        raise RuntimeError(f"{file} has not what is to be edited")
    target = os.path.join(folder, file)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "w", encoding="utf-8") as f:
        f.write(changed)


def compiled(root, build, folder, source):
    """The kernel's object, with the overlay's headers."""
    name = os.path.basename(source) + ".o"
    command = command_of(build, name)
    command[command.index("-o") + 1] = os.path.join(folder, name)
    command[command.index("-MF") + 1] = os.path.join(folder, name + ".d")
    at = next(i for i, word in enumerate(command) if word.startswith("-I"))
    command.insert(at, f"-I{folder}")
    done = run([w for w in command if w != "-Werror"], cwd=build)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return os.path.join(folder, name)


def linked(build, folder, objects):
    """checkkernel, in which these objects take the place of the archive's."""
    command = command_of(build, "tests/kernels/checkkernel")
    program = os.path.join(folder, "checkkernel")
    command[command.index("-o") + 1] = program
    # of several definitions the first counts
    done = run([command[0], *objects, "-Wl,--allow-multiple-definition", *command[1:]], cwd=build)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return program


def check(program, op):
    return run([program, "--op", op, "--variant", "cuda", "--cases", "12"])


def kernel_fault(cases, root, build, fault, sound):
    what, file, old, new, sources, op = fault
    if op not in sound:
        sound[op] = check(os.path.join(build, "tests/kernels/checkkernel"), op).returncode == 0
    with tempfile.TemporaryDirectory() as folder:
        overlay(root, folder, file, lambda text: text.replace(old, new))
        program = linked(build, folder, [compiled(root, build, folder, s) for s in sources])
        done = check(program, op)
        cases.result(f"{what}: caught by checkkernel of {op}",
                     "it fails without the fault" if not sound[op] else "" if done.returncode else "nothing was noticed\n" + done.stdout[-2000:])


def unit_test(root, folder, source):
    program = os.path.join(folder, "unit")
    done = run([os.environ.get("CC", "cc"), "-std=gnu17", "-O1", "-D_GNU_SOURCE", f"-I{folder}", f"-I{root}", f"-I{root}/lib", f"-I{root}/include",
                os.path.join(root, source), "-o", program, "-lcmocka", "-lm"])
    if done.returncode:
        raise RuntimeError(done.stderr)
    return run([program])


def layout_fault(cases, root, fault):
    what, file, old, new, source = fault
    name = f"{what}: caught by {os.path.basename(source)}"
    if not os.path.exists(os.path.join(root, source)):
        cases.skip(name, f"{source} is not here")
        return
    with tempfile.TemporaryDirectory() as folder:
        if unit_test(root, folder, source).returncode:
            cases.result(name, "it fails without the fault")
            return
        overlay(root, folder, file, lambda text: re.sub(old, new, text, count=1, flags=re.S))
        done = unit_test(root, folder, source)
        cases.result(name, "" if done.returncode else "nothing was noticed")


def main():
    root, build = (os.path.abspath(a) for a in sys.argv[1:3])
    cases, sound = Report(), {}
    for fault in KERNEL_FAULTS:
        kernel_fault(cases, root, build, fault, sound)
    for fault in LAYOUT_FAULTS:
        layout_fault(cases, root, fault)
    return cases.end()


if __name__ == "__main__":
    sys.exit(main())
