"""Tracers: a model, a prompt and its subject → a Trace. Each is a frozen value; `trace` does the asking."""

from .attribution_patching import AttributionPatching
from .base import Tracer, trace, tracers
from .causal_tracing import CausalTracing
from .unit_mediation import UnitMediation, mediate

__all__ = ["AttributionPatching", "CausalTracing", "Tracer", "UnitMediation", "mediate", "trace", "tracers"]
