"""The page "Bring your own network", its snippets, and how they are run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "bring_your_own_network.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
TORCH, TORCH_S4, TORCH_DENOISER = (
    [snippet for snippet in SNIPPETS if snippet.startswith(f"# needs {what}\n")]
    for what in ("torch", "torch and S4Block", "torch and Denoiser")
)


def run(snippets: list[str], **space: Any) -> dict[str, Any]:
    """Execute snippets one after another; what they leave behind."""
    for snippet in snippets:
        exec(compile(snippet, "bring_your_own_network.md", "exec"), space)
    return space
