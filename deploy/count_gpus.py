#!/usr/bin/env python3
"""Says how many GPUs CUDA shows to a process, and why if there are none.

    count_gpus.py

Prints the number, and for 0 a blank and the reason. Asks the driver itself, the
one of VRAMPOOL_CUDA_DRIVER if that is set, as the daemon does.
"""

import ctypes
import os


def count():
    try:
        driver = ctypes.CDLL(os.environ.get("VRAMPOOL_CUDA_DRIVER")
                             or "libcuda.so.1")
    except OSError as error:
        return 0, str(error)
    number = ctypes.c_int(0)
    for name, arguments in (("cuInit", [ctypes.c_uint(0)]),
                            ("cuDeviceGetCount", [ctypes.byref(number)])):
        error = getattr(driver, name)(*arguments)
        if error != 0:
            return 0, f"{name} of the CUDA driver gives error {error}"
    return number.value, "the CUDA driver shows none"


def main():
    number, why = count()
    print(number if number > 0 else f"0 {why}")


if __name__ == "__main__":
    main()
