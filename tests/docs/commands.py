"""The commands in a sample, and whether the programs that they call would take them."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

from infra.docs import ROOT
from intake.cli.parsers.parse import grammar
from tests.docs.blocks import Block

_OPERATORS = frozenset("();<>|&")
_BEFORE = {
    "!",
    "do",
    "else",
    "exec",
    "if",
    "nice",
    "nohup",
    "sudo",
    "then",
    "time",
    "until",
    "while",
}
_SERVED = {
    *("submit", "status", "failed", "retry", "pause", "resume", "cancel", "cleanup"),
    *("doctor", "queues", "workers", "serve", "--prefect"),
}
"""Commands of `facecrop` that ask a Prefect server, and the flag that has others ask it."""


class SampleError(AssertionError):
    """A sample could not be what it says; the message names the command and what is wrong."""


def shell_text(block: Block) -> str:
    """What of a block a shell is given: of a console, what stands behind its prompts."""
    if block.language != "console":
        return block.text
    return "\n".join(command for command, _ in console(block))


def console(block: Block) -> list[tuple[str, str]]:
    """The commands of a console, each with the lines that it is said to print."""
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif not found:
            raise SampleError(f"{block.place}: a console begins with a command behind `$ `")
        elif not found[-1][1] and found[-1][0][-1].endswith("\\"):
            found[-1][0].append(line.removeprefix("> "))
        else:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(printed)) for command, printed in found]


def commands_of(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell's text: words, without assignments and what runs others."""
    for line in text.replace("\\\n", " ").split("\n"):
        if line.lstrip().startswith("#"):
            continue
        words: list[str] = []
        for token in [*_tokens(line), ";"]:
            if not set(token) <= _OPERATORS:
                words.append(token)
                continue
            command = _bare(words)
            if command:
                yield command
            words = []


def _tokens(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    found = []
    with contextlib.suppress(ValueError):  # a quotation that goes on in the next line
        for token in lexer:
            if token.startswith("#"):
                break
            found.append(token)
    return found


def _bare(words: list[str]) -> list[str]:
    while words and (words[0] in _BEFORE or re.match(r"[A-Za-z_]\w*=", words[0])):
        words = words[1:]
    return words


def needs(text: str) -> set[str]:
    """The servers that a text asks, a shell's or Python's: `prefect`, `local`, `s3`."""
    found = {"s3"} if "s3://" in text else set()
    if re.search(r"(127\.0\.0\.1|localhost):(8000|4200)", text):
        found.add("prefect")
    for program, *words in commands_of(text):
        served = (
            (program == "facecrop" and not _SERVED.isdisjoint(words))
            or program in ("prefect", "curl")
            or any(word.startswith("deployments") for word in words)
        )
        if served:
            found.add("prefect")
        if program == "facecrop" and words[:1] == ["submit"] and "--deployment" not in words:
            found.add("local")
    return found


def stays(program: str, words: list[str]) -> bool:
    """Whether a command goes on until it is told to stop: the tests' own stands for it."""
    told = " ".join(words)
    return (
        (program == "facecrop" and words[:1] == ["serve"])
        or (program == "prefect" and words[:2] in (["worker", "start"], ["server", "start"]))
        or told == "-P -m deployments.serve"
    )


def check(program: str, words: list[str]) -> bool:
    """Whether a command is one whose words are known here; those are checked.

    Raises:
        SampleError: the program would not take these words.
    """
    if program == "facecrop":
        _check_facecrop(words)
    elif program == "prefect":
        _check_prefect(words)
    elif program == "make":
        for target in words:
            if "=" not in target and not re.search(rf"(?m)^{target}:", _makefile()):
                raise SampleError(f"make {target}: the Makefile has no such target")
    elif program in ("python", "python3", "py") and "-m" in words:
        _check_module(words[words.index("-m") + 1 :])
    elif program == "bash" and words and words[0].endswith(".sh"):
        if not (ROOT / words[0]).is_file():
            raise SampleError(f"bash {words[0]}: there is no such file")
    else:
        return False
    return True


def _check_facecrop(words: list[str]) -> None:
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            grammar(everything=True).parse_args(words)
        except SystemExit as end:
            if end.code:
                raise SampleError(f"facecrop {shlex.join(words)}: {told.getvalue()}") from None


def _check_prefect(words: list[str]) -> None:
    import cyclopts
    from prefect.cli._app import _app as app

    try:
        app.parse_args(words, print_error=False, exit_on_error=False)
    except cyclopts.CycloptsError as error:
        raise SampleError(f"prefect {shlex.join(words)}: {error}") from error


def _check_module(words: list[str]) -> None:
    module, *rest = words
    try:
        found = find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise SampleError(f"python -m {module}: there is no such module")
    if module == "benchmarks" and rest and find_spec(f"benchmarks.{rest[0]}") is None:
        raise SampleError(f"python -m benchmarks {rest[0]}: there is no such benchmark")


def check_inline(code: str) -> bool:
    """Check what is written of a command within a sentence: its name, and the names of its flags.

    What stands for something else is in capitals, brackets or ends in an ellipsis, so values are
    not looked at.

    Raises:
        SampleError: there is no such command, or it has no such flag.
    """
    words = re.sub(r"[\[\](),;]", " ", code).split()
    if words[:1] == ["facecrop"]:
        parser = _subparser(words[1:])
        if parser is None:
            raise SampleError(f"{code}: there is no such command")
        known = frozenset(parser._option_string_actions)
    elif re.fullmatch(r"--[a-z][a-z0-9-]*…?", words[0] if words else ""):
        known = _all_flags()
    else:
        return False
    for word in words:
        flag = word.partition("=")[0]
        if flag.endswith(("-…", "…")):
            if not any(one.startswith(flag.rstrip("…")) for one in known):
                raise SampleError(f"{code}: no flag begins with {flag}")
        elif re.fullmatch(r"--?[a-z][a-z0-9-]*", flag) and flag not in known:
            raise SampleError(f"{code}: there is no flag {flag}")
    return True


def _subparser(words: list[str]) -> argparse.ArgumentParser | None:
    parser = _grammar()
    for word in words:
        actions = [one for one in parser._actions if isinstance(one.choices, dict)]
        if not actions or (not word.isalpha() and "-" not in word) or word.startswith("-"):
            break
        choices = actions[0].choices
        assert isinstance(choices, dict)
        if word not in choices:
            return None if parser is _grammar() and word.islower() else parser
        parser = choices[word]
    return parser


@cache
def _grammar() -> argparse.ArgumentParser:
    return grammar(everything=True)


@cache
def _all_flags() -> frozenset[str]:
    """Of every command of ours, and those that other programs have beside a sentence of ours."""
    found = {"--limit", "--long"}  # of a worker, and of zstd
    for folder, kind in (("benchmarks", "*.py"), ("tests/faults", "*.py"), ("infra", "*.sh")):
        for path in (ROOT / folder).glob(kind):
            found.update(re.findall(r"--[a-z][a-z0-9-]*", path.read_text()))
    waiting = [_grammar()]
    while waiting:
        parser = waiting.pop()
        found.update(parser._option_string_actions)
        for action in parser._actions:
            if isinstance(action.choices, dict):
                waiting.extend(action.choices.values())
    return frozenset(found)


@cache
def _makefile() -> str:
    return (ROOT / "Makefile").read_text()
