"""Objects between stores: which ones a push or a checkout needs, and the ways they travel."""

from git_theta.lfs.ends import End, LocalEnd, TransferFailed
from git_theta.lfs.git_lfs import GitLfsEnd, GitLfsNotFound
from git_theta.lfs.media import bring_media, media_store
from git_theta.lfs.objects_ref import OBJECTS_REF, RefRefused, announce, keep
from git_theta.lfs.pointers import POINTER_LIMIT, parse_pointer, render_pointer
from git_theta.lfs.reach import Need, fetch_promised, named_manifests, named_objects, needs, new_objects
from git_theta.lfs.remotes import Remote, end_of, find_remote, push_targets
from git_theta.lfs.supply import Supply

__all__ = [
    "OBJECTS_REF",
    "POINTER_LIMIT",
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
    "bring_media",
    "end_of",
    "fetch_promised",
    "find_remote",
    "keep",
    "media_store",
    "named_manifests",
    "named_objects",
    "needs",
    "new_objects",
    "parse_pointer",
    "push_targets",
    "render_pointer",
]
