# SPDX-License-Identifier: MIT
"""A library that was built for GPUs on a machine that has none: no driver, a driver that is broken, no toolkit.

    check_no_driver.py ROOT BUILD_FOLDER        prints TAP

BUILD_FOLDER was set up with -Dcuda=enabled. The toolkit is hidden by a mount that only this process sees, which needs
root; where that is not allowed, these cases are skipped.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Report  # noqa: E402

NEEDED = re.compile(r"libc\.so\.6|libm\.so\.6|libz\.so\.1|ld-linux.*|libmoviegen\.so.*")
TOOLKIT = "/usr/local/cuda"


def run(command, hidden=False, **more):
    if hidden:
        command = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {TOOLKIT} && exec "$@"', "sh", *command]
    env = {**os.environ, **more}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=300)


def needed(file):
    found = re.findall(r"\(NEEDED\).*\[(.*)\]", run(["readelf", "-d", file]).stdout)
    bad = [name for name in found if not NEEDED.fullmatch(name)]
    return f"{os.path.basename(file)} needs {', '.join(bad)}" if bad or not found else ""


def undefined(file):
    """Nothing of the driver or the toolkit is left to the dynamic linker."""
    names = run(["nm", "-D", "--undefined-only", file]).stdout.split()
    bad = [n for n in names if re.match(r"cu[A-Z]|cuda[A-Z]|cublas|cudnn|nccl", n)]
    return f"undefined: {', '.join(bad[:5])}" if bad else ""


class Program:
    def __init__(self, root, build, folder):
        self.moviegen = os.path.join(build, "examples", "cli", "moviegen")
        self.model = os.path.join(root, "examples", "models", "toybox")
        self.film = os.path.join(folder, "film.y4m")

    def film_made(self, device, **how):
        if os.path.exists(self.film):
            os.remove(self.film)
        return run([self.moviegen, "generate", "a red ball", "--model", self.model, "--steps", "1", "--frames", "1", "-o",
                    self.film, *(["--device", device] if device else [])], **how)

    def refused(self, device, *words, **how):
        done = self.film_made(device, **how)
        if done.returncode == 0:
            return f"{device} is there"
        if done.returncode < 0 or not all(word in done.stderr for word in words):
            return f"status {done.returncode}: {done.stderr}"
        return ""

    def works(self, device, **how):
        done = self.film_made(device, **how)
        return "" if done.returncode == 0 and os.path.exists(self.film) else f"status {done.returncode}: {done.stderr}"


def broken_driver(folder):
    """A libcuda.so.1 that has no function. -> its folder"""
    place = os.path.join(folder, "driver")
    os.mkdir(place)
    source = os.path.join(place, "empty.c")
    with open(source, "w", encoding="utf-8") as f:
        f.write("int nothing;\n")
    run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", os.path.join(place, "libcuda.so.1"), source])
    return place


def configures(root, folder, option):
    build = os.path.join(folder, f"build-{option}")
    return run(["meson", "setup", build, root, f"-Dcuda={option}", "-Dtests=false"], hidden=True)


def main():
    root, build = (os.path.abspath(a) for a in sys.argv[1:3])
    cases = Report()
    library = os.path.join(build, "libmoviegen.so.0")
    with tempfile.TemporaryDirectory() as folder:
        program = Program(root, build, folder)
        for file in (library, program.moviegen):
            cases.result(f"{os.path.basename(file)} needs libc, libm and libz only", needed(file))
        cases.result("the driver and the toolkit are looked for at run time", undefined(library))
        if os.path.exists("/dev/nvidia0"):
            cases.skip("no driver", "there is a GPU")
            return cases.end()
        cases.result("without a driver \"cuda\" is refused", program.refused("cuda", "no NVIDIA driver", '"cpu" always works'))
        cases.result("so is \"cuda:3\"", program.refused("cuda:3", "cuda:3", "no NVIDIA driver"))
        cases.result("without a driver the CPU is taken", program.works(None))
        place = broken_driver(folder)
        cases.result("a driver without functions is refused", program.refused("cuda", "cuda:0", '"cpu" always works', LD_LIBRARY_PATH=place))
        cases.result("beside it the CPU is taken", program.works(None, LD_LIBRARY_PATH=place))
        if not os.path.isdir(TOOLKIT) or run(["true"], hidden=True).returncode:
            cases.skip("the toolkit hidden", "it cannot be hidden here")
        else:
            cases.result("without the toolkit \"cuda\" is refused", program.refused("cuda", "no NVIDIA driver", hidden=True))
            cases.result("without the toolkit the CPU is taken", program.works(None, hidden=True))
            if shutil.which("meson"):
                done = configures(root, folder, "auto")
                cases.result("without the toolkit -Dcuda=auto builds for the CPU", done.stdout + done.stderr if done.returncode else "")
                done = configures(root, folder, "enabled")
                text = done.stdout + done.stderr
                cases.result("and -Dcuda=enabled says what is missing", "" if done.returncode and "nvcc" in text and "Traceback" not in text else text)
    return cases.end()


if __name__ == "__main__":
    sys.exit(main())
