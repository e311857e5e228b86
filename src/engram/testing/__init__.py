"""For authors of plug-ins: random networks of every family, and the contract that a family keeps."""

from .contract import ContractBroken, check_family
from .networks import tiny

__all__ = ["ContractBroken", "check_family", "tiny"]
