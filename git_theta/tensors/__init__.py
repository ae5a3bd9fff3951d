"""Values on their way between a file and the store: entry to bytes, bytes to entry.

The only place that knows how a value is spread over objects and what an update is based on.
"""

from git_theta.tensors.flow import Slab, file_slabs
from git_theta.tensors.reader import DamagedValue, MissingValue, Reader
from git_theta.tensors.writer import Writer, WriteResult

__all__ = ["DamagedValue", "MissingValue", "Reader", "Slab", "WriteResult", "Writer", "file_slabs"]
