"""Content-addressed objects on disk, their inner grammar, and the catalogue of what is known to be in them."""

from git_theta.store.catalogue import Catalogue
from git_theta.store.container import ObjectIndex, SlotRecord, read_index, render_index
from git_theta.store.disk import DamagedObject, Draft, MissingObject, Store

__all__ = [
    "Catalogue",
    "DamagedObject",
    "Draft",
    "MissingObject",
    "ObjectIndex",
    "SlotRecord",
    "Store",
    "read_index",
    "render_index",
]
