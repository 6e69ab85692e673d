from contextlib import closing

import pytest

from tests.interleaving import Interleaving

STEPS = 300


@pytest.mark.django_db(transaction=True)
def test_whatever_happens_answers_are_those_of_postgresql():
    interleaving = Interleaving(seed=4)
    with closing(interleaving):
        for _ in range(STEPS):
            interleaving.step()
    assert interleaving.segments_used > 100
