#!/usr/bin/env python3
"""Memory lives until its last view has gone, and not longer: on any thread, when
the interpreter ends, in forked children.

    lifetime_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL DLPACK_HOLDER
"""

import concurrent.futures
import ctypes
import gc
import os
import subprocess
import sys
import threading

import case

import vrampool
import numpy

HOLDER = None  # The path of dlpack_holder.c's library, set by the command line.


def take(capsule):
    """The structure of an old capsule, as its consumer takes it."""
    python = ctypes.pythonapi
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = python.PyCapsule_GetPointer(capsule, b"dltensor")
    python.PyCapsule_SetName(ctypes.py_object(capsule),
                             ctypes.c_char_p(b"used_dltensor"))
    return ctypes.c_void_p(address)


class Refuser:
    """A consumer's failure on the way: an error while a capsule dies."""

    def consume(self, capsule):
        raise KeyError("refused")


class ViewTest(case.Case):
    def setUp(self):
        super().setUp()
        self.client = self.connect()

    def blocks(self):
        return self.client.usage().live_blocks

    def test_each_kind_of_view_keeps_the_memory(self):
        makers = {
            "tensor": lambda t: t,
            "numpy()": lambda t: t.numpy(),
            "asarray": numpy.asarray,
            "from_dlpack": numpy.from_dlpack,
            "a slice": lambda t: numpy.asarray(t)[1:],
            "bfloat16": lambda t: t._derived(
                t.address, vrampool.dtype("bfloat16"), (4,), (1,)).numpy(),
            "memoryview": lambda t: t.memoryview(),
            "a slice of a memoryview": lambda t: t.memoryview()[1:],
            "old capsule": lambda t: t.__dlpack__(),
            "new capsule": lambda t: t.__dlpack__(max_version=(1, 0)),
            "view_of": lambda t: vrampool.view_of(t.numpy()),
            "read-only": lambda t: t.as_readonly()}
        for name, make in makers.items():
            view = make(self.client.empty(8, "int16"))
            gc.collect()
            self.assertEqual(self.blocks(), 1, name)
            del view
            self.assertEqual(self.blocks(), 0, name)

    def test_a_copy_does_not_keep_the_original(self):
        view = numpy.from_dlpack(self.client.empty(8), copy=True)
        self.assertEqual(self.blocks(), 1)  # The copy's own.
        del view
        self.assertEqual(self.blocks(), 0)

    def test_an_objects_parts_keep_its_hold(self):
        other = self.connect()
        shared = self.client.share(self.client.empty(8))
        opened = other.open(shared.token)
        view = opened[0].numpy()
        view[:] = 3
        del shared
        opened.close()
        self.assertEqual(self.blocks(), 1)  # The object's.
        [listed] = self.operator("objects")["objects"]
        self.assertEqual(int(listed["holds"]), 1)
        self.assertEqual(view.sum(), 24)
        del view, opened
        self.eventually(lambda: self.operator("objects")["objects"] == [],
                        "the object lives on")
        self.eventually(lambda: self.blocks() == 0, "the block lives on")

    def test_a_closed_clients_session_ends_with_its_last_view(self):
        view = numpy.from_dlpack(self.client.empty(8))
        self.client.close()
        view[:] = 1
        self.assertEqual(len(self.operator("sessions")["sessions"]), 1)
        del view
        self.assertEqual(self.operator("sessions")["sessions"], [])
        self.assertEqual(self.leaks_of_the_ended(), [])

    def test_an_abandoned_capsule_leaves_the_error_that_was_on_its_way(self):
        with self.assertRaisesRegex(KeyError, "refused"):
            Refuser().consume(self.client.empty(8).__dlpack__())
        self.assertEqual(self.blocks(), 0)
        with self.assertRaisesRegex((RuntimeError, BufferError),
                                    "(?i)unsupported"):
            numpy.from_dlpack(self.client.empty(8, "bfloat16"))
        self.assertEqual(self.blocks(), 0)

    def test_a_thread_that_python_does_not_know_may_end_it(self):
        for library in (ctypes.CDLL(HOLDER), ctypes.PyDLL(HOLDER)):
            taken = take(self.client.empty(8).__dlpack__())
            self.assertEqual(self.blocks(), 1)
            # The second way the caller holds the GIL while it waits.
            self.assertEqual(library.delete_on_a_thread(taken), 0)
            self.assertEqual(self.blocks(), 0)

    def test_many_threads_make_and_drop_views(self):
        shared = self.client.share(self.client.empty(1000, "int64"))
        begin = threading.Barrier(4)

        def work(number):
            begin.wait()
            for round in range(200):
                own = self.client.empty(100, "int64")
                views = [numpy.from_dlpack(own), own.numpy(),
                         numpy.from_dlpack(shared[0])]
                views[0][:] = number * 1000 + round
                if (views[1] != number * 1000 + round).any():
                    return "another thread's memory"
                if vrampool.view_of(views[1]).address != own.address:
                    return "found something else"
            return None
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            self.assertEqual(list(threads.map(work, range(4))), [None] * 4)
        self.assertEqual(self.blocks(), 1)

    def test_what_is_found_by_address_is_forgotten_with_its_end(self):
        from vrampool import _ref
        for _ in range(300):
            self.client.empty(1)
        self.assertLess(len(_ref._known), 130)
        array = self.client.empty(8).numpy()
        copy = array.copy()
        vrampool.view_of(array)
        with self.assertRaises(vrampool.InvalidArgument):
            vrampool.view_of(copy)


