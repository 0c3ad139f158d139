"""What every job imports, for the server that jobs are forked from; nothing here may start a thread or CUDA."""

import gc

import dormant.hunt.pipeline
import dormant.sweeps.child  # noqa: F401

gc.freeze()  # the children share what is imported, and never walk it
