"""Values with names: a method or an allocation is a frozen dataclass, and its name is what rows, files and JSON say.

``"balanced"`` is short for the registered value; ``"balanced(condition_limit=1e12)"`` is that value with another
parameter. :attr:`Named.name` writes such a text and ``Registry.find`` reads it; nothing in it is executed.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
import pkgutil
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np

from theory.errors import InputError

N = TypeVar("N", bound="Named")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Named:
    """A value whose fields are its parameters: plain numbers, texts, truth values, or tuples of them."""

    registry: ClassVar[Registry[Any]]
    rank: ClassVar[int] = 0  #: registries list small ranks first, and equal ones by name

    def __post_init__(self) -> None:
        for name, hint in _hints(type(self)).items():
            object.__setattr__(self, name, self._checked(name, hint, getattr(self, name)))

    @property
    def name(self) -> str:
        """Registered name, with the parameters that differ from the registered ones; ``Registry.find`` reads it."""
        return self.registry.name_of(self)

    @property
    def summary(self) -> str:
        """One sentence: the first paragraph of the class's docstring, unless it says more."""
        return " ".join((type(self).__doc__ or "").split("\n\n")[0].split())

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(field.name for field in dataclasses.fields(cls))

    def _checked(self, name: str, hint: Any, value: Any) -> Any:
        """Refuse what does not fit the annotation of a plain parameter; whole numbers become floats where asked."""
        where = f"{type(self).__name__}: {name}"
        if hint is bool and not isinstance(value, (bool, np.bool_)):
            raise InputError(f"{where} must be True or False, got {value!r}")
        if hint in (int, float):
            kinds = (int, np.integer) if hint is int else (int, float, np.integer, np.floating)
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, kinds) or value != value:  # NaN
                raise InputError(f"{where} must be a {'whole ' if hint is int else ''}number, got {value!r}")
            try:
                return hint(value)
            except OverflowError:
                raise InputError(f"{where} must be a number that a float can hold") from None
        if hint is str and not isinstance(value, str):
            raise InputError(f"{where} must be a text, got {value!r}")
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        if choices and not any(type(value) is type(choice) and value == choice for choice in choices):
            raise InputError(f"{where} must be one of {', '.join(map(repr, choices))}, got {value!r}")
        return value


