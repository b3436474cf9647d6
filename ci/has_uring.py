#!/usr/bin/env python3
"""Exits 0 if this process may set up an io_uring with the flags that spanwire uses, else 1.

Independent of spanwire, so that a driver which wrongly gives up is a failure and not a skipped test.
"""

import ctypes
import os
import sys

IO_URING_SETUP = 425
# linux/io_uring.h: IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, both there from Linux 6.1 on.
FLAGS = (1 << 12) | (1 << 13)
PARAMS_BYTES = 120
FLAGS_OFFSET = 8

params = (ctypes.c_uint8 * PARAMS_BYTES)()
params[FLAGS_OFFSET : FLAGS_OFFSET + 4] = FLAGS.to_bytes(4, sys.byteorder)
ring = ctypes.CDLL(None, use_errno=True).syscall(IO_URING_SETUP, 8, ctypes.byref(params))
if ring < 0:
    sys.exit(f"io_uring_setup: {os.strerror(ctypes.get_errno())}")
os.close(ring)