class ExitTest(case.Case):
    """Programs that end with memory in hand: they end well, and nothing of
    theirs is reported as left behind."""

    def run_to_the_end(self, text):
        out = self.run_python(
            "import sys, threading, vrampool, numpy\n"
            "client = vrampool.connect()\n"
            "tensor = client.empty(1000)\n" + text, HOLDER)
        self.assertEqual(self.operator("sessions")["sessions"], [])
        return out

    def test_views_in_modules(self):
        self.run_to_the_end(
            "a, b = tensor.numpy(), numpy.from_dlpack(tensor)\n"
            "shared = client.share(tensor)\n"
            "opened = client.open(shared.token)\n"
            "c = numpy.from_dlpack(opened[0])\n"
            "capsule, m = tensor.__dlpack__(), tensor.memoryview()\n")
        self.assertEqual(self.leaks_of_the_ended(), [])

    def test_views_in_a_cycle(self):
        self.run_to_the_end(
            "class Node: pass\n"
            "node = Node()\n"
            "node.me, node.view, node.client = node, tensor.numpy(), client\n"
            "del node, tensor, client\n")
        self.assertEqual(self.leaks_of_the_ended(), [])

    def test_an_exception_that_nobody_catches(self):
        done = subprocess.run(
            [sys.executable, "-c",
             "import vrampool\n"
             "client = vrampool.connect()\n"
             "view = client.empty(8).numpy()\n"
             "raise SystemExit(3)\n"], env=self.environment,
            capture_output=True, text=True, timeout=case.PATIENCE_SECONDS)
        self.assertEqual((done.returncode, done.stderr), (3, ""))
        self.assertEqual(self.leaks_of_the_ended(), [])

    def test_handlers_that_run_before_and_after(self):
        out = self.run_to_the_end(
            "import atexit\n"
            "view = tensor.numpy()\n"
            "view[:] = 1\n"
            "@atexit.register\n"
            "def late():\n"
            "    print(view.sum(), client.closed)\n"
            "class Last:\n"
            "    def __init__(self, view): self.view = view\n"
            "    def __del__(self): self.view[:] = 2\n"
            "sys.last = Last(view)\n")
        self.assertEqual(out.split(), ["1000.0", "False"])
        self.assertEqual(self.leaks_of_the_ended(), [])

    def test_a_thread_that_still_uses_it(self):
        self.run_to_the_end(
            "view = tensor.numpy()\n"
            "begun = threading.Event()\n"
            "def work(view):\n"
            "    while True:\n"
            "        view += 1\n"
            "        begun.set()\n"
            "threading.Thread(target=work, args=(view,), daemon=True).start()\n"
            "begun.wait()\n")

    def test_libraries_that_delete_after_the_interpreter_has_ended(self):
        """Loaded before libvrampool or after it: their destructors run after
        its own or before."""
        load = "import ctypes, sys\nholder = ctypes.CDLL(sys.argv[1])\n"
        use = (
            "import vrampool\n"
            "client = vrampool.connect()\n"
            "tensor = client.empty(1000)\n")
        take_it = (
            "python = ctypes.pythonapi\n"
            "python.PyCapsule_GetPointer.restype = ctypes.c_void_p\n"
            "python.PyCapsule_GetPointer.argtypes = [ctypes.py_object,\n"
            "                                        ctypes.c_char_p]\n"
            "capsule = tensor.__dlpack__()\n"
            "taken = python.PyCapsule_GetPointer(capsule, b'dltensor')\n"
            "name = ctypes.c_char_p(b'used_dltensor')\n"
            "python.PyCapsule_SetName(ctypes.py_object(capsule), name)\n"
            "holder.delete_at_exit(ctypes.c_void_p(taken))\n")
        for order in (load + use, use + load):
            self.run_python(order + take_it, HOLDER)
            self.assertEqual(self.operator("sessions")["sessions"], [])
            self.assertEqual(self.leaks_of_the_ended(), [], order)

    def test_a_daemon_that_ended_first(self):
        """Memory in hand goes on working, and the program ends well."""
        with case.Broker(self.vrampoold, **self.config) as other:
            self.environment["VRAMPOOL_DIR"] = str(other.directory)
            process = self.start_python(
                "import sys, vrampool\n"
                "client = vrampool.connect()\n"
                "tensor = client.empty(1000)\n"
                "shared = client.share(tensor)\n"
                "view = client.open(shared.token)[0].numpy()\n"
                "print('ready', flush=True)\n"
                "sys.stdin.read()\n"
                "view[:] = 3\n"
                "try: client.allocate(1 << 30)\n"
                "except vrampool.Unavailable: print(tensor.numpy().sum())\n")
            self.assertEqual(process.stdout.readline(), "ready\n")
        out, _ = process.communicate(timeout=case.PATIENCE_SECONDS)
        self.assertEqual((process.returncode, out), (0, "3000.0\n"))

    def test_a_killed_process_is_reported_with_its_blocks(self):
        self.run_python("import os, vrampool\n"
                        "client = vrampool.connect()\n"
                        "view = client.empty(1000).numpy()\n"
                        "os._exit(0)\n")
        self.eventually(self.leaks_of_the_ended, "there is no report")
        [report] = self.leaks_of_the_ended()
        self.assertEqual(int(report["blocks_total"]), 1)


