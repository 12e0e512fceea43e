"""Console blocks of the documentation: found, run in a folder of their own, compared with what the page shows.

A block is run when the line ``<!-- run -->`` stands before it; ``<!-- run: exit 3 -->`` expects another exit code of
its last command. ``...`` stands for anything within a line, and alone on a line for any number of lines.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^<!-- run(?:: exit (\d+))? -->\n+```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 60


@dataclass(frozen=True)
class Command:
    """One command of a block: where it stands, what is typed, what the page shows, how it ends."""

    line: int
    typed: str
    shown: str
    code: int = 0


def commands_of(page: str) -> Iterator[Command]:
    """Yield the commands of a page's marked blocks, in order."""
    for block in BLOCK.finditer(page):
        first_line = page.count("\n", 0, block.start(2)) + 1
        parts = re.split(r"^\$ ((?:.*\\\n)*.*)\n", block[2], flags=re.MULTILINE)
        assert not parts[0].strip(), f"line {first_line}: a block begins with a command"
        line = first_line
        pairs = list(zip(parts[1::2], parts[2::2], strict=True))
        for number, (typed, shown) in enumerate(pairs, 1):
            code = int(block[1] or 0) if number == len(pairs) else 0
            yield Command(line, typed.replace("\\\n", ""), shown, code)
            line += typed.count("\n") + 1 + shown.count("\n")


def run(command: Command, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a command in ``folder``; return what is wrong with what it did, or the empty string."""
    done = subprocess.run(
        ["/bin/bash", "-c", command.typed],
        check=False,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode == command.code and matches(command.shown, done.stdout):
        return ""
    return (
        f"line {command.line}: $ {command.typed}\n"
        f"--- the page shows (exit {command.code})\n{command.shown}"
        f"--- it printed (exit {done.returncode})\n{done.stdout}"
    )


def matches(shown: str, printed: str) -> bool:
    """Tell whether ``printed`` is what is ``shown``, blanks at the ends of lines aside."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "..." else ".*".join(map(re.escape, line.rstrip().split("..."))) + r"\n"
        for line in shown.strip("\n").splitlines()
    )
    plain = "".join(f"{line.rstrip()}\n" for line in printed.strip("\n").splitlines())
    return re.fullmatch(pattern, plain) is not None
