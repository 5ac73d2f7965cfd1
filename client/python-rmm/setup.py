"""Builds vrampool_rmm for the RMM that is installed here: RMM's C++ interface is
another one with each release, so each has a wheel of its own, for any Python
from 3.11 on. README.md says how to call this.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import shlex
import shutil
import subprocess
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

VRAMPOOL = "0.1.0"  # The version of this and of the package `vrampool`.
CONCEPT_SINCE = (26, 6)  # Before, RMM has a base class for resources.
DISTRIBUTIONS = ("rmm-cu12", "rmm-cu13", "rmm")


def installed_rmm():
    """The name and the release of the RMM to build for."""
    for name in DISTRIBUTIONS:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        year, month = version.split(".")[:2]
        return name, (int(year), int(month))
    raise SystemExit(
        "vrampool-rmm is built for one release of RMM, and none is installed: "
        "install the one that you use (rmm-cu12, rmm-cu13), and build with "
        "pip's --no-build-isolation")


def folder_of(package):
    spec = importlib.util.find_spec(package)
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    return pathlib.Path(places[0]) if places else None


def cuda_runtime():
    """The folder with include/ and a folder of libraries of CUDA's runtime."""
    named = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    places = [pathlib.Path(name) for name in named if name]
    nvidia = folder_of("nvidia")
    if nvidia is not None:
        places += [nvidia / "cuda_runtime", nvidia / "cu13"]
    places.append(pathlib.Path("/usr/local/cuda"))
    for place in places:
        if (place / "include" / "cuda_runtime_api.h").is_file():
            return place
    raise SystemExit(
        "the headers of CUDA's runtime are missing: install "
        "nvidia-cuda-runtime-cu12 (or nvidia-cuda-runtime for CUDA 13), or say "
        "in CUDA_HOME where a toolkit is")


def rmm_includes():
    """Of RMM and what its headers include; none where they are the system's."""
    folders = []
    for package in ("librmm", "rapids_logger"):
        place = folder_of(package)
        if place is not None:
            folders += [place / "include", place / "include" / "rapids"]
    return [str(folder) for folder in folders if folder.is_dir()]


def library_folders():
    """Of CUDA's runtime, and of RMM if that is no library of the system."""
    folders = [cuda_runtime() / name for name in ("lib64", "lib")]
    librmm = folder_of("librmm")
    if librmm is not None:
        folders.append(librmm / "lib64")
    return [str(folder) for folder in folders if folder.is_dir()]


def flags_of_vrampool():
    """The compiler's flags for libvrampool, where pkg-config knows it; else it
    has to be where the compiler looks."""
    if shutil.which("pkg-config") is None:
        return []
    done = subprocess.run(["pkg-config", "--cflags", "--libs-only-L", "vrampool"],
                          capture_output=True, text=True, check=False)
    return shlex.split(done.stdout) if done.returncode == 0 else []


def extension(release):
    form = "concept" if release >= CONCEPT_SINCE else "base"
    flags = flags_of_vrampool()
    system = [flag for folder in [*rmm_includes(), str(cuda_runtime() / "include")]
              for flag in ("-isystem", folder)]
    return Extension(
        "vrampool_rmm._resource", [f"vrampool_rmm/_resource_by_{form}.pyx"],
        language="c++", include_dirs=["."],
        define_macros=[("Py_LIMITED_API", "0x030B0000"),
                       ("CYTHON_LIMITED_API", "1"),
                       # Where CCCL's concepts are still on trial.
                       ("LIBCUDACXX_ENABLE_EXPERIMENTAL_MEMORY_RESOURCE", "1")],
        extra_compile_args=["-std=c++20", "-Wno-deprecated-declarations",
                            *system, *flags],
        library_dirs=library_folders(),
        libraries=["vrampool", "rmm", "cudart_static", "dl", "rt", "pthread"],
        extra_link_args=["-Wl,--exclude-libs,ALL", *flags],
        py_limited_api=True)


class BuildPy(build_py):
    """Writes down for which RMM it is."""

    def run(self):
        super().run()
        text = f"VERSION = {VERSION!r}\nRMM = {RELEASE!r}\n"
        built = pathlib.Path(self.build_lib, "vrampool_rmm", "_built.py")
        built.parent.mkdir(parents=True, exist_ok=True)
        built.write_text(text)


class BuildExt(build_ext):
    """Cython reads RMM's declarations where RMM is installed."""

    def finalize_options(self):
        from Cython.Build import cythonize
        self.distribution.ext_modules = cythonize(
            [extension(RELEASE)], language_level=3, quiet=True,
            include_path=[str(folder_of("rmm").parent)])
        super().finalize_options()


NAME, RELEASE = installed_rmm()
LINE = f"{RELEASE[0]}.{RELEASE[1]}"
VERSION = f"{VRAMPOOL}+rmm{LINE}{NAME.removeprefix('rmm').replace('-', '.')}"

if sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise SystemExit("RMM has no wheels for Python without a GIL, so neither "
                     "has vrampool-rmm")

setup(version=VERSION,
      install_requires=[f"vrampool=={VRAMPOOL}", f"{NAME}=={LINE}.*"],
      ext_modules=[Extension("vrampool_rmm._resource", [])],
      cmdclass={"build_py": BuildPy, "build_ext": BuildExt},
      options={"bdist_wheel": {"py_limited_api": "cp311"}})
