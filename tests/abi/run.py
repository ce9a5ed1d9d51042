# SPDX-License-Identifier: MIT
"""Compilers and other programs, and the report, for the checks beside this file."""
import os
import shutil
import subprocess

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


class Report:
    """Prints TAP."""

    def __init__(self):
        self.tests = 0
        self.failures = 0

    def result(self, name, problems):
        self.tests += 1
        self.failures += bool(problems)
        print(f"{'not ' if problems else ''}ok {self.tests} - {name}")
        for problem in problems[:40]:
            print(f"#   {problem}")

    def skip(self, name, reason):
        self.tests += 1
        print(f"ok {self.tests} - {name} # SKIP {reason}")
