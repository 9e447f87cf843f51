"""The button beside an example copies what can be run: neither its prompts nor what they print."""

from __future__ import annotations

import html
import re

BLOCK = re.compile(r"<pre>(<span></span><code>)(.*?)(</code></pre>)", re.DOTALL)


def without_prompts(text: str) -> str:
    """Give every block with prompts, of a page, the text that its button copies."""
    return BLOCK.sub(_block, text)


def _block(found: re.Match[str]) -> str:
    shown = html.unescape(re.sub(r"<[^>]+>", "", found[2]))
    typed = {">>> ": statements, "$ ": commands}
    how = next((made for prompt, made in typed.items() if shown.startswith(prompt)), None)
    if how is None:
        return found[0]
    copied = html.escape(how(shown), quote=True)
    return f'<pre data-copy="{copied}">{found[1]}{found[2]}{found[3]}'


def statements(shown: str) -> str:
    """The lines of a session in Python that were typed."""
    typed = [line for line in shown.splitlines() if re.match(r"(>>>|\.\.\.)( |$)", line)]
    return "".join(f"{line[4:]}\n" for line in typed)


def commands(shown: str) -> str:
    """The lines of a session in a shell that were typed; after a backslash a command goes on."""
    typed: list[str] = []
    for line in shown.splitlines():
        if typed and typed[-1].endswith("\\"):
            typed.append(line)
        elif line.startswith("$ "):
            typed.append(line[2:])
    return "".join(f"{line}\n" for line in typed)
