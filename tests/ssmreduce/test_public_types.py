"""The stub of the package says what the lazy table says: type checkers and editors see every public name."""

from __future__ import annotations

from pathlib import Path

import ssmreduce


def test_the_stub_lists_every_public_name() -> None:
    wanted = [
        "__version__: str",
        *(f"from {where} import {name} as {name}" for name, where in ssmreduce._WHERE.items()),
    ]
    found = (Path(ssmreduce.__file__).parent / "__init__.pyi").read_text().splitlines()
    missing = [line for line in wanted if line not in found]
    assert not missing, "add to ssmreduce/__init__.pyi:\n" + "\n".join(missing)


def test_every_name_is_listed_by_dir_and_unknown_ones_are_refused() -> None:
    assert set(ssmreduce.__all__) <= set(dir(ssmreduce))
    assert not hasattr(ssmreduce, "no_such_name")
