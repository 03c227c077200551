"""Attack the brackets: hard systems (`attack_draws`), gains from an independent route, no tolerance.

    python tests/theory/attack_norms.py [draws] [seed] [kind]

Every draw is sampled at pole angles, around them, at random frequencies, and at the witness; the largest gains are
evaluated in 50 digits. A gain above ``upper``, a ``lower`` that its witness does not attain, a bracket of an unstable
system and a refusal of a stable one that is exactly known are printed and counted.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "reference"))
from attack_draws import Case, System, draw_case
from gains import exact_gain, exact_response, largest_singular_value

from theory.errors import AccuracyError, StabilityError
from theory.norms import error_norm, hinf_norm, linf_norm
from theory.norms.bracket import Bracket
from theory.systems.system import DiagonalStateSpace, StateSpace

mp.mp.dps = 50


def frequencies(
    rng: np.random.Generator, system: StateSpace | DiagonalStateSpace, witness: float, count: int
) -> np.ndarray:
    poles = system.poles
    if system.dt is not None:
        base = np.concatenate([np.angle(poles), -np.angle(poles)])
        width = np.tile(np.abs(1 - np.abs(poles)), 2)
        spread = rng.uniform(-np.pi, np.pi, count)
    else:
        base = np.concatenate([poles.imag, -poles.imag])
        width = np.tile(np.abs(poles.real), 2)
        spread = rng.choice([-1, 1], count) * 10.0 ** rng.uniform(-8, 8, count)
    if base.size == 0:
        return np.array([0.0, 1.0])
    pick = rng.integers(base.size, size=count)
    near = base[pick] + width[pick] * rng.normal(size=count) * 10.0 ** rng.uniform(-4, 1, count)
    tuned = witness + (np.min(width) + 1e-300) * rng.normal(size=count // 2) * 10.0 ** rng.uniform(-6, 0, count // 2)
    chosen = np.concatenate([base, near, spread[: count // 2], tuned, [witness, 0.0]])
    return chosen[np.isfinite(chosen)]


def fast_gains(system: StateSpace | DiagonalStateSpace, x: np.ndarray) -> np.ndarray:
    """Float64 gains: good enough to find suspects."""
    return np.asarray(np.linalg.norm(fast_response(system, x), 2, axis=(1, 2)))


def fast_response(system: StateSpace | DiagonalStateSpace, x: np.ndarray) -> np.ndarray:
    """Float64 responses, (S, p, m)."""
    z = np.exp(1j * x) if system.dt is not None else 1j * x
    if isinstance(system, StateSpace):
        G = np.stack([system.C @ np.linalg.solve(s * np.eye(system.n) - system.A, system.B) + system.D for s in z])
    else:
        poles, B, C, R = system.poles, system.B, system.C, system.C_reverse
        if system.conjugate_pairs:
            poles, B, C = np.concatenate([poles, poles.conj()]), np.concatenate([B, B.conj()]), np.hstack([C, C.conj()])
            R = None if R is None else np.hstack([R, R.conj()])
        r = (z[:, None] if system.delay == 0 else 1) / (z[:, None] - poles)
        G = (C[None] * r[:, None]) @ B + system.D
        if R is not None:
            y = 1 / z[:, None]
            G = G + (R[None] * ((y if system.delay_reverse == 0 else 1) / (y - poles))[:, None]) @ B
    return np.asarray(G)


def exact(case: Case, frequency: float) -> Any:
    """The gain of a case in 50 digits; with many channels along the best direction of float64, a bound from below."""
    if case.second is None and min(case.first.p, case.first.m) <= 3:
        return exact_gain(case.first, frequency)
    if case.second is None:
        return exact_gain_along(case.first, frequency)
    return largest_singular_value(exact_response(case.first, frequency) - exact_response(case.second, frequency))


def exact_gain_along(system: System, frequency: float) -> Any:
    """``|G v| / |v|`` for the leading singular vector v of the float64 response."""
    omega = np.array([frequency])
    value = fast_response(system, omega)[0] if np.isfinite(frequency) else system.D
    v = np.linalg.svd(value)[2][0].conj()
    if isinstance(system, StateSpace):
        narrow: System = StateSpace(system.A, system.B.astype(complex), system.C, system.D, dt=system.dt)
    else:
        narrow = system
    G = exact_response(narrow, frequency, along=v)
    return mp.sqrt(mp.fsum(abs(x) ** 2 for x in G) / mp.fsum(abs(mp.mpc(complex(x))) ** 2 for x in v))


def truly_stable(system: System) -> bool:
    """Whether all poles lie inside, in exact arithmetic for diagonal systems and 400 digits for dense ones.

    Companion matrices of nine poles of 1e-14 have coefficients of 1e-100: 80 digits call them unstable.
    """
    if isinstance(system, StateSpace):
        with mp.workdps(400):
            values = mp.eig(mp.matrix(system.A.tolist()), left=False, right=False) if system.n else []
            return all(abs(x) < 1 if system.is_discrete else mp.re(x) < 0 for x in values)
    poles = [mp.mpc(complex(x)) for x in system.poles.ravel()]
    with mp.workdps(200):
        return all(x.real**2 + x.imag**2 < 1 if system.is_discrete else x.real < 0 for x in poles)


def attack(rng: np.random.Generator, *, samples: int = 60, only: str | None = None) -> dict[str, Any]:
    """Draw one case; return what happened."""
    case = draw_case(rng, only)
    unstable_too = bool(rng.random() < 0.2) and case.second is None
    result: dict[str, Any] = {"case": case, "name": case.kind}
    start = time.perf_counter()
    try:
        if case.second is not None:
            bracket = error_norm(case.first, case.second, case.rtol)
        else:
            bracket = (linf_norm if unstable_too else hinf_norm)(case.first, case.rtol)
    except (StabilityError, AccuracyError) as error:
        result |= {"kind": type(error).__name__, "seconds": time.perf_counter() - start, "message": str(error)}
        known = all(isinstance(part, DiagonalStateSpace) and truly_stable(part) for _, part in case.parts)
        return result | ({"failure": f"refused though stable: {error}"} if known else {})
    result["seconds"] = time.perf_counter() - start
    result |= {"kind": bracket.status, "width": float(np.max(bracket.width)), "bracket": bracket}
    if not unstable_too:
        for _, part in case.parts:
            suspicious = isinstance(part, DiagonalStateSpace) or (part.n <= 9 and _margin(part) < 1e-6)
            shared = case.second is not None  # an unstable state that both have cancels
            if suspicious and not shared and not truly_stable(part):
                return result | {"failure": f"a bracket of an unstable system: {bracket}"}
    if isinstance(case.first, DiagonalStateSpace) and case.first.batch_shape:
        shape = case.first.batch_shape
        for index in np.ndindex(*shape):
            one = Bracket(*(float(getattr(bracket, end)[index]) for end in ("lower", "upper", "frequency")))
            result |= judged(rng, Case(kind="batch", first=case.first[index]), one, samples)
        return result
    return result | judged(rng, case, bracket, samples)


def _margin(system: StateSpace) -> float:
    return float((1 - np.abs(system.poles)).min() if system.is_discrete else -system.poles.real.max(initial=-np.inf))


def judged(rng: np.random.Generator, case: Case, bracket: Bracket, samples: int, *, exactly: int = 2) -> dict[str, Any]:
    """Look for a gain above the bracket, and re-evaluate its witness."""
    if np.isinf(bracket.upper):
        return {"kind": "infinite"}
    if np.isnan(bracket.upper) or np.isnan(bracket.lower):
        return {"failure": f"not a number: {bracket}"}
    x = np.concatenate([frequencies(rng, part, bracket.frequency, samples) for _, part in case.parts])
    try:
        G = sum(sign * fast_response(part, x) for sign, part in case.parts)
        gains = np.linalg.norm(np.nan_to_num(G), 2, axis=(1, 2))
    except np.linalg.LinAlgError:
        return {}
    top = x[np.argsort(gains)[::-1][:exactly]]
    value = max((exact(case, float(w)) for w in top), default=mp.mpf(0))
    if value > mp.mpf(bracket.upper):
        return {"failure": f"gain {mp.nstr(value, 20)} above upper {bracket.upper!r} of {bracket}"}
    attained = exact(case, bracket.frequency)
    if attained < mp.mpf(bracket.lower) and case.second is None:
        attained = exact_gain(case.first, bracket.frequency)
    if attained < mp.mpf(bracket.lower):
        return {"failure": f"lower {bracket.lower!r} not attained: {mp.nstr(attained, 20)}"}
    return {}


def main(draws: int, seed: int, only: str | None = None) -> int:
    """Run the attack; print every alarm, and a summary."""
    failures, kinds, slow, wide = 0, {}, [], []
    start = time.perf_counter()
    for index in range(draws):
        rng = np.random.default_rng([seed, index])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                result = attack(rng, only=only)
        except Exception as error:
            failures += 1
            print(f"draw {seed},{index}: crashed: {type(error).__name__}: {error}", flush=True)
            continue
        if index % 500 == 499:
            print(f"{index + 1} draws, {failures} failures, {kinds}, {time.perf_counter() - start:.0f} s", flush=True)
        kinds[result["kind"]] = kinds.get(result["kind"], 0) + 1
        slow.append((result["seconds"], index, result["name"]))
        if "width" in result:
            wide.append((result["width"], index, result["name"]))
        if "failure" in result:
            failures += 1
            print(f"draw {seed},{index} ({result['name']}): {result['case'].first}: {result['failure']}", flush=True)
    print(f"{draws} draws, {failures} failures, {kinds}, {time.perf_counter() - start:.0f} s")
    print("slowest", sorted(slow)[-6:], "widest", sorted(wide)[-12:])
    return failures


if __name__ == "__main__":
    arguments = sys.argv[1:]
    number = [int(item) for item in arguments[:2]]
    sys.exit(bool(main(*(number + [1000, 0][len(number) :]), *arguments[2:3])))
