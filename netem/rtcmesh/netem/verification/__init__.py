"""Whether a network does what its profile says: what to measure, and how to judge what was measured.

for measurement in measurements(profile, packets=20_000):
    probes = measure_virtually(measurement, seed=1)       # or any other network, in real time
    findings += judge(measurement, probes)
"""

from .judgement import Finding, judge
from .measurement import Aspect, Measurement, Probe, measurements
from .virtual import measure_virtually, verify

__all__ = [
    "Aspect",
    "Finding",
    "Measurement",
    "Probe",
    "judge",
    "measure_virtually",
    "measurements",
    "verify",
]