class ForkTest(case.Case):
    def in_a_child(self, check):
        """Runs `check` in a forked child; True if it returned True there."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if check() else 1
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) == 0

    def test_a_child_gets_an_error_and_harms_nobody(self):
        client = self.connect()
        tensor = client.empty(8, "int32")
        view = tensor.numpy()
        view[:] = 7
        shared = client.share(tensor, name="kept")
        dropped = [numpy.from_dlpack(client.empty(8)), shared[0].numpy()]

        def raises(use):
            try:
                use()
            except vrampool.Forked as error:
                return "exec" in str(error)
            return False

        def check():
            if not all(raises(use) for use in (
                    vrampool.connect, vrampool.default_client,
                    lambda: client.empty(1), client.usage, client.trim,
                    lambda: client.share(tensor), lambda: shared.token,
                    lambda: client.open(name="kept"))):
                return False
            dropped.clear()
            seen = int(view.sum()) == 56  # The bytes are there to read.
            client.close()
            gc.collect()
            return seen
        self.assertTrue(self.in_a_child(check))
        self.assertEqual(client.usage().live_blocks, 2)
        self.assertEqual(client.open(shared.token)[0].numpy().sum(), 56)
        dropped.clear()
        self.assertEqual(client.usage().live_blocks, 1)
        client.unlink("kept")

    def test_a_child_that_ends_in_order_harms_nobody(self):
        out = self.run_python(
            "import os, vrampool, warnings\n"
            "client = vrampool.connect()\n"
            "view = client.empty(1000).numpy()\n"
            "shared = client.share(view)\n"
            "warnings.simplefilter('ignore')  # Python's own about forks.\n"
            "child = os.fork()\n"
            "if child == 0: raise SystemExit(0)\n"
            "print(os.waitpid(child, 0)[1], client.usage().live_blocks,\n"
            "      client.open(shared.token)[0].numpy().size)\n")
        self.assertEqual(out.split(), ["0", "1", "1000"])
        self.assertEqual(self.leaks_of_the_ended(), [])

    def test_a_child_of_a_process_that_only_imported_it_may_use_it(self):
        out = self.run_python(
            "import os, vrampool\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    with vrampool.connect() as client:\n"
            "        view = client.empty(10).numpy()\n"
            "    raise SystemExit(0)\n"
            "print(os.waitpid(child, 0)[1])\n")
        self.assertEqual(out.split(), ["0"])
        self.assertEqual(self.leaks_of_the_ended(), [])


if __name__ == "__main__":
    HOLDER = sys.argv.pop(4)
    case.main()
