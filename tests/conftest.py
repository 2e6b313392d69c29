"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long an example takes depends on what else the machine does; only the result counts.
settings.register_profile("wsmon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wsmon")
