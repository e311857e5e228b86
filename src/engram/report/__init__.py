"""Results as pictures, tables and one self-contained page. Reads plain values; no model, no torch."""

from .aims import AIMS, Aim, Verdict, verdicts
from .book import report_run, report_runs
from .canvas import save, standalone, svg
from .folder import free, write
from .page import Folded, Items, Page, Picture, Section
from .suppression import Outcome
from .tables import Table, decimal, percent, signed
from .trace_lines import Curve
from .traces import heat_map, heat_maps

__all__ = [
    "AIMS", "Aim", "Curve", "Folded", "Items", "Outcome", "Page", "Picture", "Section", "Table", "Verdict",
    "decimal", "free", "heat_map", "heat_maps", "percent", "report_run", "report_runs", "save", "signed",
    "standalone", "svg", "verdicts", "write",
]  # fmt: skip
