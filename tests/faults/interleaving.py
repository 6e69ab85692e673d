"""`make long`: random steps with three sizes of segments; each answer is compared with PostgreSQL's.

Variables: STEPS (10000), SEED (1).
"""

import os
import sys
from contextlib import closing

import pytest

from devices.storage.postgresql.segment_builder import SegmentSizes
from tests.support.interleaving import Interleaving, make_device

STEPS = int(os.environ.get("STEPS", "10000"))
SEED = int(os.environ.get("SEED", "1"))
SIZES = (
    SegmentSizes(base=60, run=7, fan=2, least=10, step=2),
    SegmentSizes(base=300, run=40, fan=3, least=20, step=2),
    SegmentSizes(base=600, run=64, fan=5, least=100, step=3),
)
# Readings accumulate with each step: enough to fill all levels, few enough to compare quickly.
STEPS_OF_A_DEVICE = 250


@pytest.mark.django_db(transaction=True)
def test_answers_equal_postgresqls_after_random_steps() -> None:
    for number in range(-(-STEPS // STEPS_OF_A_DEVICE)):
        seed = SEED + number
        interleaving = Interleaving([make_device(), make_device()], seed, sizes=SIZES[number % len(SIZES)])
        with closing(interleaving):
            for _ in range(min(STEPS_OF_A_DEVICE, STEPS - number * STEPS_OF_A_DEVICE)):
                interleaving.step()
        used, read = interleaving.segments_used, interleaving.rows_read
        sys.stdout.write(
            f"seed {seed}: correct; {used} segments used, {read} rows read. {interleaving.counts}\n"
        )
        sys.stdout.flush()
