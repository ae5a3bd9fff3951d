"""Version control for machine-learning checkpoints, parameter group by parameter group.

The package is built in floors (see ``docs/architecture.md``): values at the bottom, then pure rooms
(formats, codecs, manifest, store, gitio), then tensors, then filters, and the command line on top.
Imports point down only.
"""

__version__ = "0.1.0"
