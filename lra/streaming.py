"""A trained model that takes one sample at a time: the recurrence as it runs where signals arrive.

Each state space layer keeps its state and calls its ``step``; norms and gates act on single samples as they are; the
mean over time that a classifier reads is kept as a running one. A sample costs the same whatever came before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lra.errors import ConfigError
from lra.evaluate import rebuild
from ssmreduce import Model

Array = jax.Array
State = Any
"""What a stream remembers: a pytree of arrays."""


class Stream:
    """What the model says after each sample is what it says of the sequence up to there, to rounding.

    Parameters
    ----------
    model : Model
        What `ssmreduce.load` read: a whole model or a reduced one, of one direction.

    Raises
    ------
    ConfigError
        The model reads both directions, or pairs of documents: it must see the end first.
    CheckpointError
        The file does not hold a whole model.
    """

    def __init__(self, model: Model) -> None:
        options = dict(model.options)
        if any(layer.is_bidirectional for layer in model.layers):
            raise ConfigError("a model of both directions has no stream: its output depends on samples still to come")
        if options.get("retrieval", False):
            raise ConfigError("a model of pairs of documents has no stream: it compares them when both have ended")
        self._shapes = [layer.poles.shape for layer in model.layers]
        self._width = model.layers[0].n_channels
        self._pools, self._padded = options["mode"] == "pool", bool(options.get("padded", False))
        self._variables: dict[str, Any] = {"params": model.params}
        if model.batch_stats:
            self._variables["batch_stats"] = model.batch_stats
        self._module = rebuild(model.architecture, self._variables, options)
        self._variables = jax.device_put(self._variables)
        self._step, self._run = jax.jit(self._advance), jax.jit(self._scan)

    def start(self, streams: int = 1) -> State:
        """Return the state before the first sample of so many streams."""
        states = tuple(jnp.zeros((streams, *shape), jnp.complex64) for shape in self._shapes)
        return states, jnp.zeros((streams, self._width)), jnp.zeros((), jnp.int32)

    def step(self, state: State, x: Array) -> tuple[State, Array]:
        """Take one sample of every stream, ``x`` (streams, d_input) or ids (streams,).

        Returns
        -------
        state
        Array (streams, n_classes)
            Log-probabilities, as of a sequence that ends here.
        """
        return self._step(self._variables, state, x)  # type: ignore[no-any-return]

    def run(self, state: State, x: Array) -> tuple[State, Array]:
        """Take many samples one after the other, (streams, L, d_input) or ids (streams, L), in one compiled loop.

        Returns
        -------
        state
        Array (streams, L, n_classes)
        """
        state, said = self._run(self._variables, state, jnp.swapaxes(x, 0, 1))
        return state, jnp.swapaxes(said, 0, 1)

    def _scan(self, variables: Any, state: State, x: Array) -> tuple[State, Array]:
        return jax.lax.scan(lambda held, sample: self._advance(variables, held, sample), state, x)

    def _advance(self, variables: Any, state: State, x: Array) -> tuple[State, Array]:
        states, total, count = state
        held: dict[str, Any] = {"states": [], "total": total}

        def watch(following: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
            module = context.module
            if context.method_name == "__call__" and module.name == "seq":
                advanced, y = module.step(states[len(held["states"])], args[0][0])
                held["states"].append(advanced)
                return y[None]
            if context.method_name == "__call__" and module.path == ("decoder",) and self._pools:
                held["total"] = total + args[0]
                return following(held["total"] / (count + 1), *args[1:], **kwargs)
            return following(*args, **kwargs)

        lengths = jnp.ones(len(x), jnp.int32) if self._padded else None
        with nn.intercept_methods(watch):
            said = self._module.apply(variables, x[:, None], lengths)
        return (tuple(held["states"]), held["total"], count + 1), said
