"""Writes reference.json beside it: what other implementations say about the same numbers.

Run with python 3.11+, scipy==1.17.1, lifelines==0.30.3, pymannkendall==1.4.3, numpy==2.4.6.
Every data set is drawn from a fixed seed or published, and is stored with the answers, so the
tests of `leaktrace/src/model` need none of this.
"""

import json
import pathlib

import numpy as np
import pymannkendall as mk
from lifelines import KaplanMeierFitter
from scipy import stats

SEED = 20261121

# Annual flow of the Nile at Aswan 1871-1970, 10^8 m^3: G. W. Cobb, Biometrika 65 (1978).
NILE = [
    1120, 1160, 963, 1210, 1160, 1160, 813, 1230, 1370, 1140, 995, 935, 1110, 994, 1020, 960, 1180,
    799, 958, 1140, 1100, 1210, 1150, 1250, 1260, 1220, 1030, 1100, 774, 840, 874, 694, 940, 833,
    701, 916, 692, 1020, 1050, 969, 831, 726, 456, 824, 702, 1120, 1100, 832, 764, 821, 768, 845,
    864, 862, 698, 845, 744, 796, 1040, 759, 781, 865, 845, 944, 984, 897, 822, 1010, 771, 676, 649,
    846, 812, 742, 801, 1040, 860, 874, 848, 890, 744, 749, 838, 1050, 918, 986, 797, 923, 975, 815,
    1020, 906, 901, 1170, 912, 746, 919, 718, 714, 740,
]

# Weeks in remission under 6-MP: E. J. Freireich et al., Blood 21 (1963).
FREIREICH = (
    [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35],
    [1, 1, 1, 1, 1, 1, 1, 1, 1] + [0] * 12,
)


def series(rng):
    """(name, values): shapes that memory has, with ties, trends and autocorrelation."""
    n = 60
    t = np.arange(n, dtype=float)
    noise = rng.normal(0, 1, n)
    red = np.zeros(n)
    for i in range(1, n):
        red[i] = 0.7 * red[i - 1] + noise[i]
    return {
        "nile": np.array(NILE, dtype=float),
        "white": noise,
        "trend": 0.05 * t + rng.normal(0, 1, n),
        "falling": -0.2 * t + rng.normal(0, 1, n),
        "red": red,
        "red_trend": red + 0.1 * t,
        "ties": np.floor(t / 10) + rng.integers(0, 3, n),
        "saw_tooth": t % 7 + 0.02 * t + rng.normal(0, 0.1, n),
        "short": rng.normal(0, 1, 12),
    }


def trends(rng):
    found = []
    for name, values in series(rng).items():
        n = len(values)
        # Irregular times, as a history has them.
        times = np.cumsum(rng.uniform(0.5, 1.5, n))
        sen = stats.theilslopes(values, times, 0.95)
        tau = stats.kendalltau(np.arange(n), values)
        plain = mk.original_test(values)
        found.append({
            "name": name,
            "times": times.tolist(),
            "values": values.tolist(),
            "sen": [sen.slope, sen.low_slope, sen.high_slope],
            "tau_b": tau.statistic,
            "s": float(plain.s),
            "variance": float(plain.var_s),
            "z": float(plain.z),
            "p": float(plain.p),
            "pettitt": pettitt(values),
        })
    return found


def pettitt(values):
    """[values before the change, K], by the definition: a double sum of signs."""
    n = len(values)
    signs = np.sign(values[:, None] - values[None, :])
    u = [abs(signs[:t, t:].sum()) for t in range(1, n)]
    return [int(np.argmax(u)) + 1, float(max(u))]


def curve(name, ages, ended, entered=None):
    fitter = KaplanMeierFitter()
    fitter.fit(ages, ended, entry=entered)
    at = sorted({float(age) for age, end in zip(ages, ended) if end})
    interval = fitter.confidence_interval_survival_function_
    return {
        "name": name,
        "ages": [float(age) for age in ages],
        "ended": [bool(end) for end in ended],
        "entered": None if entered is None else [float(e) for e in entered],
        "at": at,
        "survival": [float(fitter.survival_function_.loc[t].iloc[0]) for t in at],
        "low": [float(interval.loc[t].iloc[0]) for t in at],
        "high": [float(interval.loc[t].iloc[1]) for t in at],
    }


def curves(rng):
    found = [curve("freireich", *FREIREICH)]
    lives = {
        "exponential": rng.exponential(5, 80),
        "log_normal": rng.lognormal(1, 1, 80),
        "rounded": np.ceil(rng.exponential(5, 80)),
    }
    for name, life in lives.items():
        seen = np.ceil(rng.uniform(0, 20, 80)) if name == "rounded" else rng.uniform(0, 20, 80)
        # One in ten never ends.
        life = np.where(rng.uniform(0, 1, 80) < 0.1, np.inf, life)
        found.append(curve(name, np.minimum(life, seen), life <= seen))
    life, entered = rng.exponential(8, 120), rng.uniform(0, 4, 120)
    seen = life > entered
    life, entered = life[seen], entered[seen]
    found.append(curve("truncated", np.minimum(life, 15), life <= 15, entered))
    return found


def counts():
    trials = [(0, 10), (1, 10), (5, 10), (10, 10), (3, 1000), (50, 100), (999, 1000)]
    wilson = [stats.binomtest(k, n).proportion_ci(0.90, "wilson") for k, n in trials]
    exact = [stats.binomtest(k, n).proportion_ci(0.95, "exact") for k, n in trials]
    return {
        "trials": trials,
        "wilson_lower_one_sided_95": [each.low for each in wilson],
        "clopper_pearson_95": [[each.low, each.high] for each in exact],
        "normal_p": [0.025, 0.05, 0.5, 0.95, 0.975],
        "normal_quantile": stats.norm.ppf([0.025, 0.05, 0.5, 0.95, 0.975]).tolist(),
    }


def main():
    rng = np.random.default_rng(SEED)
    reference = {"trends": trends(rng), "curves": curves(rng), "counts": counts()}
    path = pathlib.Path(__file__).with_name("reference.json")
    path.write_text(json.dumps(reference, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
