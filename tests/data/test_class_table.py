"""The table of pixels per class."""

import numpy as np

from sgovss.data.class_table import class_table

EXPECTED = """\
class      pixels    share    images
-------  --------  -------  --------
field       1,234  49.36 %         2
river           0   0.00 %         0
hedge         266  10.64 %         1
ignored     1,000  40.00 %         3"""


def test_every_class_and_ignored_pixels_have_a_line(fields):
    assert class_table(fields, np.array([1234, 0, 266, 1000]), np.array([2, 0, 1, 3])) == EXPECTED


def test_a_split_without_pixels(fields):
    assert class_table(fields, np.zeros(4, int), np.zeros(4, int)).count("0.00 %") == 4