class Registry(Mapping[str, N], Generic[N]):
    """Values by name. What lies in its folder registers itself, when somebody looks.

    Parameters
    ----------
    what : str
        What it holds, for messages: "method".
    base : type
        Class of its values.
    folder : str
        Package whose modules are imported on the first look; each of them calls :meth:`register`.
    """

    def __init__(self, what: str, base: type[Any], folder: str) -> None:
        self.what, self.folder = what, folder
        self.base: type[Any] = base
        self._values: dict[str, N] = {}
        self._loaded = False
        self._lock = threading.RLock()
        base.registry = self

    def register(self, name: str, value: N) -> None:
        """Add a value under a name of its own: an identifier, so that it can be written with parameters."""
        if not name.isidentifier():
            raise InputError(f"the name of a {self.what} is a Python identifier, got {name!r}")
        if not isinstance(value, self.base):
            raise InputError(f"{name!r} must be a {self.base.__name__}, got {type(value).__name__}")
        other = self._values.get(name)
        if other is not None and type(other).__qualname__ != type(value).__qualname__:
            raise InputError(f"there is a {self.what} {name!r} already, a {type(other).__name__}")
        self._values[name] = value

    def _all(self) -> dict[str, N]:
        with self._lock:
            if not self._loaded:
                self._loaded = True  # before the imports: they may look, too
                try:
                    package = importlib.import_module(self.folder)
                    for module in pkgutil.iter_modules(package.__path__, f"{self.folder}."):
                        if not module.ispkg:
                            importlib.import_module(module.name)
                except BaseException:
                    self._loaded = False
                    raise
            return dict(sorted(self._values.items(), key=lambda item: (item[1].rank, item[0])))

    def __getitem__(self, name: str) -> N:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"<{self.what}s: {', '.join(self)}>"

    def find(self, wanted: str | N) -> N:
        """Return the value that is meant by a name, by a name with parameters, or by the value itself.

        Raises
        ------
        InputError
            No such name or parameter, or a parameter that is no plain value; says which there are.
        """
        if isinstance(wanted, self.base):
            return cast(N, wanted)
        if isinstance(wanted, type) and issubclass(wanted, self.base):
            raise InputError(f"{wanted.__name__} is a class; pass a value of it: {wanted.__name__}()")
        if not isinstance(wanted, str):
            raise InputError(f"a {self.what} is a name or a {self.base.__name__}, got {type(wanted).__name__}")
        name, parameters = self._parsed(wanted)
        known = self._all()
        if name not in known:
            raise InputError(f"unknown {self.what} {name!r}; the {self.what}s are {', '.join(known)}")
        own = known[name].parameters()
        for parameter in parameters:
            if parameter not in own:
                listing = f"its parameters are {', '.join(own)}" if own else "it has none"
                raise InputError(f"the {self.what} {name!r} has no parameter {parameter!r}; {listing}")
        return dataclasses.replace(known[name], **parameters) if parameters else known[name]

    def _parsed(self, text: str) -> tuple[str, dict[str, Any]]:
        try:
            tree = ast.parse(f"_{text.strip()}", mode="eval").body  # "global" is a name here, not a keyword
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            tree = None
        if isinstance(tree, ast.Name) or tree is None:
            return text.strip(), {}
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
            return text.strip(), {}
        parameters = {}
        for keyword in tree.keywords:
            try:
                value = ast.literal_eval(keyword.value)
            except (ValueError, TypeError, RecursionError, MemoryError):
                value = Ellipsis
            if keyword.arg is None or value is Ellipsis:
                written = ast.unparse(keyword)
                raise InputError(f"{written}: a parameter written as text is a number, a text, True, False or None")
            parameters[keyword.arg] = value
        if tree.args:
            raise InputError(f"{text.strip()}: parameters go by name, as in name(parameter=value)")
        return tree.func.id[1:], parameters

    def name_of(self, value: N) -> str:
        """Return the name of a value: of the registered one that it is closest to, and what differs from that."""
        kin = [(name, other) for name, other in self._values.items() if type(other) is type(value)]
        if kin:
            gaps = [(name, _difference(value, other)) for name, other in kin]
            name, differing = min(gaps, key=lambda gap: len(gap[1]))
        else:
            name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(value).__name__).lower()
            given = {field.name: (getattr(value, field.name), field.default) for field in dataclasses.fields(value)}
            differing = {key: item for key, (item, usual) in given.items() if literal(item) != literal(usual)}
        if not differing:
            return name
        return f"{name}({', '.join(f'{key}={literal(item)}' for key, item in differing.items())})"


def literal(value: Any) -> str:
    """Write a parameter as short as it can be read back; what cannot be read back as its type and a digest."""
    if isinstance(value, float):
        text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
        return re.sub(r"e\+?(-?)0*(?=\d)", r"e\1", text).replace("inf", "1e999")
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    return f"{type(value).__name__}#{hashlib.sha256(_bytes(value)).hexdigest()[:8]}"


def _bytes(value: Any) -> bytes:
    """What an array, or a frozen value of arrays, consists of."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    if dataclasses.is_dataclass(value):
        return b"".join(field.name.encode() + _bytes(getattr(value, field.name)) for field in dataclasses.fields(value))
    return repr(value).encode()


def _difference(value: Named, other: Named) -> dict[str, Any]:
    """Parameters of `value` that `other` has not."""
    mine = {name: getattr(value, name) for name in value.parameters()}
    return {name: item for name, item in mine.items() if literal(item) != literal(getattr(other, name))}


def _hints(cls: type[Named]) -> dict[str, Any]:
    """Types of the parameters; of a class in a function, whose names cannot be looked up, none."""
    try:
        hints = get_type_hints(cls)
    except NameError:
        return {}
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def split_names(text: str) -> list[str]:
    """Split a list of names at the commas that are not inside brackets, as on the command line."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]
