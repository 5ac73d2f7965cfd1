#!/usr/bin/env python3
"""Makes vrampool/table_kernel.ptx of table_kernel.cu with NVIDIA's run-time
compiler (pip install nvidia-cuda-nvrtc-cu12==12.9.86), without a GPU.

    make_table_kernel.py LIBNVRTC

PTX is compiled by the driver of the GPU where it runs. The text is for compute
capability 7.0 and later; its version is set back to 7.0, which every driver for
CUDA 11 and later reads: it uses nothing newer.
"""

import ctypes
import hashlib
import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).resolve().parent / "vrampool"
OPTIONS = [b"--gpu-architecture=compute_70", b"--std=c++17"]


class Compiler:
    def __init__(self, path):
        self.nvrtc = ctypes.CDLL(path)

    def text_of(self, program, what):
        size = ctypes.c_size_t()
        getattr(self.nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(self.nvrtc, f"nvrtcGet{what}")(program, text)
        return text.value.decode()

    def ptx(self, source):
        program = ctypes.c_void_p()
        self.nvrtc.nvrtcCreateProgram(ctypes.byref(program), source,
                                      b"table_kernel.cu", 0, None, None)
        options = (ctypes.c_char_p * len(OPTIONS))(*OPTIONS)
        if self.nvrtc.nvrtcCompileProgram(program, len(OPTIONS), options) != 0:
            sys.exit(self.text_of(program, "ProgramLog"))
        return self.text_of(program, "PTX")


def main():
    source = (FOLDER / "table_kernel.cu").read_bytes()
    text = Compiler(sys.argv[1]).ptx(source).expandtabs(2)
    text = re.sub(r"^\.version .*$", ".version 7.0", text, flags=re.M)
    text = re.sub(r" +$", "", text, flags=re.M).strip()
    digest = hashlib.sha256(source).hexdigest()
    (FOLDER / "table_kernel.ptx").write_text(
        f"// Made of table_kernel.cu by make_table_kernel.py.\n// {digest}\n"
        f"{text}\n")


if __name__ == "__main__":
    main()
