# SPDX-License-Identifier: MIT
"""TAP of the checks that are written in Python."""


class Report:
    def __init__(self):
        self.tests = 0
        self.failures = 0

    def result(self, name, problems):
        """Problems: a list of lines, or a text; empty if all is well."""
        self.tests += 1
        self.failures += bool(problems)
        print(f"{'not ' if problems else ''}ok {self.tests} - {name}")
        lines = problems.splitlines() if isinstance(problems, str) else problems
        for line in lines[:40]:
            print(f"#   {line}")

    def skip(self, name, reason):
        self.tests += 1
        print(f"ok {self.tests} - {name} # SKIP {reason}")

    def end(self):
        """Whether anything failed."""
        print(f"1..{self.tests}")
        return self.failures > 0
