"""Pair rules: one spike after another changes a weight by an exponential of the time between them.

    dx/dt = -x/tau_plus,   x <- x + 1   at each presynaptic spike as it arrives
    dy/dt = -y/tau_minus,  y <- y + 1   at each postsynaptic spike
    arrival:  w <- w - eta a_minus f_minus(w) y
    spike:    w <- w + eta a_plus  f_plus(w)  x,     w in 0 … w_max

    additive          f_plus = f_minus = w_max
    multiplicative    f_plus = w_max - w,  f_minus = w
    power law         f_plus = w_max^(1 - mu) (w_max - w)^mu, f_minus = w_max^(1 - mu) w^mu: additive at mu = 0, multiplicative at 1

All pairs count; of nearest neighbours (x <- 1, y <- 1) each spike meets the last one of the other side only. The anti-Hebbian rule has
both signs reversed. A pair dt = t_post - t_pre apart, alone, changes the weight by eta a_plus f_plus exp(-dt/tau_plus), or by
-eta a_minus f_minus exp(dt/tau_minus).

Source: Song, Miller & Abbott 2000, Nat. Neurosci. 3:919, eq. 1-3 (additive); van Rossum, Bi & Turrigiano 2000, J. Neurosci. 20:8812
(multiplicative); Gütig et al. 2003, J. Neurosci. 23:3697, eq. 2-3 (power law); Morrison, Diesmann & Gerstner 2008, Biol. Cybern. 98:459,
for neighbours.
"""

from __future__ import annotations

from dataclasses import replace

from spiketwin.models.plasticity import PlasticityRule
from spiketwin.models.spec import Parameter

PARAMETERS = dict(
    tau_plus=Parameter(20, "ms", "(0, inf)", "time constant of potentiation"),
    tau_minus=Parameter(20, "ms", "(0, inf)", "time constant of depression"),
    eta=Parameter(0.01, "1", "[0, inf)", "learning rate"),
    a_plus=Parameter(1, "1", "[0, inf)", "potentiation, relative"),
    a_minus=Parameter(1.05, "1", "[0, inf)", "depression, relative"),
    w_max=Parameter(1, "1", "(0, inf)", "largest weight"),
)
MU = dict(mu=Parameter(0.4, "1", "[0, 1]", "exponent of the weight dependence"))
SOURCE = "Song, Miller & Abbott 2000"


def pair(name: str, *, up: str = "w_max", down: str = "w_max", source: str = SOURCE, **further: Parameter) -> PlasticityRule:
    """A rule of all pairs. up, down: how potentiation and depression depend on the weight, expressions of w and parameters."""
    return PlasticityRule(
        name=name,
        pre_traces="dx/dt = -x/tau_plus : 1",
        post_traces="dy/dt = -y/tau_minus : 1",
        on_pre=f"x += 1; w = clip(w - eta*a_minus*({down})*y, 0, w_max)",
        on_post=f"y += 1; w = clip(w + eta*a_plus*({up})*x, 0, w_max)",
        parameters={**PARAMETERS, **further},
        bounds=("0", "w_max"),
        source=source,
    )


def of_neighbours(rule: PlasticityRule, name: str) -> PlasticityRule:
    """The same rule, in which a spike meets only the last one of the other side."""
    near = {"on_pre": rule.on_pre.replace("x += 1", "x = 1"), "on_post": rule.on_post.replace("y += 1", "y = 1")}
    return replace(rule, name=name, **near, source="Morrison, Diesmann & Gerstner 2008")


additive = pair("pair_additive")
multiplicative = pair("pair_multiplicative", up="w_max - w", down="w", source="van Rossum, Bi & Turrigiano 2000")
power_law = pair(
    "pair_power_law", up="w_max**(1 - mu)*(w_max - w)**mu", down="w_max**(1 - mu)*w**mu", source="Gütig et al. 2003, eq. 2-3", **MU
)
nearest = of_neighbours(additive, "pair_nearest")
anti_hebbian = replace(
    additive,
    name="pair_anti_hebbian",
    on_pre="x += 1; w = clip(w + eta*a_minus*w_max*y, 0, w_max)",
    on_post="y += 1; w = clip(w - eta*a_plus*w_max*x, 0, w_max)",
    source="Bell et al. 1997, Nature 387:278",
)
