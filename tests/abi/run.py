# SPDX-License-Identifier: MIT
"""Compilers and other programs, and the report, for the checks beside this file."""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import Report  # noqa: E402

CC = os.environ.get("CC", "gcc")
CXX = os.environ.get("CXX", "g++")
WARNINGS = ["-pedantic", "-Wall", "-Wextra", "-Wmissing-field-initializers", "-Wundef", "-Werror"]


def have(program):
    return shutil.which(program) is not None


def run(command, **keywords):
    return subprocess.run(command, capture_output=True, text=True, check=False, **keywords)


def compile_text(text, command, include, program=None, language="c", libraries=()):
    """Compile (and link, if a program is named); -> the compiler's complaints."""
    target = ["-o", program] if program else ["-c", "-o", os.devnull]
    done = run([*command, "-I", include, "-x", language, "-", *target,
                *(("-x", "none", *libraries) if libraries else ())], input=text)
    return [] if done.returncode == 0 else done.stderr.splitlines() or [f"{command[0]} failed"]
