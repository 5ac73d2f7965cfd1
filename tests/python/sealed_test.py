"""Objects whose contents, or names, end: sealed ones, and names that expire.

    sealed_test.py VRAMPOOLD VRAMPOOL LIBVRAMPOOL [UNITTEST_ARGUMENT...]
"""

import case

import vrampool


class SealedTest(case.Case):
    def setUp(self):
        super().setUp()
        self.client = self.connect()
        self.other = self.connect()

    def test_what_is_sealed_is_for_reading_elsewhere(self):
        mine = self.client.empty(8, "float64")
        mine.numpy()[...] = 3.0
        shared = self.client.share(mine, sealed=True)
        self.assertTrue(shared.sealed)
        self.assertFalse(shared[0].readonly)
        opened = self.other.open(shared.token)
        [part] = opened
        self.assertTrue(opened.sealed and part.readonly)
        with self.assertRaises(ValueError):
            part.numpy()[0] = 1.0
        self.assertEqual(part.numpy().tolist(), [3.0] * 8)
        self.assertFalse(self.client.share(mine).sealed)

    def test_names_expire(self):
        mine = self.client.empty(8)
        for bad in (0, -1.0, float("inf"), float("nan")):
            with self.assertRaises(ValueError):
                self.client.share(mine, name="short", expires=bad)
        self.client.share(mine, name="short", expires=0.001)
        self.eventually(lambda: not self.operator("objects").get("objects"),
                        "the name is still there")
        with self.assertRaises(vrampool.NotFound):
            self.other.open(name="short")


if __name__ == "__main__":
    case.main()
