"""Objects between stores: which ones a push or a checkout needs, and the ways they travel."""

from git_theta.lfs.ends import End, LocalEnd, TransferFailed
from git_theta.lfs.git_lfs import GitLfsEnd, GitLfsNotFound
from git_theta.lfs.objects_ref import OBJECTS_REF, RefRefused, announce
from git_theta.lfs.reach import Need, named_manifests, named_objects, needs, new_objects
from git_theta.lfs.remotes import Remote, end_of, find_remote
from git_theta.lfs.supply import Supply

__all__ = [
    "OBJECTS_REF",
    "End",
    "GitLfsEnd",
    "GitLfsNotFound",
    "LocalEnd",
    "Need",
    "RefRefused",
    "Remote",
    "Supply",
    "TransferFailed",
    "announce",
    "end_of",
    "find_remote",
    "named_manifests",
    "named_objects",
    "needs",
    "new_objects",
]
