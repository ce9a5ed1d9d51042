# SPDX-License-Identifier: MIT
"""The programs that README.md and the pages in docs show: taken from their very text, built against an installed copy and run."""
import glob
import os
import re
import shutil
import sys

FILM = "movie.mp4"


def snippet(root, language):
    """The text between ```language and ``` in README.md, of which there is one for each language."""
    with open(os.path.join(root, "README.md"), encoding="utf-8") as f:
        found = re.findall(r"^```" + language + r"\n(.*?)^```$", f.read(), re.S | re.M)
    assert len(found) == 1, f"README.md shows {len(found)} programs in {language}, not one"
    return found[0]


def folder(world, language):
    """Where a snippet runs: an empty folder that has the model where the snippet says it is."""
    path = world.path("readme-" + language)
    os.makedirs(os.path.join(path, "examples"))
    os.symlink(world.path("small"), os.path.join(path, "examples", "models"))
    return path


def text(world, language):
    """The snippet; without the FFmpeg plug-in its film is a .y4m."""
    source = snippet(world.root, language)
    assert FILM in source, f"the program in {language} does not write {FILM}"
    return source if world.plugin else source.replace(FILM, "movie.y4m")


def film(world, path, run):
    """What the program wrote, which says nothing when all is well."""
    assert run.returncode == 0 and not run.stderr, f"it ended with {run.returncode}: {run.stderr.strip()}"
    name = os.path.join(path, FILM if world.plugin else "movie.y4m")
    with open(name, "rb") as f:
        data = f.read()
    assert (data[4:8] == b"ftyp") if world.plugin else data.startswith(b"YUV4MPEG2 W32 H32"), "that is no film"
    return data


def write(path, name, source):
    name = os.path.join(path, name)
    with open(name, "w", encoding="utf-8") as f:
        f.write(source)
    return name


def film_of_c(world):
    """The film that the others are compared with: made once."""
    if "readme" not in world.programs:
        path = folder(world, "c")
        source = write(path, "film.c", text(world, "c"))
        world.programs["readme"] = film(world, path, world.run(world.compile(source, "film", folder=path), cwd=path))
    return world.programs["readme"]


def run_python(world):
    path = folder(world, "python")
    source = write(path, "film.py", text(world, "python"))
    package = os.path.join(path, "site")
    shutil.copytree(os.path.join(world.root, "bindings", "python", "moviegen"), os.path.join(package, "moviegen"),
                    ignore=shutil.ignore_patterns("__pycache__"))
    # It names no model: without the variable that would be the installed one, whose films are larger.
    env = {"PYTHONPATH": package, "MOVIEGEN_MODEL": os.path.join(path, "examples", "models", "toybox")}
    return film(world, path, world.run(sys.executable, "-B", source, cwd=path, env=env))


def run_rust(world):
    cargo = shutil.which("cargo")
    if not cargo:
        world.skip("cargo is not installed")
    path = folder(world, "rust")
    crates = os.path.join(path, "crates")
    shutil.copytree(os.path.join(world.root, "bindings", "rust"), crates, ignore=shutil.ignore_patterns("target"))
    write(path, "Cargo.toml", '[package]\nname = "film"\nversion = "0.1.0"\nedition = "2021"\n'
          '[workspace]\nexclude = ["crates"]\n[dependencies]\nmoviegen = { path = "crates/moviegen" }\n')
    os.mkdir(os.path.join(path, "src"))
    write(os.path.join(path, "src"), "main.rs", text(world, "rust"))
    built = world.run(cargo, "build", "--offline", "--quiet", cwd=path, env={"CARGO_TARGET_DIR": path + "/target"})
    assert built.returncode == 0, f"cargo: {built.stderr.strip()}"
    return film(world, path, world.run(os.path.join(path, "target", "debug", "film"), cwd=path))


def run_pages(world):
    """Each piece of C in docs, as the inside of a program; it finds films of the names that it reads, and says nothing."""
    path = folder(world, "pages")
    made = film_of_c(world)
    for name in ("film.mp4", "small.mp4"):
        with open(os.path.join(path, name), "wb") as f:
            f.write(made)
    shown = 0
    for page in sorted(glob.glob(os.path.join(world.root, "docs", "*.md"))):
        with open(page, encoding="utf-8") as f:
            pieces = re.findall(r"^```c\n(.*?)^```$", f.read(), re.S | re.M)
        for piece in pieces:
            shown += 1
            source = write(path, f"piece{shown}.c", "#include <moviegen.h>\n#include <stdio.h>\nint main(void)\n{\n{\n" + piece +
                           "}\nreturn 0;\n}\n")
            program = world.compile(source, f"piece{shown}", folder=path)
            if page.endswith("parallel.md") or not world.plugin:  # of a run of several ranks; of .mp4
                continue
            run = world.run(program, cwd=path)
            assert run.returncode == 0 and not run.stderr, f"{page}: it ended with {run.returncode}: {run.stderr.strip()}"
    assert shown > 4, "too few were found"
    for name in ("edited.mp4", "large.mp4", "heard.mp4") if world.plugin else ():
        assert os.path.getsize(os.path.join(path, name)) > 1000, name
