"""A run's folder: what was asked, what came out, shard by shard; resumed after a kill, verified, read back."""

from ..files import checksum
from .folder import RunFolder, name_of
from .key import RunKey, canonical, data_key
from .leases import PATIENCE, Lease, Leases
from .owners import identity
from .reading import Run, open_run
from .records import Record
from .verifying import Verified, verify

__all__ = [
    "PATIENCE",
    "Lease",
    "Leases",
    "Record",
    "Run",
    "RunFolder",
    "RunKey",
    "Verified",
    "canonical",
    "checksum",
    "data_key",
    "identity",
    "name_of",
    "open_run",
    "verify",
]
