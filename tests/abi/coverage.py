# SPDX-License-Identifier: MIT
"""Which public functions the tests call, and which of the statuses that the header promises they have seen.

    coverage.py --report HEADER TRACE...    prints a summary and what is missing; always succeeds
    coverage.py --strict HEADER TRACE...    prints TAP; what is missing and not in exempt.txt fails

TRACE is a file that MOVIEGEN_TRACE named (see trace.py). exempt.txt has lines
    unseen FUNCTION STATUS reason          documented, but no test can bring it about; * = any function
    undocumented FUNCTION STATUS reason    returned, though the function's comment does not name it; * = any
"""
import os
import sys

from header import Header
from run import Report

EXEMPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "exempt.txt")


# What has a mesh, or is made on one: its calls can lose their peers.
MESHED = ("mgen_mesh", "mgen_pipeline", "mgen_trainer", "mgen_trainer_params", "mgen_job", "mgen_generate_params")


def status_values(header):
    """{number: name}"""
    values = {}
    for name in header.statuses():
        values[int(header.define(name).strip("()"))] = name
    return values


def read_traces(paths, header):
    """(functions called, {(function, status name)})"""
    names, called, seen = status_values(header), set(), set()
    for path in paths:
        with open(path, encoding="utf-8") as f:
            for line in f:
                function, status = line.split()
                called.add(function)
                if status != "-":
                    seen.add((function, names.get(int(status), status)))
    return called, seen


def read_exempt(path):
    """{kind: {(function, status): reason}}, problems"""
    table, problems = {"unseen": {}, "undocumented": {}}, []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            parts = line.split(None, 3)
            if not parts or parts[0].startswith("#"):
                continue
            if len(parts) < 4 or parts[0] not in table:
                problems.append(f"exempt.txt:{number}: not `unseen|undocumented FUNCTION STATUS reason`")
            else:
                table[parts[0]][parts[1], parts[2]] = parts[3].strip()
    return table, problems


def excused(table, pair):
    return any((function, status) in table for function in (pair[0], "*") for status in (pair[1], "*"))


def general(header, function, status):
    """Statuses that the header allows for many calls at once: at its head, and for ranks."""
    grows = {struct.name for struct in header.structs if struct.grows()}
    with_struct = any(word in grows for kind, _ in function.parameters for word in kind.replace("*", " ").split())
    with_ranks = any(word in MESHED for kind, _ in function.parameters for word in kind.replace("*", " ").split())
    return (status in ("MGEN_E_INVALID", "MGEN_E_INTERNAL") or (status == "MGEN_E_VERSION" and with_struct)
            or (status in ("MGEN_E_PEER_LOST", "MGEN_E_TIMEOUT", "MGEN_E_DESYNC") and with_ranks))


class Coverage:
    def __init__(self, header, traces):
        self.called, self.seen = read_traces(traces, header)
        self.exempt, self.problems = read_exempt(EXEMPT)
        self.functions = {function.name for function in header.functions}
        self.promised = {(function.name, status) for function in header.functions
                         if function.result == "mgen_status" for status in header.documented_statuses(function)}
        self.never = sorted(self.functions - self.called)
        self.unseen = sorted(pair for pair in self.promised - self.seen
                             if not excused(self.exempt["unseen"], pair))
        self.undocumented = sorted(pair for pair in self.seen - self.promised
                                   if pair[0] in self.functions
                                   and not general(header, header.function(pair[0]), pair[1])
                                   and not excused(self.exempt["undocumented"], pair))
        self.problems += [f"{name} is in a trace but not in the header" for name in sorted(self.called - self.functions)]
        for kind, wrong in (("unseen", self.seen), ("undocumented", self.promised)):
            self.problems += [f"exempt.txt: {kind} {' '.join(pair)}: not so" for pair in self.exempt[kind] if pair in wrong]

    def summary(self):
        return (f"{len(self.functions) - len(self.never)} of {len(self.functions)} functions called, "
                f"{len(self.promised & self.seen)} of {len(self.promised)} promised statuses seen "
                f"({len(self.promised) - len(self.promised & self.seen) - len(self.unseen)} exempt), "
                f"{len(self.undocumented)} seen that are not documented")


def by_function(pairs):
    """`function: STATUS, STATUS` for each function."""
    return [f"{name}: {', '.join(s.removeprefix('MGEN_') for f, s in pairs if f == name)}"
            for name in dict.fromkeys(f for f, _ in pairs)]


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ("--report", "--strict"):
        sys.exit(__doc__)
    header = Header(sys.argv[2])
    coverage = Coverage(header, sys.argv[3:])
    lists = (("each function is called", coverage.never),
             ("each status that is documented is seen", [" ".join(pair) for pair in coverage.unseen]),
             ("each status that is seen is documented", [" ".join(pair) for pair in coverage.undocumented]),
             ("traces and exempt.txt fit the header", coverage.problems))
    if sys.argv[1] == "--report":
        print(coverage.summary())
        for title, missing in (("never called", coverage.never), ("documented, not seen", by_function(coverage.unseen)),
                               ("seen, not documented", by_function(coverage.undocumented)),
                               ("wrong", coverage.problems)):
            print("".join(f"\n{title}: {item}" for item in missing), end="\n" if missing else "")
        return 0
    report = Report()
    for title, missing in lists:
        report.result(title, missing)
    print(f"# {coverage.summary()}")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
