#!/usr/bin/env python3
"""Tensors of the pool between the processes of torch.multiprocessing.

    torch_messages_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL
"""

import gc
import os
import warnings

import case

import torch
import torch.multiprocessing
import torch.utils.data
import vrampool
import vrampool.torch

SPAWN = torch.multiprocessing.get_context("spawn")
FORK = torch.multiprocessing.get_context("fork")


def relay(inbox, outbox, add):
    """Receives, adds in place, sends the same tensor on."""
    vrampool.torch.share_by_token()
    tensor = inbox.get(timeout=case.PATIENCE_SECONDS)
    tensor += add
    outbox.put(tensor)
    inbox.get(timeout=case.PATIENCE_SECONDS)  # None: it may end.


def relay_and_end(inbox, outbox, sent):
    """Receives, sends on, and ends before that is read."""
    vrampool.torch.share_by_token()
    outbox.put(inbox.get(timeout=case.PATIENCE_SECONDS))
    outbox.close()
    outbox.join_thread()
    sent.set()


def produce(outbox, count):
    """Makes tensors, sends them and ends, before anybody reads."""
    vrampool.torch.share_by_token()
    client = vrampool.connect()
    for number in range(count):
        tensor = vrampool.torch.empty(client, (100,), torch.int64)
        tensor.fill_(number)
        outbox.send(tensor)


def send_from_a_fork(outbox, tensor):
    outbox.put(int(tensor.sum()))  # The bytes are there to read.
    outbox.put(tensor[:1])


