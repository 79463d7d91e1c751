"""What plants a bug: it compiles a changed copy of one source as a build compiles it, and links programs with it.

Of the two tables of bugs one is for the unit and cluster tests (tests/mutate), one for the simulator (tests/sim/mutate).
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from functools import lru_cache

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HARNESS = "tests/harness/some_cases.c"
LINKER = ["-fuse-ld=gold"] if shutil.which("ld.gold") else []  # takes a third of the usual one's time


class Bad(Exception):
    """A row that cannot be tried."""


def read_table(path, counts):
    rows = []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            if line.strip() and not line.startswith("#"):
                fields = line.rstrip("\n").split(" | ")
                if len(fields) not in counts:
                    sys.exit(f"{path}:{number}: {len(fields)} fields")
                rows.append(fields)
    return rows


class Build:
    """How the build compiles each source, links each program and calls each test."""

    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, "compile_commands.json"), encoding="utf-8") as f:
            self.compiles = json.load(f)
        with open(os.path.join(folder, "meson-info/intro-tests.json"), encoding="utf-8") as f:
            self.tests = {test["name"]: test for test in json.load(f)}
        self.cases = os.path.join(folder, "some_cases.o")

    def make_cases(self):
        """What makes a unit test run the cases of a row alone."""
        command = next(shlex.split(one["command"]) for one in self.compiles if one["file"].endswith("_test.c"))
        self.compile(command, os.path.join(ROOT, HARNESS), self.cases)

    def outputs(self, path):
        """(object, command) of each time that PATH is compiled."""
        source = os.path.join(ROOT, path)
        return [(one["output"], shlex.split(one["command"])) for one in self.compiles
                if os.path.normpath(os.path.join(one["directory"], one["file"])) == source]

    @lru_cache(maxsize=None)
    def link_command(self, program):
        said = self.call(["ninja", "-t", "commands", program]).stdout.strip().split("\n")[-1]
        return shlex.split(said)

    def call(self, command, **options):
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **options)

    def must(self, command, what):
        done = self.call(command)
        if done.returncode != 0:
            said = [line for line in done.stderr.split("\n") if "error" in line or "undefined" in line]
            raise Bad(f"does not {what}: {(said or [done.stderr.strip()])[0][-300:]}")

    def compile(self, command, source, target):
        """COMMAND, for SOURCE and TARGET in place of its own; what the source's own folder holds is still found."""
        own = command[command.index("-c") + 1]
        words, skip = [], False
        for word in command:
            if not skip and word not in ("-MD", "-MQ", "-MF"):
                words.append({own: source, command[command.index("-o") + 1]: target}.get(word, word))
            skip = word in ("-MQ", "-MF")
        # Compiling is what takes the time: this one object need not be fast, nor be debugged.
        self.must(words + ["-w", "-O0", "-g0", "-iquote", os.path.dirname(own)], "compile")

    def link(self, program, target, mutants, extra=()):
        """PROGRAM again at TARGET. MUTANTS are (object of the build, object to take instead); one that lies in a library
        comes before it, so that nothing asks the library for it."""
        words = [target if word == program else word for word in self.link_command(program)]
        before = list(extra)
        for own, mutant in mutants:
            if own in words:
                words[words.index(own)] = mutant
            else:
                before.append(mutant)
        at = next(i for i, word in enumerate(words) if word.endswith(".o"))
        self.must(words[:at] + before + words[at:] + LINKER, "link")


def library_of(output):
    return output.split(".p/")[0]


def is_linked(build, program, output):
    """Whether the object OUTPUT is a part of PROGRAM."""
    words = build.link_command(program)
    return output in words or library_of(output) in words


class Planter:
    """Plants the bug of one row in a folder, and makes programs with it."""

    def __init__(self, build, row, folder):
        self.build, self.row, self.folder = build, row, folder
        self.objects = None

    def plant(self):
        row = self.row
        with open(os.path.join(ROOT, row.path), encoding="utf-8") as f:
            source = f.read()
        text = row.text.replace("\\n", "\n")
        if source.count(text) != 1:
            raise Bad(f"the text occurs {source.count(text)} times in {row.path}")
        mutant = os.path.join(self.folder, os.path.basename(row.path))
        with open(mutant, "w", encoding="utf-8") as f:
            f.write(source.replace(text, row.replacement.replace("\\n", "\n")))
        self.objects = []
        for number, (output, command) in enumerate(self.build.outputs(row.path)):
            target = os.path.join(self.folder, f"{number}.o")
            self.build.compile(command, mutant, target)
            self.objects.append((output, target))
        if not self.objects:
            raise Bad(f"the build does not compile {row.path}")

    def link(self, program, extra=()):
        """The path of PROGRAM with the bug, or None if the source is no part of it."""
        parts = [(output, target) for output, target in self.objects or () if is_linked(self.build, program, output)]
        if not parts and not extra:
            return None
        target = os.path.join(self.folder, os.path.basename(program))
        self.build.link(program, target, parts, extra)
        return target
