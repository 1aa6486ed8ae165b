"""What holds for all tests: an example of hypothesis may take as long as the machine needs for it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# On top of what hypothesis has chosen by itself: where the environment says CI, it draws the same examples each time.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
