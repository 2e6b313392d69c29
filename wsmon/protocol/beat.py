"""When to do what is done again and again: at the same moments of the clock as everybody else.

Whoever collects then wakes once for all of it, and not once for each.
"""


def until_beat(now: float, every_s: float, *, least: float = 0.5) -> float:
    """Return how many seconds it is to the next multiple of `every_s` on the clock, which shows `now`.

    One that is nearer than `least`, a part of `every_s`, is left out.
    """
    left = every_s - now % every_s
    return left if left >= least * every_s else left + every_s