class Weights(torch.utils.data.Dataset):
    """Each worker gets the tensor itself, not a copy of it."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __len__(self):
        return 4

    def __getitem__(self, index):
        vrampool.torch.share_by_token()
        self.tensor[index] += 10
        return self.tensor[index:index + 1]


def first_of(batch):
    return batch[0]


class MessagesTest(case.Case):
    def setUp(self):
        super().setUp()
        os.environ["PYTHONPATH"] = self.environment["PYTHONPATH"]
        self.client = self.connect()
        vrampool.torch.share_by_token()
        self.addCleanup(self.nothing_is_left)

    def nothing_is_left(self):
        gc.collect()
        self.eventually(lambda: self.operator("objects")["objects"] == [],
                        "an object lives on")
        self.eventually(lambda: self.client.usage().live_blocks == 0,
                        "a block lives on")
        self.assertEqual(self.leaks_of_the_ended(), [])

    def start(self, target, *arguments, context=SPAWN):
        process = context.Process(target=target, args=arguments)
        process.start()

        def end():
            process.join(case.PATIENCE_SECONDS)
            self.assertEqual(process.exitcode, 0)
        self.addCleanup(end)
        return process

    def test_a_tensor_goes_round_and_stays_the_same_memory(self):
        queues = [SPAWN.Queue() for _ in range(3)]
        for number in range(2):
            self.start(relay, queues[number], queues[number + 1], number + 1)
        tensor = vrampool.torch.empty(self.client, (3, 4))
        tensor.zero_()
        queues[0].put(tensor[1:, ::2])
        received = queues[2].get(timeout=case.PATIENCE_SECONDS)
        self.assertEqual((received.shape, received.stride(),
                          received.data_ptr() - tensor.data_ptr()),
                         ((2, 2), (4, 2), 16))
        self.assertEqual(tensor.sum(), 3 * 4)
        for queue in queues[:2]:
            queue.put(None)

    def test_the_producer_may_end_first(self):
        reader, writer = SPAWN.Pipe(duplex=False)
        process = self.start(produce, writer, 3)
        process.join(case.PATIENCE_SECONDS)
        for number in range(3):
            tensor = reader.recv()
            self.assertEqual(tensor.tolist(), [number] * 100)
        self.assertEqual(vrampool.view_of(tensor).dtype.name, "int64")

    def test_who_sends_on_may_end_before_it_is_read(self):
        inbox, outbox, sent = SPAWN.Queue(), SPAWN.Queue(), SPAWN.Event()
        process = self.start(relay_and_end, inbox, outbox, sent)
        tensor = vrampool.torch.empty(self.client, (8,))
        tensor.fill_(3)
        inbox.put(tensor)
        self.assertTrue(sent.wait(case.PATIENCE_SECONDS))
        del tensor  # The sender's hold is the only one now.
        gc.collect()
        received = outbox.get(timeout=case.PATIENCE_SECONDS)
        process.join(case.PATIENCE_SECONDS)
        self.assertEqual((process.exitcode, received.tolist()), (0, [3] * 8))

    def test_memory_lives_until_the_last_receiver_lets_go(self):
        reader, writer = SPAWN.Pipe(duplex=False)
        tensor = vrampool.torch.empty(self.client, (8,))
        writer.send([tensor, tensor[4:]])
        tensor.fill_(5)
        received = reader.recv()
        self.assertEqual(received[0].data_ptr() + 16, received[1].data_ptr())
        del tensor
        received.pop(0)
        self.assertEqual(received[0].tolist(), [5] * 4)
        self.assertEqual(len(self.operator("objects")["objects"]), 1)

    def test_types_parameters_and_gradients_survive(self):
        reader, writer = SPAWN.Pipe(duplex=False)
        for dtype in (torch.bool, torch.bfloat16, torch.complex64):
            tensor = vrampool.torch.empty(self.client, (2,), dtype)
            tensor.fill_(1)
            writer.send(tensor)
            received = reader.recv()
            self.assertEqual((received.dtype, received.tolist()),
                             (dtype, tensor.tolist()))
        parameter = torch.nn.Parameter(
            vrampool.torch.empty(self.client, (2,)), requires_grad=True)
        writer.send(parameter)
        received = reader.recv()
        self.assertIsInstance(received, torch.nn.Parameter)
        self.assertTrue(received.requires_grad)
        with self.assertRaisesRegex(RuntimeError, "detach"):
            writer.send(parameter.view(2))  # No leaf.

    def test_other_tensors_go_as_they_always_did(self):
        reader, writer = SPAWN.Pipe(duplex=False)
        for tensor in (torch.ones(3), torch.empty(0)):
            writer.send(tensor)
            self.assertTrue(torch.equal(reader.recv(), tensor))

    def test_a_message_is_read_once(self):
        from multiprocessing.reduction import ForkingPickler
        tensor = vrampool.torch.empty(self.client, (8,))
        message = bytes(ForkingPickler.dumps(tensor))
        ForkingPickler.loads(message)
        gc.collect()
        with self.assertRaisesRegex(vrampool.NotFound, "read once"):
            ForkingPickler.loads(message)

    def test_a_forked_sender_is_refused_and_the_receiver_told(self):
        queue = FORK.Queue()
        tensor = vrampool.torch.empty(self.client, (8,))
        tensor.fill_(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.start(send_from_a_fork, queue, tensor, context=FORK)
        self.assertEqual(queue.get(timeout=case.PATIENCE_SECONDS), 16)
        with self.assertRaisesRegex(vrampool.Forked, "exec"):
            queue.get(timeout=case.PATIENCE_SECONDS)

    def test_a_data_loader_with_forked_workers_says_why_it_cannot(self):
        tensor = vrampool.torch.empty(self.client, (4,))
        tensor.zero_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            loader = iter(torch.utils.data.DataLoader(
                Weights(tensor), num_workers=1, collate_fn=first_of,
                multiprocessing_context="fork"))
        with self.assertRaisesRegex(vrampool.Forked, "exec"):
            next(loader)
        del loader

    def test_a_data_loaders_spawned_workers_have_the_same_memory(self):
        tensor = vrampool.torch.empty(self.client, (4,))
        tensor.zero_()
        loader = torch.utils.data.DataLoader(
            Weights(tensor), num_workers=2, collate_fn=first_of,
            multiprocessing_context="spawn")
        seen = [item.data_ptr() - tensor.data_ptr() for item in loader]
        self.assertEqual(seen, [0, 4, 8, 12])
        self.assertEqual(tensor.tolist(), [10] * 4)


if __name__ == "__main__":
    case.main()
